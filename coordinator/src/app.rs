//! `coordinator run`: open everything, serve until told to stop, let calls end.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use catchment_serving::grpc::{GrpcServer, Stopped};
use catchment_serving::logging::Logging;
use catchment_serving::{Signal, Signals, VERSION, http};

use crate::cli::Cli;
use crate::config::Loaded;
use crate::replica::Replica;

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
    let replica = Arc::new(Replica::new(config, grpc.connections()));
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
    let running = routes(grpc, &replica).start();

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
    let began = Instant::now();
    if running.stop(config.shutdown_timeout).await == Stopped::CutOff {
        tracing::warn!(waited = ?began.elapsed(), "calls that did not end are cut off");
    }
    tracing::info!("stopped");
    Ok(())
}

/// The services of the gRPC port beside health and reflection.
fn routes(server: GrpcServer, _replica: &Arc<Replica>) -> GrpcServer {
    server
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
