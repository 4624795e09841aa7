//! A caller that keeps its connection until an answer says that it was the last, and never repeats a call.
//!
//! The rule a newcomer would break: it looks before it sends whether its connection was closed while it rested, as pools of
//! connections do. On a machine that gives it no time it rests for longer than a node that leaves waits for it.

use crate::models;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Only against hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// A caller of iris.
#[derive(Debug)]
pub struct Kept {
    address: SocketAddr,
    request: String,
    connection: Option<BufReader<TcpStream>>,
}

impl Kept {
    /// Of the model at this URL, with this key.
    #[track_caller]
    pub fn caller(url: &str, key: &str) -> Self {
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .expect("a URL with a path");
        let body = models::setosa().to_string();
        let length = body.len();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        Self {
            address: host.parse().expect("an address"),
            request,
            connection: None,
        }
    }

    /// One call: the status of its answer.
    ///
    /// # Errors
    /// There was none.
    pub fn call(&mut self) -> io::Result<u16> {
        let kept = self.connection.take().filter(|kept| is_open(kept.get_ref()));
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.connect()?,
        };
        connection.get_mut().write_all(self.request.as_bytes())?;
        let (mut head, mut status, mut length) = (String::new(), 0, 0);
        while !head.ends_with("\r\n\r\n") {
            if connection.read_line(&mut head)? == 0 {
                let within = format!("hung up on within an answer: {head:?}");
                return Err(io::Error::new(ErrorKind::UnexpectedEof, within));
            }
        }
        let head = head.to_ascii_lowercase();
        for line in head.lines() {
            match line.split_once([':', ' ']) {
                Some(("http/1.1", rest)) => status = rest[..3].parse().expect("a status"),
                Some(("content-length", rest)) => length = rest.trim().parse().expect("a length"),
                _ => {}
            }
        }
        connection.read_exact(&mut vec![0; length])?;
        if !head.contains("connection: close") {
            self.connection = Some(connection);
        }
        Ok(status)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(BufReader::new(stream))
    }
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let looked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).expect("a socket");
    matches!(looked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}
