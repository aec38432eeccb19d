//! What receiving one datagram costs the receiver's thread, with the adaptive pause and without, at
//! several rates in one run: `cargo run --release -p udp-receiver --example receive_cost`
//!
//! One thread sends plain datagrams (no UDP_SEGMENT) from eight sockets, evenly spaced, over loopback.
//! There the kernel's receive work runs on the sender's CPU time, so that the column of CPU time holds
//! what this crate is answerable for: wake-ups, system calls, copying.

use std::error::Error;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use udp_receiver::{Receiver, ReceiverOptions, SocketOptions, SocketStatistics, Waiting, bind_group};

/// The payload of an ordinary flow packet.
const PAYLOAD: [u8; 1_400] = [0; 1_400];
const EACH: Duration = Duration::from_secs(2);
/// Datagrams per second; the last one is as fast as one thread can.
const RATES: [u32; 6] = [1_000, 10_000, 50_000, 100_000, 200_000, 1_000_000];

fn main() -> Result<(), Box<dyn Error>> {
    println!("  datagrams/s  waiting   datagrams/read   CPU ns/datagram   fullest buffer   dropped");
    for rate in RATES {
        for waiting in [Waiting::Blocking, Waiting::Adaptive] {
            let run = measure(rate, waiting)?;
            let datagrams = run.statistics.datagrams as f64;
            println!(
                "{:>13.0}  {:<8} {:>15.1} {:>17.0} {:>15.1}% {:>9}",
                datagrams / EACH.as_secs_f64(),
                format!("{waiting:?}"),
                datagrams / run.statistics.reads as f64,
                run.cpu.as_nanos() as f64 / datagrams,
                run.fullest * 100.0,
                run.dropped,
            );
        }
    }
    Ok(())
}

struct Run {
    statistics: SocketStatistics,
    cpu: Duration,
    fullest: f64,
    dropped: u64,
}

fn measure(rate: u32, waiting: Waiting) -> Result<Run, Box<dyn Error>> {
    let group = bind_group("127.0.0.1:0".parse()?, 1, &SocketOptions::default())?;
    let to = group.local_address();
    let mut receiver = Receiver::new(group.into_sockets(), ReceiverOptions { waiting, ..Default::default() });
    let probe = receiver.sockets()[0].probe();
    let over = Arc::new(AtomicBool::new(false));
    let sender = {
        let over = Arc::clone(&over);
        thread::spawn(move || send(to, rate, &over))
    };
    let (start, before) = (Instant::now(), thread_cpu()?);
    let (mut next_look, mut fullest) = (start, 0.0_f64);
    while start.elapsed() < EACH {
        receiver.receive(Duration::from_millis(20), |_| {})?;
        if Instant::now() > next_look {
            fullest = fullest.max(probe.buffer_usage()?.ratio());
            next_look += Duration::from_millis(5);
        }
    }
    let cpu = thread_cpu()?.saturating_sub(before);
    over.store(true, Ordering::Relaxed);
    sender.join().map_err(|_| "the sender panicked")??;
    Ok(Run { statistics: receiver.total(), cpu, fullest, dropped: probe.kernel_drops()? })
}

fn send(to: SocketAddr, rate: u32, over: &AtomicBool) -> std::io::Result<()> {
    let sockets = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    for socket in &sockets {
        socket.connect(to)?;
    }
    let start = Instant::now();
    for (number, socket) in (0_u32..).zip(sockets.iter().cycle()) {
        let due = start + Duration::from_secs(1) / rate * number;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        if over.load(Ordering::Relaxed) {
            break;
        }
        socket.send(&PAYLOAD)?;
    }
    Ok(())
}

/// User and system time of this thread: the scheduler's own count, in nanoseconds.
fn thread_cpu() -> Result<Duration, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_ascii_whitespace().next().ok_or("/proc/thread-self/schedstat is empty")?;
    Ok(Duration::from_nanos(first.parse()?))
}
