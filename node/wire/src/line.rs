//! The line: messages straight on the connection, each behind its length.
//!
//! Apart from gRPC, which carries the same where one of the two knows nothing else: a stream of HTTP/2 costs a control
//! plane three tasks, which wake each other for each message. The rule a newcomer would break: a length is only
//! what the other side says. It is bounded before anything is read, and room is made for bytes that come.

use crate::proto::{Opened, Opening};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tonic::{Code, Status};

/// By this name it is asked for over TLS (ALPN), and its number changes with what it means.
pub const PROTOCOL: &str = "castoff-line/1";
/// Where a line begins. No request of HTTP and no handshake of TLS begins with this byte, so that a port which knows only
/// those hangs up.
pub const FIRST: u8 = 0xca;
/// What a node says first.
pub const PREFACE: [u8; 16] = *b"\xcacastoff-line/1\n";
/// A token, a position, two addresses: some 500 bytes.
pub const MOST_OPENING: usize = 16 << 10;
/// A code and a line for people.
pub const MOST_ANSWER: usize = 4 << 10;
/// Bytes of a length, the highest first.
pub const PREFIX: usize = 4;

/// Room for a read, at the least: what nodes say is shorter.
const LEAST_READ: usize = 512;
/// And at the most, however long a message says that it is.
const MOST_READ: usize = 64 << 10;
/// A longer message does not leave its room behind.
const KEPT: usize = 4 << 10;

/// Why no message could be heard.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// It says that it is longer than it may be.
    #[error("a message of {bytes} bytes came, and at most {most} are taken")]
    TooLarge {
        /// What it says.
        bytes: usize,
        /// What it may have.
        most: usize,
    },
    /// It is not what it should be.
    #[error("what came is no message")]
    Malformed,
    /// It broke off.
    #[error("the connection ended within a message")]
    Cut,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A message behind its length.
pub fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    // What is longer than a length can say is refused by whoever reads it.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut framed);
    framed.freeze()
}

/// What comes on a line.
#[derive(Debug)]
pub struct Inbox {
    /// What has come and belongs to no message yet.
    held: BytesMut,
    most: usize,
}

impl Inbox {
    /// One that takes messages of so many bytes.
    pub fn of(most: usize) -> Self {
        Self {
            held: BytesMut::new(),
            most,
        }
    }

    /// The same, from here on for messages of so many bytes.
    #[must_use]
    pub fn and_then_of(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// The next message; `None` when the other side has hung up. May be dropped and called again.
    ///
    /// # Errors
    /// [`Unheard`]; nothing more can be heard then.
    pub async fn next<M: Message + Default>(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<M>, Unheard> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let missing = (PREFIX + self.length().unwrap_or(0)).saturating_sub(self.held.len());
            self.held.reserve(missing.clamp(LEAST_READ, MOST_READ));
            if from.read_buf(&mut self.held).await? == 0 {
                return if self.held.is_empty() {
                    Ok(None)
                } else {
                    Err(Unheard::Cut)
                };
            }
        }
    }

    /// What the next message says its length is.
    fn length(&self) -> Option<usize> {
        let length = self.held.first_chunk::<PREFIX>()?;
        Some(usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX))
    }

    /// The next message, if all of it has come.
    fn take<M: Message + Default>(&mut self) -> Result<Option<M>, Unheard> {
        let Some(length) = self.length() else {
            return Ok(None);
        };
        if length > self.most {
            let most = self.most;
            return Err(Unheard::TooLarge { bytes: length, most });
        }
        let Some(message) = self.held.get(PREFIX..PREFIX + length) else {
            return Ok(None);
        };
        let message = M::decode(message).map_err(|_| Unheard::Malformed)?;
        self.held.advance(PREFIX + length);
        if length > KEPT {
            self.held = BytesMut::from(&*self.held);
        }
        Ok(Some(message))
    }
}

