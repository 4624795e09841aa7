//! A node that an operator starts by hand.

use crate::answer::Request;
use crate::castoff::onnxruntime;
use crate::models;
use crate::processes::Process;
use crate::release::Release;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `castoff-node` in a folder of its own. Ends with its owner.
#[derive(Debug)]
pub struct ByHand {
    folder: PathBuf,
    child: Child,
}

impl ByHand {
    /// Starts one with this join document on a free port.
    #[track_caller]
    pub fn start(folder: &Path, join: &Value) -> Self {
        Self::start_in(folder, join, &[])
    }

    /// As [`ByHand::start`], with more in its environment. In a folder that a node has left it goes on with what is there.
    #[track_caller]
    pub fn start_in(folder: &Path, join: &Value, environment: &[(&str, String)]) -> Self {
        Self::start_of(Release::This, folder, join, environment)
    }

    /// As [`ByHand::start_in`], of this release.
    #[track_caller]
    pub fn start_of(release: Release, folder: &Path, join: &Value, environment: &[(&str, String)]) -> Self {
        fs::create_dir_all(folder).expect("the node's folder");
        fs::remove_file(folder.join("process.json")).ok();
        let file = folder.join("join.json");
        fs::write(&file, join.to_string()).expect("the join document");
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .expect("a log");
        let child = Command::new(release.program("castoff-node"))
            .arg("--join")
            .arg(&file)
            .arg("--data-dir")
            .arg(folder)
            .args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
            .env("CASTOFF_ONNXRUNTIME", onnxruntime())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("castoff-node can be started");
        Self {
            folder: folder.to_owned(),
            child,
        }
    }

    /// What it says about itself once it listens.
    #[track_caller]
    fn said(&self, name: &str) -> String {
        let said = crate::eventually("the node says where it listens", || {
            let text = fs::read(self.folder.join("process.json")).ok()?;
            serde_json::from_slice::<Value>(&text).ok()
        });
        said[name].as_str().expect("it is said").to_owned()
    }

    /// Where it answers: `http://…`, once it has said so.
    #[track_caller]
    pub fn url(&self) -> String {
        format!("http://{}", self.said("http_address"))
    }

    /// `host:port` of its health and metrics.
    #[track_caller]
    pub fn ops(&self) -> String {
        self.said("ops_address")
    }

    /// Who it is to the control plane.
    #[track_caller]
    pub fn id(&self) -> String {
        self.said("node_id")
    }

    /// The status of a call with a flower to the endpoint of the service iris; 0 when no answer came.
    #[track_caller]
    pub fn call(&self, key: &str) -> u16 {
        let request = Request::post(format!("{}/public/api/v1/iris/iris/predict", self.url()));
        let request = request.header("x-api-key", key).json(&models::setosa());
        request.try_send().map_or(0, |answer| answer.status)
    }

    /// What it counts: the lines of `/metrics` that begin so.
    #[track_caller]
    pub fn counted(&self, metric: &str) -> Vec<String> {
        counted(&self.ops(), metric)
    }

    /// One number that it counts; 0 where it has not begun to.
    #[track_caller]
    pub fn count(&self, metric: &str) -> f64 {
        let lines = self.counted(&format!("{metric} "));
        let number = lines.first().and_then(|line| line.rsplit(' ').next());
        number.map_or(0.0, |number| number.parse().expect("a number"))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process, while it lives.
    pub fn process(&self) -> Option<Process> {
        Process::find(self.child.id())
    }

    /// How it ended, once it has.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child
            .try_wait()
            .expect("it is ours")
            .and_then(|status| status.code())
    }

    /// What it has logged.
    pub fn logged(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the node's log\n{}", self.logged());
        }
    }
}

/// What a node counts whose health and metrics are there: the lines of `/metrics` that begin so.
#[track_caller]
pub fn counted(ops: &str, metric: &str) -> Vec<String> {
    let answer = Request::get(format!("http://{ops}/metrics")).send();
    let lines = answer.expect(200).text();
    let lines = lines.lines().filter(|line| line.starts_with(metric));
    lines.map(str::to_owned).collect()
}
