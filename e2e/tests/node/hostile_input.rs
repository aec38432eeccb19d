//! Garbage: whatever arrives, the node stays up, counts it, and decodes what is good.

use anyhow::{Context as _, Result, ensure};
use catchment_e2e::node::Node;
use catchment_e2e::testdata;
use catchment_e2e::udp::Exporter;

/// Fewer datagrams than a receive buffer holds, even where the kernel grants its default only.
const BURST: usize = 100;
const RANDOM: usize = 2_000;

#[test]
fn damaged_and_random_datagrams_are_counted_and_do_no_harm() -> Result<()> {
    let node = Node::start(&["node.workers=2"])?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut hostile = Vec::new();
    for capture in testdata::captures()? {
        for datagram in testdata::datagrams(&capture)? {
            hostile.push(datagram[..random.below(datagram.len())].to_vec());
            hostile.push(flipped(&datagram, &mut random));
            hostile.push([&datagram[..], &random.bytes(16)].concat());
        }
    }
    for number in 0..RANDOM {
        let length = random.below(1_400);
        let mut datagram = random.bytes(length);
        // Half of them with a version word that some protocol has.
        if let (0, Some(head)) = (number % 2, datagram.first_chunk_mut()) {
            *head = [1_u16, 5, 7, 9, 10, 0][random.below(6)].to_be_bytes();
        }
        hostile.push(datagram);
    }

    let exporters = [Exporter::new(node.udp()?)?, Exporter::new(node.udp()?)?];
    let mut sent = 0;
    for burst in hostile.chunks(BURST) {
        for datagram in burst {
            exporters[sent % exporters.len()].send(datagram)?;
            sent += 1;
        }
        node.wait_received(sent as u64)?;
    }
    let ledger = node.check_live()?;
    ensure!(ledger.datagrams.received == hostile.len() as u64, "{ledger:?}");
    ensure!(ledger.datagrams.rejected > RANDOM as u64 / 2, "{ledger:?}");
    ensure!(ledger.datagrams.partly_decoded > 0, "{ledger:?}");

    // An exporter that behaves is decoded as if nothing had been.
    let before = ledger.flow()?.delivered;
    let good = testdata::datagrams(&testdata::capture("v5-softflowd.pcap"))?;
    let good = good.first().context("an empty capture")?;
    Exporter::at([127, 0, 0, 9].into(), node.udp()?)?.send(good)?;
    let records = u64::from(u16::from_be_bytes([good[2], good[3]]));
    node.wait_ledger("good records", |ledger| {
        ledger.flow().is_ok_and(|flow| flow.delivered == before + records)
    })?;
    let panics = node.metrics()?.count("catchment_worker_panics_total", &[])?;
    ensure!(panics == 0, "{panics} panics: {}", node.log());
    node.stop()?;
    Ok(())
}

fn flipped(datagram: &[u8], random: &mut Random) -> Vec<u8> {
    let mut flipped = datagram.to_vec();
    for _ in 0..1 + random.below(8) {
        let at = random.below(flipped.len());
        flipped[at] ^= 1 << random.below(8);
    }
    flipped
}

/// xorshift64: the same sequence in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
