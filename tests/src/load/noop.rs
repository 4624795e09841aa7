//! A server that does nothing: how fast callers could be answered at most, by whoever they call.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::thread;

use rustix::event::epoll;

/// Starts one that answers whatever comes with this JSON, until the program ends. Where it listens: `http://host:port`.
#[track_caller]
pub fn noop(json: &str) -> String {
    answering(&format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    ))
}

/// The same with a whole answer, head and all.
#[track_caller]
pub(super) fn answering(answer: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    let answer = answer.as_bytes().to_vec();
    thread::spawn(move || serve(&listener, &answer));
    url
}

/// A request is small enough to come in one piece.
fn serve(listener: &TcpListener, answer: &[u8]) {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let watch = |what: &dyn AsFd, number: usize| {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&poll, what.as_fd(), data, epoll::EventFlags::IN).expect("epoll");
    };
    watch(&listener, 0);
    let mut streams = Vec::new();
    let mut events = Vec::with_capacity(64);
    let mut request = vec![0; 1 << 16];
    loop {
        events.clear();
        if epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None).is_err() {
            continue;
        }
        for event in &events {
            match event.data.u64() as usize {
                0 => {
                    let (stream, _) = listener.accept().expect("a caller");
                    stream.set_nodelay(true).expect("a socket");
                    streams.push(stream);
                    watch(&streams[streams.len() - 1], streams.len());
                }
                number => {
                    let stream = &mut streams[number - 1];
                    let came = stream.read(&mut request).unwrap_or(0);
                    if came == 0 || stream.write_all(answer).is_err() {
                        epoll::delete(&poll, &*stream).ok();
                        stream.shutdown(Shutdown::Both).ok();
                    }
                }
            }
        }
    }
}
