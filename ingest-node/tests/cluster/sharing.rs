//! Nodes that share what exporters announce, through real coordinators.

use std::net::SocketAddr;

use crate::replica::{Replica, memory};
use crate::rig::{TestNode, data, exporter, template, until};

async fn nodes<const N: usize>(coordinators: &[SocketAddr]) -> [TestNode; N] {
    let mut nodes = Vec::new();
    for number in 0..N {
        nodes.push(TestNode::start(&format!("n-{number}"), coordinators, &[]).await);
    }
    nodes.try_into().ok().unwrap()
}

/// Lets a node learn what `domain` announces.
fn teach(node: &TestNode, domain: u32) {
    let exporter = exporter();
    node.send(&exporter, &template(domain));
    node.send(&exporter, &data(domain));
}

fn degraded(node: &TestNode) -> bool {
    !node.node.status().health.degraded.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_waits_at_one_node_is_decoded_by_the_template_of_another() {
    let replica = Replica::start(&memory(), "c-1").await;
    let [a, b] = nodes(&[replica.address]).await;
    b.send(&exporter(), &data(1));
    until("it waits", || b.node.status().ledger.sets.pending == 1).await;
    // No data of this exporter comes to the node that hears its template.
    a.send(&exporter(), &template(1));
    until("it is decoded", || b.decoded() == 1).await;
    assert_eq!(b.node.status().ledger.sets.pending, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_was_told_decodes_and_is_not_told_on() {
    let replica = Replica::start(&memory(), "c-1").await;
    let [a, b] = nodes(&[replica.address]).await;
    teach(&a, 1);
    until("the other one has it", || b.prepared.known.store.templates() == 1).await;
    b.send(&exporter(), &data(1));
    until("it decodes by it", || b.decoded() == 1).await;
    assert_eq!(b.prepared.cluster.counts().scopes_sent, 0, "it tells nobody what it was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_knows_all_before_its_first_datagram() {
    let replica = Replica::start(&memory(), "c-1").await;
    let [a] = nodes(&[replica.address]).await;
    for domain in 0..15 {
        teach(&a, domain);
    }
    until("all have gone up", || a.prepared.cluster.counts().scopes_sent == 15).await;
    let late = TestNode::start("late", &[replica.address], &[]).await;
    assert!(late.knew);
    assert_eq!(late.prepared.known.store.templates(), 15);
    assert_eq!(late.prepared.cluster.counts().scopes_sent, 0, "the cluster knows all that");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_to_another_replica_and_share_on() {
    let kv = memory();
    let one = Replica::start(&kv, "c-1").await;
    let two = Replica::start(&kv, "c-2").await;
    let nodes: [TestNode; 3] = nodes(&[one.address, two.address]).await;
    until("all have a session", || one.nodes().len() + two.nodes().len() == 3).await;
    one.stop();
    until("all are with the other one", || two.nodes().len() == 3).await;
    teach(&nodes[0], 1);
    nodes[2].send(&exporter(), &data(1));
    until("they share", || nodes[2].decoded() == 1).await;
    until("all is well", || !nodes.iter().any(degraded)).await;
}

/// Killed, and its store is empty when it comes back: nodes bring what they know.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_killed_with_its_store_loses_nothing() {
    let replica = Replica::start(&memory(), "c-1").await;
    let address = replica.address;
    let [a, b] = nodes(&[address]).await;
    teach(&a, 1);
    until("it is shared", || b.prepared.known.store.templates() == 1).await;
    replica.kill();
    until("both are alone", || degraded(&a) && degraded(&b)).await;
    teach(&a, 2);
    b.send(&exporter(), &data(1));
    b.send(&exporter(), &data(2));
    until("what is known is decoded", || a.decoded() == 2 && b.decoded() == 1).await;
    let replica = Replica::start_at(&memory(), "c-1", address).await;
    until("what waited is decoded", || b.decoded() == 2).await;
    let late = TestNode::start("late", &[replica.address], &[]).await;
    assert!(late.knew);
    until("all of it is shared", || late.prepared.known.store.templates() == 2).await;
    for node in [&a, &b] {
        let sets = node.node.status().ledger.sets;
        assert_eq!((sets.seen, sets.decoded), (2, 2), "{sets:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_is_off_the_registry_at_once() {
    let replica = Replica::start(&memory(), "c-1").await;
    let [a, b] = nodes(&[replica.address]).await;
    until("both are there", || replica.nodes() == ["n-0", "n-1"]).await;
    a.cluster.leave("SIGTERM").await;
    until("one is there", || replica.nodes() == ["n-1"]).await;
    drop(b);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_told_both_names() {
    let replica = Replica::start(&memory(), "c-1").await;
    let settings = ["coordinator.cluster=lab", "coordinator.startup_timeout=0ms"];
    let node = TestNode::start("n-0", &[replica.address], &settings).await;
    until("health says why", || {
        let degraded = node.node.status().health.degraded.join(" ");
        degraded.contains("belongs to cluster `lab`") && degraded.contains("`c-1` to cluster `test`")
    })
    .await;
    assert!(node.node.status().health.is_ready());
}
