//! Many connections on which nothing is ever said.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Those who are not connected by then find the queue of the kernel full, and go on trying.
const PATIENCE: Duration = Duration::from_secs(5);
/// Descriptors for what else the tests do at the same time.
const KEPT: u64 = 2_000;

/// A crowd; it leaves when this is dropped.
#[derive(Debug)]
pub struct Crowd {
    _runtime: Runtime,
    connected: Arc<AtomicUsize>,
}

impl Crowd {
    /// So many come to `http://host:port` or `host:port`. Each says nothing, and stays also when it is hung up on.
    #[track_caller]
    pub fn gather(url: &str, count: usize) -> Self {
        raise(count);
        let address: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let connected = Arc::new(AtomicUsize::new(0));
        for _ in 0..count {
            let connected = connected.clone();
            runtime.spawn(async move {
                let _stream = TcpStream::connect(address).await?;
                connected.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<std::io::Result<()>>().await
            });
        }
        let until = Instant::now() + PATIENCE;
        while connected.load(Ordering::Relaxed) < count && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
        Self {
            _runtime: runtime,
            connected,
        }
    }

    /// How many have been connected so far, in the eyes of the kernel.
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }
}

/// Raises this process's own limit of descriptors, if so many need it.
#[track_caller]
fn raise(count: usize) {
    let wanted = count as u64 + KEPT;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    assert!(
        limit.maximum.is_none_or(|maximum| maximum >= wanted),
        "the hard limit of open files must be {wanted} (ulimit -Hn)"
    );
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the limit may be raised");
}
