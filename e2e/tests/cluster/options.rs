//! What options data says of an exporter at one node, the records of all nodes show: names and sampling by interface.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::catchctl;
use catchment_e2e::cluster::{Cluster, Plan};
use catchment_e2e::datagrams::Protocol;
use catchment_e2e::kafka::Framing;
use catchment_e2e::options_data::{Interface, Record};
use catchment_e2e::wait::until;
use catchment_proto::flow::v1::FlowRecord;

const HTTP: u32 = 0x0300_0050;
const INTERFACES: [Interface; 2] = [
    Interface { index: 7, name: "Gi0/7", interval: 100 },
    Interface { index: 8, name: "Te0/8", interval: 10 },
];
/// Where options data is heard, and where only data.
const HEARS: usize = 0;
const HEARS_NOT: usize = 1;

struct Exporter {
    protocol: Protocol,
    address: Ipv4Addr,
    socket: UdpSocket,
    /// Data records sent so far: IPFIX counts them.
    sequence: u32,
    clock: u32,
}

impl Exporter {
    fn new(protocol: Protocol, last: u8) -> Result<Self> {
        let address = Ipv4Addr::new(127, 11, 0, last);
        let clock = u32::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        Ok(Self { protocol, address, socket: UdpSocket::bind((address, 0))?, sequence: 0, clock })
    }

    fn send(&self, to: SocketAddr, datagrams: &[Vec<u8>]) -> Result<()> {
        datagrams.iter().try_for_each(|datagram| self.socket.send_to(datagram, to).map(drop))?;
        Ok(())
    }

    fn interfaces(&mut self, to: SocketAddr, interfaces: &[Interface]) -> Result<()> {
        self.send(to, &self.protocol.interfaces(interfaces, self.sequence, self.clock))?;
        self.sequence += interfaces.len() as u32;
        Ok(())
    }

    fn applications(&mut self, to: SocketAddr) -> Result<()> {
        self.send(to, &self.protocol.applications(&[(HTTP, "http")], self.sequence, self.clock))?;
        self.sequence += 1;
        Ok(())
    }

    /// Two records, of 7 to 8 and of 9 to 8, with this many octets.
    fn records(&mut self, to: SocketAddr, octets: u32) -> Result<()> {
        let record = |input| Record { input, output: 8, application: HTTP, octets };
        self.send(to, &[self.protocol.numbering(&[record(7), record(9)], self.sequence, self.clock)])?;
        self.sequence += 2;
        Ok(())
    }

    /// Options entries that a node knows of it.
    fn known_at(&self, cluster: &Cluster, node: usize) -> Result<Vec<(String, u64, u64, String)>> {
        let exporters = catchctl::ask_node(cluster.node(node)?.grpc()?, &["exporters"])?;
        let all = exporters["exporters"].as_array().context("exporters")?;
        let own = all.iter().find(|exporter| exporter["address"] == self.address.to_string());
        let Some(scopes) = own.and_then(|own| own["scopes"].as_array()) else { return Ok(Vec::new()) };
        let entries = scopes.iter().filter_map(|scope| scope["options"].as_array()).flatten();
        let read = |entry: &serde_json::Value| {
            let text = |key: &str| entry[key].as_str().map(str::to_owned);
            Some((text("kind")?, entry["id"].as_u64()?, entry["number"].as_u64()?, text("text")?))
        };
        entries.map(|entry| read(entry).with_context(|| format!("{entry}"))).collect()
    }

    fn wait_known(&self, cluster: &Cluster, node: usize, name: &str) -> Result<()> {
        until("options data of another node", || {
            let known = self.known_at(cluster, node)?;
            let all = [
                ("sampling_interface", 7, 100, ""),
                ("sampling_interface", 8, 10, ""),
                ("interface_name", 7, 0, name),
                ("interface_name", 8, 0, "Te0/8"),
                ("application_name", u64::from(HTTP), 0, "http"),
            ];
            let all = all.map(|(kind, id, number, text)| (kind.to_owned(), id, number, text.to_owned()));
            Ok(if known == all { Ok(()) } else { Err(format!("{known:?}")) })
        })
    }

