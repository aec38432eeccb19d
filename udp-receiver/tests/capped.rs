//! A process without CAP_NET_ADMIN gets no more than net.core.rmem_max, and is told.
#![allow(unsafe_code)]

use std::fs;

use udp_receiver::{BindWarning, SocketOptions, bind_group};

/// CAP_NET_ADMIN as a bit of the first 32 capabilities.
const NET_ADMIN: u32 = 1 << 12;
/// _LINUX_CAPABILITY_VERSION_3: two sets of effective, permitted, inheritable.
const VERSION_3: u32 = 0x2008_0522;

/// Takes CAP_NET_ADMIN from the calling thread, where it has it.
fn give_up_net_admin() {
    let header = [VERSION_3, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: the kernel reads an eight-byte header and writes two sets of three words.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) }, 0);
    sets[0] &= !NET_ADMIN;
    // SAFETY: the kernel reads the header and the two sets.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }, 0);
}

#[test]
fn a_capped_buffer_names_the_sysctl_and_the_value() {
    give_up_net_admin();
    let maximum: usize = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    let wanted = maximum + 1_000_000;
    let options = SocketOptions { receive_buffer: wanted, ..SocketOptions::default() };
    let group = bind_group("127.0.0.1:0".parse().unwrap(), 3, &options).unwrap();
    assert_eq!(group.receive_buffer(), maximum);
    let warning = BindWarning::BufferCapped { wanted, granted: maximum, sysctl: "net.core.rmem_max" };
    assert_eq!(group.warnings(), std::slice::from_ref(&warning));
    assert!(warning.to_string().contains(&format!("net.core.rmem_max={wanted}")), "{warning}");
}
