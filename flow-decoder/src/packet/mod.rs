//! Headers of a sampled packet.
//!
//! An exporter sends the first bytes of a packet (sFlow raw packet header, IPFIX elements 313 and 315); [`parse`] reads the
//! protocol layers in them, outermost first. It knows nothing of who sent them.
//!
//! ```text
//! Ethernet | 802.1Q ... | MPLS ... | IPv4 / IPv6, extension headers | TCP, UDP, ...          Headers::outer
//!                                        GRE, IP in IP, VXLAN, Geneve, GTP-U                 Headers::tunnel
//!                                             Ethernet | ... | IP | TCP, UDP, ...            Headers::inner
//! ```
//!
//! It never fails and never allocates: a sample is cut at an arbitrary byte, so what is cut, malformed or not known ends the
//! parsing, and only fields whose bytes are all there are set. Label, tag and segment stacks of any height are slices of
//! the sample. Every step consumes bytes or ends, and tunnels are followed at most [`MAX_TUNNELS`] deep.

mod ethernet;
mod ip;
mod layers;
mod mpls;
mod ppp;
mod transport;
mod tunnel;
mod write;

pub(crate) use ip::segments;
pub use ip::{Addresses, Fragment, Ip, Routing};
pub use layers::{Layer, Layers};
pub use tunnel::{Tunnel, TunnelKind};

/// What a sample begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// An Ethernet frame, without preamble.
    Ethernet,
    /// PPP (RFC 1661), with or without HDLC-like framing (RFC 1662), or Cisco HDLC.
    Ppp,
    /// An IPv4 or IPv6 packet, told apart by its version.
    Ip,
    /// An MPLS label stack.
    Mpls,
}

/// Tunnels inside each other that are followed. Only the outermost has fields; the others show in [`Headers::layers`].
pub const MAX_TUNNELS: usize = 4;

/// What is known of a sampled packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    /// The packet as it was on the wire, up to the first tunnel header.
    pub outer: Packet<'a>,
    /// The first tunnel.
    pub tunnel: Option<Tunnel>,
    /// The packet inside of the first tunnel.
    pub inner: Packet<'a>,
    /// All layers, outermost first.
    pub layers: Layers,
}

/// One packet of a sample: link layer to transport layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Source MAC address.
    pub src_mac: Option<[u8; 6]>,
    /// Destination MAC address.
    pub dst_mac: Option<[u8; 6]>,
    /// 802.1Q and 802.1ad tags, outermost first, each as on the wire: TPID, then TCI.
    pub tags: &'a [[u8; 4]],
    /// Ethernet type of what follows tags and labels, as far as it is known; 0 where there is none.
    pub etype: u16,
    /// MPLS label stack entries (RFC 3032), top of the stack first.
    pub labels: &'a [[u8; 4]],
    /// Network layer.
    pub ip: Option<Ip<'a>>,
    /// Source and destination port of TCP, UDP, UDP-Lite, SCTP and DCCP.
    pub ports: Option<(u16, u16)>,
    /// TCP flags, the low eight.
    pub tcp_flags: u8,
    /// ICMP or ICMPv6 type and code.
    pub icmp: Option<(u8, u8)>,
}

/// VLAN id of an 802.1Q tag.
fn vlan_id(tag: [u8; 4]) -> u16 {
    u16::from_be_bytes([tag[2], tag[3]]) & 0xfff
}

impl Packet<'_> {
    /// VLAN id of the outermost tag.
    pub fn vlan_id(&self) -> Option<u16> {
        self.tags.first().copied().map(vlan_id)
    }

    /// VLAN ids, outermost first.
    pub fn vlan_ids(&self) -> impl Iterator<Item = u16> + '_ {
        self.tags.iter().copied().map(vlan_id)
    }
}

/// What the bytes after a layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Ethernet,
    /// By Ethernet type, after tags.
    EtherType(u16),
    Ppp,
    Mpls,
    Ip,
    Ipv4,
    Ipv6,
    /// By IP protocol number, after IP and its extension headers.
    Transport(u8),
    Gre,
    Vxlan,
    Geneve,
    Gtp,
    /// A packet inside of a tunnel.
    Inside(TunnelKind, u64, Inside),
    /// Payload, or nothing that is known here.
    End,
}

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    EtherType(u16),
    Ip,
    /// Known to be nothing that is parsed here.
    Unknown,
}

/// Reads the headers of a sampled packet.
pub fn parse(link: LinkType, bytes: &[u8]) -> Headers<'_> {
    let mut headers = Headers::default();
    headers.read(link, bytes);
    headers
}

impl<'a> Headers<'a> {
    /// Reads the headers of a sampled packet into headers that are still empty, which saves moving them.
    pub fn read(&mut self, link: LinkType, bytes: &'a [u8]) {
        let mut rest = bytes;
        let first = match link {
            LinkType::Ethernet => Next::Ethernet,
            LinkType::Ppp => Next::Ppp,
            LinkType::Ip => Next::Ip,
            LinkType::Mpls => Next::Mpls,
        };
        let mut next = packet(&mut self.outer, &mut self.layers, &mut rest, first);
        for depth in 0..MAX_TUNNELS {
            let Next::Inside(kind, id, inside) = next else { return };
            let first = inside_of(inside);
            next = if depth == 0 {
                self.tunnel = Some(Tunnel { kind, id });
                packet(&mut self.inner, &mut self.layers, &mut rest, first)
            } else {
                packet(&mut Packet::default(), &mut self.layers, &mut rest, first)
            };
        }
    }
}

impl Headers<'_> {
    /// Octets up to the end of the IP packet as its header says; 0 where it does not.
    pub fn octets_on_wire(&self) -> u64 {
        let length = self.outer.ip.map_or(0, |ip| ip.length);
        if length == 0 {
            return 0;
        }
        let before = self.layers.iter().take_while(|(layer, _)| !matches!(layer, Layer::Ipv4 | Layer::Ipv6));
        before.map(|(_, size)| u64::from(size)).sum::<u64>() + u64::from(length)
    }
}

fn inside_of(inside: Inside) -> Next {
    match inside {
        Inside::EtherType(etype) => Next::EtherType(etype),
        Inside::Ip => Next::Ip,
        Inside::Unknown => Next::End,
    }
}

/// Reads one packet, up to its payload or a tunnel in it.
fn packet<'a>(packet: &mut Packet<'a>, layers: &mut Layers, rest: &mut &'a [u8], mut next: Next) -> Next {
    loop {
        next = match next {
            Next::Ethernet => ethernet::frame(packet, layers, rest),
            Next::EtherType(etype) => ethernet::payload(packet, layers, rest, etype),
            Next::Ppp => ppp::frame(packet, rest),
            Next::Mpls => mpls::stack(packet, layers, rest),
            Next::Ip => ip::by_version(packet, rest),
            Next::Ipv4 => ip::v4(packet, layers, rest),
            Next::Ipv6 => ip::v6(packet, layers, rest),
            Next::Transport(protocol) => transport::segment(packet, layers, rest, protocol),
            Next::Gre => tunnel::gre(layers, rest),
            Next::Vxlan => tunnel::vxlan(layers, rest),
            Next::Geneve => tunnel::geneve(layers, rest),
            Next::Gtp => tunnel::gtp(layers, rest),
            Next::Inside(..) | Next::End => return next,
        };
    }
}

/// Takes the first `N` bytes off, or nothing.
fn array<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(head)
}

/// Takes the first `n` bytes off, or nothing.
fn bytes<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}
