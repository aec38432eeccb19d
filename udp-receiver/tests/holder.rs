//! A port held by another process. In a test binary of its own: for a moment a child that is being
//! started holds copies of all sockets of its parent, which other tests would see as a second holder.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::process::Command;

use udp_receiver::{BindError, Holder, SocketOptions, bind_group};

#[test]
fn another_process_is_named_with_its_command() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut child = Command::new("sleep").arg("60").stdin(OwnedFd::from(socket)).spawn().unwrap();
    let error = bind_group(address, 1, &SocketOptions::default()).unwrap_err();
    child.kill().unwrap();
    child.wait().unwrap();
    let BindError::InUse { holders, .. } = error else { panic!("{error}") };
    assert_eq!(holders.len(), 1);
    let Holder::Process { pid, command } = &holders[0] else { panic!("{holders:?}") };
    assert_eq!((*pid, command.as_str()), (child.id(), "sleep"));
}
