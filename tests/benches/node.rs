//! How fast a node answers, and how fast a revoked key is gone: `make bench`.
//!
//! Apart from the tests, because numbers are to be read, not passed. The rule a newcomer would break: only the optimized
//! programs are measured, over real sockets, and every answer is checked; a fast refusal is no result.

use acceptance::{Database, Deployed, World, eventually, json, models};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const FOR: Duration = Duration::from_secs(3);
const CONNECTIONS: [usize; 3] = [1, 8, 64];
const KEYS: usize = 50;

fn main() {
    // `cargo test --all-targets` starts us, too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let cast = World::with_cast(Database::Sqlite);
    let deployed = cast.iris_on_dev();
    println!("iris on one local node, JSON, with a key, {} s each", FOR.as_secs());
    println!(
        "{:>12} {:>12} {:>10} {:>10} {:>10}",
        "connections", "answers/s", "p50 µs", "p99 µs", "max µs"
    );
    let expected = models::expected("iris-columns");
    for (dialect, path, body) in [
        ("V2", "/v2/models/iris/infer", json!({"inputs": expected["inputs"]})),
        ("records", "/public/api/v1/iris/iris/predict", models::setosa()),
    ] {
        println!("{dialect}");
        let request = request(&deployed, path, &body.to_string());
        for connections in CONNECTIONS {
            calls(&deployed, &request, connections);
        }
    }
    revokes(&deployed, &cast);
    replacement(&deployed);
}

fn request(deployed: &Deployed, path: &str, body: &str) -> Vec<u8> {
    let key = &deployed.key;
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: node\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Many callers, each with a connection, one call after the other.
fn calls(deployed: &Deployed, request: &[u8], connections: usize) {
    let address = deployed
        .url
        .strip_prefix("http://")
        .expect("an address of this machine");
    let end = Instant::now() + FOR;
    let mut taken: Vec<u64> = thread::scope(|scope| {
        let caller = || scope.spawn(|| caller(address, request, end));
        let callers: Vec<_> = (0..connections).map(|_| caller()).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    taken.sort_unstable();
    let rate = taken.len() as f64 / FOR.as_secs_f64();
    let [p50, p99, max] = quantiles(&taken);
    println!("{connections:>12} {rate:>12.0} {p50:>10} {p99:>10} {max:>10}");
}

fn caller(address: &str, request: &[u8], end: Instant) -> Vec<u64> {
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        BufReader::new(stream)
    };
    let mut connection = connect();
    let mut taken = Vec::new();
    while Instant::now() < end {
        let started = Instant::now();
        connection.get_mut().write_all(request).unwrap();
        let goes_on = answered(&mut connection);
        taken.push(u64::try_from(started.elapsed().as_micros()).unwrap());
        if !goes_on {
            connection = connect();
        }
    }
    taken
}

/// Reads one answer, which must be a good one; says whether the connection stays.
fn answered(connection: &mut BufReader<TcpStream>) -> bool {
    let mut line = String::new();
    connection.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    let (mut length, mut goes_on) = (0, true);
    loop {
        line.clear();
        connection.read_line(&mut line).unwrap();
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        goes_on &= header != "connection: close";
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).unwrap();
    goes_on
}

/// From asking for a revoke to its receipt, after which the key must not open anything.
fn revokes(deployed: &Deployed, cast: &acceptance::Cast) {
    let names: Vec<String> = (0..KEYS).map(|number| format!("bench-{number}")).collect();
    let mut taken: Vec<u64> = names
        .iter()
        .map(|name| {
            let key = deployed.new_key(name);
            deployed.call(&key).expect(200);
            let path = deployed.path(&format!("/keys/{}/revoke?wait=2s", deployed.key_id(name)));
            let started = Instant::now();
            cast.dana.post(&path, json!({})).expect(200);
            let taken = started.elapsed();
            deployed.call(&key).expect(401);
            u64::try_from(taken.as_micros()).unwrap()
        })
        .collect();
    taken.sort_unstable();
    let [p50, p99, max] = quantiles(&taken);
    println!("revoke, from the call to its receipt, {KEYS} keys: p50 {p50} µs, p99 {p99} µs, max {max} µs");
}

fn quantiles(sorted: &[u64]) -> [u64; 3] {
    let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part) as usize];
    [at(0.5), at(0.99), at(1.0)]
}

/// How long a deployment of one node does not answer after `kill -9` of it. Once: a second one would be told to wait.
fn replacement(deployed: &Deployed) {
    deployed.processes(1)[0].kill();
    let killed = Instant::now();
    eventually("a new node serves", || {
        deployed
            .try_call(&deployed.key)
            .is_ok_and(|answer| answer.status == 200)
    });
    println!(
        "kill -9 of the only node until a new one answers: {} ms",
        killed.elapsed().as_millis()
    );
}
