//! What the cluster does not take: nodes of another cluster, strangers' certificates, values of the store that are no values.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::certificates::Certificates;
use catchment_e2e::cluster::{Plan, Store};
use catchment_e2e::coordinator::Coordinator;
use catchment_e2e::node::Node;
use catchment_e2e::wait::until;
use tempfile::TempDir;

use crate::devices::Devices;

/// A node alone with a coordinator: its settings beside where that is.
fn node(endpoint: &str, cluster: &str, more: &[String]) -> Result<Node> {
    let mut settings = vec![
        format!("coordinator.endpoints={endpoint}"),
        format!("coordinator.cluster={cluster}"),
        "coordinator.startup_timeout=1s".to_owned(),
    ];
    settings.extend_from_slice(more);
    Node::start(&settings.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Waits until a node's readiness has a line with this text; it is ready in any case.
fn wait_says(node: &Node, text: &str) -> Result<String> {
    until("the node to say how it is", || {
        let answer = node.get("/readyz")?;
        ensure!(answer.status == 200, "not ready for want of a coordinator: {}", answer.body);
        Ok(if answer.body.contains(text) { Ok(answer.body) } else { Err(answer.body + &node.log()) })
    })
}

#[test]
fn a_node_of_another_cluster_is_refused_and_both_logs_say_why() -> Result<()> {
    let mut coordinator = Coordinator::prepare(&["store=memory".to_owned(), "cluster=east".to_owned()])?;
    coordinator.start()?;
    let node = node(&format!("http://{}", coordinator.grpc()), "west", &[])?;
    let reason = wait_says(&node, "refused")?;
    ensure!(reason.contains("`west`") && reason.contains("`east`"), "{reason}");
    for line in [node.wait_log("the node is refused")?, coordinator.wait_log("session refused")?] {
        ensure!(line.contains("`west`") && line.contains("`east`"), "{line}");
    }
    node.stop()?;
    coordinator.stop()?;
    Ok(())
}

fn setting(key: &str, file: &Path) -> String {
    format!("{key}={}", file.display())
}

#[test]
fn certificates_of_both_sides_are_checked_and_both_logs_say_why() -> Result<()> {
    let (ours, theirs) = (TempDir::new()?, TempDir::new()?);
    let (ours, theirs) = (Certificates::make(ours.path())?, Certificates::make(theirs.path())?);
    let mut coordinator = Coordinator::prepare(&[
        "store=memory".to_owned(),
        setting("tls.cert_file", &ours.server),
        setting("tls.key_file", &ours.server_key),
        setting("tls.client_ca_file", &ours.authority),
    ])?;
    coordinator.start()?;
    let endpoint = format!("https://{}", coordinator.grpc());
    let tls = |authority: &Path, client: &Certificates| {
        [
            setting("coordinator.tls.ca_file", authority),
            setting("coordinator.tls.cert_file", &client.client),
            setting("coordinator.tls.key_file", &client.client_key),
        ]
    };
    // A stranger's certificate, none, and a coordinator that the node does not trust.
    let stranger = node(&endpoint, "default", &tls(&ours.authority, &theirs))?;
    let nameless = node(&endpoint, "default", &tls(&ours.authority, &ours)[..1])?;
    let doubter = node(&endpoint, "default", &tls(&theirs.authority, &ours))?;
    for node in [stranger, nameless, doubter] {
        wait_says(&node, "coordinator: ")?;
        let line = node.wait_log("no session with a coordinator")?;
        ensure!(line.to_lowercase().contains("certificate"), "{line}");
        node.stop()?;
    }
    let line = coordinator.wait_log("tls handshake failed")?;
    ensure!(line.to_lowercase().contains("certificate"), "{line}");

    let known = node(&endpoint, "default", &tls(&ours.authority, &ours))?;
    until("a session", || {
        let body = known.get("/readyz")?.body;
        Ok(if body == "ready\n" { Ok(()) } else { Err(body + &known.log()) })
    })?;
    known.stop()?;
    coordinator.stop()?;
    Ok(())
}

/// Values that are none, at the place of one that was good and at places where nothing was, whichever the coordinator finds first.
#[test]
fn a_poisoned_store_reaches_no_decoder_and_is_reported() -> Result<()> {
    let plan = Plan { nodes: 2, store: Store::Etcd, ..Plan::new("poisoned") };
    let mut cluster = plan.start()?;
    let mut devices = Devices::default();
    devices.share(&cluster, 0, [1])?;
    let prefix = format!("/catchment/{}", cluster.name());
    let etcd = cluster.etcd.as_ref().context("an etcd")?;
    let key = until("the template to be stored", || {
        Ok(etcd.entries(&format!("{prefix}/templates/"))?.pop().ok_or_else(|| "nothing is stored".to_owned()))
    })?;
    let mut turned = key.value.clone();
    let last = turned.len() - 1;
    turned[last] ^= 1;
    etcd.put(&key.key, &turned)?;
    etcd.put(&key.key.replace("127.9.", "127.8."), &key.value)?;
    for (name, value) in [
        ("templates/-/192.0.2.1/9/7", &b"\xff\xff\xff\xff"[..]),
        ("templates/-/nobody/9/7", b""),
        ("exporters/-/192.0.2.1/10/7/options", b"\x0a\x01"),
        ("collectors/ghost", b"boo"),
        ("desired/node-0", b"\x08"),
        ("config", b"\xff"),
    ] {
        etcd.put(&format!("{prefix}/{name}"), value)?;
    }
    for coordinator in 0..cluster.coordinators.len() {
        let coordinator = &cluster.coordinators[coordinator];
        until("the values to be counted", || {
            let invalid = coordinator.metrics()?.count("catchment_store_invalid_values_total", &[])?;
            Ok(if invalid >= 8 { Ok(()) } else { Err(format!("{invalid} of 8")) })
        })?;
        let line = coordinator.wait_log("a value of the store is not valid and was skipped")?;
        ensure!(line.contains(&prefix), "{line}");
    }
    devices.share(&cluster, 1, [0])?;
    // One that reads all of it at once, and knows nothing that its node looks for.
    for coordinator in 1..3 {
        cluster.coordinators[coordinator].kill()?;
        cluster.coordinators[coordinator].start()?;
    }
    cluster.add_node(&plan)?;
    cluster.node(2)?.wait_ready()?;
    devices.all_decode_at(&cluster, 0..3)?;
    let health = cluster.ask(&["exporters"])?.to_string();
    ensure!(!health.contains("127.8."), "a value under another's key was taken: {health}");
    devices.settle(cluster, &[]).map(drop)
}
