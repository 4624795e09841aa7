//! A connection on which a test writes what no client would, and what comes back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Only against hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// The preface of HTTP/2 and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Between two bytes of a body that is slow.
const DRIP: Duration = Duration::from_secs(1);
/// Only against hanging.
const MOST_DRIPS: u32 = 60;

/// Connects to `http://host:port` or `host:port`.
#[track_caller]
pub fn dial(url: &str) -> TcpStream {
    let address: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// Connects and says the preface of HTTP/2, as a node does: the other side answers with its settings.
#[track_caller]
pub fn greet(url: &str) {
    let mut stream = dial(url);
    stream.write_all(PREFACE).expect("the preface is taken");
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).expect("a frame comes back");
    assert_eq!(frame[3], 4, "settings: {frame:?}");
}

/// Writes this, says that there is no more, and reads until the other side closes. `close` may be left out of the head:
/// the other side closes when it has answered, for there is no more.
#[track_caller]
pub fn exchange(url: &str, text: &[u8]) -> (u16, String) {
    let mut stream = dial(url);
    // The other side may have answered and closed before it has read all: the answer is there all the same.
    stream.write_all(text).ok();
    stream.shutdown(Shutdown::Write).ok();
    answer(&mut stream)
}

/// Writes this, whose head says `connection: close`, and reads until the other side has closed. Nobody is told before that
/// there is no more: a server may take that for a caller who has gone.
#[track_caller]
pub fn ask(url: &str, text: &[u8]) -> (u16, String) {
    let mut stream = dial(url);
    stream.write_all(text).ok();
    answer(&mut stream)
}

/// Writes a head and then a megabyte of blanks again and again, until so many bytes are sent or the other side has had
/// enough.
#[track_caller]
pub fn flood(url: &str, head: &[u8], bytes: usize) -> (u16, String) {
    let mut stream = dial(url);
    stream.write_all(head).expect("the head is taken");
    let blanks = vec![b' '; 1 << 20];
    let mut sent = 0;
    while sent < bytes && stream.write_all(&blanks).is_ok() {
        sent += blanks.len();
    }
    answer(&mut stream)
}

/// Writes a head, and waits for the answer without a byte more and without hanging up.
#[track_caller]
pub fn begin(url: &str, head: &[u8]) -> (u16, String) {
    let mut stream = dial(url);
    stream.write_all(head).expect("the head is taken");
    answer(&mut stream)
}

/// Writes a head and then a byte a second, until an answer begins or a minute has passed.
#[track_caller]
pub fn drip(url: &str, head: &[u8]) -> (u16, String) {
    let mut stream = dial(url);
    stream.write_all(head).expect("the head is taken");
    stream.set_read_timeout(Some(DRIP)).expect("a limit");
    for _ in 0..MOST_DRIPS {
        match stream.peek(&mut [0; 1]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
        // A chunk of one byte is two lines; as a body of known size it is six bytes.
        if stream.write_all(b"1\r\nx\r\n").is_err() {
            break;
        }
    }
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    answer(&mut stream)
}

/// The status and the whole text of what comes until the other side closes; 0 when nothing came.
pub fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut text = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_end(&error) => break,
            Err(error) => panic!(
                "no end of the answer came: {error}; so far: {}",
                String::from_utf8_lossy(&text)
            ),
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (status, text)
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}
