//! A PostgreSQL of our own: started once for this run, one database for each world.
//!
//! It is the system's server in a temporary folder, on loopback, without durability: it ends with this run. Without its
//! programs the tests on PostgreSQL say so loudly and pass; in CI they fail.

use crate::processes::Process;
use crate::scratch;
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
struct Server {
    programs: PathBuf,
    data: PathBuf,
    port: u16,
    settings: &'static [&'static str],
    /// Its addresses.
    listens: String,
    process: Child,
}

const LOOPBACK: &str = "127.0.0.1";
/// The machine does not end with a test, so that nothing has to reach the disk itself.
const COMMON: &[&str] = &[
    "unix_socket_directories=",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_connections=200",
];
/// Of a server that is not ended by a test: what it has acknowledged may be in its memory only.
const SHARED: &[&str] = &["synchronous_commit=off"];
/// Of one that is: what it has acknowledged is with the kernel.
const OWN: &[&str] = &["synchronous_commit=on"];

/// The URL of a new, empty database; none when this machine has no PostgreSQL.
pub fn database() -> Option<String> {
    static ONE: OnceLock<Result<Server, String>> = OnceLock::new();
    let (server, name) = new_name(&ONE)?;
    server.run("createdb", &[&name]);
    Some(server.url(&name))
}

/// Runs statements in the database of this URL, past the product.
#[track_caller]
pub fn state(url: &str, statements: &str) {
    let psql = programs().expect("PostgreSQL is there").join("psql");
    succeed(Command::new(psql).args(["-q", "-d", url, "-c", statements]));
}

/// As [`database`], with its tables in this folder, on a server of its own: one that loses a disk fails at every
/// checkpoint from then on, and every other test's `createdb` is one.
pub fn database_in(folder: &Path) -> Option<String> {
    static APART: OnceLock<Result<Server, String>> = OnceLock::new();
    let (server, name) = new_name(&APART)?;
    if let Some((uid, gid)) = owner() {
        chown(folder, Some(uid), Some(gid)).expect("the folder can be given to PostgreSQL");
    }
    let space = format!("CREATE TABLESPACE space_{name} LOCATION '{}'", folder.display());
    server.run("psql", &["-q", "-d", "postgres", "-c", &space]);
    server.run("createdb", &["--tablespace", &format!("space_{name}"), &name]);
    Some(server.url(&name))
}

fn new_name(server: &'static OnceLock<Result<Server, String>>) -> Option<(&'static Server, String)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = needed(server.get_or_init(|| start(SHARED, LOOPBACK)).as_ref())?;
    Some((server, format!("world_{}", NUMBER.fetch_add(1, Ordering::Relaxed))))
}

fn needed<T>(started: Result<T, &String>) -> Option<T> {
    match started {
        Ok(server) => Some(server),
        Err(reason) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("PostgreSQL is needed in CI: {reason}")
        }
        Err(reason) => {
            crate::skipped("on PostgreSQL", reason);
            None
        }
    }
}

/// A server of one test's own, which it may end and start again. It ends with its owner.
#[derive(Debug)]
pub struct OwnServer(Server);

/// How a server is ended.
#[derive(Clone, Copy, Debug)]
pub enum Shutdown {
    /// In order: who is connected is hung up on.
    Fast,
    /// At once, as in a crash: the next start recovers.
    Immediate,
}

impl OwnServer {
    /// Starts one with an empty database, if this machine has PostgreSQL, and gives the database's URL.
    pub fn start() -> Option<(Self, String)> {
        let server = Self::started(LOOPBACK)?;
        let url = server.0.url("world");
        Some((server, url))
    }

    /// The same on one more address of this machine, from where it takes only who has the password in the URL.
    pub fn start_at(address: &str) -> Option<(Self, String)> {
        let server = Self::started(&format!("{LOOPBACK},{address}"))?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        let alter = format!("ALTER ROLE castoff PASSWORD '{password}'");
        server.0.run("psql", &["-q", "-d", "world", "-c", &alter]);
        let port = server.0.port;
        Some((server, format!("postgres://castoff:{password}@{address}:{port}/world")))
    }

