//! Deployments that are to be looked at, and when.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// Between two tries of what fails, at first and at most.
const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(60);
/// Between two looks of who waits until nothing is to be done.
const LOOK: Duration = Duration::from_millis(5);
/// Deployments that wait. There are never so many: only a cluster that makes them up names more.
const MOST_WAITING: usize = 100_000;

/// Deployments that are to be looked at. One that is being looked at waits until that is done.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    due: HashMap<Uuid, Instant>,
    busy: HashSet<Uuid>,
    failures: HashMap<Uuid, u32>,
}

impl Queue {
    /// To be looked at now.
    pub(super) fn add(&self, deployments: impl IntoIterator<Item = Uuid>) {
        let now = Instant::now();
        let mut inner = self.inner();
        for deployment in deployments {
            if inner.due.len() < MOST_WAITING || inner.due.contains_key(&deployment) {
                inner.due.insert(deployment, now);
            }
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// To be looked at now, but for what fails: that has its time. For whoever says so again and again.
    pub(super) fn remind(&self, deployments: impl IntoIterator<Item = Uuid>) {
        let due: Vec<Uuid> = {
            let inner = self.inner();
            let is_tried = |id: &Uuid| inner.due.contains_key(id) || inner.busy.contains(id);
            let waits = |id: &Uuid| inner.failures.contains_key(id) && is_tried(id);
            deployments.into_iter().filter(|id| !waits(id)).collect()
        };
        self.add(due);
    }

    /// To be looked at in a while, unless it is to be sooner.
    pub(super) fn add_later(&self, deployment: Uuid, wait: Duration) {
        let then = Instant::now() + wait;
        let mut inner = self.inner();
        let due = inner.due.entry(deployment).or_insert(then);
        *due = then.min(*due);
        drop(inner);
        self.changed.notify_one();
    }

    /// Waits until nothing is being looked at, nor is to be now.
    pub(super) async fn is_done(&self) {
        let mut looked = tokio::time::interval(LOOK);
        loop {
            looked.tick().await;
            let (now, inner) = (Instant::now(), self.inner());
            if inner.busy.is_empty() && inner.due.values().all(|due| *due > now) {
                return;
            }
        }
    }

    /// The next one; it is busy until it is done.
    pub(super) async fn next(&self) -> Uuid {
        loop {
            let changed = self.changed.notified();
            let (found, wait) = self.take(Instant::now());
            if let Some(found) = found {
                // Another may be due, too.
                self.changed.notify_one();
                return found;
            }
            match wait {
                None => changed.await,
                Some(until) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    fn take(&self, now: Instant) -> (Option<Uuid>, Option<Instant>) {
        let mut inner = self.inner();
        let free = inner.due.iter().filter(|(id, _)| !inner.busy.contains(id));
        let first = free.min_by_key(|(_, due)| **due).map(|(id, due)| (*id, *due));
        match first {
            Some((id, due)) if due <= now => {
                inner.due.remove(&id);
                inner.busy.insert(id);
                (Some(id), None)
            }
            other => (None, other.map(|(_, due)| due)),
        }
    }

    /// Whoever was looking at something was interrupted: it is to be looked at again.
    pub(super) fn begin_anew(&self) {
        let now = Instant::now();
        let mut inner = self.inner();
        let busy = std::mem::take(&mut inner.busy);
        inner.due.extend(busy.into_iter().map(|id| (id, now)));
    }

    /// It was looked at; when something failed, it is again after a while.
    pub(super) fn done(&self, deployment: Uuid, failed: bool) {
        let mut inner = self.inner();
        inner.busy.remove(&deployment);
        if failed {
            inner.try_again(deployment);
            *inner.failures.entry(deployment).or_default() += 1;
        } else {
            inner.failures.remove(&deployment);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// It could not be looked at, which is no failure of it, nor the end of one.
    pub(super) fn unseen(&self, deployment: Uuid) {
        let mut inner = self.inner();
        inner.busy.remove(&deployment);
        if inner.failures.contains_key(&deployment) {
            inner.try_again(deployment);
        }
        drop(inner);
        self.changed.notify_one();
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Later with each failure so far. It may wait for something else, and longer.
    fn try_again(&mut self, deployment: Uuid) {
        let failures = self.failures.get(&deployment).copied().unwrap_or_default();
        let again = Instant::now() + FIRST.saturating_mul(1 << failures.min(10)).min(MOST);
        let due = self.due.entry(deployment).or_insert(again);
        *due = again.min(*due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_later_and_later() {
        let (queue, id) = (Queue::default(), Uuid::from_u128(1));
        queue.add([id]);
        for wait in [0, 500, 1_000, 2_000].map(Duration::from_millis) {
            let soon = Duration::from_millis(100);
            if wait > soon {
                assert_eq!(queue.take(Instant::now() + wait - soon).0, None);
            }
            assert_eq!(queue.take(Instant::now() + wait).0, Some(id));
            queue.done(id, true);
        }
    }

    #[test]
    fn what_fails_does_not_wait_for_what_is_due_later() {
        let (queue, id, minute) = (Queue::default(), Uuid::from_u128(1), Duration::from_secs(60));
        queue.add([id]);
        assert_eq!(queue.take(Instant::now()).0, Some(id));
        queue.add_later(id, minute);
        queue.done(id, true);
        assert_eq!(queue.take(Instant::now() + FIRST).0, Some(id));
    }

    #[test]
    fn what_fails_is_not_tried_sooner_because_somebody_reminds_of_it() {
        let (queue, id) = (Queue::default(), Uuid::from_u128(1));
        queue.remind([id]);
        assert_eq!(queue.take(Instant::now()).0, Some(id));
        queue.done(id, true);
        queue.remind([id]);
        assert_eq!(queue.take(Instant::now()).0, None, "it has failed just now");
        queue.add([id]);
        assert_eq!(queue.take(Instant::now()).0, Some(id), "it was changed");
        queue.remind([id]);
        queue.done(id, true);
        assert_eq!(queue.take(Instant::now()).0, None, "it was being tried");
        queue.add([id]);
        assert_eq!(queue.take(Instant::now()).0, Some(id));
        queue.done(id, false);
        queue.add_later(id, MOST);
        queue.remind([id]);
        assert_eq!(queue.take(Instant::now()).0, Some(id), "it does not fail");
    }

    #[test]
    fn what_failed_goes_on_later_and_later_though_it_is_not_seen_meanwhile() {
        let (queue, id) = (Queue::default(), Uuid::from_u128(1));
        queue.add([id]);
        for _ in 0..3 {
            assert_eq!(queue.take(Instant::now() + MOST).0, Some(id));
            queue.done(id, true);
        }
        assert_eq!(queue.take(Instant::now() + MOST).0, Some(id));
        queue.remind([id]);
        queue.unseen(id);
        queue.remind([id]);
        assert_eq!(
            queue.take(Instant::now() + 7 * FIRST).0,
            None,
            "the fourth try is after 4 s"
        );
        assert_eq!(queue.take(Instant::now() + 8 * FIRST).0, Some(id));
        queue.done(id, false);
        queue.add([id]);
        assert_eq!(queue.take(Instant::now()).0, Some(id));
        queue.unseen(id);
        assert_eq!(queue.take(Instant::now() + MOST).0, None, "it had not failed");
    }

    #[test]
    fn what_is_asked_for_meanwhile_waits_for_its_turn() {
        let (queue, id) = (Queue::default(), Uuid::from_u128(1));
        queue.add([id]);
        assert_eq!(queue.take(Instant::now()).0, Some(id));
        queue.add([id]);
        assert_eq!(queue.take(Instant::now()).0, None, "it is busy");
        queue.done(id, false);
        assert_eq!(queue.take(Instant::now()).0, Some(id));
        queue.done(id, false);
        assert_eq!(queue.take(Instant::now() + MOST).0, None);
    }

    #[test]
    fn what_is_due_later_waits_unless_it_is_asked_for_sooner() {
        let (queue, id, minute) = (Queue::default(), Uuid::from_u128(1), Duration::from_secs(60));
        queue.add_later(id, minute);
        assert_eq!(queue.take(Instant::now() + minute / 2).0, None);
        queue.add_later(id, minute / 4);
        queue.add_later(id, minute);
        assert_eq!(queue.take(Instant::now() + minute / 2).0, Some(id));
        queue.done(id, false);
        queue.add_later(id, minute);
        queue.add([id]);
        assert_eq!(queue.take(Instant::now()).0, Some(id));
    }

    #[tokio::test]
    async fn all_is_done_when_nothing_is_busy_or_due() {
        let (queue, id) = (Queue::default(), Uuid::from_u128(1));
        let is_done = async || tokio::time::timeout(LOOK * 4, queue.is_done()).await.is_ok();
        assert!(is_done().await);
        queue.add([id]);
        assert!(!is_done().await, "it is due");
        assert_eq!(queue.next().await, id);
        assert!(!is_done().await, "it is busy");
        queue.done(id, true);
        assert!(is_done().await, "it is tried again later");
    }

    #[test]
    fn what_was_interrupted_is_looked_at_again() {
        let (queue, id) = (Queue::default(), Uuid::from_u128(1));
        queue.add([id]);
        assert_eq!(queue.take(Instant::now()).0, Some(id));
        queue.begin_anew();
        assert_eq!(queue.take(Instant::now()).0, Some(id));
    }
}
