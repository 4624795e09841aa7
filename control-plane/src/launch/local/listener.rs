//! The listening socket of a deployment: one stable port, kept open while the deployment is switched on.
//!
//! The launcher opens it and never accepts from it; nodes inherit it. While a node is started again, connections wait in
//! the kernel's queue. The rule a newcomer would break: a second socket on the same port (SO_REUSEPORT) is no way to share
//! it, because what waits on one of the two is reset when that one is closed.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};
use socket2::{SockFilter, SockRef};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Stdio;
use std::time::Duration;

/// Connections that may wait for a node.
const BACKLOG: i32 = 1024;

/// How often it is looked whether the queue is empty before the port is closed, and how long apart: a node that lives
/// accepts within a millisecond on a machine that has time, and one that hangs holds up the others no longer than
/// 1,000 × 1 ms.
const LAST_LOOKS: u32 = 1_000;
const LOOK: Duration = Duration::from_millis(1);

/// Drops who begins to connect (SYN), and lets all else pass: classic BPF on the TCP header, whose byte 13 has the flags.
///
/// Who is dropped sends again after a second, and is then refused.
const NO_NEWCOMERS: [SockFilter; 4] = {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_ANY: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_ANY, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
};

/// An open listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpen {
    /// Somebody listens there.
    #[error("port {0} is held by another program")]
    Held(u16),
    /// Anything else.
    #[error("port {0} cannot be opened: {1}")]
    Io(u16, io::Error),
}

/// Where deployments of this machine are called.
pub(super) fn address(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

impl Listener {
    /// Opens a new socket.
    pub(super) fn bind(port: u16) -> Result<Self, NotOpen> {
        let opened = || -> Result<OwnedFd, Errno> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            // Connections of nodes that were stopped may still be in TIME_WAIT.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &address(port))?;
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(socket)
        };
        match opened() {
            Ok(socket) => Ok(Self { socket }),
            Err(Errno::ADDRINUSE) => Err(NotOpen::Held(port)),
            Err(error) => Err(NotOpen::Io(port, error.into())),
        }
    }

    /// Takes a socket that a node has handed over, if it is what it should be.
    pub(super) fn handed_over(socket: OwnedFd, port: u16) -> io::Result<Self> {
        let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
        if bound != SocketAddr::V4(address(port)) {
            return Err(io::Error::other(format!(
                "a socket of {bound}, not of {}",
                address(port)
            )));
        }
        if !sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::other("a socket that does not listen any more"));
        }
        Ok(Self { socket })
    }

    /// One more hand on it, to be the standard input of a node.
    pub(super) fn stdin(&self) -> io::Result<Stdio> {
        Ok(Stdio::from(self.socket.as_fd().try_clone_to_owned()?))
    }

    /// Stops listening, whoever else holds the socket: nodes that are leaving must not keep callers waiting, nor the port.
    ///
    /// Connections that wait in the queue would be reset, so the nodes may take those first, if they do so soon. Nobody
    /// joins them meanwhile: between the last look and the end, there is no moment in which somebody could.
    pub(super) async fn close(self) {
        if let Err(error) = SockRef::from(&self.socket).attach_filter(&NO_NEWCOMERS) {
            tracing::warn!(%error, "callers that come while a port is closed may be reset");
        }
        for _ in 0..LAST_LOOKS {
            if !self.somebody_waits() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        if let Err(error) = rustix::net::shutdown(&self.socket, Shutdown::Both) {
            tracing::warn!(%error, "a listening socket was not shut down");
        }
    }

    /// Whether a connection is in the queue.
    fn somebody_waits(&self) -> bool {
        let mut socket = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut socket, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::local::testing::free_port;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_waits_is_answered_by_whoever_takes_the_socket_next() {
        let port = free_port();
        let listener = Listener::bind(port).unwrap();
        let mut caller = TcpStream::connect(address(port)).unwrap();
        caller.write_all(b"?").unwrap();
        assert!(matches!(Listener::bind(port), Err(NotOpen::Held(_))));

        let node = TcpListener::from(listener.socket.try_clone().unwrap());
        let (mut stream, _) = node.accept().unwrap();
        stream.write_all(b"!").unwrap();
        let mut answer = [0];
        caller.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"!");
    }

    #[tokio::test]
    async fn what_waits_when_it_is_closed_is_still_taken() {
        let port = free_port();
        let listener = Listener::bind(port).unwrap();
        let node = TcpListener::from(listener.socket.try_clone().unwrap());
        let mut caller = TcpStream::connect(address(port)).unwrap();
        let closing = tokio::spawn(listener.close());
        tokio::task::yield_now().await;
        let (mut stream, _) = node.accept().unwrap();
        stream.write_all(b"!").unwrap();
        closing.await.unwrap();
        let mut answer = [0];
        caller.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"!");
        TcpStream::connect(address(port)).unwrap_err();
    }

    #[tokio::test]
    async fn nobody_joins_the_queue_while_it_is_closed() {
        let port = free_port();
        let listener = Listener::bind(port).unwrap();
        let hanging = listener.socket.try_clone().unwrap();
        // Keeps it closing for a while.
        let _waiting = TcpStream::connect(address(port)).unwrap();
        let closing = tokio::spawn(listener.close());
        tokio::task::yield_now().await;
        let newcomer = tokio::task::spawn_blocking(move || TcpStream::connect(address(port)));
        closing.await.unwrap();
        // One that had got in would be reset.
        let refused = newcomer.await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        drop(hanging);
    }

    #[tokio::test]
    async fn whom_nobody_takes_does_not_keep_it_open() {
        let port = free_port();
        let listener = Listener::bind(port).unwrap();
        let hanging = listener.socket.try_clone().unwrap();
        let _waiting = TcpStream::connect(address(port)).unwrap();
        listener.close().await;
        TcpStream::connect(address(port)).unwrap_err();
        drop(hanging);
    }

    #[tokio::test]
    async fn a_closed_port_refuses_and_is_free_although_a_node_still_holds_the_socket() {
        let port = free_port();
        let listener = Listener::bind(port).unwrap();
        let of_a_leaving_node = listener.socket.try_clone().unwrap();
        listener.close().await;
        let refused = TcpStream::connect(address(port)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        Listener::handed_over(of_a_leaving_node.try_clone().unwrap(), port).unwrap_err();
        let again = Listener::bind(port).unwrap();
        TcpStream::connect(address(port)).unwrap();
        drop((again, of_a_leaving_node));
    }

    #[test]
    fn a_socket_of_another_port_is_not_taken() {
        let socket = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        Listener::handed_over(socket, free_port()).unwrap_err();
    }
}