    fn started(listens: &str) -> Option<Self> {
        let started = start(OWN, listens);
        needed(started.as_ref().map(|_| ()))?;
        let server = started.ok()?;
        server.run("createdb", &["world"]);
        Some(Self(server))
    }

    /// Cuts every connection to it.
    pub fn cut(&self) {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        self.0.run("psql", &["-q", "-d", "postgres", "-c", cut]);
    }

    /// Ends it and starts it again where it was.
    pub fn restart(&mut self, how: Shutdown) {
        self.end(how);
        let server = &mut self.0;
        server.process = server.launch().expect("PostgreSQL can be started again");
    }

    fn end(&mut self, how: Shutdown) {
        let signal = match how {
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        };
        if let Some(process) = Process::find(self.0.process.id()) {
            process.signal(signal);
        }
        self.0.process.wait().expect("it is ours");
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.end(Shutdown::Immediate);
    }
}

impl Server {
    fn launch(&self) -> Result<Child, String> {
        launch(&self.programs, &self.data, self.port, self.settings, &self.listens)
    }

    fn url(&self, name: &str) -> String {
        format!("postgres://castoff@127.0.0.1:{}/{name}", self.port)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "castoff"]);
        succeed(command.args(arguments));
    }
}

#[track_caller]
fn succeed(command: &mut Command) {
    let done = command.output().expect("PostgreSQL's programs can be started");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {said}");
}

fn start(settings: &'static [&'static str], listens: &str) -> Result<Server, String> {
    let programs = programs().ok_or("install it, on Debian: apt-get install postgresql")?;
    let data = scratch::subfolder("postgresql");
    let owner = owner();
    if let Some((uid, gid)) = owner {
        chown(&data, Some(uid), Some(gid)).map_err(|error| format!("chown: {error}"))?;
    }
    let made = as_owner(&programs.join("initdb"), owner)
        .args([
            "--username=castoff",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
            "-D",
        ])
        .arg(&data)
        .output()
        .map_err(|error| format!("initdb: {error}"))?;
    if !made.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.map_err(|error| error.to_string())?.port();
    // Behind those of initdb, which trust loopback.
    let rule = fs::File::options().append(true).open(data.join("pg_hba.conf"));
    rule.and_then(|mut file| file.write_all(b"host all all all scram-sha-256\n"))
        .map_err(|error| format!("pg_hba.conf: {error}"))?;
    let process = launch(&programs, &data, port, settings, listens)?;
    Ok(Server {
        programs,
        data,
        port,
        settings,
        listens: listens.to_owned(),
        process,
    })
}

/// Starts the server, and waits until it accepts connections.
fn launch(programs: &Path, data: &Path, port: u16, settings: &[&str], listens: &str) -> Result<Child, String> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(data.with_extension("log"))
        .map_err(|error| error.to_string())?;
    let mut command = as_owner(&programs.join("postgres"), owner());
    command.arg("-D").arg(data).args(["-p", &port.to_string()]);
    command.args(["-c", &format!("listen_addresses={listens}")]);
    for setting in COMMON.iter().chain(settings) {
        command.args(["-c", setting]);
    }
    let process = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("postgres: {error}"))?;
    let ready = programs.join("pg_isready");
    crate::eventually("PostgreSQL accepts connections", || {
        let asked = Command::new(&ready)
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status();
        asked.is_ok_and(|status| status.success())
    });
    Ok(process)
}

/// The newest that is installed.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let release = entry.file_name().to_str()?.parse().ok()?;
            Some((release, entry.path().join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").exists() && folder.join("postgres").exists())
        .collect();
    found.sort();
    found.pop().map(|(_, folder)| folder)
}

/// Whom to run it as: it refuses to be root.
pub(crate) fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let of = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}

pub(crate) fn as_owner(program: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/");
    command
}
