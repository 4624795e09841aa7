//! Running nodes where the control plane itself can: as processes of its own machine.
//!
//! Nodes of a static infrastructure are an operator's: there is nothing to launch. The rule a newcomer would break: a
//! node is recorded before it is started, and forgotten only when its process is proven to have ended.

mod listener;
mod logs;
mod plan;
mod process;
mod supervisor;

pub use logs::NodeLogs;
pub use supervisor::{Launcher, LauncherSettings};