/// Opens a line, as a node does, and waits for the answer: the line is taken when its code is 0. Whoever knows nothing of
/// lines hangs up, or answers something else.
///
/// # Errors
/// [`Unheard`]: no answer came that is one.
pub async fn open(
    line: &mut (impl AsyncRead + AsyncWrite + Unpin),
    opening: &Opening,
) -> Result<(Opened, Inbox), Unheard> {
    line.write_all(&[&PREFACE[..], &framed(opening)].concat()).await?;
    line.flush().await?;
    let mut inbox = Inbox::of(MOST_ANSWER);
    let opened = inbox.next(line).await?.ok_or(Unheard::Cut)?;
    Ok((opened, inbox))
}

/// Reads how a line is opened, as a control plane does.
///
/// # Errors
/// [`Unheard`]: it is not opened.
pub async fn opening(line: &mut (impl AsyncRead + Unpin)) -> Result<(Opening, Inbox), Unheard> {
    let mut preface = [0; PREFACE.len()];
    line.read_exact(&mut preface).await?;
    if preface != PREFACE {
        return Err(Unheard::Malformed);
    }
    let mut inbox = Inbox::of(MOST_OPENING);
    let opening = inbox.next(line).await?.ok_or(Unheard::Cut)?;
    Ok((opening, inbox))
}

impl Opened {
    /// The answer that the line is not taken.
    pub fn refused(status: &Status) -> Self {
        Self {
            code: u32::try_from(i32::from(status.code())).unwrap_or_default(),
            reason: status.message().to_owned(),
        }
    }

