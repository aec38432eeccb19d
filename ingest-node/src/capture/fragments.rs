//! Puts fragmented IP packets together (RFC 791 3.2, RFC 8200 4.5).
//!
//! Bounded: at most [`MAX_PACKETS`] packets wait, each of at most 64 KiB, none longer than [`TIMEOUT_NS`] of the capture's
//! time. A packet whose fragments overlap is given up (RFC 5722); repeated fragments are ignored.

use std::net::IpAddr;

use super::ip::{Fragment, IpPacket, Payload};

/// Packets that wait for fragments; beyond that the oldest is given up.
const MAX_PACKETS: usize = 256;
/// RFC 8200 4.5: 60 seconds from the first fragment to arrive.
const TIMEOUT_NS: u64 = 60_000_000_000;
/// Longest payload of an IP packet.
const MAX_PAYLOAD: usize = 0xffff;

/// The fragments that wait for the rest of their packets.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// In order of the first fragment's arrival.
    waiting: Vec<Waiting>,
    given_up: u64,
}

/// A packet that was put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reassembled {
    pub(super) protocol: u8,
    bytes: Vec<u8>,
    declared: usize,
}

impl Reassembled {
    /// Its payload, up to the first octet that the snap length has cut.
    pub(super) fn payload(&self) -> Payload<'_> {
        Payload { bytes: &self.bytes, declared: self.declared }
    }
}

/// What fragments of one packet have in common. IPv6's fragments may differ in protocol: only the first one's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    protocol: Option<u8>,
}

#[derive(Debug)]
struct Waiting {
    key: Key,
    since_ns: u64,
    /// Protocol that the first fragment says.
    protocol: u8,
    /// Sorted by offset, without overlaps.
    pieces: Vec<Piece>,
    /// Length of the payload, once the last fragment has come.
    total: Option<usize>,
}

#[derive(Debug)]
struct Piece {
    offset: usize,
    declared: usize,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> usize {
        self.offset + self.declared
    }
}

impl Fragments {
    /// Packets that were given up, and those that still wait.
    pub(super) fn incomplete(&self) -> u64 {
        self.given_up + self.waiting.len() as u64
    }

    /// Takes one fragment; hands out its packet where it was the last that was missing.
    pub(super) fn add(&mut self, ip: &IpPacket<'_>, fragment: Fragment, now_ns: u64) -> Option<Reassembled> {
        self.expire(now_ns);
        let key = Key {
            source: ip.source,
            destination: ip.destination,
            id: fragment.id,
            protocol: ip.source.is_ipv4().then_some(ip.protocol),
        };
        let at = match self.waiting.iter().position(|waiting| waiting.key == key) {
            Some(at) => at,
            None => self.make_room(key, now_ns),
        };
        match self.waiting[at].add(ip, fragment) {
            Added::Waits => None,
            Added::Contradicts => {
                self.waiting.remove(at);
                self.given_up += 1;
                None
            }
            Added::Completes => Some(self.waiting.remove(at).assemble()),
        }
    }

    fn expire(&mut self, now_ns: u64) {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| now_ns.saturating_sub(waiting.since_ns) <= TIMEOUT_NS);
        self.given_up += (before - self.waiting.len()) as u64;
    }

    fn make_room(&mut self, key: Key, since_ns: u64) -> usize {
        if self.waiting.len() == MAX_PACKETS {
            self.waiting.remove(0);
            self.given_up += 1;
        }
        self.waiting.push(Waiting { key, since_ns, protocol: 0, pieces: Vec::new(), total: None });
        self.waiting.len() - 1
    }
}

enum Added {
    Waits,
    Completes,
    Contradicts,
}

impl Waiting {
    fn add(&mut self, ip: &IpPacket<'_>, fragment: Fragment) -> Added {
        let piece = Piece {
            offset: fragment.offset,
            declared: ip.payload.declared,
            bytes: ip.payload.bytes.to_vec(),
        };
        let end = piece.end();
        if end > MAX_PAYLOAD || piece.declared == 0 || fragment.more && !piece.declared.is_multiple_of(8) {
            return Added::Contradicts;
        }
        let at = self.pieces.partition_point(|other| other.offset < piece.offset);
        if self.pieces.get(at).is_some_and(|o| o.offset == piece.offset && o.declared == piece.declared) {
            return Added::Waits;
        }
        let overlaps = self.pieces.get(at).is_some_and(|next| next.offset < end)
            || at > 0 && self.pieces[at - 1].end() > piece.offset;
        let second_end = !fragment.more && self.total.is_some();
        if overlaps || second_end {
            return Added::Contradicts;
        }
        if !fragment.more {
            self.total = Some(end);
        }
        if fragment.offset == 0 {
            self.protocol = ip.protocol;
        }
        self.pieces.insert(at, piece);
        let have: usize = self.pieces.iter().map(|piece| piece.declared).sum();
        match self.total {
            Some(total) if self.pieces.iter().any(|piece| piece.end() > total) => Added::Contradicts,
            Some(total) if have == total => Added::Completes,
            _ => Added::Waits,
        }
    }

