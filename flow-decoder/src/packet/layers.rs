//! The protocol layers of a sampled packet with their sizes: `layer_stack` and `layer_size`.

/// A protocol layer; the discriminants are `FlowRecord.LayerStack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Layer {
    Ethernet = 0,
    Ipv4 = 1,
    Ipv6 = 2,
    Tcp = 3,
    Udp = 4,
    Mpls = 5,
    Dot1q = 6,
    Icmp = 7,
    Icmpv6 = 8,
    Gre = 9,
    Ipv6Routing = 10,
    Ipv6Fragment = 11,
    Geneve = 12,
    Custom = 99,
    Vxlan = 200,
    Gtp = 201,
}

/// Layers that are kept; a packet with more shows the outermost.
pub(super) const MAX_LAYERS: usize = 24;

/// The layers whose headers are there, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    kinds: [Layer; MAX_LAYERS],
    sizes: [u16; MAX_LAYERS],
    len: u8,
}

impl Default for Layers {
    fn default() -> Self {
        Self { kinds: [Layer::Ethernet; MAX_LAYERS], sizes: [0; MAX_LAYERS], len: 0 }
    }
}

impl Layers {
    /// Adds the next layer inwards, `size` octets of header.
    pub(super) fn push(&mut self, layer: Layer, size: usize) {
        let at = usize::from(self.len);
        if let (Some(kind), Some(slot)) = (self.kinds.get_mut(at), self.sizes.get_mut(at)) {
            *kind = layer;
            *slot = u16::try_from(size).unwrap_or(u16::MAX);
            self.len += 1;
        }
    }

    /// Each layer with its size in octets.
    pub fn iter(&self) -> impl Iterator<Item = (Layer, u16)> + '_ {
        self.kinds.iter().copied().zip(self.sizes).take(usize::from(self.len))
    }
}
