//! Getting the listening socket back from a living node, over `node.sock` in its folder.
//!
//! Apart from opening one: a control plane that was killed has lost its hand on the socket, but connections may wait in
//! it, and the port is taken. The rule a newcomer would break: what comes over the wire is not believed; the peer must be
//! of this user, and the socket must be the one expected ([`Listener::handed_over`]).

use super::listener::Listener;
use rustix::fd::OwnedFd;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A node answers within milliseconds; one that hangs must not hold up the others.
const PATIENCE: Duration = Duration::from_secs(1);
const NAME: &str = "node.sock";
const PAYLOAD: &[u8] = b"L";

/// Asks the node of a folder for the socket that listens on the port.
pub(super) async fn fetch(folder: &Path, port: u16) -> io::Result<Listener> {
    let asked = timeout(PATIENCE, async {
        // The address of a unix socket has at most 107 bytes, less than many folders' paths: go through the open folder.
        let open = File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(open.as_raw_fd().to_string()).join(NAME);
        let peer = UnixStream::connect(path).await?;
        if peer.peer_cred()?.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "held by another user"));
        }
        loop {
            peer.readable().await?;
            match peer.try_io(Interest::READABLE, || receive(&peer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    });
    let socket = asked.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Listener::handed_over(socket, port)
}

fn receive(peer: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut payload = [0; 1];
    let mut into = [IoSliceMut::new(&mut payload)];
    let received = rustix::net::recvmsg(peer, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    if payload.get(..received.bytes) != Some(PAYLOAD) {
        return Err(io::Error::other("not what a node says"));
    }
    descriptor.ok_or_else(|| io::Error::other("no socket came with it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::local::testing::free_port;
    use rustix::fd::AsFd;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    use std::io::IoSlice;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    /// What a node does, once.
    fn hand_over(folder: &Path, sockets: Option<TcpListener>, payload: &'static [u8]) {
        let listener = UnixListener::bind(folder.join(NAME)).unwrap();
        std::thread::spawn(move || {
            let (peer, _) = listener.accept().unwrap();
            let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
            }
            rustix::net::sendmsg(&peer, &[IoSlice::new(payload)], &mut control, SendFlags::NOSIGNAL).unwrap();
        });
    }

    #[tokio::test]
    async fn the_same_socket_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let of_the_node = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = of_the_node.local_addr().unwrap();
        let waiting = std::net::TcpStream::connect(address).unwrap();
        hand_over(folder.path(), Some(of_the_node), PAYLOAD);
        let listener = fetch(folder.path(), address.port()).await.unwrap();
        // The node's hand is gone by now, or will be; what waits is still there.
        drop((waiting, listener));
    }

    #[tokio::test]
    async fn what_is_not_a_socket_of_the_port_is_refused() {
        let other = || Some(TcpListener::bind("127.0.0.1:0").unwrap());
        for (socket, payload) in [
            (other(), PAYLOAD),
            (None, PAYLOAD),
            (other(), b"X".as_slice()),
            (None, b"".as_slice()),
        ] {
            let folder = tempfile::tempdir().unwrap();
            hand_over(folder.path(), socket, payload);
            fetch(folder.path(), free_port()).await.unwrap_err();
        }
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_and_not_a_wait() {
        let folder = tempfile::tempdir().unwrap();
        fetch(folder.path(), 1).await.unwrap_err();
        let deep = folder.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        fetch(&deep, 1).await.unwrap_err();
    }
}
