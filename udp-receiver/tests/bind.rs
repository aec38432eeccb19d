//! Opening listeners: who holds a port, what the buffer became, how load is spread, what is dropped.

mod loopback;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use loopback::{DEADLINE, group, sender};
use socket2::{Domain, Socket, Type};
use udp_receiver::{
    BindError, BindWarning, Gro, Holder, Receiver, ReceiverOptions, Sharing, SocketOptions, Steering,
    bind_group,
};

const V4: &str = "127.0.0.1:0";

fn own_pid_holds(error: &BindError) -> bool {
    let BindError::InUse { holders, .. } = error else { panic!("{error}") };
    matches!(holders[..], [Holder::Process { pid, .. }] if pid == std::process::id())
        && error.to_string().contains(&format!("in use by pid {} (", std::process::id()))
}

#[test]
fn a_taken_port_names_its_holder() {
    let holder = sender(V4);
    let error = bind_group(holder.local_addr().unwrap(), 2, &SocketOptions::default()).unwrap_err();
    assert!(own_pid_holds(&error), "{error}");
}

#[test]
fn a_holder_with_so_reuseport_is_named_as_well() {
    let holder = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    holder.set_reuse_port(true).unwrap();
    holder.bind(&V4.parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap();
    let error = bind_group(address, 2, &SocketOptions::default()).unwrap_err();
    assert!(own_pid_holds(&error), "{error}");
}

#[test]
fn a_second_instance_is_refused_on_overlapping_addresses() {
    let first = group("[::]:0", 3, Gro::On);
    let port = first.local_address().port();
    for address in ["0.0.0.0", "127.0.0.1", "::", "::1"] {
        let address = SocketAddr::from((address.parse::<IpAddr>().unwrap(), port));
        let error = bind_group(address, 2, &SocketOptions::default()).unwrap_err();
        assert!(own_pid_holds(&error), "{error}");
    }
    drop(first);
    // Free again, unless another test was just given the port.
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = bind_group(address, 2, &SocketOptions::default()) {
        assert!(Instant::now() < deadline, "{error}");
        thread::yield_now();
    }
}

#[test]
fn a_port_can_be_shared_where_both_want_it() {
    let shared = SocketOptions { sharing: Sharing::Shared, ..SocketOptions::default() };
    let first = bind_group(V4.parse().unwrap(), 1, &shared).unwrap();
    let second = bind_group(first.local_address(), 1, &shared).unwrap();
    assert_eq!(first.local_address(), second.local_address());
    assert!(bind_group(first.local_address(), 1, &SocketOptions::default()).is_err());

    let steered = SocketOptions { steering: Steering::SourceAddress, ..shared };
    let third = bind_group(first.local_address(), 2, &steered).unwrap();
    assert_eq!(third.warnings(), [BindWarning::SteeringShared]);
}

#[test]
fn all_sockets_of_a_group_share_the_chosen_port() {
    let group = group("[::]:0", 4, Gro::On);
    assert_ne!(group.local_address().port(), 0);
    assert_eq!(group.sockets().len(), 4);
    for socket in group.sockets() {
        assert_eq!(socket.local_address().unwrap(), group.local_address());
    }
}

#[test]
fn a_group_needs_a_worker_and_an_address_of_this_machine() {
    let options = SocketOptions::default();
    assert!(matches!(bind_group(V4.parse().unwrap(), 0, &options), Err(BindError::NoWorkers { .. })));
    let error = bind_group("192.0.2.1:0".parse().unwrap(), 1, &options).unwrap_err();
    assert!(matches!(error, BindError::System { step: "bind", .. }), "{error}");
    assert_eq!(error.to_string(), "udp 192.0.2.1:0: cannot bind");
}

#[test]
fn the_granted_buffer_is_what_the_kernel_enforces() {
    let options = SocketOptions { receive_buffer: 100_000, ..SocketOptions::default() };
    let group = bind_group(V4.parse().unwrap(), 2, &options).unwrap();
    assert_eq!((group.receive_buffer(), group.warnings()), (100_000, &[][..]));
    let usage = group.sockets()[1].probe().buffer_usage().unwrap();
    assert_eq!((usage.used, usage.limit), (0, 200_000));
    sender(V4).send_to(&[0; 500], group.local_address()).unwrap();
    let used = |index: usize| group.sockets()[index].probe().buffer_usage().unwrap().ratio();
    assert!(used(0) + used(1) > 0.002);
}

#[test]
fn load_is_spread_over_the_sockets() {
    let group = group(V4, 4, Gro::On);
    let to = group.local_address();
    // One sender per port; a socket stays empty with a probability of 4 * 0.75^200.
    let senders: Vec<UdpSocket> = (0..200).map(|_| sender(V4)).collect();
    for from in &senders {
        from.send_to(b"x", to).unwrap();
    }
    let mut receiver = Receiver::new(group.into_sockets(), ReceiverOptions::default());
    loopback::collect(&mut receiver, 200);
    assert!(receiver.statistics().iter().all(|statistics| statistics.datagrams > 0));
}

#[test]
fn steering_keeps_a_source_address_on_one_socket() {
    for listen in ["127.0.0.1:0", "[::]:0"] {
        let options = SocketOptions { steering: Steering::SourceAddress, ..SocketOptions::default() };
        let group = bind_group(listen.parse().unwrap(), 4, &options).unwrap();
        assert_eq!(group.warnings(), []);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, group.local_address().port()));
        for _port in 0..5 {
            for host in 1..=64 {
                sender(&format!("127.0.0.{host}:0")).send_to(b"x", to).unwrap();
            }
        }
        let mut receiver = Receiver::new(group.into_sockets(), ReceiverOptions::default());
        let mut socket_of = HashMap::new();
        for datagram in loopback::collect(&mut receiver, 320) {
            let socket = *socket_of.entry(datagram.source.ip()).or_insert(datagram.listener);
            assert_eq!(socket, datagram.listener, "{} met two sockets", datagram.source);
        }
        for socket in 0..4 {
            let share = socket_of.values().filter(|listener| **listener == socket).count();
            assert!((4..=28).contains(&share), "socket {socket} has {share} of 64 neighbouring addresses");
        }
    }
}

