//! On the line: what is obeyed, what is refused, and what is said.

use super::process::Node;
use super::world::{Fake, eventually};
use crate::control::signing::Signer;
use castoff_wire::delta;
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::nack::Code;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{Config, ControlPlanes, MoveOn, NodeToken, UpToDate};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_snapshot_is_served_and_kept_before_it_is_acknowledged() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    assert!(line.hello.have.is_none());
    assert_eq!(line.hello.http_address, "127.0.0.1:8000");
    for version in 1..=3 {
        let signed = control.signer.config(1, version, &["a"]);
        line.say(Down::Snapshot(signed.clone())).await;
        assert_eq!(line.acked().await, version);
        assert_eq!(node.stage.version(), version);
        let kept = node
            .copy
            .read(&control.signer.trust, control.signer.deployment)
            .unwrap();
        assert_eq!(kept.config.unwrap().signed, signed);
    }
    line.say(Down::Snapshot(control.signer.config(1, 3, &["a"]))).await;
    assert_eq!(line.acked().await, 3);
    assert_eq!(node.stage.refused.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_not_to_be_obeyed_is_refused_by_its_code_and_changes_nothing() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    let signer = &control.signer;
    line.say(Down::Snapshot(signer.config(1, 5, &["a"]))).await;
    assert_eq!(line.acked().await, 5);

    let mut torn = signer.config(1, 6, &["b"]);
    torn.config.push(0);
    let elsewhere = Config {
        deployment_id: vec![9; 16],
        version: 6,
        ..Config::default()
    };
    let nothing = Config {
        deployment_id: signer.deployment.as_bytes().to_vec(),
        version: 6,
        ..Config::default()
    };
    for (code, signed) in [
        (Code::BadSignature, torn),
        (Code::BadSignature, Signer::new(2).config(1, 6, &["b"])),
        (Code::OtherDeployment, signer.sign(&elsewhere)),
        (Code::Malformed, signer.sign(&nothing)),
        (Code::Older, signer.config(1, 4, &["b"])),
        (Code::Older, signer.config(0, 9, &["b"])),
        (Code::Conflict, signer.config(1, 5, &["b"])),
    ] {
        line.say(Down::Snapshot(signed)).await;
        assert_eq!(line.nacked().await.code(), code);
        assert_eq!(
            (node.stage.version(), node.stage.keys()),
            (5, vec!["a".to_owned()]),
            "{code:?}"
        );
    }
    assert_eq!(node.stage.refused.load(Ordering::Relaxed), 7);
    line.say(Down::Snapshot(signer.config(2, 1, &["c"]))).await;
    assert_eq!(line.acked().await, 1);
}

#[tokio::test]
async fn a_revocation_is_in_force_across_a_gap_and_ends_with_its_config() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.config(1, 5, &["a", "b"]))).await;
    assert_eq!(line.acked().await, 5);

    let mut forged = control.signer.revocation(9, &["a"]);
    forged.signature[0] ^= 1;
    line.say(Down::Delta(forged)).await;
    assert_eq!(line.nacked().await.code(), Code::BadSignature);
    assert_eq!(node.stage.keys(), ["a", "b"]);

    line.say(Down::Delta(control.signer.revocation(9, &["b"]))).await;
    assert_eq!(line.nacked().await.code(), Code::Gap);
    assert_eq!((node.stage.version(), node.stage.keys()), (5, vec!["a".to_owned()]));
    // A config from before it does not end it, its own does, and one that activates the key again is obeyed.
    for (version, keys, open) in [
        (8, ["a", "b"], &["a"][..]),
        (9, ["a", "c"], &["a", "c"]),
        (10, ["a", "b"], &["a", "b"]),
    ] {
        line.say(Down::Snapshot(control.signer.config(1, version, &keys))).await;
        assert_eq!(line.acked().await, version);
        assert_eq!(node.stage.keys(), open);
    }
    line.say(Down::Delta(control.signer.revocation(9, &["b"]))).await;
    assert_eq!(line.nacked().await.code(), Code::Gap);
    assert_eq!(
        node.stage.keys(),
        ["a", "b"],
        "a delta that is played again revokes nothing"
    );
}

