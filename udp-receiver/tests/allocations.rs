//! In the steady state receiving allocates nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use udp_receiver::{Receiver, ReceiverOptions, SocketOptions, bind_group};

thread_local! {
    /// Allocations of this thread: the test harness has threads of its own.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn receiving_allocates_nothing() {
    let group = bind_group("127.0.0.1:0".parse().unwrap(), 1, &SocketOptions::default()).unwrap();
    let to = group.local_address();
    let mut receiver = Receiver::new(group.into_sockets(), ReceiverOptions::default());
    let probe = receiver.sockets()[0].probe();
    let from = UdpSocket::bind("127.0.0.1:0").unwrap();
    let before = ALLOCATIONS.get();
    let mut bytes = 0;
    for _ in 0..100 {
        for _ in 0..100 {
            from.send_to(&[1; 1_000], to).unwrap();
        }
        let (mut received, deadline) = (0, Instant::now() + Duration::from_secs(20));
        while received < 100 {
            assert!(Instant::now() < deadline, "{received} of 100 came");
            let summary =
                receiver.receive(Duration::from_millis(20), |datagram| bytes += datagram.payload.len());
            received += summary.unwrap().datagrams;
        }
        probe.kernel_drops().unwrap();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(bytes, 100 * 100 * 1_000);
}
