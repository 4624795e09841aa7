//! What a node is told when it starts.
//!
//! Apart from what the control plane tells it later: these hold for the life of the process. The rule a newcomer would
//! break: no secret is an argument, because arguments can be read by every user of the machine; secrets are in files.

use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use uuid::Uuid;

/// A castoff node: serves one deployment, as its control plane says.
#[derive(Clone, Debug, Parser)]
#[command(name = "castoff-node", version, about)]
pub struct Args {
    /// The join document: where the control plane is, this deployment's token, and whom to believe.
    #[arg(long, value_name = "FILE", env = "CASTOFF_JOIN")]
    pub join: PathBuf,

    /// A signed config to start with, when it is newer than the durable copy: where nodes boot from a Secret.
    #[arg(long, value_name = "FILE", env = "CASTOFF_BOOT_CONFIG")]
    pub boot_config: Option<PathBuf>,

    /// An existing folder of this node alone: durable copy, process.json, node.sock.
    #[arg(long, value_name = "DIR", env = "CASTOFF_DATA_DIR")]
    pub data_dir: PathBuf,

    /// Where model files are kept. Nodes may share one folder [default: DIR/packages].
    #[arg(long, value_name = "DIR", env = "CASTOFF_PACKAGES")]
    pub packages: Option<PathBuf>,

    /// Where model files are in an object store, for a start without a control plane [default: `packages` beside --boot-config].
    #[arg(long, value_name = "FILE", env = "CASTOFF_PACKAGE_ADDRESSES")]
    pub package_addresses: Option<PathBuf>,

    /// Who this node is to the control plane [default: a new id at each start].
    #[arg(long, value_name = "UUID", env = "CASTOFF_NODE_ID")]
    pub node_id: Option<Uuid>,

    /// Where calls are answered.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", env = "CASTOFF_LISTEN")]
    pub listen: SocketAddr,

    /// Connections of callers at once, as far as the limit of open files allows; more wait, and silent ones make room.
    #[arg(long, value_name = "N", default_value_t = 1_000, env = "CASTOFF_MAX_CONNECTIONS")]
    pub max_connections: usize,

    /// Seconds in which a connection must say what it wants, and so long it may be idle.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, env = "CASTOFF_HEAD_PATIENCE", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub head_patience: u64,

    /// Standard input is the listening socket: take it instead of opening one.
    #[arg(long, env = "CASTOFF_LISTEN_ON_STDIN")]
    pub listen_on_stdin: bool,

    /// Where /livez, /readyz and /metrics are answered. Port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8002",
        env = "CASTOFF_OPS_LISTEN"
    )]
    pub ops_listen: SocketAddr,

    /// ONNX Runtime's shared library, libonnxruntime.so.
    #[arg(long, value_name = "PATH", env = "CASTOFF_ONNXRUNTIME")]
    pub onnxruntime: Option<PathBuf>,

    /// Leave the session of whoever started this process, so that closing their terminal does not end it.
    #[arg(long)]
    pub new_session: bool,

    /// Where callers reach this node, when it is not the listening address.
    #[arg(long, value_name = "HOST:PORT", env = "CASTOFF_ADDRESS")]
    pub address: Option<String>,
}

impl Args {
    /// The folder of model files, and whether it is this node's alone.
    pub fn packages(&self) -> (PathBuf, bool) {
        match &self.packages {
            Some(folder) => (folder.clone(), *folder == self.own_packages()),
            None => (self.own_packages(), true),
        }
    }

    /// The file that says where model files are in an object store. It may not be there.
    pub fn package_addresses(&self) -> Option<PathBuf> {
        let beside = || Some(self.boot_config.as_ref()?.with_file_name("packages"));
        self.package_addresses.clone().or_else(beside)
    }

    fn own_packages(&self) -> PathBuf {
        self.data_dir.join("packages")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_argument_is_explained() {
        let mut command = Args::command();
        command.build();
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "--{} has no help", argument.get_id());
        }
    }

    #[test]
    fn a_folder_given_by_name_is_shared_unless_it_is_the_nodes_own() {
        let args = |packages: &[&str]| {
            let base = ["castoff-node", "--join", "j", "--data-dir", "/d"];
            Args::try_parse_from(base.iter().chain(packages)).unwrap()
        };
        assert_eq!(args(&[]).packages(), (PathBuf::from("/d/packages"), true));
        assert_eq!(
            args(&["--packages", "/d/packages"]).packages(),
            (PathBuf::from("/d/packages"), true)
        );
        assert_eq!(
            args(&["--packages", "/shared"]).packages(),
            (PathBuf::from("/shared"), false)
        );
    }
}