    fn assemble(self) -> Reassembled {
        let declared = self.total.unwrap_or_default();
        let mut bytes = Vec::with_capacity(declared);
        for piece in self.pieces {
            bytes.extend_from_slice(&piece.bytes);
            if piece.bytes.len() < piece.declared {
                break;
            }
        }
        Reassembled { protocol: self.protocol, bytes, declared }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn add(fragments: &mut Fragments, id: u32, offset: usize, more: bool, bytes: &[u8]) -> Option<Vec<u8>> {
        add_at(fragments, 0, id, offset, more, Payload { bytes, declared: bytes.len() })
    }

    fn add_at(
        fragments: &mut Fragments,
        now_ns: u64,
        id: u32,
        offset: usize,
        more: bool,
        payload: Payload<'_>,
    ) -> Option<Vec<u8>> {
        let fragment = Fragment { id, offset, more };
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ip = IpPacket {
            source: address,
            destination: address,
            protocol: 17,
            payload,
            fragment: Some(fragment),
        };
        fragments.add(&ip, fragment, now_ns).map(|whole| whole.bytes)
    }

    #[test]
    fn fragments_in_any_order_and_repeated() {
        let mut fragments = Fragments::default();
        assert_eq!(add(&mut fragments, 1, 16, false, b"end"), None);
        assert_eq!(add(&mut fragments, 2, 0, true, b"another "), None);
        assert_eq!(add(&mut fragments, 1, 0, true, b"12345678"), None);
        assert_eq!(add(&mut fragments, 1, 0, true, b"12345678"), None);
        assert_eq!(add(&mut fragments, 1, 8, true, b"abcdefgh"), Some(b"12345678abcdefghend".to_vec()));
        assert_eq!(fragments.incomplete(), 1);
    }

    #[test]
    fn overlaps_and_contradictions_are_given_up() {
        let mut fragments = Fragments::default();
        add(&mut fragments, 1, 0, true, &[1; 16]);
        assert_eq!(add(&mut fragments, 1, 8, false, &[2; 16]), None, "overlap");
        add(&mut fragments, 2, 8, false, &[1; 8]);
        assert_eq!(add(&mut fragments, 2, 16, false, &[1; 8]), None, "two ends");
        assert_eq!(add(&mut fragments, 3, 0xfff8, false, &[1; 8]), None, "beyond 64 KiB");
        assert_eq!(add(&mut fragments, 4, 0, true, &[1; 7]), None, "not a multiple of 8");
        assert_eq!(fragments.incomplete(), 4);
        assert!(fragments.waiting.is_empty());
    }

    #[test]
    fn waiting_is_bounded_in_number_and_time() {
        let mut fragments = Fragments::default();
        for id in 0..1000 {
            add(&mut fragments, id, 0, true, &[0; 8]);
        }
        assert_eq!(fragments.waiting.len(), MAX_PACKETS);
        let late = Payload { bytes: &[0; 8], declared: 8 };
        assert_eq!(add_at(&mut fragments, TIMEOUT_NS + 1, 999, 8, false, late), None);
        assert_eq!(fragments.waiting.len(), 1);
        assert_eq!(fragments.incomplete(), 1000 + 1);
    }

    #[test]
    fn a_cut_fragment_cuts_the_packet() {
        let mut fragments = Fragments::default();
        add_at(&mut fragments, 0, 1, 0, true, Payload { bytes: &[1; 4], declared: 8 });
        let whole = add(&mut fragments, 1, 8, false, &[2; 8]);
        assert_eq!(whole, Some(vec![1; 4]));
    }

    #[test]
    fn ipv6_takes_the_protocol_of_the_first_fragment() {
        let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let mut fragments = Fragments::default();
        let mut whole = None;
        for (protocol, offset, more) in [(59, 8, false), (17, 0, true)] {
            let fragment = Fragment { id: 1, offset, more };
            let payload = Payload { bytes: &[0; 8], declared: 8 };
            let ip = IpPacket {
                source: address,
                destination: address,
                protocol,
                payload,
                fragment: Some(fragment),
            };
            whole = fragments.add(&ip, fragment, 0);
        }
        assert_eq!(whole.unwrap().protocol, 17);
    }
}
