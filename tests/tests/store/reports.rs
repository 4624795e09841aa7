//! What nodes say of themselves, where two control planes have heard one of them.

use super::*;
use castoff_control_plane::store::{Node, NodeReport};

on_each_database! { who_was_asked_to_move_on_speaks_through_the_other }

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
        by.save_reports(&[(node, deployment, Arc::new(report))]).await.unwrap();
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
