//! A refusal reaches the client, though it comes before the body: over raw sockets, where the order is ours to choose.

use acceptance::{Database, World};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends a request's head, sees the answer begin, and only then sends the body; gives the whole answer.
fn head_first(stream: &mut TcpStream, head: &str, body: &[u8]) -> String {
    write!(stream, "{head}content-length: {}\r\n\r\n", body.len()).unwrap();
    stream.peek(&mut [0]).expect("the refusal does not wait for the body");
    for part in body.chunks(body.len().div_ceil(2)) {
        stream.write_all(part).unwrap();
    }
    let mut answer = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if let (Some((head, _)), Some(length)) = (text.split_once("\r\n\r\n"), length)
            && answer.len() >= head.len() + 4 + length
        {
            return text;
        }
        let read = stream.read(&mut chunk).expect("the answer is not lost");
        assert_ne!(read, 0, "the connection was closed in the middle of {text:?}");
        answer.extend_from_slice(&chunk[..read]);
    }
}

fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    // Against hanging only.
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

#[test]
fn a_node_that_refuses_a_key_is_heard_and_stays_on_the_line() {
    let cast = World::with_cast(Database::Sqlite);
    let deployed = cast.iris_on_dev();
    let mut stream = connect(&deployed.url);
    for _ in 0..2 {
        let head = "POST /v2/models/iris/infer HTTP/1.1\r\nhost: node\r\n";
        let answer = head_first(&mut stream, head, &[b' '; 200_000]);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}

#[test]
fn a_control_plane_that_refuses_an_upload_is_heard_and_stays_on_the_line() {
    let world = World::start(Database::Sqlite);
    let mut stream = connect(&world.server.url);
    for _ in 0..2 {
        let head = "PUT /api/v1/services/iris/versions/v1 HTTP/1.1\r\nhost: castoff\r\n";
        let answer = head_first(&mut stream, head, &[b' '; 200_000]);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}
