//! A node that an operator starts by hand.

use crate::castoff::{binary, onnxruntime};
use crate::processes::Process;
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
        fs::create_dir_all(folder).expect("the node's folder");
        let file = folder.join("join.json");
        fs::write(&file, join.to_string()).expect("the join document");
        let log = File::create(folder.join("log")).expect("a log");
        let child = Command::new(binary("castoff-node"))
            .arg("--join")
            .arg(&file)
            .arg("--data-dir")
            .arg(folder)
            .args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
            .env("CASTOFF_ONNXRUNTIME", onnxruntime())
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

    /// Where it answers: `http://…`, once it has said so.
    #[track_caller]
    pub fn url(&self) -> String {
        let said = crate::eventually("the node says where it listens", || {
            let text = fs::read(self.folder.join("process.json")).ok()?;
            serde_json::from_slice::<Value>(&text).ok()
        });
        format!("http://{}", said["http_address"].as_str().expect("an address"))
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
