//! What the launcher should do next. Pure: from what is wanted, what is there and what time it is.

use crate::domain::Time;
use uuid::Uuid;

/// A deployment that should run here.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) deployment_id: Uuid,
    pub(super) replicas: usize,
}

/// A node on record.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) id: Uuid,
    pub(super) deployment_id: Uuid,
    /// Its process runs.
    pub(super) alive: bool,
    /// It was told to end, then.
    pub(super) stopping_since: Option<Time>,
    /// When its processes ended, the latest last.
    pub(super) exits: Vec<Time>,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Record a new node of this deployment, and start it.
    Create(Uuid),
    /// Start the process of a node that has ended.
    Restart(Uuid),
    /// Ask a node to end.
    Stop(Uuid),
    /// End a node that did not.
    Kill(Uuid),
    /// Take a node that has ended off the record.
    Forget(Uuid),
}

/// How long a node that was asked to end may take: the time for its calls (their longest deadline is the node's to keep)
/// and a little for the rest.
const GRACE_MS: i64 = 20_000;
/// Ends that are this old say nothing about now.
const MEMORY_MS: i64 = 120_000;
/// So many ends within the memory are a crash loop.
const LOOP: usize = 3;
/// The longest wait before a start.
const MOST_DELAY_MS: i64 = 30_000;

fn recent(exits: &[Time], now: Time) -> usize {
    exits.iter().filter(|exit| now.ms() - exit.ms() < MEMORY_MS).count()
}

/// Whether a node ends again and again.
pub(super) fn is_crash_loop(exits: &[Time], now: Time) -> bool {
    recent(exits, now) >= LOOP
}

/// When a node that has ended may be started again: at once the first time, then after 1, 2, 4, … 30 s.
pub(super) fn restart_at(exits: &[Time], now: Time) -> Time {
    let Some(last) = exits.last() else { return now };
    let delay = match recent(exits, now) {
        0 | 1 => 0,
        count => (1_000i64 << (count - 2).min(5)).min(MOST_DELAY_MS),
    };
    last.after_ms(delay)
}

/// What to do next.
pub(super) fn plan(wanted: &[Wanted], seen: &[Seen], now: Time) -> Vec<Step> {
    let mut steps = Vec::new();
    for node in seen
        .iter()
        .filter(|node| !wanted.iter().any(|wanted| wanted.deployment_id == node.deployment_id))
    {
        steps.extend(end(node, now));
    }
    for deployment in wanted {
        let own = seen
            .iter()
            .filter(|node| node.deployment_id == deployment.deployment_id);
        let (leaving, mut staying): (Vec<&Seen>, Vec<&Seen>) = own.partition(|node| node.stopping_since.is_some());
        // The living first and the oldest first (ids are in the order of time): what is too much is cut from the end.
        staying.sort_by_key(|node| (!node.alive, node.id));
        let excess = staying.split_off(staying.len().min(deployment.replicas));
        for node in leaving.into_iter().chain(excess) {
            steps.extend(end(node, now));
        }
        for node in staying
            .iter()
            .filter(|node| !node.alive && restart_at(&node.exits, now) <= now)
        {
            steps.push(Step::Restart(node.id));
        }
        steps.extend((staying.len()..deployment.replicas).map(|_| Step::Create(deployment.deployment_id)));
    }
    steps
}

fn end(node: &Seen, now: Time) -> Option<Step> {
    match (node.alive, node.stopping_since) {
        (false, _) => Some(Step::Forget(node.id)),
        (true, None) => Some(Step::Stop(node.id)),
        (true, Some(since)) if now.ms() - since.ms() >= GRACE_MS => Some(Step::Kill(node.id)),
        (true, Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn now() -> Time {
        Time::from_ms(NOW)
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn node(number: u128, alive: bool) -> Seen {
        Seen {
            id: id(number),
            deployment_id: id(100),
            alive,
            stopping_since: None,
            exits: Vec::new(),
        }
    }

    fn ago(milliseconds: &[i64]) -> Vec<Time> {
        milliseconds.iter().map(|ago| Time::from_ms(NOW - ago)).collect()
    }

    #[test]
    fn what_to_do() {
        let wanted = |replicas| {
            vec![Wanted {
                deployment_id: id(100),
                replicas,
            }]
        };
        let stopping = |since| Seen {
            stopping_since: Some(Time::from_ms(NOW - since)),
            ..node(1, true)
        };
        let ended = |exits: &[i64]| Seen {
            exits: ago(exits),
            ..node(1, false)
        };
        for (what, wanted, seen, steps) in [
            (
                "a new deployment",
                wanted(2),
                vec![],
                vec![Step::Create(id(100)), Step::Create(id(100))],
            ),
            ("all is well", wanted(1), vec![node(1, true)], vec![]),
            ("one more", wanted(2), vec![node(1, true)], vec![Step::Create(id(100))]),
            (
                "one less: the youngest",
                wanted(1),
                vec![node(2, true), node(1, true)],
                vec![Step::Stop(id(2))],
            ),
            (
                "one less: the dead one",
                wanted(1),
                vec![node(1, false), node(2, true)],
                vec![Step::Forget(id(1))],
            ),
            (
                "killed for the first time",
                wanted(1),
                vec![ended(&[10])],
                vec![Step::Restart(id(1))],
            ),
            (
                "killed again: wait a second",
                wanted(1),
                vec![ended(&[5_000, 10])],
                vec![],
            ),
            (
                "killed again: a second later",
                wanted(1),
                vec![ended(&[5_000, 1_000])],
                vec![Step::Restart(id(1))],
            ),
            (
                "an old end is forgiven",
                wanted(1),
                vec![ended(&[200_000, 10])],
                vec![Step::Restart(id(1))],
            ),
            ("switched off", vec![], vec![node(1, true)], vec![Step::Stop(id(1))]),
            ("switched off, told", vec![], vec![stopping(1_000)], vec![]),
            (
                "switched off, deaf",
                vec![],
                vec![stopping(GRACE_MS)],
                vec![Step::Kill(id(1))],
            ),
            (
                "switched off, ended",
                vec![],
                vec![node(1, false)],
                vec![Step::Forget(id(1))],
            ),
            (
                "switched on while ending: another one",
                wanted(1),
                vec![stopping(1_000)],
                vec![Step::Create(id(100))],
            ),
        ] {
            assert_eq!(plan(&wanted, &seen, now()), steps, "{what}");
        }
    }

    #[test]
    fn crash_loops() {
        assert!(!is_crash_loop(&ago(&[50, 20]), now()));
        assert!(is_crash_loop(&ago(&[100, 50, 20]), now()));
        assert!(!is_crash_loop(&ago(&[MEMORY_MS + 1, 50, 20]), now()));
        let many = ago(&[90, 80, 70, 60, 50, 40, 30, 20, 10, 0]);
        assert_eq!(restart_at(&many, now()).ms() - NOW, MOST_DELAY_MS);
    }
}
