//! Probes: `/livez`, `/readyz`, `/health`, `health.listen`, and `ingest-node healthcheck`.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::binaries::binary;
use catchment_e2e::http;
use catchment_e2e::node::{Node, Settings};
use serde_json::Value;

#[test]
fn a_node_that_works_says_so() -> Result<()> {
    let node = Node::start(&["node.id=probed"])?;
    let (live, ready) = (node.get("/livez")?, node.get("/readyz")?);
    ensure!((live.status, live.body.trim()) == (200, "alive"), "{live:?}");
    ensure!((ready.status, ready.body.trim()) == (200, "ready"), "{ready:?}");
    let health = node.get("/health")?;
    let detail: Value = serde_json::from_str(&health.body)?;
    ensure!(health.status == 200 && detail["ready"] == true && detail["node"] == "probed", "{health:?}");
    ensure!(
        detail["sources"][0]["name"] == "flow" && detail["sources"][0]["state"] == "running",
        "{health:?}"
    );
    ensure!(detail["output"]["state"] == "up", "{health:?}");
    ensure!(node.get("/nothing")?.status == 404, "a page that is not there");
    let healthcheck = healthcheck(&[&format!("node.http={}", node.http())])?;
    ensure!(healthcheck.status.success(), "{healthcheck:?}");
    node.stop()?;
    Ok(())
}

#[test]
fn a_node_without_its_broker_is_alive_and_not_ready() -> Result<()> {
    // Nobody can listen on port 1 here without being root and asking for it.
    let node = Settings::new(&["output=kafka", "kafka.brokers=127.0.0.1:1"])?.launch()?;
    ensure!(node.get("/livez")?.status == 200, "alive");
    let ready = node.get("/readyz")?;
    ensure!(ready.status == 503 && ready.body.starts_with("not ready: output: "), "{ready:?}");
    let health = node.get("/health")?;
    let detail: Value = serde_json::from_str(&health.body)?;
    ensure!(health.status == 503 && detail["ready"] == false, "{health:?}");
    ensure!(detail["not_ready"][0].as_str().is_some_and(|reason| reason.starts_with("output")), "{health:?}");
    let healthcheck = healthcheck(&[&format!("node.http={}", node.http())])?;
    let said = String::from_utf8_lossy(&healthcheck.stdout);
    ensure!(healthcheck.status.code() == Some(1) && said.contains("not ready"), "{healthcheck:?}");
    node.stop()?;
    Ok(())
}

#[test]
fn probes_have_a_port_of_their_own_where_asked_for() -> Result<()> {
    let node = Node::start(&["health.listen=127.0.0.1:0"])?;
    let probes = node.probes().context("no port for probes in the log")?;
    ensure!(http::get(probes, "/livez")?.status == 200, "/livez");
    ensure!(http::get(probes, "/readyz")?.status == 200, "/readyz");
    for hidden in ["/metrics", "/metrics.json", "/health"] {
        ensure!(http::get(probes, hidden)?.status == 404, "{hidden} is served on the port for probes");
    }
    // With this key the command asks there.
    let healthcheck = healthcheck(&["node.http=127.0.0.1:1", &format!("health.listen={probes}")])?;
    ensure!(healthcheck.status.success(), "{healthcheck:?}");
    node.stop()?;
    Ok(())
}

#[test]
fn a_healthcheck_without_a_node_fails_and_names_the_address() -> Result<()> {
    let healthcheck = healthcheck(&["node.http=127.0.0.1:1"])?;
    let said = String::from_utf8_lossy(&healthcheck.stderr);
    ensure!(healthcheck.status.code() == Some(1) && said.contains("127.0.0.1:1"), "{healthcheck:?}");
    Ok(())
}

fn healthcheck(settings: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary("ingest-node")?);
    command.arg("healthcheck");
    for setting in settings {
        command.args(["--set", setting]);
    }
    Ok(command.output()?)
}