    /// Whether the line is taken.
    ///
    /// # Errors
    /// Why not, as gRPC would say it.
    pub fn verdict(self) -> Result<(), Status> {
        match i32::try_from(self.code).map_or(Code::Unknown, Code::from_i32) {
            Code::Ok => Ok(()),
            code => Err(Status::new(code, self.reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{FromNode, Heartbeat, Hello, NodeToken, Usage, from_node};

    const MOST: usize = 10 << 10;

    fn said(message: from_node::Message) -> FromNode {
        FromNode { message: Some(message) }
    }

    fn beat(sent_at_ms: i64) -> FromNode {
        said(from_node::Message::Heartbeat(Heartbeat { sent_at_ms, nodes: 0 }))
    }

    /// What is heard of these bytes that come in pieces of this size, and how it ends.
    async fn heard(bytes: &[u8], piece: usize) -> (Vec<FromNode>, Option<Unheard>) {
        let mut from = in_pieces(bytes, piece);
        let (mut inbox, mut all) = (Inbox::of(MOST), Vec::new());
        loop {
            match inbox.next(&mut from).await {
                Ok(Some(message)) => all.push(message),
                Ok(None) => return (all, None),
                Err(unheard) => return (all, Some(unheard)),
            }
            assert!(inbox.held.capacity() <= KEPT + LEAST_READ + piece);
        }
    }

    /// A connection on which so many bytes come at a time.
    fn in_pieces(bytes: &[u8], piece: usize) -> impl AsyncRead + Unpin + use<> {
        let (mut to, from) = tokio::io::duplex(piece);
        let bytes = bytes.to_vec();
        tokio::spawn(async move { to.write_all(&bytes).await });
        from
    }

    #[tokio::test]
    async fn messages_are_whole_however_they_come() {
        let large = Usage {
            keys: vec![crate::proto::KeyUsage::default(); MOST / 4],
            ..Usage::default()
        };
        let all = vec![
            beat(1),
            FromNode::default(),
            said(from_node::Message::Usage(large)),
            beat(2),
        ];
        let bytes: Vec<u8> = all.iter().flat_map(framed).collect();
        for piece in [1, 3, 4, 5, 511, 4_096, 1 << 20] {
            let (messages, unheard) = heard(&bytes, piece).await;
            assert_eq!(messages, all, "{piece}");
            assert!(unheard.is_none());
        }
    }

    #[tokio::test]
    async fn what_is_no_message_ends_it() {
        let first = framed(&beat(1));
        let long = u32::try_from(MOST + 1).unwrap().to_be_bytes();
        let too_large = |unheard: &Unheard| matches!(unheard, Unheard::TooLarge { .. });
        let malformed = |unheard: &Unheard| matches!(unheard, Unheard::Malformed);
        let cut = |unheard: &Unheard| matches!(unheard, Unheard::Cut);
        for (rest, is) in [
            (&long[..], &too_large as &dyn Fn(&Unheard) -> bool),
            (&[0xff; 4], &too_large),
            (b"HTTP/1.1 400 Bad Request", &too_large),
            (&[0, 0, 0, 2, 0xff, 0xff], &malformed),
            (&[0, 0, 0, 1, 0], &malformed),
            (&[0], &cut),
            (&[0, 0, 0], &cut),
            (&[0, 0, 0, 1], &cut),
            (&first[..first.len() - 1], &cut),
        ] {
            let (messages, unheard) = heard(&[&first, rest].concat(), 7).await;
            assert_eq!(messages, [beat(1)]);
            assert!(unheard.as_ref().is_some_and(is), "{rest:?}: {unheard:?}");
        }
    }

    #[tokio::test]
    async fn what_a_later_release_says_is_heard_and_means_nothing() {
        // Field 99, of two bytes.
        let unknown = [&[0, 0, 0, 5][..], &[0x9a, 0x06, 2, 1, 2]].concat();
        assert_eq!(heard(&unknown, 3).await.0, [FromNode::default()]);
    }

    #[tokio::test]
    async fn a_length_makes_no_room_for_what_does_not_come() {
        let (mut to, mut from) = tokio::io::duplex(64);
        let mut inbox = Inbox::of(1 << 30);
        to.write_all(&[0x3f, 0xff, 0xff, 0xff, 1]).await.unwrap();
        let waiting = inbox.next::<FromNode>(&mut from);
        assert!(by_now(waiting).await.is_none());
        assert!(inbox.held.capacity() <= 2 * MOST_READ);
    }

    /// What a future has come to by now.
    async fn by_now<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn a_line_is_opened_and_answered() {
        let opening = Opening {
            token: "castoff-node_secret".into(),
            hello: Some(Hello::default()),
        };
        assert!(!format!("{opening:?}").contains("secret"));
        for status in [None, Some(Status::unauthenticated("no")), Some(Status::unavailable(""))] {
            let (mut node, mut plane) = tokio::io::duplex(64);
            let answering = async {
                let (opening, inbox) = super::opening(&mut plane).await.unwrap();
                let opened = status.as_ref().map(Opened::refused).unwrap_or_default();
                // The first message may come with the answer.
                plane
                    .write_all(&[framed(&opened), framed(&NodeToken::default())].concat())
                    .await
                    .unwrap();
                (opening, inbox)
            };
            let (opened, (heard, _)) = tokio::join!(open(&mut node, &opening), answering);
            assert!(heard == opening);
            let (opened, mut inbox) = opened.unwrap();
            assert_eq!(
                opened.verdict().map_err(|status| status.code()),
                status.map_or(Ok(()), |status| Err(status.code()))
            );
            assert!(inbox.next::<NodeToken>(&mut node).await.unwrap().is_some());
        }
        let later = Opened {
            code: u32::MAX,
            reason: String::new(),
        };
        assert!(later.verdict().is_err());
    }

    #[tokio::test]
    async fn who_knows_no_lines_does_not_answer_one() {
        for answer in [
            &b""[..],
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
            // The settings of HTTP/2, and the farewell.
            b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0",
            b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\x01",
        ] {
            let (mut node, mut plane) = tokio::io::duplex(4_096);
            plane.write_all(answer).await.unwrap();
            plane.shutdown().await.unwrap();
            let opened = open(&mut node, &Opening::default()).await;
            assert!(opened.is_err(), "{answer:?}");
            plane.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        }
    }
}
