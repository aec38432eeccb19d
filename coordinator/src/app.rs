//! `coordinator run`: open everything, serve until told to stop, let calls end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use catchment_serving::grpc::{GrpcServer, Stopped};
use catchment_serving::logging::Logging;
use catchment_serving::{Signal, Signals, VERSION, http};

use crate::build;
use crate::cli::Cli;
use crate::config::Loaded;
use crate::replica::Replica;
use crate::services::Services;

/// What the store gets at least to write what waits and give up registrations.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Runs the coordinator until a signal ends it.
///
/// # Errors
/// Where something cannot be opened.
pub fn run(cli: &Cli, loaded: &Loaded) -> anyhow::Result<()> {
    let logging = Logging::start(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("coordinator")
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    runtime.block_on(serve(cli, loaded, &logging))?;
    // What was cut off ends here.
    runtime.shutdown_background();
    Ok(())
}

async fn serve(cli: &Cli, loaded: &Loaded, logging: &Logging) -> anyhow::Result<()> {
    let config = &loaded.config;
    let mut signals = Signals::open().context("cannot watch for signals")?;
    let grpc = GrpcServer::bind(config.grpc, &config.tls).await?;
    let store = build::store(config).context("cannot use the store")?;
    let services = build::services(config, store.clone());
    let replica = Arc::new(Replica::new(config, store.clone(), services.clone(), grpc.connections()));
    let listener = http::bind(config.http).await?;
    tracing::info!(address = %listener.local_addr()?, "serving http");
    tokio::spawn(http::serve(listener, replica.clone()));
    if let Some(address) = config.health.listen {
        let listener = http::bind(address).await?;
        tracing::info!(address = %listener.local_addr()?, "serving probes");
        tokio::spawn(http::serve_probes(listener, replica.clone()));
    }
    tracing::info!(
        address = %grpc.address(), tls = grpc.is_tls(), id = %config.id, cluster = %config.cluster,
        store = %config.store, version = VERSION, "serving grpc"
    );
    let running = routes(grpc, &services).start();

    loop {
        match signals.next().await {
            signal @ (Signal::Terminate | Signal::Interrupt) => {
                tracing::info!(signal = signal.name(), "stopping");
                break;
            }
            Signal::Reload => reload(cli, logging),
        }
    }
    replica.stopping();
    running.health().not_serving().await;
    // Nodes go to another coordinator at once.
    services.sessions().stop();
    let began = Instant::now();
    if running.stop(config.shutdown_timeout).await == Stopped::CutOff {
        tracing::warn!(waited = ?began.elapsed(), "calls that did not end are cut off");
    }
    store.stop(config.shutdown_timeout.saturating_sub(began.elapsed()).max(LAST_WRITES)).await;
    tracing::info!("stopped");
    Ok(())
}

/// The services of the gRPC port beside health and reflection.
fn routes(server: GrpcServer, services: &Services) -> GrpcServer {
    server.serve(services.node_session()).serve(services.cluster_admin()).serve(services.coordinator_peer())
}

/// Takes over what can change without a restart (the log level) from the same file, environment and arguments.
fn reload(cli: &Cli, logging: &Logging) {
    match cli.load_config() {
        Err(error) => tracing::error!("configuration not reloaded: {error}"),
        Ok(loaded) => {
            logging.set_level(loaded.config.log.level);
            tracing::info!("log level reloaded; other keys need a restart");
        }
    }
}
