//! One caller: a connection, and the answer that is coming on it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Only against hanging.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Caller {
    stream: TcpStream,
    asked: Instant,
    answer: Vec<u8>,
    /// Where the body begins and ends, once the head is there.
    body: Option<(usize, usize)>,
}

/// A whole answer.
pub(super) struct Answered {
    pub(super) said: Said,
    pub(super) took: Duration,
    /// The other side closes the connection.
    pub(super) closes: bool,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A 200 that holds what it should.
    Right,
    /// A 429 that says when to come back.
    Refused,
    /// Anything else.
    Wrong,
}

impl Caller {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            stream,
            asked: Instant::now(),
            answer: Vec::with_capacity(4_096),
            body: None,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        self.answer.clear();
        self.body = None;
        self.asked = Instant::now();
        self.stream.write_all(request)
    }

    /// Takes what has come, or waits for it where its socket does; the answer, once it is whole. It must be right.
    pub(super) fn read(&mut self, holds: &[u8]) -> io::Result<Option<Answered>> {
        let answered = self.whole(holds)?;
        if let Some(answered) = &answered {
            let is_right = answered.said == Said::Right;
            assert!(is_right, "not a 200 with {}", self.shown(holds));
        }
        Ok(answered)
    }

    /// The same, where it may be a refusal, too.
    pub(super) fn read_or_refused(&mut self, holds: &[u8]) -> io::Result<Option<Answered>> {
        let answered = self.whole(holds)?;
        if let Some(answered) = &answered {
            let is_either = answered.said != Said::Wrong;
            assert!(is_either, "neither a refusal nor a 200 with {}", self.shown(holds));
        }
        Ok(answered)
    }

    /// Likewise, whatever it says.
    pub(super) fn whole(&mut self, holds: &[u8]) -> io::Result<Option<Answered>> {
        let mut part = [0; 4_096];
        let read = match self.stream.read(&mut part) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.asked.elapsed() < LIMIT => return Ok(None),
            read => read?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.answer.extend_from_slice(&part[..read]);
        if self.body.is_none() {
            self.body = body(&self.answer);
        }
        let Some((start, end)) = self.body.filter(|(_, end)| self.answer.len() >= *end) else {
            return Ok(None);
        };
        let took = self.asked.elapsed();
        let (head, body) = (&self.answer[..start], &self.answer[start..end]);
        let said = if head.starts_with(b"HTTP/1.1 200") && contains(body, holds) {
            Said::Right
        } else if head.starts_with(b"HTTP/1.1 429") && header(head, "retry-after").is_some() {
            Said::Refused
        } else {
            Said::Wrong
        };
        let closes = header(head, "connection").is_some_and(|value| value == "close");
        Ok(Some(Answered { said, took, closes }))
    }

    pub(super) fn shown(&self, holds: &[u8]) -> String {
        let (holds, answer) = (String::from_utf8_lossy(holds), String::from_utf8_lossy(&self.answer));
        format!("{holds:?}: {answer}")
    }
}

/// Where the body of an answer begins and ends, when its head is whole.
fn body(answer: &[u8]) -> Option<(usize, usize)> {
    let start = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = header(&answer[..start], "content-length").expect("answers say how long they are");
    Some((start, start + length.parse::<usize>().expect("a length")))
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    std::str::from_utf8(head).ok()?.split("\r\n").find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}
