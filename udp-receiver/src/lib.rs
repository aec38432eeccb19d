//! UDP sockets read in batches, with everything the kernel dropped counted.
//!
//! One receive thread per worker, one socket per worker and listener:
//!
//! ```text
//!                     bind_group("[::]:2055", 4)        bind_group("[::]:6343", 4)
//!                     socket 0   1   2   3              socket 0   1   2   3
//!                            |   |   |   |                     |   |   |   |
//!   Receiver of worker 0 <---+---|---|---|---------------------'   |   |   |
//!   Receiver of worker 1 <-------+---|---|-------------------------'   |   |
//!   ...
//! ```
//!
//! - [`bind_group`] opens the sockets of one listener: it refuses a port that somebody else has and says
//!   who ([`BindError::InUse`]), gets the receive buffer or a typed warning with the sysctl to raise
//!   ([`BindWarning`]), and can steer each source address to one worker ([`Steering`]).
//! - [`Receiver`] reads the sockets of one worker with recvmmsg, splits what UDP_GRO has put together
//!   and hands each datagram to a closure. It waits in poll at a low rate and for up to a millisecond at
//!   a high one, so that many datagrams come per wake-up.
//! - [`SocketProbe`] is a cheap handle with which another thread reads kernel drops and buffer usage.
//!
//! ```no_run
//! use std::time::Duration;
//! use udp_receiver::{Receiver, ReceiverOptions, SocketOptions, bind_group};
//!
//! let group = bind_group("[::]:2055".parse()?, 1, &SocketOptions::default())?;
//! for warning in group.warnings() {
//!     eprintln!("{warning}");
//! }
//! let mut receiver = Receiver::new(group.into_sockets(), ReceiverOptions::default());
//! loop {
//!     receiver.receive(Duration::from_millis(20), |datagram| {
//!         println!("{} bytes from {}", datagram.payload.len(), datagram.source);
//!     })?;
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//! - After [`Receiver::new`] nothing is allocated, whatever arrives.
//! - Every datagram that the kernel handed over is in [`SocketStatistics::datagrams`] exactly once, also
//!   when a handler panics; every one it refused is in [`SocketProbe::kernel_drops`]. With
//!   [`Gro::Off`] the two add up to what arrived; with [`Gro::On`] a dropped train counts once, so that
//!   the drops are a lower bound.
//! - A pause never lets a receive buffer fill by itself: its length follows the buffer usage that the
//!   kernel reported after earlier pauses.
//!
//! Linux only. This is the one crate of the product with `unsafe`, all of it in one file.

#![deny(unsafe_code)]

mod group;
mod holder;
mod message;
mod pacing;
mod receiver;
mod socket;
mod statistics;
mod steering;
mod sys;

pub use group::{BindError, BindWarning, SocketGroup, bind_group};
pub use holder::{Holder, Holders, Protocol, holders_of};
pub use message::Received;
pub use pacing::Waiting;
pub use receiver::{Receiver, ReceiverOptions};
pub use socket::{BufferUsage, Gro, Sharing, Socket, SocketOptions, SocketProbe, Steering};
pub use statistics::{ReadSummary, SocketStatistics};
