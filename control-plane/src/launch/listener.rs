//! The one listening socket of a local deployment: its replicas accept from it, and its address outlives them all.
//!
//! A control plane that comes back gets it from a living node. With a socket of its own each (SO_REUSEPORT), closing one
//! of two would reset the connections that wait in it.

use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketType};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// Connections that wait to be accepted while a node restarts.
const BACKLOG: i32 = 1_024;
/// A living node hands the socket over at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Binds a port of this machine's loopback.
pub(super) fn bind(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Asks the node in a folder for its listening socket. Blocks for at most two seconds.
pub(super) fn from_node(folder: &Path, port: u16) -> io::Result<TcpListener> {
    // The address of a unix socket has at most 107 bytes, less than many folders' paths: go through the open folder.
    let open = File::open(folder)?;
    let path = format!("/proc/self/fd/{}/node.sock", open.as_raw_fd());
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))?;
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, Some(PATIENCE))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_str())?)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut payload = [0; 1];
    rustix::net::recvmsg(
        &socket,
        &mut [IoSliceMut::new(&mut payload)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let handed = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let handed = handed.ok_or_else(|| io::Error::other("the node handed nothing over"))?;
    if !rustix::net::sockopt::socket_acceptconn(&handed)? {
        return Err(io::Error::other("what the node handed over does not listen"));
    }
    let listener = TcpListener::from(handed);
    let address = listener.local_addr()?;
    if address.port() != port || !address.ip().is_loopback() {
        return Err(io::Error::other("what the node handed over listens elsewhere"));
    }
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_bound_once() {
        let first = bind(0).unwrap();
        let port = first.local_addr().unwrap().port();
        assert_eq!(bind(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind(port).unwrap();
    }

    #[test]
    fn a_folder_without_a_node_hands_nothing_over() {
        let folder = tempfile::tempdir().unwrap();
        assert!(from_node(folder.path(), 1).is_err());
    }
}
