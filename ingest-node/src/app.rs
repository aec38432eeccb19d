//! `ingest-node run`: open everything, read until told to stop, drain, give the account.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use catchment_serving::grpc::OpenError;
use catchment_serving::logging::Logging;
use catchment_serving::{Signal, Signals, http};
use tokio::net::TcpListener;
use udp_receiver::{Holders, Protocol, holders_of};

use crate::cli::Cli;
use crate::cluster::{Addresses, Cluster};
use crate::config::{Config, ConfigErrors, Loaded, Origin, Problem};
use crate::control::ControlPort;
use crate::ledger::Ledger;
use crate::live::Refused;
use crate::node::{Node, Prepared};
use crate::state::{Saver, StateDir};

/// Threads of the control plane.
const CONTROL_THREADS: usize = 2;
/// How long control threads may take to end.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often exporters' sequence numbers are accounted for.
const ACCOUNT_EVERY: Duration = Duration::from_secs(1);
/// How often recorded histograms are folded into their buckets.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Runs the node until a signal ends it, or the reader of its output leaves.
///
/// # Errors
/// Where something cannot be opened.
pub fn run(cli: &Cli, loaded: &Loaded) -> anyhow::Result<()> {
    let logging = Logging::start(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let prepared = Prepared::nothing(&loaded.config);
    let saver = remember(loaded, &prepared)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control threads")?;
    let ledger = runtime.block_on(serve(cli, loaded, prepared, logging))?;
    if let Some(saver) = saver {
        saver.close();
    }
    // The ledger is the last line: connections that end with the runtime may have something to say before.
    runtime.shutdown_timeout(LAST_WORDS);
    report(&ledger);
    Ok(())
}

async fn serve(cli: &Cli, loaded: &Loaded, prepared: Prepared, logging: Logging) -> anyhow::Result<Ledger> {
    let mut signals = Signals::open().context("cannot watch for signals")?;
    let config = &loaded.config;
    let grpc = ControlPort::open(config).await.map_err(|error| match error {
        OpenError::Port { address, error } => taken("node.grpc", address, error),
        OpenError::Tls { .. } => error.into(),
    })?;
    let listener = bind("node.http", config.node.http).await?;
    let cluster = join(config, &prepared, grpc.address(), listener.local_addr()?).await?;
    let node = Arc::new(Node::open(loaded.clone(), cli.sources(), prepared, logging)?);
    if let Some(cluster) = &cluster {
        cluster.attach(&node);
    }
    tracing::info!(address = %listener.local_addr()?, "serving http");
    tokio::spawn(http::serve(listener, node.clone()));
    if let Some(address) = config.health.listen {
        let listener = bind("health.listen", address).await?;
        tracing::info!(address = %listener.local_addr()?, "serving probes");
        tokio::spawn(http::serve_probes(listener, node.clone()));
    }
    let grpc = ControlPort::serve(grpc, &node);
    tokio::spawn(upkeep(node.clone()));
    tokio::spawn(account_numbers(node.clone()));
    node.start().context("cannot start a worker thread")?;

    let drain = loop {
        tokio::select! {
            drain = node.drain_begun() => break drain,
            signal = signals.next() => match signal {
                Signal::Terminate | Signal::Interrupt => { node.begin_drain(signal.name()); }
                Signal::Reload => reload(&node),
            },
            () = node.output().closed() => { node.begin_drain("the reader of the output has left"); }
        }
    };
    let (draining, reason) = (node.clone(), drain.reason.clone());
    tokio::task::spawn_blocking(move || draining.drain(&drain)).await?;
    if let Some(cluster) = cluster {
        cluster.leave(&reason).await;
    }
    grpc.stop().await;
    Ok(node.status().ledger)
}

/// Begins to look for a coordinator, and waits until the node knows what the cluster knows, or long enough.
async fn join(
    config: &Config,
    prepared: &Prepared,
    grpc: SocketAddr,
    http: SocketAddr,
) -> anyhow::Result<Option<Cluster>> {
    let addresses = Addresses {
        grpc,
        http,
        advertise_grpc: config.node.advertise_grpc.clone(),
        advertise_http: config.node.advertise_http.clone(),
    };
    let cluster = Cluster::start(config, prepared, addresses).context("coordinator.tls")?;
    if let Some(cluster) = &cluster {
        let timeout = config.coordinator.startup_timeout;
        if !cluster.wait_for_snapshot(timeout).await {
            tracing::warn!(
                ?timeout,
                "no snapshot from a coordinator in time: the node starts with what it knows"
            );
        }
    }
    Ok(cluster)
}

/// Takes over what an earlier process left in `state.dir`, and begins to save there.
///
/// # Errors
/// Where the folder cannot be used: as an error of the key.
fn remember(loaded: &Loaded, prepared: &Prepared) -> anyhow::Result<Option<Saver>> {
    const KEY: &str = "state.dir";
    let Some(path) = &loaded.config.state.dir else { return Ok(None) };
    let dir = StateDir::open(path).map_err(|unusable| {
        let origin = loaded.origins.get(KEY).cloned().unwrap_or(Origin::Default);
        ConfigErrors::Invalid(vec![Problem { origin, key: KEY.to_owned(), what: unusable.to_string() }])
    })?;
    dir.load(&prepared.known).log();
    let saver = Saver::start(dir, prepared.known.clone(), prepared.saves.clone());
    saver.map(Some).context("cannot start a thread")
}

/// Opens an HTTP port.
async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| taken(key, address, error))
}

/// Why a TCP port could not be had: the key, and who has it.
fn taken(key: &str, address: SocketAddr, error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AddrInUse {
        let holders = holders_of(Protocol::Tcp, address);
        return anyhow::anyhow!("{key}: tcp {address} is in use by {}", Holders(&holders));
    }
    anyhow::Error::new(error).context(format!("{key}: tcp {address}"))
}

/// Takes over what has changed in the node's own file.
fn reload(node: &Node) {
    match node.reload() {
        Ok(_) => tracing::info!("configuration reloaded"),
        Err(refused @ Refused::Wrong(_)) => tracing::error!("configuration not reloaded: {refused}"),
        Err(refused @ Refused::RestartNeeded(_)) => tracing::warn!("configuration not reloaded: {refused}"),
    }
}

async fn upkeep(node: Arc<Node>) {
    let mut every = tokio::time::interval(UPKEEP_EVERY);
    loop {
        every.tick().await;
        node.metrics().upkeep();
    }
}

async fn account_numbers(node: Arc<Node>) {
    let mut every = tokio::time::interval(ACCOUNT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        node.account_numbers();
    }
}

/// The account at exit, on standard error: one JSON line for programs, one for people.
fn report(ledger: &Ledger) {
    let mut stderr = io::stderr().lock();
    let json = serde_json::json!({ "ledger": ledger });
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(stderr, "{json}\n{ledger}");
}
