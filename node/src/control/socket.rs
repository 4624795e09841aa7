//! `node.sock`: whoever runs as the same user may ask for the listening socket.
//!
//! A launcher that lost its own copy (it was killed) gets it back from a living node, so that the deployment keeps its
//! address. The rule a newcomer would break: the file's mode is not enough, the peer's user is asked from the kernel.

use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::fs::{File, Permissions};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// The file's name in the node's folder.
pub const NAME: &str = "node.sock";
/// What travels with the descriptor; a message must have at least one byte.
const PAYLOAD: &[u8] = b"L";

/// Binds `node.sock` in the folder; one that a dead node left is replaced.
///
/// # Errors
/// When the folder cannot be written.
pub fn bind(folder: &Path) -> io::Result<UnixListener> {
    // The address of a unix socket has at most 107 bytes, less than many folders' paths: go through the open folder.
    let open = File::open(folder)?;
    let path = Path::new("/proc/self/fd").join(open.as_raw_fd().to_string()).join(NAME);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Hands the listening socket to everybody of this user who asks, until the process ends.
pub async fn hand_over(listener: UnixListener, listening: OwnedFd) {
    loop {
        let handed = match listener.accept().await {
            Ok((peer, _)) => hand_to(&peer, &listening).await,
            Err(error) => {
                // Out of descriptors, most likely: do not spin.
                tokio::time::sleep(Duration::from_millis(200)).await;
                Err(error)
            }
        };
        match handed {
            Ok(()) => tracing::info!("handed the listening socket over"),
            Err(error) => tracing::warn!(%error, "the listening socket was not handed over"),
        }
    }
}

async fn hand_to(peer: &UnixStream, listening: &OwnedFd) -> io::Result<()> {
    let user = rustix::net::sockopt::socket_peercred(peer)?.uid;
    if user != rustix::process::geteuid() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "asked by another user"));
    }
    peer.writable().await?;
    let descriptors = [listening.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    rustix::net::sendmsg(peer, &[IoSlice::new(PAYLOAD)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    use std::io::IoSliceMut;

    #[tokio::test]
    async fn a_launcher_gets_the_same_socket_and_can_accept_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        std::fs::write(folder.path().join(NAME), "left by a dead node").unwrap();
        tokio::spawn(hand_over(bind(folder.path()).unwrap(), OwnedFd::from(listening)));

        let peer = UnixStream::connect(folder.path().join(NAME)).await.unwrap();
        peer.readable().await.unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut payload = [0; 8];
        let received = rustix::net::recvmsg(
            &peer,
            &mut [IoSliceMut::new(&mut payload)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .unwrap();
        assert_eq!(&payload[..received.bytes], PAYLOAD);
        let handed = control
            .drain()
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            })
            .unwrap();
        assert_eq!(std::net::TcpListener::from(handed).local_addr().unwrap(), address);
    }
}
