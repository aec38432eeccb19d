//! The system calls that neither std nor socket2 offers, each behind a safe function.
//!
//! All `unsafe` of the crate (and of the product) is in this file. The functions take borrowed
//! descriptors and slices, pass the kernel pointers that are valid for exactly the call, and keep none
//! of them afterwards: no structure of this crate holds a raw pointer.

#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use libc::{c_int, c_uint, c_void, socklen_t};

/// How many messages one recvmmsg call can return.
pub(crate) const VECTOR: usize = 64;

/// Room for the sender's `sockaddr_in` or `sockaddr_in6`, as the kernel writes it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Name(pub(crate) [u8; size_of::<libc::sockaddr_in6>()]);

/// Room for the control messages of one datagram: time stamp (32 bytes) and segment size (24 bytes).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control(pub(crate) [u8; 64]);

/// What the kernel said about one message.
#[derive(Clone, Copy, Default)]
pub(crate) struct Header {
    /// Payload bytes written into the slot.
    pub(crate) bytes: usize,
    /// Bytes of the sender's address.
    pub(crate) name_bytes: usize,
    /// Bytes of control messages.
    pub(crate) control_bytes: usize,
    /// `MSG_*` flags.
    pub(crate) flags: c_int,
}

/// Reads up to [`VECTOR`] messages without blocking, message `i` into `payloads[i * slot..][..slot]`,
/// `names[i]` and `controls[i]`; returns how many there were.
///
/// # Panics
/// When `payloads` is not [`VECTOR`] slots long.
pub(crate) fn receive_messages(
    socket: BorrowedFd<'_>,
    payloads: &mut [u8],
    slot: usize,
    names: &mut [Name; VECTOR],
    controls: &mut [Control; VECTOR],
    headers: &mut [Header; VECTOR],
) -> io::Result<usize> {
    assert_eq!(payloads.len(), slot * VECTOR, "the payload buffer is not {VECTOR} slots of {slot} bytes");
    let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; VECTOR];
    // SAFETY: mmsghdr is a C structure of integers and pointers, for which all zeroes is a value.
    let mut messages: [libc::mmsghdr; VECTOR] = unsafe { zeroed() };
    let slots = payloads.chunks_exact_mut(slot).zip(names.iter_mut()).zip(controls.iter_mut());
    for ((message, vector), ((payload, name), control)) in messages.iter_mut().zip(&mut vectors).zip(slots) {
        *vector = libc::iovec { iov_base: payload.as_mut_ptr().cast::<c_void>(), iov_len: payload.len() };
        let header = &mut message.msg_hdr;
        header.msg_name = name.0.as_mut_ptr().cast::<c_void>();
        header.msg_namelen = size_of_val(&name.0) as socklen_t;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast::<c_void>();
        header.msg_controllen = size_of_val(&control.0) as _;
    }
    // SAFETY: `messages` has VECTOR entries, and each points to memory that this function borrows
    // mutably, with its true length; the kernel writes nowhere else and keeps no pointer.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            VECTOR as c_uint,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (header, message) in headers.iter_mut().zip(&messages[..received]) {
        *header = Header {
            bytes: message.msg_len as usize,
            name_bytes: message.msg_hdr.msg_namelen as usize,
            control_bytes: message.msg_hdr.msg_controllen as _,
            flags: message.msg_hdr.msg_flags,
        };
    }
    Ok(received)
}

/// Waits until one of `polls` has something to say or `timeout` is over; sets their `revents`.
pub(crate) fn wait_readable(polls: &mut [libc::pollfd], timeout: Duration) -> io::Result<()> {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the pointer and length are those of one mutable slice, the time is a valid timespec
    // that outlives the call, and a null signal mask is allowed.
    let ready = unsafe {
        libc::ppoll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, &raw const timeout, ptr::null())
    };
    if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// setsockopt with an integer value.
pub(crate) fn set_option(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the kernel reads size_of::<c_int>() bytes from a c_int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the SO_REUSEPORT group of `socket` a classic BPF program that picks the socket.
pub(crate) fn attach_reuseport_program(
    socket: BorrowedFd<'_>,
    program: &mut [libc::sock_filter],
) -> io::Result<()> {
    let length = program.len().try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the kernel reads one sock_fprog and copies the `len` instructions it points to; both
    // outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast::<c_void>(),
            size_of::<libc::sock_fprog>() as socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What SO_MEMINFO reports; `SK_MEMINFO_*` are the indices (nine values up to the drops).
pub(crate) fn memory_information(socket: BorrowedFd<'_>) -> io::Result<[u32; 9]> {
    let mut values = [0_u32; 9];
    let mut length = size_of_val(&values) as socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `values`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast::<c_void>(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if (length as usize) < size_of_val(&values) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "SO_MEMINFO does not report drops"));
    }
    Ok(values)
}
