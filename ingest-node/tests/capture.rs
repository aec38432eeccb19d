//! Whole capture files, made here byte by byte, through `Capture`.

mod pcap;

use std::io::Read;
use std::path::Path;

use ingest_node::capture::{Capture, CaptureError, CapturedDatagram, FrameError};
use pcap::{Order, RAW, SECONDS, ipv4, micros, pcap, udp};

const ETHERNET: u32 = 1;
/// An IPv6 packet that begins with a fragment header.
fn ipv6_fragment(offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(((8 + payload.len()) as u16).to_be_bytes());
    packet.extend([44, 64]);
    for last in [1, 2] {
        packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend([17, 0]);
    packet.extend((offset | u16::from(more)).to_be_bytes());
    packet.extend([0, 0, 0, 9]);
    packet.extend(payload);
    packet
}

fn ethernet(head: &[u8], packet: &[u8]) -> Vec<u8> {
    [&[2; 12][..], head, packet].concat()
}

fn read(file: &[u8]) -> (Vec<CapturedDatagram>, Option<CaptureError>) {
    read_from(file)
}

fn read_from(reader: impl Read) -> (Vec<CapturedDatagram>, Option<CaptureError>) {
    let mut capture = Capture::new(Path::new("test.pcap"), reader);
    let mut datagrams = Vec::new();
    loop {
        match capture.next_datagram() {
            Ok(Some(datagram)) => datagrams.push(datagram),
            Ok(None) => return (datagrams, None),
            Err(error) => return (datagrams, Some(error)),
        }
    }
}

#[test]
fn pcap_of_both_byte_orders_and_resolutions() {
    let frames = [ipv4(1, 0, false, &udp(b"one")), ipv4(2, 0, false, &udp(b"two"))];
    for order in [Order::Big, Order::Little] {
        for (magic, fraction_ns) in [(0xa1b2_c3d4, 5_000), (0xa1b2_3c4d, 5)] {
            let (datagrams, error) = read(&pcap(order, magic, RAW, &frames));
            assert!(error.is_none());
            assert_eq!(datagrams.len(), 2);
            let first = &datagrams[0];
            assert_eq!((first.number, first.payload.as_slice()), (1, &b"one"[..]));
            assert_eq!(first.source.to_string(), "192.0.2.1:50000");
            assert_eq!(first.destination.to_string(), "192.0.2.254:2055");
            assert_eq!(first.timestamp_ns, u64::from(SECONDS) * 1_000_000_000 + fraction_ns);
            assert!(!first.truncated);
            assert_eq!(datagrams[1].number, 2);
        }
    }
}

#[test]
fn tags_and_other_traffic() {
    let packet = ipv4(1, 0, false, &udp(b"x"));
    let tcp = {
        let mut packet = packet.clone();
        packet[9] = 6;
        packet
    };
    let frames = [
        ethernet(&[8, 6], &[0; 28]),
        ethernet(&[0x81, 0, 0, 7, 8, 0], &packet),
        ethernet(&[8, 0], &tcp),
        ethernet(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 8, 0], &packet),
        vec![1, 2, 3],
    ];
    let mut capture = Capture::new(Path::new("test.pcap"), micros(ETHERNET, &frames).leak() as &[u8]);
    let numbers: Vec<_> =
        std::iter::from_fn(|| capture.next_datagram().expect("whole")).map(|d| d.number).collect();
    assert_eq!(numbers, [1, 2]);
    let counts = capture.counts();
    assert_eq!((counts.frames, counts.datagrams, counts.other_frames), (5, 2, 3));
}

#[test]
fn fragments_out_of_order_of_both_families() {
    let whole: Vec<u8> = (0..100).collect();
    let parts = udp(&whole);
    let frames = [
        ipv4(7, 64, false, &parts[64..]),
        ipv6_fragment(48, false, &parts[48..]),
        ipv4(8, 0, false, &udp(b"between")),
        ipv4(7, 0, true, &parts[..32]),
        ipv6_fragment(0, true, &parts[..48]),
        ipv4(7, 32, true, &parts[32..64]),
        ipv4(9, 0, true, &parts[..32]),
    ];
    let mut capture = Capture::new(Path::new("test.pcap"), micros(RAW, &frames).leak() as &[u8]);
    let datagrams: Vec<_> = std::iter::from_fn(|| capture.next_datagram().expect("whole")).collect();
    let payloads: Vec<_> = datagrams.iter().map(|d| d.payload.as_slice()).collect();
    assert_eq!(payloads, [&b"between"[..], &whole, &whole]);
    assert_eq!(datagrams[1].source.to_string(), "[2001:db8::1]:50000");
    assert_eq!(datagrams[2].number, 3);
    assert_eq!(capture.counts().incomplete_packets, 1);
}

