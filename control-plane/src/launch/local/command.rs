//! The command line of a local node.
//!
//! The rule a newcomer would break: nothing secret is an argument, and nothing of the control plane's environment goes
//! along but what is named here; the master key and the database's password may be in it.

use super::Settings;
use super::folders::Folders;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use uuid::Uuid;

/// What a node needs of the environment.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "TMPDIR", "CASTOFF_LOG", "RUST_BACKTRACE"];

/// The command that starts a node in its prepared folder.
pub(super) fn of_node(
    settings: &Settings,
    folders: &Folders,
    node: Uuid,
    join: &Path,
    listening: Stdio,
) -> io::Result<Command> {
    let log = folders.log(node)?;
    let mut command = Command::new(&settings.program);
    command
        .arg("--join")
        .arg(join)
        .arg("--data-dir")
        .arg(folders.node(node))
        .arg("--packages")
        .arg(folders.packages())
        .args(["--node-id", &node.to_string()])
        .args(["--ops-listen", "127.0.0.1:0"])
        .args(["--listen-on-stdin", "--new-session"]);
    if let Some(library) = &settings.onnxruntime {
        command.arg("--onnxruntime").arg(library);
    }
    command
        .env_clear()
        .envs(
            PASSED_ON
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        // Paths in arguments are absolute; a node must not keep anybody's folder busy.
        .current_dir("/")
        .stdin(listening)
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}
