//! A node that is no node, a book in memory, and patience: for the tests of the launcher.
//!
//! The program that is launched is this test executable itself, through a script: it runs the one test [`node`], which
//! does what a launcher sees of a node.

use super::folders::Folders;
use super::process::Identity;
use super::{Local, Settings};
use crate::clock::Clock;
use crate::launch::{JoinSource, Launcher, Leave, NodeBook, Wanted};
use crate::lease::Term;
use crate::store::{Error, LaunchedNode};
use castoff_wire::{Join, join::SigningKey};
use rustix::fd::AsFd;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::collections::BTreeMap;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(super) const DEPLOYMENT: Uuid = Uuid::from_u128(0xD);
const LIMIT: Duration = Duration::from_secs(20);

/// Waits until there is something.
pub(super) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A join document that can be read.
pub(super) fn join(deployment: Uuid) -> Join {
    Join {
        control_plane: "http://127.0.0.1:1".to_owned(),
        deployment,
        token: "token".to_owned(),
        ca_pem: None,
        signing_keys: vec![SigningKey::of(&[9; 32])],
    }
}

/// What a launcher sees of a node; nothing when it is run as a test.
#[test]
fn node() {
    let Ok(arguments) = std::env::var("FAKE_NODE") else {
        return;
    };
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let value = |name: &str| arguments[arguments.iter().position(|argument| *argument == name).unwrap() + 1];
    let (folder, node_id) = (Path::new(value("--data-dir")), value("--node-id"));
    Join::parse(&std::fs::read_to_string(value("--join")).unwrap()).unwrap();
    let listening = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    listening.set_nonblocking(false).unwrap();
    let handed = listening.try_clone().unwrap();
    std::fs::remove_file(folder.join("node.sock")).ok();
    let sock = UnixListener::bind(folder.join("node.sock")).unwrap();
    std::thread::spawn(move || {
        for peer in sock.incoming() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = [handed.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
            rustix::net::sendmsg(peer.unwrap(), &[IoSlice::new(b"L")], &mut control, SendFlags::NOSIGNAL).unwrap();
        }
    });
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let start_time: u64 = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    let said = serde_json::json!({
        "pid": std::process::id(), "start_time": start_time, "node_id": node_id,
        "http_address": "127.0.0.1:1", "ops_address": "127.0.0.1:2",
    });
    std::fs::write(folder.join("process.new"), said.to_string()).unwrap();
    std::fs::rename(folder.join("process.new"), folder.join("process.json")).unwrap();
    loop {
        match listening.accept() {
            Ok((mut caller, _)) => drop(caller.write_all(node_id.as_bytes())),
            // The launcher has closed the port for all.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The script that runs [`node`]. `first` are lines of shell before it.
fn program(folder: &Path, first: &str) -> PathBuf {
    let (path, new) = (folder.join("fake-node"), folder.join("fake-node.new"));
    let test = std::env::current_exe().unwrap();
    // The node's id is among the arguments, as it is among a node's.
    let script = format!(
        "#!/bin/sh\nall=\"$*\"\nwhile [ \"$1\" != --node-id ]; do shift; done\n{first}\n\
         FAKE_NODE=\"$all\" exec '{}' --exact --nocapture launch::local::testing::node \"$2\"\n",
        test.display()
    );
    std::fs::write(&new, script).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::rename(new, &path).unwrap();
    path
}

/// A book in memory.
#[derive(Default)]
pub(super) struct Book {
    pub(super) wanted: Mutex<Vec<Wanted>>,
    pub(super) records: Mutex<BTreeMap<Uuid, LaunchedNode>>,
    pub(super) ends: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl NodeBook for Book {
    async fn desired(&self) -> Result<Vec<Wanted>, Error> {
        Ok(self.wanted.lock().unwrap().clone())
    }

    async fn records(&self) -> Result<Vec<LaunchedNode>, Error> {
        Ok(self.records.lock().unwrap().values().cloned().collect())
    }

    async fn save(&self, node: &LaunchedNode, last_exit: Option<&str>) -> Result<(), Error> {
        self.records.lock().unwrap().insert(node.id, node.clone());
        self.ends.lock().unwrap().extend(last_exit.map(str::to_owned));
        Ok(())
    }

    async fn forget(&self, node: Uuid) -> Result<(), Error> {
        self.records.lock().unwrap().remove(&node);
        Ok(())
    }

    async fn assign_port(&self, deployment_id: Uuid, port: u16) -> Result<bool, Error> {
        let mut wanted = self.wanted.lock().unwrap();
        let free = wanted.iter().all(|wanted| wanted.port != Some(port));
        let of = wanted.iter_mut().find(|wanted| wanted.deployment_id == deployment_id);
        of.filter(|_| free)
            .into_iter()
            .for_each(|wanted| wanted.port = Some(port));
        Ok(free)
    }

    async fn set_problem(&self, deployment_id: Uuid, problem: Option<&str>) -> Result<(), Error> {
        let mut wanted = self.wanted.lock().unwrap();
        let of = wanted.iter_mut().filter(|wanted| wanted.deployment_id == deployment_id);
        of.for_each(|wanted| wanted.problem = problem.map(str::to_owned));
        Ok(())
    }

    async fn note(&self, _: Uuid, _: &str, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

struct Joins;

#[async_trait::async_trait]
impl JoinSource for Joins {
    async fn join(&self, deployment_id: Uuid) -> Result<Option<Join>, Error> {
        Ok(Some(join(deployment_id)))
    }
}

/// A data directory with a launcher on it. Every process that was started from it ends with it.
pub(super) struct World {
    pub(super) data: tempfile::TempDir,
    pub(super) book: Arc<Book>,
    pub(super) folders: Folders,
    program: PathBuf,
    launcher: Option<(JoinHandle<()>, watch::Sender<Leave>)>,
}

impl World {
    /// One deployment on a port of its own. `first` are lines of shell before the node runs.
    pub(super) fn new(replicas: u32, first: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let program = program(data.path(), first);
        let book = Arc::new(Book::default());
        *book.wanted.lock().unwrap() = vec![Wanted {
            deployment_id: DEPLOYMENT,
            enabled: true,
            replicas,
            port: Some(free_port()),
            problem: None,
            grace_ms: 10_000,
        }];
        Self {
            folders: Folders::open(data.path()).unwrap(),
            data,
            book,
            program,
            launcher: None,
        }
    }

    pub(super) fn open(&self, changes: broadcast::Receiver<crate::store::Change>) -> Result<Local, super::NotOpen> {
        let settings = Settings {
            data_dir: self.data.path().to_owned(),
            program: self.program.clone(),
            onnxruntime: None,
            ports: 1..=1,
        };
        let book = self.book.clone();
        let books = Box::new(move |_: &Term| book.clone() as Arc<dyn NodeBook>);
        Local::open(settings, true, books, Arc::new(Joins), Clock::default(), changes)
    }

    pub(super) fn launch(&mut self) {
        let (_, changes) = broadcast::channel(1);
        let (leave, leaving) = watch::channel(Leave::Stay);
        let launcher = Box::new(self.open(changes).unwrap());
        let (term, terms) = watch::channel(Some(Term::alone()));
        let running = async move {
            let _term = term;
            launcher.run(terms, leaving).await;
        };
        self.launcher = Some((tokio::spawn(running), leave));
    }

    /// The launcher is gone at whatever it was doing, as after `kill -9`.
    pub(super) async fn crash(&mut self) {
        let (task, _leave) = self.launcher.take().unwrap();
        task.abort();
        task.await.ok();
    }

    pub(super) async fn leave(&mut self, how: Leave) {
        let (task, leave) = self.launcher.take().unwrap();
        leave.send(how).unwrap();
        task.await.unwrap();
    }

    pub(super) fn want(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.book.wanted.lock().unwrap()[0]);
    }

    pub(super) fn port(&self) -> u16 {
        self.book.wanted.lock().unwrap()[0].port.unwrap()
    }

    pub(super) fn records(&self) -> Vec<LaunchedNode> {
        self.book.records.lock().unwrap().values().cloned().collect()
    }

    /// The recorded nodes, once so many run and have said so.
    pub(super) async fn running(&self, count: usize) -> Vec<LaunchedNode> {
        eventually("so many nodes run", || {
            let records = self.records();
            let all = records.iter().all(|record| {
                let identity = self.folders.process(record.id).map(|(identity, _)| identity);
                record.pid.is_some() && identity.map(|identity| identity.pid) == record.pid
            });
            (records.len() == count && all).then_some(records)
        })
        .await
    }

    /// Every living process that was started from this folder, whoever knows of it.
    pub(super) fn processes(&self) -> Vec<u32> {
        let folder = self.data.path().to_str().unwrap();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let of = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let contains = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(folder);
            if pid != std::process::id() && (contains(of("environ")) || contains(of("cmdline"))) {
                found.push(pid);
            }
        }
        found
    }

    /// Calls the deployment; the answer is the id of the node that answered.
    pub(super) async fn call(&self) -> Uuid {
        let port = self.port();
        let called = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer.parse().unwrap()
        });
        called.await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((task, _)) = &self.launcher {
            task.abort();
        }
        for pid in self.processes() {
            kill(pid);
        }
    }
}

/// `kill -9`, as somebody else.
pub(super) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
}

/// What names the recorded process.
pub(super) fn identity(record: &LaunchedNode) -> Identity {
    Identity {
        pid: record.pid.unwrap(),
        start_time: record.start_time.unwrap(),
    }
}
