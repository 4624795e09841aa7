//! A machine that pods are taken away from, as for its maintenance.

use acceptance::cluster::Namespace;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A machine that takes no new pods; it takes them again in the end, however that comes. Of two, one at a time: with both drained
/// evicted pods had nowhere to go.
pub(super) struct Drained<'a> {
    namespace: &'a Namespace,
    machine: &'a str,
    _alone: MutexGuard<'static, ()>,
}

impl<'a> Drained<'a> {
    /// Takes the pods of a selector away from a machine, by evictions that their disruption budget allows. `kubectl drain` knows
    /// no namespace, so these pods have a label by which nobody else's are found.
    #[track_caller]
    pub(super) fn of(namespace: &'a Namespace, machine: &'a str, selector: &str) -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let drained = Self {
            namespace,
            machine,
            _alone: ONE.lock().unwrap_or_else(PoisonError::into_inner),
        };
        // None comes to the machine after that, so none lacks the label.
        namespace.kubectl(&["cordon", machine]).expect("the machine is there");
        let ours = format!("castoff-drains={}", namespace.name);
        namespace
            .kubectl(&["label", "pods", "--overwrite", "--selector", selector, &ours])
            .expect("pods take a label");
        let drain = [
            "drain",
            machine,
            "--pod-selector",
            &ours,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--timeout=150s",
        ];
        namespace.kubectl(&drain).expect("its pods can go elsewhere");
        drained
    }
}

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        self.namespace.kubectl(&["uncordon", self.machine]).ok();
    }
}
