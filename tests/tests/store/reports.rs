//! What nodes say of themselves, where two control planes have heard one of them.

use super::*;
use castoff_control_plane::store::{Node, NodeReport, Written};

on_each_database! { who_was_asked_to_move_on_speaks_through_the_other }
on_each_database! { an_acknowledgement_alone_is_written_and_the_whole_where_somebody_else_has_written }

/// A node that is moved is on two lines for a moment, and what the first writes down last may be late.
async fn who_was_asked_to_move_on_speaks_through_the_other(database: &Database) {
    let (rows, there) = Rows::open_twice(database).await;
    rows.service("iris").await;
    rows.infrastructure("edge").await;
    let deployment = rows.deployment("iris", "edge", Access::Keys).await;
    let (here, there) = (rows.store.system(), there.system());
    let node = Uuid::new_v4();
    let report = |version| NodeReport {
        connected: true,
        ready: true,
        acked: Some((1, version, vec![0; 32])),
        ..NodeReport::default()
    };
    let moving = |version| NodeReport {
        moving: true,
        ..report(version)
    };
    let gone = |version| NodeReport {
        connected: false,
        ..moving(version)
    };
    let seen = async || -> Node {
        let nodes = here.nodes(deployment).await.unwrap();
        nodes.into_iter().find(|seen| seen.id == node).unwrap()
    };
    let say = async |by: &store::SystemStore, report| {
        let reports = [(node, deployment, Arc::new(report))];
        by.save_reports(&reports, &mut Written::default()).await.unwrap();
    };
    say(&here, report(1)).await;
    // As long as no other has heard it, what it says counts.
    say(&here, moving(2)).await;
    assert_eq!((seen().await.connected, seen().await.acked), (true, Some((1, 2))));
    say(&there, report(3)).await;
    for late in [moving(2), gone(2)] {
        say(&here, late).await;
        assert_eq!((seen().await.connected, seen().await.acked), (true, Some((1, 3))));
    }
    say(&there, gone(3)).await;
    assert!(!seen().await.connected);
}

/// What is the same as the last time is not written again, for which it must still be there.
async fn an_acknowledgement_alone_is_written_and_the_whole_where_somebody_else_has_written(database: &Database) {
    let (rows, there) = Rows::open_twice(database).await;
    rows.service("iris").await;
    rows.infrastructure("edge").await;
    let deployment = rows.deployment("iris", "edge", Access::Keys).await;
    let (here, there) = (rows.store.system(), there.system());
    let ids: Vec<Uuid> = (0..170).map(|_| Uuid::new_v4()).collect();
    let report = |version| NodeReport {
        connected: true,
        ready: true,
        reason: Some("all is well".to_owned()),
        acked: Some((1, version, vec![u8::try_from(version).unwrap(); 32])),
        ..NodeReport::default()
    };
    let all = |report: &NodeReport| -> Vec<_> {
        let report = Arc::new(report.clone());
        ids.iter().map(|id| (*id, deployment, Arc::clone(&report))).collect()
    };
    // How many are so: connected, ready, what goes wrong, and in force.
    let seen = async || {
        let mut seen = std::collections::BTreeMap::new();
        for node in here.nodes(deployment).await.unwrap() {
            *seen
                .entry((node.connected, node.ready, node.reason, node.acked))
                .or_insert(0) += 1;
        }
        seen.into_iter().collect::<Vec<_>>()
    };
    let well = |version, count| ((true, true, Some("all is well".to_owned()), Some((1, version))), count);
    let mut written = Written::default();
    for version in 1..4 {
        here.save_reports(&all(&report(version)), &mut written).await.unwrap();
        assert_eq!(seen().await, [well(version, 170)]);
    }
    // Two have been heard by another one meanwhile, which says something else of them.
    let elsewhere = NodeReport {
        ready: false,
        reason: None,
        ..report(3)
    };
    let two = &all(&elsewhere)[..2];
    there.save_reports(two, &mut Written::default()).await.unwrap();
    assert_eq!(seen().await, [((true, false, None, Some((1, 3))), 2), well(3, 168)]);
    here.save_reports(&all(&report(4)), &mut written).await.unwrap();
    assert_eq!(seen().await, [well(4, 170)]);
    // All are taken for lost, and are not.
    there.forget_lines(store::Gone::AllBut(Uuid::new_v4())).await.unwrap();
    assert!(seen().await.iter().all(|((connected, ..), _)| !connected));
    here.save_reports(&all(&report(5)), &mut written).await.unwrap();
    assert_eq!(seen().await, [well(5, 170)]);
    // Something else has changed with it.
    let worse = NodeReport {
        reason: Some("no memory".to_owned()),
        ..report(6)
    };
    here.save_reports(&all(&worse), &mut written).await.unwrap();
    let expected = (true, true, Some("no memory".to_owned()), Some((1, 6)));
    assert_eq!(seen().await, [(expected, 170)]);
}