#[tokio::test]
async fn a_delta_from_where_the_node_stands_is_as_good_as_the_snapshot() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    let configs = [&["a", "b"][..], &["b"], &["b", "c"], &["c"]];
    let configs: Vec<_> = (5..)
        .zip(configs)
        .map(|(version, keys)| control.signer.config(1, version, keys))
        .collect();
    let delta = |from: usize, to: usize| {
        let delta = delta::between(&configs[from], &configs[to]).expect("only keys differ");
        Down::Delta(control.signer.sign_delta(&delta))
    };
    line.say(Down::Snapshot(configs[0].clone())).await;
    assert_eq!(line.acked().await, 5);
    for to in [1, 2] {
        line.say(delta(to - 1, to)).await;
        assert_eq!(line.acked().await, 5 + to as u64);
        let kept = node.copy.read(&control.signer.trust, control.signer.deployment);
        assert_eq!(kept.unwrap().config.unwrap().signed, configs[to]);
    }
    assert_eq!(
        (node.stage.version(), node.stage.keys()),
        (7, vec!["b".to_owned(), "c".to_owned()])
    );
    // Said again it is acknowledged again; from elsewhere it takes away what it takes away, and no more.
    line.say(delta(1, 2)).await;
    assert_eq!(line.acked().await, 7);
    line.say(delta(0, 3)).await;
    assert_eq!(line.nacked().await.code(), Code::Gap);
    assert_eq!((node.stage.version(), node.stage.keys()), (7, vec!["c".to_owned()]));
    assert_eq!(node.stage.refused.load(Ordering::Relaxed), 0);
    // It is no authority: what it leads to must be signed, too.
    let mut forged = delta::between(&configs[2], &configs[3]).unwrap();
    forged.signature = Signer::new(2).sign(&Config::default()).signature;
    line.say(Down::Delta(control.signer.sign_delta(&forged))).await;
    assert_eq!(line.nacked().await.code(), Code::BadSignature);
    assert_eq!(node.stage.version(), 7);
}

#[tokio::test]
async fn a_new_token_is_used_from_the_next_dial_on_and_the_old_one_when_it_is_not_taken() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let line = control.line().await;
    assert_eq!(line.token, "join-token");
    control.take_tokens(&["join-token", "second"]);
    line.say(Down::NodeToken(NodeToken {
        token: "second".into(),
        id: vec![7],
    }))
    .await;
    eventually("the token is kept", || node.copy.token().as_deref() == Some("second")).await;
    drop(line);
    let line = control.line().await;
    assert_eq!(line.token, "second");
    control.take_tokens(&["join-token"]);
    drop(line);
    assert_eq!(control.line().await.token, "join-token");
}

#[tokio::test]
async fn what_is_no_token_is_not_kept() {
    let mut control = Fake::start().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    for token in [String::new(), "a b".into(), "a\nb".into(), "x".repeat(5000)] {
        line.say(Down::NodeToken(NodeToken { token, id: vec![8] })).await;
    }
    line.say(Down::Snapshot(control.signer.config(1, 1, &[]))).await;
    assert_eq!(line.acked().await, 1);
    assert!(node.copy.token().is_none());
}

#[tokio::test]
async fn a_line_that_falls_silent_is_dialled_again() {
    let mut control = Fake::start().await;
    let _node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.config(1, 3, &[]))).await;
    assert_eq!(line.acked().await, 3);
    control.fall_silent();
    let again = control.line().await;
    let have = again.hello.have.clone().unwrap();
    assert_eq!((have.epoch, have.version), (1, 3));
    assert_eq!(
        have.digest,
        castoff_wire::sha256(&[&control.signer.config(1, 3, &[]).config])
    );
}