    /// What its records with this many octets show.
    fn shown(&self, records: &[FlowRecord], octets: u64) -> Vec<(u32, u64, String, String, String)> {
        let own = self.address.octets();
        let of = records.iter().filter(|it| it.sampler_address == own && it.bytes == octets);
        let shown = of.map(|it| {
            let names = (it.in_if_name.clone(), it.out_if_name.clone(), it.application_name.clone());
            (it.in_if, it.sampling_rate, names.0, names.1, names.2)
        });
        shown.collect()
    }
}

/// Records that a node has delivered arrive at Kafka; then all of them.
fn delivered(cluster: &Cluster, records: u64) -> Result<Vec<FlowRecord>> {
    cluster.wait_totals("records to be delivered", |totals| totals.delivered >= records)?;
    let messages = cluster.topic.with_records(Framing::Packed, usize::try_from(records)?)?;
    Framing::Packed.all(&messages)
}

/// When the options data of exporters was last written to the store.
fn written(cluster: &Cluster, exporter: &Exporter) -> Result<i64> {
    let prefix = format!("/catchment/{}/exporters/-/{}/", cluster.name(), exporter.address);
    let entries = cluster.etcd.as_ref().context("an etcd")?.entries(&prefix)?;
    let options = entries.into_iter().filter(|entry| entry.key.ends_with("/options"));
    Ok(options.map(|entry| entry.revision).max().unwrap_or(0))
}

/// Waits until it was written later than that.
fn wait_written(cluster: &Cluster, exporter: &Exporter, before: i64) -> Result<i64> {
    until("options data to be stored", || {
        let now = written(cluster, exporter)?;
        Ok(if now > before { Ok(now) } else { Err(format!("revision {now}")) })
    })
}

fn expected(name: &str) -> Vec<(u32, u64, String, String, String)> {
    let text = str::to_owned;
    vec![(7, 100, text(name), text("Te0/8"), text("http")), (9, 10, text(""), text("Te0/8"), text("http"))]
}

#[test]
fn names_and_rates_that_one_node_hears_are_in_the_records_of_all() -> Result<()> {
    let mut cluster = Plan { nodes: 2, ..Plan::new("options") }.start()?;
    let (hears, hears_not) = (cluster.udp_of(HEARS)?, cluster.udp_of(HEARS_NOT)?);
    let mut exporters = [Exporter::new(Protocol::V9, 1)?, Exporter::new(Protocol::Ipfix, 2)?];
    for exporter in &mut exporters {
        exporter.send(hears, &[exporter.protocol.numbering_template(0, exporter.clock)])?;
        exporter.interfaces(hears, &INTERFACES)?;
        exporter.applications(hears)?;
        exporter.wait_known(&cluster, HEARS_NOT, "Gi0/7")?;
        exporter.records(hears_not, 1)?;
    }
    let records = delivered(&cluster, 4)?;
    for exporter in &exporters {
        ensure!(exporter.shown(&records, 1) == expected("Gi0/7"), "{:?}: {records:#?}", exporter.protocol);
    }

    // It comes back with nothing but what the cluster knows.
    cluster.stop_node(HEARS_NOT)?;
    cluster.launch_node(HEARS_NOT)?;
    cluster.wait_ready()?;
    for exporter in &mut exporters {
        exporter.wait_known(&cluster, HEARS_NOT, "Gi0/7")?;
        exporter.records(hears_not, 2)?;
    }
    let records = delivered(&cluster, 8)?;
    for exporter in &exporters {
        ensure!(exporter.shown(&records, 2) == expected("Gi0/7"), "{:?}: {records:#?}", exporter.protocol);
    }

    // What is said again, at whichever node, costs no write: none before that of a name that is new.
    let [first, second] = &mut exporters;
    let before = wait_written(&cluster, first, 0)?;
    for node in [hears, hears_not] {
        first.interfaces(node, &INTERFACES)?;
        first.applications(node)?;
    }
    let renamed = [Interface { name: "uplink", ..INTERFACES[0] }, INTERFACES[1]];
    let others = written(&cluster, second)?;
    second.interfaces(hears, &renamed)?;
    second.wait_known(&cluster, HEARS_NOT, "uplink")?;
    wait_written(&cluster, second, others)?;
    ensure!(written(&cluster, first)? == before, "a table that was said again was written again");
    second.records(hears_not, 3)?;
    ensure!(second.shown(&delivered(&cluster, 10)?, 3) == expected("uplink"), "the latest name counts");
    cluster.stop()?;
    Ok(())
}
