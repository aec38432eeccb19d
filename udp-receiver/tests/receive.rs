//! What is sent over loopback arrives exactly: payloads, senders, times, trains, counts.

mod loopback;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loopback::{DEADLINE, Datagram, collect, group, receiver, send_train, sender};
use udp_receiver::{
    Gro, Received, Receiver, ReceiverOptions, SocketGroup, SocketOptions, Waiting, bind_group,
};

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";

#[test]
fn ipv4_and_ipv6_datagrams_arrive_with_their_sender() {
    for address in [V4, V6] {
        let (mut receiver, to) = receiver(address, Gro::On);
        let from = sender(address);
        from.send_to(b"hello", to).unwrap();
        from.send_to(b"", to).unwrap();
        let datagrams = collect(&mut receiver, 2);
        let payloads: Vec<&[u8]> = datagrams.iter().map(|datagram| &*datagram.payload).collect();
        assert_eq!(payloads, [&b"hello"[..], b""]);
        assert!(datagrams.iter().all(|datagram| datagram.source == from.local_addr().unwrap()));
    }
}

#[test]
fn a_dual_stack_socket_shows_ipv4_senders_as_ipv4() {
    let (mut receiver, to) = receiver("[::]:0", Gro::On);
    for address in [V4, V6] {
        let from = sender(address);
        let host: SocketAddr = address.parse().unwrap();
        from.send_to(address.as_bytes(), (host.ip(), to.port())).unwrap();
        let datagrams = collect(&mut receiver, 1);
        assert_eq!(datagrams[0].source, from.local_addr().unwrap());
        assert_eq!(datagrams[0].payload, address.as_bytes());
    }
}

#[test]
fn a_train_is_split_into_the_datagrams_that_were_sent() {
    for (address, gro) in [(V4, Gro::On), (V6, Gro::On), (V4, Gro::Off), (V6, Gro::Off)] {
        let (mut receiver, to) = receiver(address, gro);
        let from = sender(address);
        let mut expected = Vec::new();
        // The last segment full, short, one byte, and a train of one.
        for length in [4 * 1_000, 3 * 1_000 + 250, 2 * 1_000 + 1, 1_000] {
            let payload: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            send_train(&from, to, &payload, 1_000);
            expected.extend(payload.chunks(1_000).map(<[u8]>::to_vec));
        }
        let datagrams = collect(&mut receiver, expected.len());
        let payloads: Vec<Vec<u8>> = datagrams.into_iter().map(|datagram| datagram.payload).collect();
        assert_eq!(payloads, expected, "{address} {gro:?}");
        let statistics = receiver.total();
        assert_eq!(statistics.datagrams, 12);
        assert_eq!(statistics.bytes, 10_251);
        assert_eq!(statistics.trains, if gro == Gro::On { 3 } else { 0 });
    }
}

#[test]
fn the_longest_train_fits_a_slot() {
    let (mut receiver, to) = receiver(V4, Gro::On);
    let payload = vec![7; 64 * 1_000];
    send_train(&sender(V4), to, &payload, 1_000);
    let datagrams = collect(&mut receiver, 64);
    assert!(datagrams.iter().all(|datagram| datagram.payload.len() == 1_000 && !datagram.truncated));
    assert_eq!((receiver.total().datagrams, receiver.total().truncated), (64, 0));
}

#[test]
fn the_longest_datagram_is_not_truncated() {
    let (mut receiver, to) = receiver(V4, Gro::On);
    sender(V4).send_to(&[9; 65_507], to).unwrap();
    let datagrams = collect(&mut receiver, 1);
    assert_eq!((datagrams[0].payload.len(), datagrams[0].truncated), (65_507, false));
}

#[test]
fn a_datagram_longer_than_the_slot_is_marked_and_counted() {
    let group = group(V4, 1, Gro::Off);
    let to = group.local_address();
    let options = ReceiverOptions { slot_bytes: 100, ..ReceiverOptions::default() };
    let mut receiver = Receiver::new(group.into_sockets(), options);
    let from = sender(V4);
    from.send_to(&[1; 100], to).unwrap();
    from.send_to(&[2; 101], to).unwrap();
    let datagrams = collect(&mut receiver, 2);
    assert_eq!(datagrams[0], Datagram { truncated: false, ..datagrams[0].clone() });
    assert_eq!((datagrams[1].payload.len(), datagrams[1].truncated), (100, true));
    assert_eq!(receiver.total().truncated, 1);
}

#[test]
fn time_stamps_are_those_of_arrival_not_of_reading() {
    let (mut receiver, to) = receiver(V4, Gro::On);
    // The kernel turns its time stamps on some moments after the first socket asked for them.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let before = loopback::now_ns();
        sender(V4).send_to(b"when", to).unwrap();
        let sent = loopback::now_ns();
        while loopback::now_ns() < sent + 2_000_000 {
            thread::yield_now();
        }
        let stamp = collect(&mut receiver, 1)[0].received_ns;
        assert!(stamp >= before, "{stamp} is before {before}");
        assert!(stamp <= loopback::now_ns());
        if stamp <= sent + 1_000_000 {
            break;
        }
        assert!(Instant::now() < deadline, "time stamps stay {} ns late", stamp - sent);
    }
}

