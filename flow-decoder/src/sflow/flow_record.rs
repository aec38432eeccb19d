//! What the records of a flow or drop sample say about the sampled packet.
//!
//! The first record of a kind counts. A raw header says more than the fields of `sampled_ipv4` and its like, which therefore
//! fill only what no header filled.

use super::circumstances::{BST_EGRESS_QUEUE, Circumstances};
use super::extended::{Mpls, Nat, NatPorts, Router, Switch, User};
use super::flow_sample::record_path;
use super::gateway::Gateway;
use super::records::Record;
use super::{sampled, xdr};
use crate::cursor::{Cursor, EndOfInput};
use crate::error::{Malformed, Reason};
use crate::packet::Headers;
use crate::protobuf::RecordWriter;
use crate::record::flow;

/// The sampled packet and what the agent knows of its way.
#[derive(Default)]
pub(super) struct SampledPacket<'a> {
    pub headers: Headers<'a>,
    /// Length of the frame or packet, and which record said it.
    pub length: Length,
    switch: Option<Switch>,
    router: Option<Router<'a>>,
    gateway: Option<Gateway<'a>>,
    user: Option<User<'a>>,
    mpls: Option<Mpls<'a>>,
    nat: Option<Nat<'a>>,
    nat_ports: Option<NatPorts>,
    /// What the agent did with it; few say it.
    pub circumstances: Option<Circumstances<'a>>,
    /// Tags that were stripped before sampling, outermost first: TPID and TCI.
    stripped_tags: &'a [[u8; 4]],
}

/// Length of a sampled packet, in order of trust.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Length {
    #[default]
    Unknown,
    /// Of the IP packet.
    Packet(u32),
    /// Of the Ethernet frame, from its fields.
    Ethernet(u32),
    /// Of the frame, with the header that was sampled.
    Frame(u32),
}

impl Length {
    /// Takes over what another record says, where that is better.
    pub(super) fn offer(&mut self, other: Self) {
        if std::mem::discriminant(self) != std::mem::discriminant(&other) && other > *self {
            *self = other;
        }
    }

    fn octets(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Packet(len) | Self::Ethernet(len) | Self::Frame(len) => u64::from(len),
        }
    }
}

/// Whether a record is one that fills fields here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Yes,
    No,
}

impl<'a> SampledPacket<'a> {
    /// Takes in one record. An error says that it is damaged; what could be used of it is used.
    pub(super) fn read(&mut self, record: &Record<'a>) -> Result<Known, Malformed> {
        match self.fields(record.data_format, record.body) {
            Ok(known) => Ok(known),
            Err(end) => Err(self.damaged(record, end)),
        }
    }

    #[cold]
    fn damaged(&mut self, record: &Record<'a>, end: EndOfInput) -> Malformed {
        let recovered = record.longer.is_some_and(|longer| self.fields(record.data_format, longer).is_ok());
        if !recovered && record.data_format == sampled::HEADER {
            sampled::cut_header(self, record.body);
        }
        Malformed::end(Reason::SampleRecord, end).within(record_path(record.number))
    }

    fn fields(&mut self, data_format: u32, mut body: Cursor<'a>) -> Result<Known, EndOfInput> {
        let body = &mut body;
        match data_format {
            sampled::HEADER => sampled::header(self, body)?,
            sampled::ETHERNET => sampled::ethernet(self, body)?,
            sampled::IPV4 => sampled::ipv4(self, body)?,
            sampled::IPV6 => sampled::ipv6(self, body)?,
            1001 => first(&mut self.switch, Switch::read(body)?),
            1002 => first(&mut self.router, Router::read(body)?),
            1003 => first(&mut self.gateway, Gateway::read(body)?),
            1004 => first(&mut self.user, User::read(body)?),
            1006 => first(&mut self.mpls, Mpls::read(body)?),
            1007 => first(&mut self.nat, Nat::read(body)?),
            1012 => self.stripped_tags = xdr::words(body)?,
            1020 => first(&mut self.nat_ports, NatPorts::read(body)?),
            1029 | 1030 | 1036..=1041 | BST_EGRESS_QUEUE => {
                self.circumstances.get_or_insert_default().read(data_format, body)?;
            }
            _ => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }

    /// Writes what is known of the packet, without the fields of the sample around it.
    pub(super) fn write(&self, writer: &mut RecordWriter<'_>) {
        writer.uint(flow::BYTES, self.length.octets());
        writer.uint(flow::PACKETS, 1);
        self.headers.write(writer);
        self.write_stripped_tags(writer);
        if let Some(switch) = &self.switch {
            switch.write(writer);
        }
        if let Some(router) = &self.router {
            router.write(writer);
        }
        if let Some(gateway) = &self.gateway {
            gateway.write(writer);
        }
        if let Some(user) = &self.user {
            user.write(writer);
        }
        if let Some(mpls) = &self.mpls {
            mpls.write(writer, self.router.is_some(), !self.headers.outer.labels.is_empty());
        }
        if let Some(nat) = &self.nat {
            nat.write(writer);
        }
        if let Some(ports) = &self.nat_ports {
            ports.write(writer);
        }
    }

    /// Tags that were stripped lie outside of those of the header; where the header has two or more it has written its own.
    fn write_stripped_tags(&self, writer: &mut RecordWriter<'_>) {
        let Some(outermost) = self.stripped_tags.first() else { return };
        let sampled = self.headers.outer.tags;
        let id = |tag: &[u8; 4]| u64::from(u32::from_be_bytes(*tag) & 0xfff);
        if sampled.is_empty() {
            writer.uint(flow::VLAN_ID, id(outermost));
        }
        if self.stripped_tags.len() + sampled.len() > 1 {
            let single = if sampled.len() == 1 { sampled } else { &[] };
            writer.packed(flow::VLAN_STACK, self.stripped_tags.iter().chain(single).map(id));
        }
    }
}

/// The first record of a kind counts.
fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}
