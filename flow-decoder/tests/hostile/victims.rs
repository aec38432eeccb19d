//! Exporters that behave: they said once what they are, and from then on send data, often or seldom.

use std::net::{Ipv4Addr, SocketAddr};

use catchment_proto::flow::v1::FlowRecord;
use flow_decoder::Verdict;

use crate::rig::Kept;
use crate::wire::{Field, Message, field, put32, v5, v5_record, varlen};
use crate::{Node, SECOND, WORKERS, datagram};

/// How often each of a kind speaks: always, now and then, and as seldom as an exporter with little to say.
const EVERY: [u64; 3] = [SECOND / 5, 5 * SECOND, 30 * SECOND];

const DATA: u16 = 256;
const OPTIONS: u16 = 300;
const INTERFACE: u16 = 7;
const NAME: &[u8; 8] = b"uplink-7";
const RATE: u8 = 100;
const LAYOUT: [Field; 4] = [field(8, 4), field(10, 2), field(1, 4), field(2, 4)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    V5,
    V9,
    Ipfix,
    Sflow,
}

struct Victim {
    kind: Kind,
    source: SocketAddr,
    every: u64,
    next: u64,
    sent: u32,
}

/// All of them, and what has been decoded of what they sent.
pub(crate) struct Victims {
    all: Vec<Victim>,
    /// When the first of them speaks again.
    next: u64,
    kept: Kept,
    pub(crate) records: u64,
}

impl Victims {
    /// They say what they are, and go on for long enough to be known.
    pub(crate) fn new(node: &mut Node, now: u64) -> Self {
        let kinds = [Kind::V5, Kind::V9, Kind::Ipfix, Kind::Sflow];
        let all = kinds.into_iter().flat_map(|kind| EVERY.map(|every| (kind, every)));
        let victim = |((kind, every), number): ((Kind, u64), u8)| {
            let source = (Ipv4Addr::new(192, 0, 2, 1 + number), 2055).into();
            Victim { kind, source, every, next: now, sent: 0 }
        };
        let all = all.zip(0..).map(victim).collect();
        let mut victims = Self { all, next: now, kept: Kept::new(), records: 0 };
        for victim in &victims.all {
            if let Some(announcement) = victim.announcement() {
                node.take(0, victim.source, &announcement.build(), now);
            }
        }
        for seconds in 0..12 {
            victims.all.iter_mut().for_each(|victim| victim.next = now);
            victims.next = now;
            victims.speak(node, now + seconds * SECOND);
        }
        victims
    }

    /// Whoever is due sends a record, and its values are right.
    pub(crate) fn speak(&mut self, node: &mut Node, now: u64) {
        if now < self.next {
            return;
        }
        for victim in self.all.iter_mut().filter(|victim| victim.next <= now) {
            let payload = victim.data(now);
            victim.next = now + victim.every;
            self.kept.clear();
            let decoder = &mut node.decoders[victim.sent as usize % WORKERS];
            let verdict = decoder.decode(&datagram(victim.source, &payload, now), &mut self.kept);
            let flows = self.kept.flows();
            let after = (now - crate::START) / SECOND;
            assert_eq!(verdict, Verdict::Decoded, "{:?} after {after} s", victim.kind);
            assert_eq!(flows.len(), 1, "{:?}, every {} ns, after {after} s", victim.kind, victim.every);
            victim.check(&flows[0]);
            self.records += 1;
        }
        self.next = self.all.iter().map(|victim| victim.next).min().unwrap_or(u64::MAX);
    }

    /// As many records as they had time for.
    pub(crate) fn check(&self, span: u64) {
        for victim in &self.all {
            let least = span / victim.every / 2;
            assert!(u64::from(victim.sent) >= least, "{:?} sent {}", victim.kind, victim.sent);
        }
    }
}

impl Victim {
    fn message(&self) -> Option<Message> {
        match self.kind {
            Kind::V9 => Some(Message::v9()),
            Kind::Ipfix => Some(Message::ipfix()),
            Kind::V5 | Kind::Sflow => None,
        }
    }

    /// Its template, its sampling rate and the name of its interface.
    fn announcement(&self) -> Option<Message> {
        let message = self.message()?.sequence(0);
        let layout: Vec<Field> = match self.kind {
            Kind::Ipfix => LAYOUT.into_iter().chain([varlen(95)]).collect(),
            _ => LAYOUT.to_vec(),
        };
        let options = [field(82, NAME.len() as u16), field(34, 1)];
        let said = [&INTERFACE.to_be_bytes()[..], NAME, &[RATE]].concat();
        // v9 has scope types of its own, of which 2 is an interface.
        let scope = [field(if self.kind == Kind::V9 { 2 } else { 10 }, 2)];
        let message = message.templates(&[(DATA, &layout)]);
        Some(message.options_template(OPTIONS, &scope, &options).set(OPTIONS, said))
    }

    /// The next record: its octets are the number of the record.
    fn data(&mut self, now: u64) -> Vec<u8> {
        self.sent += 1;
        let export = (now / SECOND) as u32;
        let record = [
            &[10, 0, 0, 1][..],
            &INTERFACE.to_be_bytes(),
            &self.sent.to_be_bytes(),
            &[0, 0, 0, 3],
            if self.kind == Kind::Ipfix { &[2, 3, 80] } else { &[] },
        ];
        match self.message() {
            Some(message) => {
                let uptime = (now / 1_000_000) as u32;
                let message = message.export_time(export).sequence(self.sent);
                let message = if self.kind == Kind::V9 { message.uptime(uptime) } else { message };
                message.set(DATA, record.concat()).build()
            }
            None if self.kind == Kind::V5 => {
                let mut record = v5_record();
                record[20..24].copy_from_slice(&self.sent.to_be_bytes());
                v5(1, &record)
            }
            None => self.sample(),
        }
    }

    fn sample(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let ethernet = [self.sent, 0x0200_0000, 0x0002_0000, 0x0200_0000, 0x0001_0000, 0x0800];
        for word in [5, 1, 0x0a00_0001, 0, self.sent, 99_000, 1, 1, 32 + 8 + 24] {
            put32(&mut out, word);
        }
        for word in [self.sent, 7, u32::from(RATE), 9999, 0, 7, 4, 1, 2, 24].into_iter().chain(ethernet) {
            put32(&mut out, word);
        }
        out
    }

    fn check(&self, flow: &FlowRecord) {
        assert_eq!(flow.bytes, u64::from(self.sent), "{:?}", self.kind);
        match self.kind {
            Kind::V9 | Kind::Ipfix => {
                let said = (flow.src_addr.as_slice(), flow.in_if, flow.packets, flow.sampling_rate);
                assert_eq!(said, (&[10, 0, 0, 1][..], u32::from(INTERFACE), 3, u64::from(RATE)));
                assert_eq!(flow.in_if_name.as_bytes(), NAME);
            }
            Kind::V5 => assert_eq!((flow.src_port, flow.dst_port, flow.packets), (1234, 80, 10)),
            Kind::Sflow => {
                assert_eq!((flow.src_mac, flow.sampling_rate), (0x0200_0000_0002, u64::from(RATE)));
            }
        }
    }
}
