//! A node's control side as its process holds it: started, ended and killed by the test.

use super::world::Stage;
use crate::control::apply::{Follower, Orders};
use crate::control::copy::DurableCopy;
use crate::control::dial::Dialer;
use crate::control::fetch::Packages;
use crate::control::signing::Signer;
use crate::control::stream::{Introduction, Line};
use castoff_wire::Join;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A node whose process can be ended and started again in the same folder.
pub(super) struct Node {
    pub(super) folder: tempfile::TempDir,
    pub(super) stage: Arc<Stage>,
    pub(super) copy: DurableCopy,
    end: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Node {
    pub(super) fn start(signer: &Signer, control_plane: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), signer, control_plane)
    }

    pub(super) fn start_in(folder: tempfile::TempDir, signer: &Signer, control_plane: &str) -> Self {
        Self::start_by(folder, &signer.join(&format!("http://{control_plane}"), "join-token"))
    }

    pub(super) fn start_by(folder: tempfile::TempDir, join: &str) -> Self {
        let (join, trust) = Join::parse(join).unwrap();
        let copy = DurableCopy::open(folder.path()).unwrap();
        let packages = Arc::new(Packages::open(folder.path().join("packages"), true).unwrap());
        let dialer = Dialer::new(&join, copy.clone()).unwrap();
        let kept = copy.read(&trust, join.deployment).unwrap_or_default();
        let orders = Orders {
            deployment: join.deployment,
            trust,
            copy: copy.clone(),
            packages,
        };
        let (stage, end) = (Arc::new(Stage::default()), CancellationToken::new());
        let follower = Follower::new(stage.clone(), orders, kept);
        let introduction = Introduction {
            node_id: Uuid::from_u128(7),
            deployment: join.deployment,
            http_address: "127.0.0.1:8000".into(),
            ops_address: "127.0.0.1:8002".into(),
            started_at_ms: 1,
        };
        let line = Line::new(stage.clone(), follower, dialer, copy.clone(), introduction, end.clone());
        Self {
            folder,
            stage,
            copy,
            end,
            running: Some(tokio::spawn(line.hold())),
        }
    }

    /// Ends it in order.
    pub(super) async fn end(&mut self) {
        self.end.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }

    /// Kills it, as far as a task can be killed.
    pub(super) async fn kill(mut self) -> tempfile::TempDir {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
        self.stage.open_gate();
        self.folder
    }
}
