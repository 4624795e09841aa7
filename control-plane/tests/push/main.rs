//! The push with both its ends: a database, the port, and a node that the test plays.

#[cfg(test)]
mod line;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod world;

use castoff_control_plane::authn::{Secret, SecretKind};
use castoff_control_plane::store::{self, DeploymentChange};
use castoff_wire::key::KeyHash;
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{self, Position};
use std::time::Duration;
use tonic::Code;
use uuid::Uuid;
use world::{FakeNode, PATIENCE, World, eventually, open_store};

#[tokio::test]
async fn a_node_gets_every_change_and_the_receipt_says_so() {
    let world = World::new().await;
    assert!(world.receipt(Duration::ZERO).await.pending.is_empty(), "no nodes, done");
    let id = Uuid::new_v4();
    let mut node = world.join(world.hello(id)).await;
    let (config, position) = world.open(&node.snapshot().await);
    assert_eq!(config.deployment, "iris-on-edge");
    assert!(config.access.unwrap().keys.is_empty());
    assert_eq!(
        world.receipt(Duration::ZERO).await.pending,
        [id],
        "written down or not yet"
    );
    node.ack(&position).await;
    let receipt = world.receipt(PATIENCE).await;
    assert_eq!((receipt.acked, receipt.durable_copy_written), (vec![id], true));

    let (text, key) = world.new_key(&world.store, "first").await;
    let (config, position) = world.open(&node.snapshot().await);
    let keys = config.access.unwrap().keys;
    let hash = KeyHash::of(text.as_bytes());
    assert_eq!(keys[0].hash, hash.at(world.deployment));
    let receipt = world.receipt(Duration::ZERO).await;
    assert_eq!((receipt.pending, receipt.durable_copy_written), (vec![id], false));
    node.ack(&position).await;
    assert!(world.receipt(PATIENCE).await.pending.is_empty());

    world.revoke(key).await;
    let (config, position) = world.open(&node.snapshot().await);
    assert!(config.access.unwrap().keys.is_empty());
    node.ack(&position).await;
    assert_eq!(world.receipt(PATIENCE).await.acked, [id]);
    eventually("it is written down", async || {
        let nodes = world.store.system().nodes(world.deployment).await.unwrap();
        let acked = Some((position.epoch, position.version));
        nodes.first().is_some_and(|node| node.connected && node.acked == acked)
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn while_a_config_is_under_way_only_the_newest_waits() {
    let world = World::new().await;
    let mut slow = world.join(world.hello(Uuid::new_v4())).await;
    let Some(Down::Snapshot(first)) = slow.next().await else {
        panic!("no snapshot")
    };
    let beats = slow.sender.clone();
    let beating = tokio::spawn(async move {
        loop {
            FakeNode::send_on(&beats, Up::Heartbeat(proto::Heartbeat::default())).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let mut quick = world.join(world.hello(Uuid::new_v4())).await;
    quick.snapshot().await;
    let keys = |config: proto::Config| config.access.unwrap().keys.len();
    for count in 1..=3 {
        world.new_key(&world.store, &format!("key-{count}")).await;
        // That all know of it is seen by one that answers at once.
        assert_eq!(keys(world.open(&quick.snapshot().await).0), count);
    }
    let digest = first.digest().to_vec();
    slow.send(Up::Received(proto::Received { digest })).await;
    assert_eq!(keys(world.open(&slow.snapshot().await).0), 3);
    world.new_key(&world.store, "key-4").await;
    assert_eq!(keys(world.open(&slow.snapshot().await).0), 4);
    beating.abort();
    world.end().await;
}

#[tokio::test]
async fn a_node_that_has_it_is_up_to_date() {
    let world = World::new().await;
    let mut node = world.join(world.hello(Uuid::new_v4())).await;
    let (_, position) = world.open(&node.snapshot().await);
    let mut hello = world.hello(Uuid::new_v4());
    hello.have = Some(position.clone());
    assert!(matches!(
        world.join(hello.clone()).await.next().await,
        Some(Down::UpToDate(_))
    ));
    hello.have = Some(Position {
        digest: vec![0; 32],
        ..position
    });
    world.join(hello).await.snapshot().await;
    world.end().await;
}

#[tokio::test]
async fn nobody_is_let_in_without_the_token_of_the_deployment() {
    let world = World::new().await;
    let hello = || Up::Hello(world.hello(Uuid::new_v4()));
    let stranger = Secret::mint(SecretKind::NodeToken).unwrap();
    for token in [stranger.expose(), "", "castoff-node_short"] {
        let refused = world.dial(token, hello()).await.err().unwrap();
        assert_eq!(refused.code(), Code::Unauthenticated, "{token}");
        let refused = world.fetch(token, &[0; 32]).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{token}");
    }
    let (_, other) = world.deploy("iris-elsewhere").await;
    let refused = world.dial(other.expose(), hello()).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let health = Up::Health(proto::Health::default());
    let refused = world.dial(world.token.expose(), health).await.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(world.store.system().nodes(world.deployment).await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test]
async fn nodes_change_over_to_a_new_token_and_the_one_that_ends_ends_its_streams() {
    let world = World::new().await;
    let hello = || Up::Hello(world.hello(Uuid::new_v4()));
    let new_token = async || {
        let permit = world.permit("iris-on-edge").await;
        world.store.create_node_token(&permit).await.unwrap()
    };
    let mut node = world.dial(world.token.expose(), hello()).await.unwrap();
    node.snapshot().await;
    let second = new_token().await;
    let Some(Down::NodeToken(told)) = node.next().await else {
        panic!("no token")
    };
    assert_eq!(told.token, second.expose());
    // Both are valid. One that comes with the old one is told the new one.
    let mut late = world.dial(world.token.expose(), hello()).await.unwrap();
    late.snapshot().await;
    assert!(matches!(late.next().await, Some(Down::NodeToken(told)) if told.token == second.expose()));
    let mut changed = world.dial(second.expose(), hello()).await.unwrap();
    changed.snapshot().await;
    let third = new_token().await;
    for node in [&mut node, &mut late, &mut changed] {
        assert!(matches!(node.next().await, Some(Down::NodeToken(told)) if told.token == third.expose()));
    }
    let refused = world.dial(world.token.expose(), hello()).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    world.end().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_last_token_of_its_node() {
    let world = World::new().await;
    let mut node = world.join(world.hello(Uuid::new_v4())).await;
    node.snapshot().await;
    // Two at once, so that it is told of none in between; now and then a look falls between the two.
    for _ in 0..30 {
        let permit = world.permit("iris-on-edge").await;
        for _ in 0..2 {
            world.store.create_node_token(&permit).await.unwrap();
        }
        if node.next().await.is_none() {
            return world.end().await;
        }
    }
    panic!("it is on the line with a token that has ended");
}

#[tokio::test]
async fn only_files_of_the_own_config_are_given_out() {
    let world = World::new().await;
    let mut node = world.join(world.hello(Uuid::new_v4())).await;
    let (config, _) = world.open(&node.snapshot().await);
    let file = config.serving.unwrap().versions[0].endpoints[0].model.clone().unwrap();
    let token = world.token.expose();
    assert_eq!(world.fetch(token, &file.digest).await.unwrap(), world.model);
    let uploaded = world.upload("v2", "digits.onnx").await;
    for digest in [uploaded.as_bytes().as_slice(), &[0; 32], &[0; 31], &[]] {
        let refused = world.fetch(token, digest).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
    world.end().await;
}

#[tokio::test]
async fn a_deleted_deployment_has_nobody_on_the_line() {
    let world = World::new().await;
    let mut node = world.join(world.hello(Uuid::new_v4())).await;
    node.snapshot().await;
    let change = DeploymentChange {
        enabled: Some(false),
        ..DeploymentChange::default()
    };
    let permit = world.permit("iris-on-edge").await;
    world
        .store
        .change_deployment(&permit, "disable-deployment", change)
        .await
        .unwrap();
    node.snapshot().await;
    let permit = world.permit("iris-on-edge").await;
    world.store.delete_deployment(permit).await.unwrap();
    assert_eq!(node.next().await, None);
    let again = world
        .dial(world.token.expose(), Up::Hello(world.hello(Uuid::new_v4())))
        .await;
    assert_eq!(again.err().unwrap().code(), Code::Unauthenticated);
    world.end().await;
}

#[tokio::test]
async fn usage_is_counted_for_the_keys_of_the_deployment() {
    let world = World::new().await;
    let (_, key) = world.new_key(&world.store, "first").await;
    let mut node = world.join(world.hello(Uuid::new_v4())).await;
    node.snapshot().await;
    let used = |key: &[u8], calls| proto::KeyUsage {
        key_id: key.to_vec(),
        calls,
        last_used_ms: i64::MAX,
    };
    let usage = |keys| {
        Up::Usage(proto::Usage {
            keys,
            ..proto::Usage::default()
        })
    };
    let stranger = Uuid::new_v4();
    node.send(usage(vec![
        used(key.as_bytes(), 2),
        used(stranger.as_bytes(), 9),
        used(b"?", 9),
    ]))
    .await;
    node.send(usage(vec![used(key.as_bytes(), 3)])).await;
    let calls = async || {
        let sealed = world.store.deployment(&world.admin, "iris-on-edge").await.unwrap();
        let permit = sealed.admit(&world.table, &world.admin).unwrap();
        let ring = world.store.deployment_keys(&permit).await.unwrap();
        let key = world.store.key(&ring, key).await.unwrap();
        (key.calls, key.last_used_at)
    };
    eventually("both are counted", async || calls().await.0 == 5).await;
    assert!(
        calls().await.1.unwrap() <= world.store.clock().now(),
        "not in the future"
    );
    // What a broken node counts neither fails nor spoils the sum.
    node.send(usage(vec![used(key.as_bytes(), u64::MAX)])).await;
    eventually("bounded", async || calls().await.0 == 5 + u64::from(u32::MAX)).await;
    world.end().await;
}

#[tokio::test]
async fn nodes_are_told_how_many_of_them_take_calls() {
    let world = World::new().await;
    let ready = |ready| {
        Up::Health(proto::Health {
            ready,
            ..proto::Health::default()
        })
    };
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(world.join(world.hello(Uuid::new_v4())).await);
    }
    for node in &mut nodes {
        assert_eq!(
            node.told().await,
            (1, true),
            "before any config, and nobody is ready yet"
        );
        node.send(ready(true)).await;
    }
    // All of them listen, or they would be taken for lost.
    let all_told = async |nodes: &mut [FakeNode], expected: u32| {
        let waits = nodes
            .iter_mut()
            .map(async |node| while node.told().await.0 != expected {});
        futures::future::join_all(waits).await;
    };
    all_told(&mut nodes, 3).await;
    // One that comes to many is told at once; one that takes no calls any more counts no more, by and by.
    let mut late = world.join(world.hello(Uuid::new_v4())).await;
    assert_eq!(late.told().await, (3, true));
    nodes[0].send(ready(false)).await;
    nodes.push(late);
    all_told(&mut nodes, 2).await;
    world.end().await;
}

#[tokio::test]
async fn the_later_stream_of_a_node_speaks_for_it() {
    let world = World::new().await;
    let id = Uuid::new_v4();
    let mut first = world.join(world.hello(id)).await;
    let (_, position) = world.open(&first.snapshot().await);
    first.ack(&position).await;
    assert!(world.receipt(PATIENCE).await.pending.is_empty());
    let mut second = world.join(world.hello(id)).await;
    second.snapshot().await;
    assert_eq!(first.next().await, None, "the earlier one ends");
    second.ack(&position).await;
    assert!(world.receipt(PATIENCE).await.pending.is_empty());
    eventually("its word stands", async || {
        let nodes = world.store.system().nodes(world.deployment).await.unwrap();
        nodes.len() == 1 && nodes[0].connected && nodes[0].acked.is_some()
    })
    .await;
    assert!(!world.events().await.contains(&"node-lost".to_owned()));
    world.end().await;
}

#[tokio::test]
async fn an_acknowledgement_of_what_was_not_sent_is_none() {
    let world = World::new().await;
    let id = Uuid::new_v4();
    let mut node = world.join(world.hello(id)).await;
    let (_, position) = world.open(&node.snapshot().await);
    let newer = Position {
        version: u64::MAX,
        ..position.clone()
    };
    let other = Position {
        digest: vec![0; 32],
        ..position
    };
    node.ack(&newer).await;
    node.ack(&other).await;
    // Heard after both: what is said on a stream is heard in order.
    node.send(Up::Health(proto::Health {
        ready: true,
        ..proto::Health::default()
    }))
    .await;
    eventually("it is ready", async || {
        world.events().await.contains(&"node-ready".to_owned())
    })
    .await;
    assert_eq!(world.receipt(Duration::ZERO).await.pending, [id]);
    world.end().await;
}

#[tokio::test]
async fn what_happens_to_nodes_is_an_event_once() {
    let world = World::new().await;
    let id = Uuid::new_v4();
    let mut node = world.join(world.hello(id)).await;
    let (_, position) = world.open(&node.snapshot().await);
    let nack = Up::Nack(proto::Nack {
        code: proto::nack::Code::Model.into(),
        position: Some(position),
        reason: "it does not load\n".into(),
    });
    for _ in 0..3 {
        node.send(nack.clone()).await;
    }
    // A gap is answered with the whole config.
    node.send(Up::Nack(proto::Nack {
        code: proto::nack::Code::Gap.into(),
        ..proto::Nack::default()
    }))
    .await;
    node.snapshot().await;
    // It says no more, and does not answer heartbeats.
    eventually("it is lost", async || {
        world.events().await.contains(&"node-lost".to_owned())
    })
    .await;
    let events = world.events().await;
    assert_eq!(
        events.iter().filter(|kind| *kind == "config-refused").count(),
        1,
        "{events:?}"
    );
    eventually("it is off the line, and pending", async || {
        let nodes = world.store.system().nodes(world.deployment).await.unwrap();
        !nodes[0].connected && world.receipt(Duration::ZERO).await.pending == [id]
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn what_another_replica_raised_arrives_however_much_else_changes() {
    let world = World::new().await;
    let mut node = world.join(world.hello(Uuid::new_v4())).await;
    node.snapshot().await;
    // Hints of other kinds, without a pause.
    let busy = tokio::spawn({
        let system = world.store.system();
        let launched = store::LaunchedNode {
            id: Uuid::new_v4(),
            deployment_id: Uuid::new_v4(),
            state: store::NodeState::Starting,
            pid: None,
            start_time: None,
            ops_address: None,
            restarts: 0,
            exits: Vec::new(),
        };
        async move {
            loop {
                system.acting(None).save_launched(&launched, None).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    // The same database, whose hints this replica does not hear.
    let (elsewhere, _) = open_store(&world.folder).await;
    world.new_key(&elsewhere, "elsewhere").await;
    let (config, _) = world.open(&node.snapshot().await);
    assert_eq!(config.access.unwrap().keys.len(), 1);
    busy.abort();
    world.end().await;
}

#[tokio::test]
async fn beyond_this_machine_a_node_believes_the_authority_of_its_join_document() {
    let world = World::on("0.0.0.0:0").await;
    assert!(world.join.control_plane.starts_with("https://"));
    let mut node = world.join(world.hello(Uuid::new_v4())).await;
    let (config, _) = world.open(&node.snapshot().await);
    assert_eq!(config.deployment, "iris-on-edge");
    // Another start has another certificate, and the same authority.
    let (_, installation) = open_store(&world.folder).await;
    assert_eq!(
        installation.authority.map(|(certificate, _)| certificate),
        world.join.ca_pem
    );
    world.end().await;
}
