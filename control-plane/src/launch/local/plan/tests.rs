use super::*;

const NOW: i64 = 1_000_000;
const DEPLOYMENT: Uuid = Uuid::from_u128(1);

fn now() -> Time {
    Time::from_ms(NOW)
}

fn ago(ms: i64) -> Time {
    Time::from_ms(NOW - ms)
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn wanted(replicas: u32) -> Vec<Wanted> {
    vec![Wanted {
        deployment_id: DEPLOYMENT,
        enabled: true,
        replicas,
        port: Some(8500),
        problem: None,
        grace_ms: 15_000,
    }]
}

fn switched_off() -> Vec<Wanted> {
    let mut wanted = wanted(2);
    wanted[0].enabled = false;
    wanted
}

fn slot(n: u128, sight: Sight) -> Slot {
    Slot {
        record: LaunchedNode {
            id: id(n),
            deployment_id: DEPLOYMENT,
            state: NodeState::Starting,
            pid: None,
            start_time: None,
            ops_address: None,
            restarts: 0,
            exits: Vec::new(),
        },
        sight,
        failures: 0,
        kill_at: None,
    }
}

fn held(n: u128) -> Slot {
    slot(n, Sight::Held { since: ago(60_000) })
}

fn down(n: u128, failures: u32, ended_ms_ago: i64) -> Slot {
    let mut slot = slot(n, Sight::Ended);
    slot.failures = failures;
    slot.record.exits = vec![ago(ended_ms_ago)];
    slot
}

fn stopping(mut slot: Slot, kill_at: Option<Time>) -> Slot {
    slot.record.state = NodeState::Stopping;
    slot.kill_at = kill_at;
    slot
}

fn looping(mut slot: Slot) -> Slot {
    slot.record.state = NodeState::CrashLooping;
    slot
}

fn crashed(ms: i64) -> Life {
    Life { ms, clean: false }
}

fn asked_to_end(ms: i64) -> Life {
    Life { ms, clean: true }
}

#[test]
fn the_table() {
    use Step::*;
    let add = Add { deployment: DEPLOYMENT };
    let in_ms = |ms| Some(now().after_ms(ms));
    type Case = (&'static str, Vec<Wanted>, Vec<Slot>, Vec<Step>, Option<Time>);
    let cases: Vec<Case> = vec![
        ("nothing is wanted, nothing is there", vec![], vec![], vec![], None),
        ("a new deployment", wanted(2), vec![], vec![add, add], None),
        ("as wanted", wanted(2), vec![held(1), held(2)], vec![], None),
        ("one more", wanted(2), vec![held(1)], vec![add], None),
        (
            "one less: the youngest goes",
            wanted(1),
            vec![held(2), held(1)],
            vec![Stop { node: id(2) }],
            None,
        ),
        (
            "one less: rather the one that is down",
            wanted(1),
            vec![down(1, 1, 0), held(2)],
            vec![Forget { node: id(1) }],
            None,
        ),
        (
            "switched off",
            switched_off(),
            vec![held(1), down(2, 1, 0)],
            vec![Stop { node: id(1) }, Forget { node: id(2) }],
            None,
        ),
        ("deleted", vec![], vec![held(1)], vec![Stop { node: id(1) }], None),
        (
            "told to end: waits",
            switched_off(),
            vec![stopping(held(1), in_ms(300))],
            vec![],
            in_ms(300),
        ),
        (
            "told to end, did not",
            switched_off(),
            vec![stopping(held(1), Some(now()))],
            vec![Kill { node: id(1) }],
            None,
        ),
        (
            "told to end by a control plane that is gone: told again",
            switched_off(),
            vec![stopping(held(1), None)],
            vec![Stop { node: id(1) }],
            None,
        ),
        (
            "told to end, has ended",
            switched_off(),
            vec![stopping(slot(1, Sight::Ended), None)],
            vec![Forget { node: id(1) }],
            None,
        ),
        (
            "switched on again while the old one leaves",
            wanted(1),
            vec![stopping(held(1), in_ms(300))],
            vec![add],
            in_ms(300),
        ),
        (
            "killed: again at once",
            wanted(1),
            vec![down(1, 1, 0)],
            vec![Start { node: id(1) }],
            None,
        ),
        (
            "killed twice: after a second",
            wanted(1),
            vec![down(1, 2, 400)],
            vec![],
            in_ms(600),
        ),
        (
            "the delay is over",
            wanted(1),
            vec![down(1, 2, 1_000)],
            vec![Start { node: id(1) }],
            None,
        ),
        (
            "the longest delay",
            wanted(1),
            vec![looping(down(1, 40, 0))],
            vec![],
            in_ms(30_000),
        ),
        (
            "ended in the future of a clock that was set back",
            wanted(1),
            vec![down(1, 3, -3_600_000)],
            vec![],
            in_ms(2_000),
        ),
        (
            "a living process of an earlier control plane",
            wanted(1),
            vec![slot(1, Sight::Found)],
            vec![Adopt { node: id(1) }],
            None,
        ),
        (
            "adopted before it is stopped",
            switched_off(),
            vec![slot(1, Sight::Found)],
            vec![Adopt { node: id(1) }],
            None,
        ),
        (
            "announced, not seen: no second one meanwhile",
            wanted(1),
            vec![slot(1, Sight::Unseen { since: ago(1_500) })],
            vec![],
            in_ms(500),
        ),
        (
            "announced, never seen",
            wanted(1),
            vec![slot(1, Sight::Unseen { since: ago(2_000) })],
            vec![Forget { node: id(1) }],
            None,
        ),
        (
            "crash looping, runs since a second",
            wanted(1),
            vec![looping(slot(1, Sight::Held { since: ago(1_000) }))],
            vec![],
            in_ms(4_000),
        ),
        (
            "crash looping, runs for long enough",
            wanted(1),
            vec![looping(held(1))],
            vec![Trust { node: id(1) }],
            None,
        ),
    ];
    for (what, wanted, slots, steps, wake_at) in cases {
        assert_eq!(plan(&wanted, &slots, now()), Plan { steps, wake_at }, "{what}");
    }
}

#[test]
fn no_node_is_started_that_is_not_proven_to_have_ended() {
    for sight in [
        Sight::Found,
        Sight::Unseen { since: ago(9_999) },
        Sight::Held { since: ago(9_999) },
    ] {
        for wanted in [wanted(1), wanted(0), switched_off(), vec![]] {
            let steps = plan(&wanted, &[slot(1, sight)], now()).steps;
            assert!(!steps.contains(&Step::Start { node: id(1) }), "{sight:?}");
        }
    }
}

#[test]
fn ends_are_counted_and_a_loop_is_called_so() {
    let mut record = held(1).record;
    record.pid = Some(7);
    record.start_time = Some(70);
    let mut failures = 0;
    let mut delays = Vec::new();
    let mut at = NOW;
    for n in 1..=12 {
        (record, failures) = ended(record, failures, crashed(100), Time::from_ms(at));
        assert_eq!(record.state == NodeState::CrashLooping, n >= 3, "after {n} ends");
        assert_eq!(Recorded::of(&record), Recorded::Ended);
        delays.push(delay_ms(failures) / 1_000);
        at += delay_ms(failures) + 100;
    }
    assert_eq!(delays, [0, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]);
    assert_eq!(record.exits.len(), 10);

    let (record, failures) = ended(record, failures, crashed(STEADY_MS), Time::from_ms(at + 3_600_000));
    assert_eq!(
        (record.state, failures),
        (NodeState::Starting, 1),
        "one end after a long life"
    );
}

#[test]
fn three_ends_within_a_minute_are_a_loop_even_of_steady_processes() {
    let mut record = held(1).record;
    let mut states = Vec::new();
    for n in 0..3 {
        let (after, failures) = ended(record, 1, crashed(20_000), Time::from_ms(NOW + n * 20_000));
        assert_eq!(failures, 1);
        states.push(after.state);
        record = after;
    }
    assert_eq!(
        states,
        [NodeState::Starting, NodeState::Starting, NodeState::CrashLooping]
    );
    assert_eq!(failures_of(&record, Time::from_ms(NOW + 61_000)), 2);
}

#[test]
fn a_node_that_was_asked_to_end_starts_again_at_once() {
    let (mut record, mut failures) = (held(1).record, 0);
    for n in 0..10 {
        (record, failures) = ended(record, failures, asked_to_end(1_000), Time::from_ms(NOW + n * 1_000));
        assert_eq!((record.state, delay_ms(failures)), (NodeState::Starting, 0), "end {n}");
    }
    assert_eq!(failures_of(&record, now()), 0, "nor after the control plane was away");
    // One that ends as quickly as it starts is a loop, however it ends.
    for n in 1..=3 {
        (record, failures) = ended(record, failures, asked_to_end(999), Time::from_ms(NOW + n));
        assert_eq!(record.state == NodeState::CrashLooping, n == 3, "after {n} quick ends");
    }
    assert_eq!(delay_ms(failures), 2_000);
    // Three crashes within a minute stay what they are.
    assert_eq!(
        ended(record, failures, asked_to_end(1_000), now()).0.state,
        NodeState::CrashLooping
    );
}

#[test]
fn a_record_says_what_it_knows() {
    let mut record = held(1).record;
    assert_eq!(Recorded::of(&record), Recorded::Announced);
    record.pid = Some(7);
    record.start_time = Some(70);
    assert_eq!(Recorded::of(&record), Recorded::Started { pid: 7, start_time: 70 });
    let (record, _) = ended(record, 0, crashed(0), now());
    assert_eq!(Recorded::of(&record), Recorded::Ended);
    let again = starting(record);
    assert_eq!((Recorded::of(&again), again.restarts), (Recorded::Announced, 1));
    // One that could not be started has ended, too.
    assert_eq!(Recorded::of(&ended(again, 0, crashed(0), now()).0), Recorded::Ended);
}
