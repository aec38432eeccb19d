//! The version word of a datagram and the protocol it stands for.
//!
//! NetFlow and IPFIX begin with a 16-bit version; sFlow v5 with a 32-bit 5, the high half of which is 0.

/// An export protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// NetFlow version 1.
    NetflowV1,
    /// NetFlow version 5.
    NetflowV5,
    /// NetFlow version 7.
    NetflowV7,
    /// NetFlow version 9 (RFC 3954).
    NetflowV9,
    /// IPFIX (RFC 7011).
    Ipfix,
    /// sFlow version 5.
    Sflow,
}

impl Protocol {
    /// All protocols, in the order of their discriminants.
    pub const ALL: [Self; Self::COUNT] =
        [Self::NetflowV1, Self::NetflowV5, Self::NetflowV7, Self::NetflowV9, Self::Ipfix, Self::Sflow];

    /// How many protocols there are.
    pub const COUNT: usize = 6;

    /// The protocol that a datagram's first bytes announce.
    pub fn detect(payload: &[u8]) -> Option<Self> {
        match *payload {
            [0, 1, ..] => Some(Self::NetflowV1),
            [0, 5, ..] => Some(Self::NetflowV5),
            [0, 7, ..] => Some(Self::NetflowV7),
            [0, 9, ..] => Some(Self::NetflowV9),
            [0, 10, ..] => Some(Self::Ipfix),
            [0, 0, 0, 5, ..] => Some(Self::Sflow),
            _ => None,
        }
    }

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NetflowV1 => "netflow_v1",
            Self::NetflowV5 => "netflow_v5",
            Self::NetflowV7 => "netflow_v7",
            Self::NetflowV9 => "netflow_v9",
            Self::Ipfix => "ipfix",
            Self::Sflow => "sflow_v5",
        }
    }

    /// `FlowRecord.type` of records that come by this protocol.
    pub fn flow_type(self) -> u64 {
        match self {
            Self::Sflow => 1,
            Self::NetflowV5 => 2,
            Self::NetflowV9 => 3,
            Self::Ipfix => 4,
            Self::NetflowV1 => 201,
            Self::NetflowV7 => 207,
        }
    }

    /// The version number as exporters write it.
    pub fn version(self) -> u16 {
        match self {
            Self::NetflowV1 => 1,
            Self::NetflowV5 | Self::Sflow => 5,
            Self::NetflowV7 => 7,
            Self::NetflowV9 => 9,
            Self::Ipfix => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_0_2_6_8_and_65535_are_no_protocol() {
        for version in [0u16, 2, 6, 8, 11, 65535] {
            let [high, low] = version.to_be_bytes();
            assert_eq!(Protocol::detect(&[high, low, 1, 1]), None, "version {version}");
        }
        assert_eq!(Protocol::detect(&[0]), None);
        assert_eq!(Protocol::detect(&[0, 0, 0, 4]), None, "sFlow version 4");
    }

    #[test]
    fn all_is_in_discriminant_order() {
        for (index, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, index);
        }
    }
}
