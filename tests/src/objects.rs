//! A real object store that speaks S3 (versitygw), on this machine: started, ended, started again. A bucket is a folder.

use crate::castoff::Sha256;
use crate::{eventually, ports, scratch};
use object_store::aws::AmazonS3Builder;
use object_store::signer::Signer;
use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// The name of the one bucket.
pub const BUCKET: &str = "models";
/// What comes before the names of all that a control plane keeps in it.
pub const PREFIX: &str = "castoff/test";

/// The store and its bucket. Ends with its owner.
#[derive(Debug)]
pub struct Objects {
    folder: PathBuf,
    /// `host:port`.
    address: String,
    /// Who may do everything there.
    pub id: String,
    /// By which they prove it.
    pub secret: String,
    tls: bool,
    child: Option<Child>,
}

/// Where `tests/objects/build` has put it.
#[track_caller]
fn program() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let program = cache.expect("a home").join("castoff-objects/versitygw");
    assert!(
        program.exists(),
        "{} is missing: run tests/objects/build first (make test does)",
        program.display()
    );
    program
}

impl Objects {
    /// A new one with an empty bucket, on loopback.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_at("127.0.0.1")
    }

    /// The same at another address of this machine.
    #[track_caller]
    pub fn start_at(host: &str) -> Self {
        Self::start_with(host, false)
    }

    /// With TLS and a certificate for 127.0.0.1, signed by [`Objects::authority`].
    #[track_caller]
    pub fn start_with_tls() -> Self {
        Self::start_with("127.0.0.1", true)
    }

    fn start_with(host: &str, tls: bool) -> Self {
        let folder = scratch::subfolder("objects");
        fs::create_dir_all(folder.join("data").join(BUCKET)).expect("a bucket");
        let mut store = Self {
            folder,
            address: format!("{host}:{}", ports::one()),
            id: "castoff-tests".to_owned(),
            secret: uuid::Uuid::new_v4().simple().to_string(),
            tls,
            child: None,
        };
        if tls {
            certify(&store.folder, host);
        }
        store.launch();
        store
    }

    /// Starts it again where it was.
    #[track_caller]
    pub fn launch(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("a log");
        let certificate = [("--cert", "tls.crt"), ("--key", "tls.key")];
        let certificate = certificate.map(|(name, file)| [name.into(), self.folder.join(file)]);
        let child = Command::new(program())
            .args(certificate.iter().flatten().filter(|_| self.tls))
            .args(["--port", &self.address, "posix"])
            .arg(self.folder.join("data"))
            .env("ROOT_ACCESS_KEY", &self.id)
            .env("ROOT_SECRET_KEY", &self.secret)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("versitygw can be started");
        self.child = Some(child);
        eventually("the object store answers", || TcpStream::connect(&self.address).is_ok());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Stops it as it is, connections and all, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let child = self.child.as_ref().expect("it runs");
        let process = crate::processes::Process::find(child.id()).expect("it runs");
        process.signal(match frozen {
            true => rustix::process::Signal::STOP,
            false => rustix::process::Signal::CONT,
        });
    }

    /// `http://host:port`, or `https://…`.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The file of the authority that has signed for it.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A file with what opens it, as the AWS tools write it.
    pub fn credentials(&self, secret: &str) -> PathBuf {
        let path = self.folder.join(format!("credentials-{}", uuid::Uuid::new_v4()));
        let text = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {secret}\n",
            self.id
        );
        let options = File::options().write(true).create_new(true).mode(0o600).open(&path);
        std::io::Write::write_all(&mut options.expect("a file"), text.as_bytes()).expect("it is written");
        path
    }

    /// What `castoff serve` is told to keep packages here.
    pub fn arguments(&self) -> Vec<String> {
        let url = format!("s3://{BUCKET}/{PREFIX}");
        let credentials = self.credentials(&self.secret).display().to_string();
        let named = [
            ("--packages-url", url),
            ("--packages-endpoint", self.url()),
            ("--packages-credentials-file", credentials),
        ];
        let authority = self.authority().display().to_string();
        let trusted = self.tls.then_some(("--packages-ca", authority));
        let named = named.into_iter().chain(trusted);
        named.flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// An address by which whoever has it gets a kept file, for so long.
    pub fn address(&self, file: &Sha256, life: Duration) -> String {
        // A client is made with it, and never used.
        rustls::crypto::ring::default_provider().install_default().ok();
        let store = AmazonS3Builder::new()
            .with_endpoint(self.url())
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_access_key_id(&self.id)
            .with_secret_access_key(&self.secret)
            .build();
        let hex = file.to_string().replace("sha256:", "");
        let path = format!("{PREFIX}/sha256/{}/{hex}", &hex[..2]).into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let store = store.expect("it can be named");
        let signed = runtime
            .expect("a runtime")
            .block_on(store.signed_url(http::Method::GET, &path, life));
        signed.expect("it can be signed").into()
    }

    /// The files that a control plane keeps here.
    pub fn kept(&self) -> Vec<PathBuf> {
        files(&self.folder.join("data").join(BUCKET).join(PREFIX))
    }

    /// The parts of what is being put together.
    pub fn parts(&self) -> Vec<PathBuf> {
        let all = files(&self.folder.join("data").join(BUCKET));
        let is_part = |path: &PathBuf| path.to_string_lossy().contains("multipart");
        all.into_iter().filter(is_part).collect()
    }

    /// Lets everything that is kept look as if it had been for so long.
    pub fn age(&self, by: Duration) {
        for file in self.kept() {
            let file = File::options().write(true).open(file).expect("it is there");
            file.set_modified(SystemTime::now() - by).expect("a time");
        }
    }
}

/// An authority of its own, and a certificate of it for this address.
fn certify(folder: &Path, host: &str) {
    let script = "
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=store-authority -keyout ca.key -out ca.crt
        openssl req -newkey rsa:2048 -nodes -subj /CN=store -keyout tls.key -out tls.csr
        echo subjectAltName=IP:$0 > extensions
        openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out tls.crt";
    let made = Command::new("sh")
        .args(["-ec", script, host])
        .current_dir(folder)
        .output();
    let made = made.expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- the end of the object store's log\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
    }
}
