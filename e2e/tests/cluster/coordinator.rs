//! A coordinator alone: it starts, stops and comes back as a service behind a fixed name must.

use anyhow::{Result, ensure};
use catchment_e2e::coordinator::Coordinator;

#[test]
fn a_coordinator_comes_back_at_its_ports() -> Result<()> {
    let mut coordinator = Coordinator::prepare(&["store=memory".to_owned(), "cluster=e2e".to_owned()])?;
    coordinator.start()?;
    let first = coordinator.pid()?;
    ensure!(coordinator.get("/livez")?.status == 200);
    ensure!(coordinator.wait_log("serving grpc")?.contains(&coordinator.grpc().to_string()));
    coordinator.kill()?;
    ensure!(coordinator.get("/livez").is_err(), "it answers though it was killed");
    coordinator.start()?;
    ensure!(coordinator.pid()? != first);
    let log = coordinator.stop()?;
    ensure!(log.contains("stopped") && !coordinator.is_running(), "{log}");
    Ok(())
}

#[test]
fn a_coordinator_that_refuses_its_settings_is_quoted() -> Result<()> {
    let mut coordinator = Coordinator::prepare(&["clutser=e2e".to_owned()])?;
    let error = format!("{:#}", coordinator.start().unwrap_err());
    ensure!(error.contains("64") && error.contains("clutser") && error.contains("cluster"), "{error}");
    Ok(())
}
