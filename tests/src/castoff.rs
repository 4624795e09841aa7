//! The control plane as a process: started, killed, started again.

use crate::answer::Request;
use crate::processes::Process;
use crate::release::Release;
use crate::world::Database;
use crate::{eventually, ports};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program that `cargo build --bins` made, beside this test.
#[track_caller]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    let folder = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --bins` first (make test does)",
        path.display()
    );
    path
}

/// ONNX Runtime's library, as `scripts/onnxruntime` fetched it.
#[track_caller]
pub fn onnxruntime() -> PathBuf {
    if let Some(path) = std::env::var_os("CASTOFF_ONNXRUNTIME") {
        return path.into();
    }
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/onnxruntime");
    let found = fs::read_dir(&cache).into_iter().flatten().filter_map(|entry| {
        let library = entry.ok()?.path().join("libonnxruntime.so");
        library.exists().then_some(library)
    });
    match found.max() {
        Some(library) => library.canonicalize().expect("the library has a path"),
        None => panic!(
            "no ONNX Runtime below {}: run scripts/onnxruntime first (make test does), or set CASTOFF_ONNXRUNTIME",
            cache.display()
        ),
    }
}

/// `castoff serve` and all it needs to come back as itself.
#[derive(Debug)]
pub struct Server {
    /// Its data directory.
    pub data: PathBuf,
    /// What it wrote to standard output and standard error.
    pub log: PathBuf,
    /// `http://…` of the REST API.
    pub url: String,
    /// `http://…` of `/readyz` and `/metrics`.
    pub ops: String,
    /// `host:port` that nodes dial.
    pub node: String,
    /// What it is when it is launched next.
    pub release: Release,
    local_ports: (u16, u16),
    database: Database,
    password_file: PathBuf,
    extra: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Server {
    /// Starts one in this folder, on ports of its own, and waits until it is ready.
    #[track_caller]
    pub fn start(folder: &Path, database: Database, password: &str, extra: &[&str]) -> Self {
        Self::start_in(folder, database, password, extra, &[])
    }

    /// As [`Server::start`], with more in its environment.
    #[track_caller]
    pub fn start_in(
        folder: &Path,
        database: Database,
        password: &str,
        extra: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start_of(Release::This, folder, database, password, extra, environment)
    }

    /// As [`Server::start_in`], of this release.
    #[track_caller]
    pub fn start_of(
        release: Release,
        folder: &Path,
        database: Database,
        password: &str,
        extra: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let data = folder.join("data");
        let password_file = folder.join("admin-password");
        fs::write(&password_file, password).expect("the password's file");
        let mut server = Self {
            data,
            log: folder.join("serve.log"),
            url: String::new(),
            ops: String::new(),
            node: String::new(),
            release,
            local_ports: ports::range(),
            database,
            password_file,
            extra: extra.iter().map(|argument| (*argument).to_owned()).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            child: None,
        };
        server.launch();
        server
    }

    /// The command of a program call on this data, such as `migrate` or `admin-key`.
    pub fn command(&self) -> Command {
        command_of(self.release, &self.data, &self.database)
    }

    /// The process.
    pub fn process(&self) -> Process {
        let child = self.child.as_ref().expect("it runs");
        Process::find(child.id()).expect("it runs")
    }

    /// `kill -9`, and nothing else.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Asks it to leave, as an operator does, and gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.process().signal(rustix::process::Signal::TERM);
        let mut child = self.child.take().expect("it runs");
        eventually("the control plane ends when asked", || {
            child_status(self.log.as_path(), Process::find(child.id()))
        });
        child.wait().expect("it ended").code()
    }

    /// Starts it again where it was: same data, same ports.
    #[track_caller]
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let announced = self.data.join("serve.json");
        fs::remove_file(&announced).ok();
        let place = |known: &str| match known.strip_prefix("http://").unwrap_or(known) {
            "" => "127.0.0.1:0".to_owned(),
            known => known.to_owned(),
        };
        let (first, last) = self.local_ports;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log");
        let mut command = self.command();
        command.arg("serve").args(["--listen", &place(&self.url)]);
        if !self.extra.iter().any(|argument| argument == "--node-listen") {
            command.args(["--node-listen", &place(&self.node)]);
        }
        let child = command
            .args(["--ops-listen", &place(&self.ops)])
            .args(["--local-ports", &format!("{first}-{last}")])
            .arg("--admin-password-file")
            .arg(&self.password_file)
            .args(&self.extra)
            .env("CASTOFF_ONNXRUNTIME", onnxruntime())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("castoff can be started");
        let id = child.id();
        self.child = Some(child);
        let addresses = eventually("the control plane says where it listens", || {
            self.still(id)?;
            let text = fs::read(&announced).map_err(|error| error.to_string())?;
            serde_json::from_slice::<Value>(&text).map_err(|error| error.to_string())
        });
        let address = |name: &str| {
            let address = addresses[name].as_str().expect("serve.json names its addresses");
            address.trim_start_matches("http://").to_owned()
        };
        self.url = format!("http://{}", address("http"));
        self.ops = format!("http://{}", address("ops"));
        self.node = address("node");
        let ready = format!("{}/readyz", self.ops);
        eventually("the control plane is ready", || {
            self.still(id)?;
            match Request::get(&ready).try_send()? {
                answer if answer.status == 200 => Ok(()),
                answer => Err(format!("{}: {}", answer.status, answer.text())),
            }
        });
    }

    /// All it has logged.
    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of it, for a test that failed.
    pub fn tail(&self) -> String {
        let log = self.logged();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn still(&self, pid: u32) -> Result<(), String> {
        match Process::find(pid) {
            Some(_) => Ok(()),
            None => panic!("castoff serve ended at once:\n{}", self.logged()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn child_status(log: &Path, process: Option<Process>) -> Result<(), String> {
    match process {
        None => Ok(()),
        Some(_) => Err(format!("still there; its log is {}", log.display())),
    }
}

/// `castoff` on this data and this database, without what the caller's environment says.
pub fn command(data: &Path, database: &Database) -> Command {
    command_of(Release::This, data, database)
}

/// As [`command`], of this release.
pub fn command_of(release: Release, data: &Path, database: &Database) -> Command {
    let mut command = Command::new(release.program("castoff"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CASTOFF_") {
            command.env_remove(name);
        }
    }
    command.env("CASTOFF_DATA_DIR", data);
    if let Database::Postgres { url, direct } = database {
        let key = data.with_file_name("master.key");
        if !key.exists() {
            make_master_key(&key);
        }
        command
            .env("CASTOFF_DATABASE_URL", url)
            .envs(direct.as_ref().map(|direct| ("CASTOFF_DATABASE_DIRECT_URL", direct)))
            .env("CASTOFF_MASTER_KEY_FILE", key);
    }
    command
}

/// With PostgreSQL the operator brings the master key.
fn make_master_key(path: &Path) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let words = [
        uuid::Uuid::new_v4().simple().to_string(),
        uuid::Uuid::new_v4().simple().to_string(),
    ];
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .expect("the master key's file");
    file.write_all(words.concat().as_bytes()).expect("the master key");
}

/// A digest as the API writes it: `sha256:` and hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(castoff_wire::sha256(&[bytes]))
    }
}

impl std::fmt::Display for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
