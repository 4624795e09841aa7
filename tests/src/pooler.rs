//! A real pooler (PgBouncer) between the control planes and PostgreSQL, which lends few sessions to many: started, ended,
//! started again.

use crate::postgres::{self, Shutdown};
use crate::processes::Process;
use crate::{eventually, ports, scratch};
use rustix::process::Signal;
use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// As an operator would set it, with fewer sessions than a single control plane has connections.
const USUAL: &[&str] = &[
    "pool_mode = transaction",
    "max_prepared_statements = 200",
    "default_pool_size = 4",
    "max_client_conn = 300",
];

/// One before a database. Ends with its owner.
#[derive(Debug)]
pub struct Pooler {
    folder: PathBuf,
    port: u16,
    before: String,
    child: Option<Child>,
}

impl Pooler {
    /// A new one before the database of this URL, where `tests/pooler/build` could make it.
    #[track_caller]
    pub fn start(before: &str) -> Option<Self> {
        Self::start_with(before, &[])
    }

    /// The same with other settings; what is set last holds.
    #[track_caller]
    pub fn start_with(before: &str, settings: &[&str]) -> Option<Self> {
        let program = program()?;
        let folder = scratch::subfolder("pooler");
        // It refuses to be root, and whom it runs as does not get into our home.
        fs::copy(program, folder.join("pgbouncer")).expect("a copy");
        let mut pooler = Self {
            port: ports::one(),
            before: before.to_owned(),
            child: None,
            folder,
        };
        let (server, name) = before.rsplit_once('/').expect("a URL");
        let port = server.rsplit(':').next().expect("a port");
        let mut file = format!(
            "[databases]\n{name} = host=127.0.0.1 port={port} user=castoff\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n",
            pooler.port
        );
        for setting in USUAL.iter().chain(settings) {
            file.push_str(setting);
            file.push('\n');
        }
        fs::write(pooler.folder.join("pgbouncer.ini"), file).expect("its settings");
        pooler.launch();
        Some(pooler)
    }

    fn launch(&mut self) {
        let log = self.folder.join("log");
        let written = File::options().create(true).append(true).open(&log).expect("a log");
        let owner = postgres::owner();
        if let Some((uid, gid)) = owner {
            chown(&log, Some(uid), Some(gid)).expect("its log is its own");
            fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755)).expect("it gets to its settings");
        }
        let child = postgres::as_owner(&self.folder.join("pgbouncer"), owner)
            .arg(self.folder.join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(written)
            .spawn()
            .expect("PgBouncer can be started");
        self.child = Some(child);
        eventually("the pooler answers", || {
            TcpStream::connect(("127.0.0.1", self.port))
                .map(drop)
                .map_err(|error| format!("{error}: {}", self.logged()))
        });
    }

    /// The database as it is asked through it.
    pub fn url(&self) -> String {
        let name = self.before.rsplit('/').next().unwrap_or_default();
        format!("postgres://castoff@127.0.0.1:{}/{name}", self.port)
    }

    /// The URL past it.
    pub fn before(&self) -> &str {
        &self.before
    }

    /// Ends it, with all connections on both sides, and starts it again where it was. In order it waits for what is under
    /// way.
    #[track_caller]
    pub fn restart(&mut self, how: Shutdown) {
        self.end(match how {
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::KILL,
        });
        self.launch();
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(process) = Process::find(child.id()) {
            process.signal(signal);
        }
        child.wait().expect("it is ours");
    }

    /// How many have come to it.
    pub fn visits(&self) -> usize {
        self.logged().matches("login attempt").count()
    }

    /// All that it has logged.
    pub fn logged(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.end(Signal::KILL);
        if std::thread::panicking() {
            let log = self.logged();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(30)..].join("\n");
            eprintln!("--- the end of the pooler's log\n{end}");
        }
    }
}

/// Where `tests/pooler/build` has put it; none where it could not be built, which CI does not forgive.
fn program() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let folder = cache.expect("a home").join("castoff-pooler");
    let program = folder.join("pgbouncer");
    if folder.join("state").exists() && program.exists() {
        return Some(program);
    }
    let why = fs::read_to_string(folder.join("why"));
    let why = why.unwrap_or_else(|_| "run tests/pooler/build first (make test does)".to_owned());
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "a pooler is needed in CI: {why}"
    );
    crate::skipped("with a pooler", why.trim());
    None
}
