//! The node's gRPC port as people use it: grpcurl, with nothing but reflection; certificates; a drain.

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::certificates::Certificates;
use catchment_e2e::grpcurl;
use catchment_e2e::node::{Node, Settings};
use catchment_e2e::testdata;
use catchment_e2e::udp::Exporter;
use catchment_e2e::wait::until;

const CONTROL: &str = "catchment.node.v1.NodeControl";

#[test]
fn grpcurl_lists_describes_and_calls_by_both_reflections() -> Result<()> {
    let node = Node::start(&["node.id=curled"])?;
    let at = node.grpc()?.to_string();
    let listed = grpcurl::run(&["-plaintext", &at, "list"])?;
    let services: Vec<&str> = listed.lines().collect();
    let expected = [
        CONTROL,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    ensure!(services == expected, "{services:?}");
    for version in ["v1", "v1alpha"] {
        let method = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let answer = grpcurl::call(&["-plaintext", "-d", r#"{"list_services":""}"#, &at, &method])?;
        let names = answer["listServicesResponse"]["service"].as_array().context("a list")?;
        ensure!(names.iter().any(|service| service["name"] == CONTROL), "{version}: {answer}");
    }
    let described = grpcurl::run(&["-plaintext", &at, "describe", CONTROL])?;
    ensure!(described.contains("rpc Drain ( .catchment.node.v1.DrainRequest )"), "{described}");
    let method = |name: &str| format!("{CONTROL}/{name}");

    let health = grpcurl::call(&["-plaintext", &at, &method("GetHealth")])?;
    ensure!(health["nodeId"] == "curled" && health["health"]["status"] == "HEALTH_STATUS_OK", "{health}");
    until("grpc.health.v1 to say that the node serves", || {
        let question = format!(r#"{{"service":"{CONTROL}"}}"#);
        let answer = grpcurl::call(&["-plaintext", "-d", &question, &at, "grpc.health.v1.Health/Check"])?;
        Ok(if answer["status"] == "SERVING" { Ok(()) } else { Err(answer.to_string()) })
    })?;
    let wrong = grpcurl::run(&["-plaintext", "-d", r#"{"source":"flwo"}"#, &at, &method("Pause")]);
    let said = format!("{:#}", wrong.err().context("a source that is not there")?);
    ensure!(said.contains("NotFound") && said.contains("did you mean `flow`?"), "{said}");
    let scrape = node.get("/metrics")?.body;
    let refused = r#"catchment_grpc_calls_total{method="Pause",outcome="refused"} 1"#;
    ensure!(scrape.contains(refused), "{scrape}");
    node.stop()?;
    Ok(())
}

#[test]
fn a_drain_over_grpc_delivers_everything_and_ends_with_0() -> Result<()> {
    let node = Node::start(&[])?;
    let datagrams = testdata::datagrams(&testdata::capture("v5-softflowd.pcap"))?;
    let exporter = Exporter::new(node.udp()?)?;
    for datagram in &datagrams {
        exporter.send(datagram)?;
    }
    let live = node.wait_received(datagrams.len() as u64)?;
    let at = node.grpc()?.to_string();
    let asked = r#"{"reason":"kernel update"}"#;
    let answer = grpcurl::call(&["-plaintext", "-d", asked, &at, &format!("{CONTROL}/Drain")])?;
    ensure!(answer["deadlineSeconds"].as_f64().is_some_and(|deadline| deadline > 1e9), "{answer}");
    let ready = node.get("/readyz")?;
    ensure!(ready.status == 503 && ready.body.contains("node: stopping"), "{ready:?}");
    // It still reads: a load balancer takes a moment to notice.
    exporter.send(datagrams.first().context("an empty capture")?)?;
    let stopped = node.ended(&live)?;
    let flow = stopped.ledger.flow()?;
    ensure!(flow.produced > 0 && flow.delivered == flow.produced, "{flow:?}");
    ensure!(stopped.ledger.datagrams.received == datagrams.len() as u64 + 1, "{:?}", stopped.ledger);
    ensure!(stopped.log.contains("asked over grpc: kernel update"), "{}", stopped.log);
    Ok(())
}

#[test]
fn certificates_keep_strangers_out_and_both_sides_say_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ours = Certificates::make(folder.path())?;
    let elsewhere = tempfile::tempdir()?;
    let theirs = Certificates::make(elsewhere.path())?;
    let file = |path: &std::path::Path| path.display().to_string();
    let settings = [
        format!("tls.cert_file={}", file(&ours.server)),
        format!("tls.key_file={}", file(&ours.server_key)),
        format!("tls.client_ca_file={}", file(&ours.authority)),
    ];
    let start = || Node::start(&settings.each_ref().map(String::as_str));
    let node = start()?;
    let at = node.grpc()?.to_string();
    let health = format!("{CONTROL}/GetHealth");
    let (authority, stranger) = (file(&ours.authority), file(&theirs.authority));
    let (cert, key) = (file(&ours.client), file(&ours.client_key));
    let (bad_cert, bad_key) = (file(&theirs.client), file(&theirs.client_key));

    let good = ["-cacert", &authority, "-cert", &cert, "-key", &key, &at, &health];
    ensure!(grpcurl::call(&good)?["health"]["status"] == "HEALTH_STATUS_OK");
    let refused: [(&str, Vec<&str>, &str); 4] = [
        ("plain text", vec!["-plaintext"], ""),
        ("no certificate", vec!["-cacert", &authority], "peer sent no certificates"),
        (
            "a stranger's certificate",
            vec!["-cacert", &authority, "-cert", &bad_cert, "-key", &bad_key],
            "invalid peer certificate",
        ),
        ("an authority that did not sign", vec!["-cacert", &stranger, "-cert", &cert, "-key", &key], ""),
    ];
    for (what, arguments, logged) in refused {
        // A node of its own: the log says the same thing again only after a while.
        let node = start()?;
        let at = node.grpc()?.to_string();
        let arguments = [&["-connect-timeout", "5"][..], &arguments, &[&at, &health]].concat();
        ensure!(grpcurl::run(&arguments).is_err(), "{what} was let in");
        let line = node.wait_log("tls handshake failed")?;
        ensure!(line.contains(logged), "{what}: {line}");
        node.stop()?;
    }
    ensure!(grpcurl::call(&good).is_ok(), "who may is still let in");
    node.stop()?;

    let (status, log) =
        Settings::new(&[&format!("tls.cert_file={cert}"), &format!("tls.key_file={key}.gone")])?.refuse()?;
    ensure!(status.code() == Some(64) && log.contains("tls.key_file: cannot read"), "{status}: {log}");
    Ok(())
}
