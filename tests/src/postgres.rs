//! A PostgreSQL of our own: started once for this run, one database for each world.
//!
//! It is the system's server in a temporary folder, on loopback, without durability: it ends with this run. Without its
//! programs the tests on PostgreSQL say so loudly and pass; in CI they fail.

use crate::scratch;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Server {
    programs: PathBuf,
    port: u16,
    _process: Child,
}

/// The URL of a new, empty database; none when this machine has no PostgreSQL.
pub fn database() -> Option<String> {
    static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();
    let (server, name) = new_name(&SHARED)?;
    server.run("createdb", &[&name]);
    Some(server.url(&name))
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
    let server = match server.get_or_init(start) {
        Ok(server) => server,
        Err(reason) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("PostgreSQL is needed in CI: {reason}")
        }
        Err(reason) => {
            eprintln!("\n!!! SKIPPED on PostgreSQL: {reason}\n");
            return None;
        }
    };
    Some((server, format!("world_{}", NUMBER.fetch_add(1, Ordering::Relaxed))))
}

impl Server {
    fn url(&self, name: &str) -> String {
        format!("postgres://castoff@127.0.0.1:{}/{name}", self.port)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let done = Command::new(self.programs.join(program))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "castoff"])
            .args(arguments)
            .output();
        let done = done.expect("PostgreSQL's programs can be started");
        assert!(
            done.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

fn start() -> Result<Server, String> {
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
    let log = fs::File::create(data.with_extension("log")).map_err(|error| error.to_string())?;
    let mut command = as_owner(&programs.join("postgres"), owner);
    command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "shared_buffers=32MB",
        "max_connections=200",
    ] {
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
    Ok(Server {
        programs,
        port,
        _process: process,
    })
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
fn owner() -> Option<(u32, u32)> {
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

fn as_owner(program: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/");
    command
}
