//! Certificates: whom `catchctl` trusts, and who trusts it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::catchctl::Catchctl;
use catchment_e2e::certificates::Certificates;
use catchment_e2e::node::Node;

use super::{CLUSTER, coordinator, fault, ok, send, wait_for_nodes};

/// Settings of a port that takes only who has a certificate.
fn port(certificates: &Certificates) -> [String; 3] {
    [
        format!("tls.cert_file={}", certificates.server.display()),
        format!("tls.key_file={}", certificates.server_key.display()),
        format!("tls.client_ca_file={}", certificates.authority.display()),
    ]
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("UTF-8")
}

#[test]
fn coordinators_and_nodes_take_whom_their_authority_has_signed() -> Result<()> {
    let (folder, foreign) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let ours = Certificates::make(folder.path())?;
    let theirs = Certificates::make(foreign.path())?;
    let port = port(&ours);
    let port = port.each_ref().map(String::as_str);
    let coordinator = coordinator(&port)?;
    let session = [
        "node.id=node-1".to_owned(),
        format!("coordinator.endpoints=https://{}", coordinator.grpc()),
        format!("coordinator.cluster={CLUSTER}"),
        format!("coordinator.tls.ca_file={}", ours.authority.display()),
        format!("coordinator.tls.cert_file={}", ours.client.display()),
        format!("coordinator.tls.key_file={}", ours.client_key.display()),
    ];
    let node = Node::start(&[&session.each_ref().map(String::as_str)[..], &port].concat())?;

    let files = |of: &'static str, certificates: &Certificates| -> Result<Vec<String>> {
        let (cert, key) = (text(&certificates.client)?, text(&certificates.client_key)?);
        Ok(match of {
            "nobody" => Vec::new(),
            _ => ["--cert-file", cert, "--key-file", key].map(str::to_owned).to_vec(),
        })
    };
    let trusting = |certificates: &Certificates, more: Vec<String>| -> Result<[Catchctl; 2]> {
        let trust = ["--ca-file".to_owned(), text(&certificates.authority)?.to_owned()];
        let arguments: Vec<String> = trust.into_iter().chain(more).collect();
        let whom = [Catchctl::of_coordinators(&[coordinator.grpc()]), Catchctl::of_node(node.grpc()?)];
        Ok(whom.map(|catchctl| catchctl.over_tls(&arguments)))
    };
    let [people, at_node] = trusting(&ours, files("ann", &ours)?)?;
    wait_for_nodes(&people, 1)?;
    let exporter = send(&node, 0..4)?;
    node.wait_ledger("records", |ledger| ledger.flow().is_ok_and(|flow| flow.delivered == 4))?;
    for catchctl in [&people, &at_node] {
        ok(&catchctl.run(&["health"])?)?;
        ok(&catchctl.run(&["stats"])?)?;
    }
    ok(&people.run(&["config", "set", "log.level=debug"])?)?;
    let at_the_wrong_place = at_node.run(&["config", "set", "log.level=debug"])?;
    fault(&at_the_wrong_place, 1, "change the cluster's configuration there")?;
    // The node is dialled by itself, by what it has told the coordinator.
    let tail = people.start(&["tail", "--limit", "4"])?;
    let ended = super::tail::while_sending(
        || exporter.send(&catchment_e2e::datagrams::Protocol::V9.data(0..4)),
        || Ok(tail.wait_with_output()?),
    )?;
    ensure!(ended.status.code() == Some(0), "{ended:?}");
    ensure!(String::from_utf8_lossy(&ended.stdout).lines().count() == 4, "{ended:?}");

    for wrong in trusting(&theirs, files("ann", &ours)?)? {
        fault(&wrong.run(&["health"])?, 4, "certificate")?;
    }
    for (who, certificates) in [("nobody", &ours), ("a stranger", &theirs)] {
        for wrong in trusting(&ours, files(who, certificates)?)? {
            let ended = wrong.run(&["health"])?;
            ensure!(ended.code == Some(4) && ended.err.lines().count() == 1, "{who}: {ended:?}");
        }
    }
    let plain = Catchctl::of_coordinators(&[coordinator.grpc()]).run(&["nodes"])?;
    ensure!(matches!(plain.code, Some(3 | 4)) && plain.err.lines().count() == 1, "{plain:?}");
    node.stop().map(drop)
}
