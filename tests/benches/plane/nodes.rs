//! How soon a revoked key is refused by the last of ten real nodes.

use acceptance::figure::quantile;
use acceptance::node::ByHand;
use acceptance::{Edge, Figure, Report, eventually};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const NODES: usize = 10;
const KEYS: usize = 100;
const ROUNDS: usize = 200;
/// Against hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// The nodes are asked in turn, on connections that stay, until each has refused once: no node is asked while another's
/// answer is awaited, so that the asking does not take the cores from what is measured.
pub fn measure(report: &mut Report) {
    let edge = Edge::start();
    let control_plane = format!("http://{}", edge.cast.world.server.node);
    let nodes: Vec<ByHand> = (0..NODES).map(|_| edge.node(&control_plane)).collect();
    for number in 1..KEYS {
        edge.new_key(&format!("kept-{number}"));
    }
    let mut callers: Vec<Caller> = nodes.iter().map(|node| Caller::of(&node.url())).collect();
    let (mut refused, mut receipts) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        let key = edge.new_key(&format!("revoked-{round}"));
        for caller in &mut callers {
            let begun = Instant::now();
            while caller.status(&key.key) != 200 {
                assert!(begun.elapsed() < LIMIT, "a new key opens every node");
                thread::sleep(Duration::from_millis(1));
            }
        }
        let started = Instant::now();
        let receipt = thread::scope(|scope| {
            let revoking = scope.spawn(|| {
                edge.revoke(&key, "?wait=10s").expect(200);
                started.elapsed()
            });
            until_refused(&mut callers, &key.key, started);
            refused.push(started.elapsed().as_secs_f64() * 1e3);
            revoking.join().expect("it is revoked")
        });
        receipts.push(receipt.as_secs_f64() * 1e3);
    }
    let what = format!("revoke until the last of {NODES} nodes refuses, p99 of {ROUNDS}");
    report.add(
        Figure::of(what, "ms", quantile(&refused, 0.99))
            .at_most(50.0)
            .goal(20.0),
    );
    report.add(Figure::of("the same, p50", "ms", quantile(&refused, 0.5)));
    let what = "revoke until the receipt: in force and on the disk of all, p99";
    report.add(Figure::of(what, "ms", quantile(&receipts, 0.99)));
    report.add(Figure::of("the same, p50", "ms", quantile(&receipts, 0.5)));
}

/// Asks until all have refused a key that is being revoked.
pub fn until_refused(callers: &mut [Caller], key: &str, started: Instant) {
    let mut open: Vec<&mut Caller> = callers.iter_mut().collect();
    while !open.is_empty() {
        open.retain_mut(|caller| match caller.status(key) {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        });
        assert!(started.elapsed() < LIMIT, "every node refuses it");
    }
}

/// Asks one node what its model is, which a key is needed for.
pub struct Caller {
    url: String,
    stream: BufReader<TcpStream>,
}

impl Caller {
    /// Of the node at this URL.
    pub fn of(url: &str) -> Self {
        let stream = eventually("the node listens", || dial(url));
        Self {
            url: url.to_owned(),
            stream,
        }
    }

    fn status(&mut self, key: &str) -> u16 {
        let request = format!("GET /v2/models/iris HTTP/1.1\r\nhost: node\r\nx-api-key: {key}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).expect("it is sent");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("an answer");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (mut length, mut stays) = (0, true);
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("a header");
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            stays &= header != "connection: close";
        }
        self.stream.read_exact(&mut vec![0; length]).expect("a body");
        if !stays {
            self.stream = dial(&self.url).expect("the node listens");
        }
        status.expect("a status")
    }
}

fn dial(url: &str) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(url.trim_start_matches("http://"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(BufReader::new(stream))
}
