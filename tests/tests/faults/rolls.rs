//! Nodes that are asked to end, one after the other, while calls go on: with a connection for each call, and with one that
//! is kept.
//!
//! `CASTOFF_ROLLS` says how often (10; `make faults`: 100).

use acceptance::deployed::Deployed;
use acceptance::{Database, World, json, models, raw};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

fn rolls() -> u32 {
    let given = std::env::var("CASTOFF_ROLLS").ok();
    given.map_or(10, |text| text.parse().expect("CASTOFF_ROLLS is a number"))
}

/// A caller that keeps its connection until an answer says that it was the last, and looks before it sends whether it was
/// closed while it rested, as pools of connections do: on a machine that gives it no time, it rests for longer than a node
/// that leaves waits for it.
struct Kept<'a> {
    dev: &'a Deployed,
    connection: Option<BufReader<TcpStream>>,
}

impl Kept<'_> {
    /// One call, never repeated: its status.
    fn call(&mut self) -> u16 {
        let kept = self.connection.take().filter(|kept| is_open(kept.get_ref()));
        let mut connection = kept.unwrap_or_else(|| BufReader::new(raw::dial(&self.dev.url)));
        let body = models::setosa().to_string();
        let (path, key) = (self.dev.predict_url().replace(&self.dev.url, ""), &self.dev.key);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection
            .get_mut()
            .write_all((head + body.as_str()).as_bytes())
            .unwrap();
        let (mut head, mut status, mut length) = (String::new(), 0, 0);
        while !head.ends_with("\r\n\r\n") {
            let read = connection.read_line(&mut head).expect("a head");
            assert_ne!(read, 0, "hung up on within an answer: {head:?}");
        }
        for line in head.to_ascii_lowercase().lines() {
            match line.split_once([':', ' ']) {
                Some(("http/1.1", rest)) => status = rest[..3].parse().unwrap(),
                Some(("content-length", rest)) => length = rest.trim().parse().unwrap(),
                _ => {}
            }
        }
        connection.read_exact(&mut vec![0; length]).expect("a body");
        if !head.to_ascii_lowercase().contains("connection: close") {
            self.connection = Some(connection);
        }
        status
    }
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let looked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(looked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// No call fails, and each node comes again at the same address.
#[test]
fn nodes_that_are_rolled_under_load_fail_no_call() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let body = json!({"scale": {"replicas": 2}, "limits": {"drain_delay_ms": 200}});
    cast.dana.patch(&dev.path("?wait=30s"), body).expect_any(&[200, 202]);
    dev.processes(2);
    let (stop, calls) = (AtomicBool::new(false), AtomicU32::new(0));
    let goes_on = || {
        calls.fetch_add(1, Ordering::SeqCst);
        !stop.load(Ordering::SeqCst)
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while goes_on() {
                    dev.call(&dev.key).expect(200);
                }
            });
            scope.spawn(|| {
                let mut kept = Kept {
                    dev: &dev,
                    connection: None,
                };
                while goes_on() {
                    assert_eq!(kept.call(), 200);
                }
            });
        }
        // The callers end when this does, however it does.
        let rolled = thread::scope(|rolling| {
            rolling
                .spawn(|| {
                    for roll in 0..rolls() as usize {
                        let node = dev.processes(2)[roll % 2];
                        // One that is asked sooner counts as failing, and comes again later and later.
                        acceptance::eventually("it has lived for a second", || node.age() > Duration::from_secs(1));
                        node.signal(Signal::TERM);
                        acceptance::eventually("it has ended", || !node.alive());
                    }
                    dev.processes(2)
                })
                .join()
        });
        stop.store(true, Ordering::SeqCst);
        let nodes = rolled.expect("each node comes again");
        assert_eq!(nodes.len(), cast.world.nodes().len());
    });
    println!("{} rolls, {} calls", rolls(), calls.load(Ordering::SeqCst));
    let states = dev.nodes();
    assert!(states.iter().all(|node| node.shown["state"] == "ready"), "{states:?}");
}