#[tokio::test]
async fn who_is_asked_to_move_on_obeys_here_until_another_has_answered() {
    let (mut control, mut other) = (Fake::start().await, Fake::start().await);
    other.take_tokens(&[]);
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.config(1, 1, &["a"]))).await;
    assert_eq!(line.acked().await, 1);
    let urls = vec![format!("http://{}", other.address)];
    line.say(Down::ControlPlanes(ControlPlanes { urls })).await;
    // As one does that ends: it takes nobody any more.
    control.take_tokens(&[]);
    line.say(Down::MoveOn(MoveOn {})).await;
    other.refused(1).await;
    line.say(Down::Snapshot(control.signer.config(1, 2, &["b"]))).await;
    assert_eq!(line.acked().await, 2);
    assert!(other.is_alone());

    other.take_tokens(&["join-token"]);
    let mut next = other.line().await;
    next.say(Down::Snapshot(control.signer.config(1, 3, &["c"]))).await;
    assert_eq!(next.acked().await, 3);
    assert_eq!(node.stage.keys(), ["c"]);
    while line.heard().await.is_some() {}
    next.say(Down::Snapshot(control.signer.config(1, 4, &["d"]))).await;
    assert_eq!(next.acked().await, 4);
    assert!(control.is_alone() && other.is_alone(), "it was dialled once");
}

#[tokio::test]
async fn the_last_usage_is_sent_before_the_node_hangs_up() {
    let mut control = Fake::start().await;
    let mut node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::UpToDate(UpToDate {})).await;
    let mut counted = 0;
    let mut ending = std::pin::pin!(async {
        // After the first report, so that only the farewell can carry it.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        node.stage.call();
        node.end().await;
    });
    let told = async {
        while let Some(message) = line.heard().await {
            if let Up::Usage(usage) = message {
                counted += usage.anonymous_calls;
                // The node waits for the control plane to hang up.
                line.hang_up();
            }
        }
    };
    tokio::join!(&mut ending, told);
    assert_eq!(counted, 1);
}

#[tokio::test]
async fn where_no_line_is_known_the_same_is_said_in_grpc() {
    let mut control = Fake::start_before_lines().await;
    let node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.config(1, 1, &["a"]))).await;
    assert_eq!(line.acked().await, 1);
    line.say(Down::NodeToken(NodeToken {
        token: "second".into(),
        id: vec![7],
    }))
    .await;
    eventually("the token is kept", || node.copy.token().as_deref() == Some("second")).await;
    drop(line);
    // It is not taken, and the other is.
    let mut line = control.line().await;
    assert_eq!((line.token.as_str(), line.hello.have.is_some()), ("join-token", true));
    line.say(Down::Snapshot(control.signer.config(1, 2, &["b"]))).await;
    assert_eq!((line.acked().await, node.stage.keys()), (2, vec!["b".to_owned()]));
}

#[tokio::test]
async fn what_is_larger_than_a_node_takes_ends_the_line_and_is_told_on_the_next() {
    let mut control = Fake::start().await;
    let _node = Node::start(&control.signer, &control.address);
    let mut line = control.line().await;
    line.say(Down::Snapshot(control.signer.config(1, 1, &["a"]))).await;
    assert_eq!(line.acked().await, 1);
    let mut large = control.signer.config(1, 2, &["b"]);
    large.config.resize(34 << 20, 0);
    line.say(Down::Snapshot(large)).await;
    let mut line = control.line().await;
    let refused = line.health().await.refused.unwrap();
    assert_eq!((refused.code(), refused.version), (Code::TooLarge, 0));
    line.say(Down::Snapshot(control.signer.config(1, 3, &["c"]))).await;
    assert_eq!(line.acked().await, 3);
}

#[tokio::test]
async fn beyond_loopback_only_the_authority_of_the_join_document_is_believed() {
    let authority = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, rcgen::Issuer::new(params, key))
    };
    let ((ours, issuer), (others, _)) = (authority(), authority());
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".into()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let identity = tonic::transport::Identity::from_pem(certificate.pem(), key.serialize_pem());
    let mut control = Fake::start_with(identity).await;

    let join = |ca: &str| {
        let plain = control
            .signer
            .join(&format!("https://{}", control.address), "join-token");
        let mut join: serde_json::Value = serde_json::from_str(&plain).unwrap();
        join["ca_pem"] = ca.into();
        join.to_string()
    };
    let (deceived, followed) = (join(&others), join(&ours));
    let deceived = Node::start_by(tempfile::tempdir().unwrap(), &deceived);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(control.is_alone(), "a node believed an authority that it was not given");
    drop(deceived.kill().await);
    let _node = Node::start_by(tempfile::tempdir().unwrap(), &followed);
    assert_eq!(control.line().await.token, "join-token");
}
