//! Writing datagrams as a capture that tshark reads whole.

/// One address for all: the file holds one exporter's datagrams.
const EXPORTER: [u8; 4] = [192, 0, 2, 1];
const COLLECTOR: [u8; 4] = [192, 0, 2, 254];

/// Classic pcap, Ethernet, IPv4, UDP, without checksums.
///
/// tshark stops at NetFlow v9's record count, which softflowd gets too low; it is put too high to matter.
pub(super) fn capture(datagrams: &[Vec<u8>], port: u16) -> Vec<u8> {
    let mut file: Vec<u8> = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for datagram in datagrams {
        let mut payload = datagram.clone();
        if payload.starts_with(&[0, 9]) {
            payload[2..4].fill(0xff);
        }
        let frame = frame(&payload, port);
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn frame(payload: &[u8], port: u16) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((20 + 8 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(EXPORTER.into_iter().chain(COLLECTOR));
    for word in [50_000, port, 8 + payload.len() as u16, 0] {
        frame.extend(word.to_be_bytes());
    }
    frame.extend(payload);
    frame
}