#[test]
fn steering_reads_ipv6_addresses() {
    let options = SocketOptions { steering: Steering::SourceAddress, ..SocketOptions::default() };
    let group = bind_group("[::1]:0".parse().unwrap(), 4, &options).unwrap();
    for _port in 0..40 {
        sender("[::1]:0").send_to(b"x", group.local_address()).unwrap();
    }
    let mut receiver = Receiver::new(group.into_sockets(), ReceiverOptions::default());
    let datagrams = loopback::collect(&mut receiver, 40);
    assert!(datagrams.iter().all(|datagram| datagram.listener == datagrams[0].listener));
}

#[test]
fn sent_is_received_plus_kernel_drops() {
    let options = SocketOptions { receive_buffer: 20_000, gro: Gro::Off, ..SocketOptions::default() };
    let group = bind_group(V4.parse().unwrap(), 1, &options).unwrap();
    let to = group.local_address();
    let mut receiver = Receiver::new(group.into_sockets(), ReceiverOptions::default());
    let probe = receiver.sockets()[0].probe();
    let from = sender(V4);
    let mut received = 0;
    for round in 1..=3 {
        for _ in 0..1_000 {
            from.send_to(&[0; 300], to).unwrap();
        }
        assert!(probe.buffer_usage().unwrap().ratio() > 0.9);
        let drops = probe.kernel_drops().unwrap();
        assert!(drops > 100 * round);
        let deadline = Instant::now() + DEADLINE;
        while received + drops < 1_000 * round {
            assert!(Instant::now() < deadline, "{received} received, {drops} dropped");
            received += receiver.receive(Duration::from_millis(5), |_| {}).unwrap().datagrams;
        }
        assert_eq!((received + drops, probe.kernel_drops().unwrap()), (1_000 * round, drops));
    }
    drop(receiver);
    assert_eq!(received + probe.kernel_drops().unwrap(), 3_000, "the probe outlives the receiver");
}