#[test]
fn a_payload_cut_by_the_snap_length_is_handed_on_as_truncated() {
    let mut frame = ipv4(1, 0, false, &udp(&[9; 100]));
    frame.truncate(60);
    let (datagrams, error) = read(&micros(RAW, &[frame]));
    assert!(error.is_none());
    assert!(datagrams[0].truncated);
    assert_eq!(datagrams[0].payload, [9; 32]);
}

#[test]
fn a_file_cut_anywhere_gives_what_came_before_and_the_offset() {
    let frame = ipv4(1, 0, false, &udp(b"payload"));
    let record = 16 + frame.len();
    let file = micros(RAW, &[frame.clone(), frame]);
    for len in 24..file.len() {
        let (datagrams, error) = read(&file[..len]);
        let (complete, over) = ((len - 24) / record, (len - 24) % record);
        assert_eq!(datagrams.len(), complete, "cut to {len}");
        match error {
            None => assert_eq!(over, 0, "cut to {len}"),
            Some(error) => {
                assert!(matches!(error.error, FrameError::Cut));
                let at = 24 + complete * record;
                assert_eq!(
                    error.to_string(),
                    format!("test.pcap: at byte {at}: the file ends inside of a record")
                );
            }
        }
    }
}

/// A reader that gives one byte at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = out.len().min(1);
        self.0.read(&mut out[..n])
    }
}

#[test]
fn slow_readers_give_the_same() {
    let file = micros(RAW, &[ipv4(1, 0, false, &udp(b"one"))]);
    assert_eq!(read_from(Drip(&file)).0, read(&file).0);
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = body.len().next_multiple_of(4) - body.len();
    let len = order.u32((12 + body.len() + padding) as u32);
    [&order.u32(kind)[..], &len, body, &[0; 3][..padding], &len].concat()
}

fn section(order: Order) -> Vec<u8> {
    let body = [&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(0), &[0xff; 8]].concat();
    block(order, 0x0a0d_0d0a, &body)
}

/// An interface with the time resolution 10^-`resolution` s.
fn interface(order: Order, link: u16, resolution: u8) -> Vec<u8> {
    let option = [&order.u16(9)[..], &order.u16(1), &[resolution, 0, 0, 0], &[0; 4]].concat();
    let body = [&order.u16(link)[..], &order.u16(0), &order.u32(0), &option].concat();
    block(order, 1, &body)
}

fn enhanced(order: Order, interface: u32, ticks: u64, frame: &[u8]) -> Vec<u8> {
    let len = order.u32(frame.len() as u32);
    let (high, low) = ((ticks >> 32) as u32, ticks as u32);
    let body = [&order.u32(interface)[..], &order.u32(high), &order.u32(low), &len, &len, frame].concat();
    block(order, 6, &body)
}

#[test]
fn pcapng_sections_interfaces_and_resolutions() {
    let packet = ipv4(1, 0, false, &udp(b"payload"));
    let framed = ethernet(&[8, 0], &packet);
    let mut file = Vec::new();
    for order in [Order::Little, Order::Big] {
        file.extend(section(order));
        file.extend(interface(order, 1, 9));
        file.extend(interface(order, 101, 3));
        file.extend(enhanced(order, 0, 1_700_000_000_000_000_007, &framed));
        file.extend(block(order, 0x0bad, &[1, 2, 3]));
        file.extend(enhanced(order, 1, 1_700_000_000_001, &packet));
        file.extend(block(order, 3, &[&order.u32(framed.len() as u32)[..], &framed].concat()));
    }
    let (datagrams, error) = read(&file);
    assert!(error.is_none(), "{error:?}");
    let times: Vec<_> = datagrams.iter().map(|d| d.timestamp_ns).collect();
    let section = [1_700_000_000_000_000_007, 1_700_000_000_001_000_000, 0];
    assert_eq!(times, [section, section].concat());
    assert!(datagrams.iter().all(|d| d.payload == b"payload"));

    let cut_at = file.len() - 5;
    let (before, error) = read(&file[..cut_at]);
    assert_eq!(before.len(), 5);
    let error = error.expect("cut");
    assert!(matches!(error.error, FrameError::Cut), "{error}");
    assert!(file[error.offset as usize..].starts_with(&3u32.to_be_bytes()), "the last block begins there");
}

#[test]
fn a_packet_of_an_interface_that_is_not_described_ends_the_file() {
    let order = Order::Big;
    let file = [section(order), enhanced(order, 0, 0, &[0; 20])].concat();
    let (_, error) = read(&file);
    assert!(matches!(error.expect("no interface").error, FrameError::NoInterface(0)));
}

#[test]
fn a_missing_file_is_named() {
    let error = Capture::open(Path::new("no/such.pcap")).expect_err("there is none");
    assert!(error.to_string().starts_with("no/such.pcap: at byte 0: "), "{error}");
}
