//! Names of numbers as goflow2 shows them.

/// Name of an Ethernet type: the three that goflow2 names.
pub(super) fn etype(number: u32) -> Option<&'static str> {
    match number {
        0x0800 => Some("IPv4"),
        0x0806 => Some("ARP"),
        0x86dd => Some("IPv6"),
        _ => None,
    }
}

/// Name of an IP protocol: IANA's keyword, which goflow2 shows. 61, 63, 68, 99 and 114 stand for "any ..." and have none,
/// and neither has anything from 146 on.
pub(super) fn protocol(number: u32) -> Option<&'static str> {
    let name = *PROTOCOLS.get(usize::try_from(number).ok()?)?;
    (!name.is_empty()).then_some(name)
}

/// IANA's protocol numbers (RFC 5237) 0 to 145.
#[rustfmt::skip]
static PROTOCOLS: [&str; 146] = [
    // 0
    "HOPOPT", "ICMP", "IGMP", "GGP", "IPv4", "ST", "TCP", "CBT", "EGP", "IGP",
    // 10
    "BBN-RCC-MON", "NVP-II", "PUP", "ARGUS", "EMCON", "XNET", "CHAOS", "UDP", "MUX", "DCN-MEAS",
    // 20
    "HMP", "PRM", "XNS-IDP", "TRUNK-1", "TRUNK-2", "LEAF-1", "LEAF-2", "RDP", "IRTP", "ISO-TP4",
    // 30
    "NETBLT", "MFE-NSP", "MERIT-INP", "DCCP", "3PC", "IDPR", "XTP", "DDP", "IDPR-CMTP", "TP++",
    // 40
    "IL", "IPv6", "SDRP", "IPv6-Route", "IPv6-Frag", "IDRP", "RSVP", "GRE", "DSR", "BNA",
    // 50
    "ESP", "AH", "I-NLSP", "SWIPE", "NARP", "MOBILE", "TLSP", "SKIP", "IPv6-ICMP", "IPv6-NoNxt",
    // 60
    "IPv6-Opts", "", "CFTP", "", "SAT-EXPAK", "KRYPTOLAN", "RVD", "IPPC", "", "SAT-MON",
    // 70
    "VISA", "IPCV", "CPNX", "CPHB", "WSN", "PVP", "BR-SAT-MON", "SUN-ND", "WB-MON", "WB-EXPAK",
    // 80
    "ISO-IP", "VMTP", "SECURE-VMTP", "VINES", "IPTM", "NSFNET-IGP", "DGP", "TCF", "EIGRP", "OSPFIGP",
    // 90
    "Sprite-RPC", "LARP", "MTP", "AX.25", "IPIP", "MICP", "SCC-SP", "ETHERIP", "ENCAP", "",
    // 100
    "GMTP", "IFMP", "PNNI", "PIM", "ARIS", "SCPS", "QNX", "A/N", "IPComp", "SNP",
    // 110
    "Compaq-Peer", "IPX-in-IP", "VRRP", "PGM", "", "L2TP", "DDX", "IATP", "STP", "SRP",
    // 120
    "UTI", "SMP", "SM", "PTP", "ISIS over IPv4", "FIRE", "CRTP", "CRUDP", "SSCOPMCE", "IPLT",
    // 130
    "SPS", "PIPE", "SCTP", "FC", "RSVP-E2E-IGNORE", "Mobility Header", "UDPLite", "MPLS-in-IP", "manet", "HIP",
    // 140
    "Shim6", "WESP", "ROHC", "Ethernet", "AGGFRAG", "NSH",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_stand_at_their_numbers() {
        let known = [(0, "HOPOPT"), (1, "ICMP"), (4, "IPv4"), (6, "TCP"), (17, "UDP"), (41, "IPv6")];
        let more =
            [(47, "GRE"), (50, "ESP"), (58, "IPv6-ICMP"), (88, "EIGRP"), (89, "OSPFIGP"), (94, "IPIP")];
        let last = [
            (103, "PIM"),
            (112, "VRRP"),
            (115, "L2TP"),
            (124, "ISIS over IPv4"),
            (132, "SCTP"),
            (145, "NSH"),
        ];
        for (number, name) in known.into_iter().chain(more).chain(last) {
            assert_eq!(protocol(number), Some(name));
        }
        for number in [61, 63, 68, 99, 114, 146, 253, 255, u32::MAX] {
            assert_eq!(protocol(number), None, "{number}");
        }
    }
}
