//! Somebody between a node and the control plane who may even hold a key that the node trusts: what he sends is refused,
//! counted and shown, and the node goes on with the key set that it has.

use acceptance::node::ByHand;
use acceptance::pen::Pen;
use acceptance::proxy::Messages;
use acceptance::{Edge, eventually, however_it_is_spoken, json};
use castoff_wire::delta;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{self, Config, Delta, Position, Signed, SignedDelta};
use prost::Message;
use serde_json::Value;
use uuid::Uuid;

/// A kind of attack, what it sends, and the word that it is refused with.
type Attack = (&'static str, Down, &'static str);

/// What a forger can make of the config in force. `trusted` signs what the node believes; `stranger` does not.
fn attacks(in_force: &Signed, forged_key: &proto::Key, trusted: &Pen, stranger: &Pen) -> Vec<Attack> {
    let real = Config::decode(in_force.config.as_slice()).expect("a config");
    let opened_by_forger = |epoch, version| {
        let mut config = real.clone();
        (config.epoch, config.version) = (epoch, version);
        config.access.as_mut().expect("an access").keys = vec![forged_key.clone()];
        config
    };
    let (epoch, next) = (real.epoch, real.version + 1);
    let newer = opened_by_forger(epoch, next);
    let elsewhere = Config {
        deployment_id: Uuid::new_v4().as_bytes().to_vec(),
        ..newer.clone()
    };
    let mut borrowed = stranger.sign(&newer);
    borrowed.key_id.clone_from(&in_force.key_id);
    let mut torn = in_force.clone();
    torn.config.truncate(torn.config.len() / 2);
    let without_access = Config {
        access: None,
        ..newer.clone()
    };
    let revoke = |deployment_id: &[u8]| Delta {
        deployment_id: deployment_id.to_vec(),
        from: None,
        to: Some(Position {
            epoch,
            version: next,
            digest: vec![0; 32],
        }),
        revoked: real
            .access
            .iter()
            .flat_map(|access| &access.keys)
            .map(|key| key.id.clone())
            .collect(),
        put: vec![forged_key.clone()],
        ..Delta::default()
    };
    let leads_to = |next: &Signed| {
        let delta = delta::between(in_force, next).expect("only keys differ");
        Down::Delta(trusted.sign_delta(&delta))
    };
    let as_config = trusted.sign_bytes(revoke(&real.deployment_id).encode_to_vec());
    let signed_as_config = SignedDelta {
        delta: as_config.config,
        key_id: as_config.key_id,
        signature: as_config.signature,
    };
    let huge = Signed {
        config: vec![0; 34 << 20],
        ..in_force.clone()
    };
    vec![
        (
            "signed by another key",
            Down::Snapshot(stranger.sign(&newer)),
            "bad-signature",
        ),
        (
            "signed by another key under a trusted name",
            Down::Snapshot(borrowed),
            "bad-signature",
        ),
        ("a torn envelope", Down::Snapshot(torn), "bad-signature"),
        (
            "for another deployment",
            Down::Snapshot(trusted.sign(&elsewhere)),
            "other-deployment",
        ),
        (
            "an older version",
            Down::Snapshot(trusted.sign(&opened_by_forger(epoch, real.version - 1))),
            "older",
        ),
        (
            "an older epoch",
            Down::Snapshot(trusted.sign(&opened_by_forger(epoch - 1, next + 9))),
            "older",
        ),
        (
            "the same version with other bytes",
            Down::Snapshot(trusted.sign(&opened_by_forger(epoch, real.version))),
            "conflict",
        ),
        (
            "signed bytes that are no config",
            Down::Snapshot(trusted.sign_bytes(vec![0xff; 99])),
            "malformed",
        ),
        (
            "a config that lacks its keys",
            Down::Snapshot(trusted.sign(&without_access)),
            "malformed",
        ),
        (
            "a delta that is signed as a config",
            Down::Delta(signed_as_config),
            "bad-signature",
        ),
        (
            "a delta by another key",
            Down::Delta(stranger.sign_delta(&revoke(&real.deployment_id))),
            "bad-signature",
        ),
        (
            "a delta of another deployment",
            Down::Delta(trusted.sign_delta(&revoke(&[7; 16]))),
            "other-deployment",
        ),
        (
            "a delta to a config by another key",
            leads_to(&stranger.sign(&newer)),
            "bad-signature",
        ),
        (
            "a delta that leads back",
            leads_to(&trusted.sign(&opened_by_forger(epoch, real.version - 1))),
            "older",
        ),
        ("larger than a node takes", Down::Snapshot(huge), "too-large"),
    ]
}

/// What the status tells about the node once it has counted so many refusals.
#[track_caller]
fn refused(edge: &Edge, node: &ByHand, count: u64, what: &str) -> Value {
    eventually(&format!("{what} is in the status"), || {
        let seen = edge.seen(node);
        match seen["refused_configs"] == count && seen["refused"]["count"] == count && seen["state"] == "ready" {
            true => Ok(seen["refused"].clone()),
            false => Err(seen.to_string()),
        }
    })
}

