//! Uploads that are cut in the middle, and large ones that are not: nothing of the first is left, and neither takes
//! memory by its size.

use acceptance::processes::Process;
use acceptance::{Database, World, eventually, json, onnx, raw};
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::Path;

/// What the control plane may take, in MiB: what it takes when idle, its buffers of one upload, and a tenth more.
const MOST_MIB: u64 = 140 + 14;
/// Megabytes of the upload in `make test`; `make faults` says 5,120.
const MEGABYTES: u64 = 300;

/// One large upload, byte by byte the same each time.
struct Large {
    before: Vec<u8>,
    weights: u64,
    after: Vec<u8>,
}

impl Large {
    fn new() -> Self {
        let megabytes = std::env::var("CASTOFF_UPLOAD_MB").ok();
        let megabytes = megabytes.map_or(MEGABYTES, |text| text.parse().expect("a number of megabytes"));
        let weights = megabytes << 20;
        let (before, after) = onnx::heavy(weights);
        Self { before, weights, after }
    }

    fn size(&self) -> u64 {
        self.before.len() as u64 + self.weights + self.after.len() as u64
    }

    /// Sends the head and so many bytes of the weights; looks at the other side's memory now and then.
    fn send(&self, stream: &mut TcpStream, head: &str, weights: u64, process: Process) -> u64 {
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&self.before).unwrap();
        let zeros = vec![0; 1 << 20];
        let mut highest = 0;
        for sent in 0..weights >> 20 {
            stream.write_all(&zeros).unwrap();
            if sent % 16 == 0 {
                highest = highest.max(process.pss_mib());
            }
        }
        highest
    }
}

#[test]
fn an_upload_that_is_cut_leaves_nothing_and_can_be_sent_again() {
    let large = Large::new();
    let most = (large.size() + (1 << 20)).to_string();
    let world = World::start_with(Database::Sqlite, &["--max-package-bytes", &most]);
    world.admin.post("/services", json!({"name": "iris"})).expect(201);
    let process = world.server.process();
    let packages = world.server.data.join("packages");
    let head = |length: &str| {
        format!(
            "PUT /api/v1/services/iris/versions/large HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n{length}\r\n\r\n",
            world.admin.token()
        )
    };
    let announced = head(&format!("content-length: {}", large.size()));
    let mut highest = 0;
    for how in [Cut::Closed, Cut::Reset, Cut::HalfClosed] {
        let mut stream = raw::dial(&world.server.url);
        highest = highest.max(large.send(&mut stream, &announced, large.weights * 2 / 3, process));
        how.cut(stream);
        eventually("nothing of it is left", || nothing_of(process, &packages));
        assert_eq!(
            world.admin.list("/services/iris/versions"),
            [] as [acceptance::Value; 0]
        );
    }
    let mut stream = raw::dial(&world.server.url);
    highest = highest.max(large.send(&mut stream, &announced, large.weights, process));
    stream.write_all(&large.after).unwrap();
    let (status, text) = raw::answer(&mut stream);
    assert_eq!(status, 201, "{text}");
    let shown = world.admin.get("/services/iris/versions/large").expect(200);
    assert_eq!(shown["size"], large.size());
    highest = highest.max(process.pss_mib());
    println!("uploads of {} bytes: {highest} MiB at the highest", large.size());
    assert!(highest <= MOST_MIB, "{highest} MiB");
}

/// How a sender goes away.
enum Cut {
    Closed,
    /// By a reset: it had something to read that it did not.
    Reset,
    /// It says that there is no more, and goes on listening.
    HalfClosed,
}

impl Cut {
    fn cut(&self, mut stream: TcpStream) {
        match self {
            Self::Closed => drop(stream),
            Self::Reset => {
                rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap();
                drop(stream);
            }
            Self::HalfClosed => {
                stream.shutdown(Shutdown::Write).unwrap();
                let (status, text) = raw::answer(&mut stream);
                assert!(status == 400 && text.contains("broke off"), "{status} {text}");
            }
        }
    }
}

/// No file below the folder, with a name or without one.
fn nothing_of(process: Process, packages: &Path) -> Result<(), String> {
    let mut folders = vec![packages.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    // A file without a name is there as long as somebody has it open.
    let open = fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap();
    let open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    found.extend(open.filter(|path| path.starts_with(packages)));
    if found.is_empty() {
        Ok(())
    } else {
        Err(format!("{found:?}"))
    }
}