#[test]
fn a_receiver_reads_one_socket_of_every_listener() {
    let groups: Vec<_> = (0..3).map(|_| group(V4, 1, Gro::On)).collect();
    let addresses: Vec<SocketAddr> = groups.iter().map(SocketGroup::local_address).collect();
    let sockets = groups.into_iter().flat_map(SocketGroup::into_sockets).collect();
    let mut receiver = Receiver::new(sockets, ReceiverOptions::default());
    for (listener, to) in addresses.iter().enumerate() {
        for _ in 0..=listener {
            sender(V4).send_to(&[listener as u8], to).unwrap();
        }
    }
    for datagram in collect(&mut receiver, 6) {
        assert_eq!(datagram.payload, [datagram.listener as u8]);
    }
    let counts: Vec<u64> = receiver.statistics().iter().map(|statistics| statistics.datagrams).collect();
    assert_eq!(counts, [1, 2, 3]);
    assert_eq!(receiver.total().datagrams, 6);
}

#[test]
fn receiving_nothing_takes_the_timeout_and_no_longer() {
    let (mut receiver, _) = receiver(V4, Gro::On);
    let start = Instant::now();
    let summary = receiver.receive(Duration::from_millis(5), |_| unreachable!()).unwrap();
    assert_eq!(summary.datagrams, 0);
    assert!(start.elapsed() >= Duration::from_millis(5) && start.elapsed() < DEADLINE);
}

#[test]
fn a_panicking_handler_loses_the_rest_of_its_read_and_nothing_else() {
    let (mut receiver, to) = receiver(V4, Gro::Off);
    let from = sender(V4);
    for number in 0..100_u8 {
        from.send_to(&[number], to).unwrap();
    }
    let mut handled = Vec::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        receiver.receive(DEADLINE, |datagram| {
            assert_ne!(datagram.payload[0], 10, "the handler's panic");
            handled.push(datagram.payload[0]);
        })
    }));
    assert!(outcome.is_err());
    assert_eq!(handled, (0..10).collect::<Vec<u8>>());
    // 64 were read: 10 handled, one panicked on, 53 behind it.
    assert_eq!((receiver.total().datagrams, receiver.total().abandoned), (64, 54));
    let rest: Vec<u8> = collect(&mut receiver, 36).iter().map(|datagram| datagram.payload[0]).collect();
    assert_eq!(rest, (64..100).collect::<Vec<u8>>());
    assert_eq!((receiver.total().datagrams, receiver.total().abandoned), (100, 54));
}

#[test]
fn pending_datagrams_can_be_discarded_and_are_counted() {
    let (mut receiver, to) = receiver(V4, Gro::On);
    let from = sender(V4);
    for _ in 0..150 {
        from.send_to(b"stale", to).unwrap();
    }
    assert_eq!(receiver.discard_pending().unwrap().datagrams, 150);
    from.send_to(b"fresh", to).unwrap();
    assert_eq!(collect(&mut receiver, 1)[0].payload, b"fresh");
    let total = receiver.total();
    assert_eq!((total.datagrams, total.discarded, total.bytes), (151, 150, 755));
}

#[test]
fn a_fast_stream_read_with_pauses_arrives_whole_and_in_order() {
    for waiting in [Waiting::Adaptive, Waiting::Blocking] {
        let group = bind_group(V4.parse().unwrap(), 1, &SocketOptions::default()).unwrap();
        let to = group.local_address();
        let mut receiver =
            Receiver::new(group.into_sockets(), ReceiverOptions { waiting, ..Default::default() });
        let probe = receiver.sockets()[0].probe();
        let read = Arc::new(AtomicU32::new(0));
        let progress = Arc::clone(&read);
        let stream = thread::spawn(move || {
            let from = UdpSocket::bind(V4).unwrap();
            let start = Instant::now();
            for number in 0..20_000_u32 {
                // 50,000 a second, but no more under way than any receive buffer holds.
                while start.elapsed() < Duration::from_micros(20) * number
                    || number > progress.load(Ordering::Relaxed) + 250
                {
                    thread::yield_now();
                }
                from.send_to(&number.to_be_bytes(), to).unwrap();
            }
        });
        let (mut next, deadline) = (0_u32, Instant::now() + DEADLINE);
        while next < 20_000 {
            assert!(Instant::now() < deadline, "{next} of 20000 arrived: {:?}", receiver.total());
            let in_order = |datagram: Received<'_>| {
                assert_eq!(datagram.payload, next.to_be_bytes());
                next += 1;
            };
            receiver.receive(Duration::from_millis(20), in_order).unwrap();
            read.store(next, Ordering::Relaxed);
        }
        stream.join().unwrap();
        assert_eq!((receiver.total().datagrams, probe.kernel_drops().unwrap()), (20_000, 0));
    }
}

#[test]
fn a_receiver_moves_between_threads() {
    let (mut receiver, to) = receiver(V4, Gro::On);
    sender(V4).send_to(b"one", to).unwrap();
    let mut receiver = thread::spawn(move || {
        collect(&mut receiver, 1);
        receiver
    })
    .join()
    .unwrap();
    sender(V4).send_to(b"two", to).unwrap();
    assert_eq!(collect(&mut receiver, 1)[0].source.ip(), IpAddr::from([127, 0, 0, 1]));
    assert_eq!(receiver.total().datagrams, 2);
}
