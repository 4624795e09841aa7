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
    pub(super) took: Duration,
    /// The other side closes the connection.
    pub(super) closes: bool,
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

    /// Takes what has come, or waits for it where its socket does; the answer, once it is whole.
    pub(super) fn read(&mut self, holds: &[u8]) -> io::Result<Option<Answered>> {
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
        let is_good = self.answer.starts_with(b"HTTP/1.1 200") && contains(&self.answer[start..end], holds);
        assert!(
            is_good,
            "not a 200 with {:?}: {}",
            String::from_utf8_lossy(holds),
            String::from_utf8_lossy(&self.answer)
        );
        let closes = header(&self.answer[..start], "connection").is_some_and(|value| value == "close");
        Ok(Some(Answered { took, closes }))
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