/// The metric of what was refused, all reasons together.
fn counted(node: &ByHand) -> u64 {
    let lines = node.counted("castoff_node_refused_configs_total");
    lines
        .iter()
        .map(|line| {
            line.rsplit(' ')
                .next()
                .expect("a number")
                .parse::<u64>()
                .expect("a number")
        })
        .sum()
}

#[track_caller]
fn over(edge: &Edge, node: &ByHand, count: u64) {
    eventually("it is over in the status", || {
        let seen = edge.seen(node);
        match seen["refused"] == Value::Null && seen["refused_configs"] == count {
            true => Ok(()),
            false => Err(seen.to_string()),
        }
    });
}

however_it_is_spoken! {
    fn what_a_forger_sends_is_refused_counted_and_shown(spoken: Spoken) {
        let edge = Edge::start();
        let proxy = Messages::to(&edge.cast.world.server.node, spoken);
        let (trusted, stranger) = (Pen::new(1), Pen::new(2));
        let mut join = edge.join(&proxy.url());
        join["signing_keys"]
            .as_array_mut()
            .expect("a list")
            .push(trusted.in_join());
        let node = ByHand::start(&acceptance::scratch::subfolder("node"), &join);
        let kept = edge.new_key("kept");
        edge.serves(&node, &kept);
        assert!(node.logged().contains(&format!(r#""spoken":"{}""#, spoken.name())), "{}", node.logged());
        edge.new_key("another");
        edge.up_to_date(&node);
        let process = node.process();
        let events = edge.events();

        // A key that opens the deployment wherever the forged config is obeyed: the string of a real one that was revoked.
        let forged = edge.new_key("forged");
        edge.serves(&node, &forged);
        let opened = Config::decode(proxy.configs().last().expect("a config").config.as_slice()).expect("a config");
        let id = Uuid::parse_str(&forged.id).expect("an id");
        let keys = opened.access.expect("an access").keys;
        let forged_key = keys
            .iter()
            .find(|key| key.id == id.as_bytes())
            .expect("it is there")
            .clone();
        edge.revoke(&forged, "?wait=30s").expect(200);
        edge.up_to_date(&node);
        let in_force = proxy.configs().last().expect("a config").clone();
        let unharmed = |what: &str| {
            assert_eq!((node.call(&kept.key), node.call(&forged.key)), (200, 401), "{what}");
        };
        unharmed("at first");

        let attacks = attacks(&in_force, &forged_key, &trusted, &stranger);
        for (count, (what, message, word)) in (1..).zip(&attacks) {
            proxy.inject(message.clone());
            let shown = refused(&edge, &node, count, what);
            assert_eq!(shown["reason"], *word, "{what}: {shown}");
            assert_eq!(counted(&node), count, "{what}");
            unharmed(what);
        }
        let count = attacks.len() as u64;
        for word in [
            "bad-signature",
            "other-deployment",
            "older",
            "conflict",
            "malformed",
            "too-large",
        ] {
            let expected = attacks.iter().filter(|(_, _, of)| of == &word).count();
            let line = format!("castoff_node_refused_configs_total{{reason=\"{word}\"}} {expected}");
            let lines = node.counted("castoff_node_refused_configs_total");
            assert!(lines.contains(&line), "{line}: {lines:?}");
        }
        let printed = edge.cast.dana.cli(["status", "iris-on-edge"]).expect(0).out;
        assert!(
            printed.contains(&format!("refused a config, too large ({count} refusals)")),
            "{printed}"
        );
        assert!(edge.status().string("/message").contains("refused a config, too large"));
        assert!(events.text().contains("config-refused"), "{}", events.text());
        assert!(!events.text().contains("config-accepted"), "{}", events.text());

        // What is held, again, ends nothing; a newer config does.
        proxy.inject(Down::Snapshot(in_force));
        let newest = edge.new_key("newest");
        edge.serves(&node, &newest);
        over(&edge, &node, count);
        eventually("it is an event", || events.text().contains("config-accepted"));
        unharmed("at last");
        assert_eq!(node.process(), process, "the same process, still alive");
    }

    /// A node that was lured to a forger tells the control plane when it is back.
    fn what_was_refused_elsewhere_is_told_on_the_next_line(spoken: Spoken) {
        let edge = Edge::start();
        let proxy = Messages::to(&edge.cast.world.server.node, spoken);
        let node = edge.node(&proxy.url());
        let kept = edge.new_key("kept");
        edge.serves(&node, &kept);
        edge.up_to_date(&node);
        let mut torn = proxy.configs().last().expect("a config").clone();
        torn.signature = vec![0; 64];
        proxy.set_deaf(true);
        proxy.inject(Down::Snapshot(torn));
        eventually("the node has refused it", || counted(&node) == 1);
        assert_eq!(edge.seen(&node)["refused"], json!(null));
        proxy.set_deaf(false);
        refused(&edge, &node, 1, "what was refused on the line before");
        let newest = edge.new_key("newest");
        edge.serves(&node, &newest);
        over(&edge, &node, 1);
    }
}
