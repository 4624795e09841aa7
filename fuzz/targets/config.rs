//! What a node obeys. The bytes are a config signed by whom the node trusts, and offered beside one that is in force; and
//! the same bytes as they would lie in a spoilt durable copy, where nobody signed them.

#![no_main]

use castoff_node::clock::Clock;
use castoff_node::control::copy::Opened;
use castoff_node::control::overlay::Overlay;
use castoff_node::control::rules::{Held, Step};
use castoff_node::engine::Engine;
use castoff_node::serving::{NotServed, Serving};
use castoff_node::state::{Node, NodeSettings};
use castoff_wire::proto::{Access, Config, Endpoint, File, Key, RoutedVersion, Serving as Served, Signed};
use castoff_wire::{Join, Trust, sha256, signed};
use prost::Message;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

const DEPLOYMENT: Uuid = Uuid::from_u128(1);
const IRIS: &[u8] = include_bytes!("../../tests/models/iris-tensor.onnx");

struct World {
    pen: Ed25519KeyPair,
    trust: Trust,
    node: Arc<Node>,
    held: Held,
    serving: Arc<Serving>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let pen = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("32 bytes are a seed");
    let public: [u8; 32] = pen.public_key().as_ref().try_into().expect("it has 32 bytes");
    let trust = Trust::new(vec![(signed::key_id(&public), public)]).expect("it is one key");
    let library = std::env::var_os("CASTOFF_ONNXRUNTIME").expect("CASTOFF_ONNXRUNTIME says where a runtime is");
    let node = Node::new(NodeSettings {
        deployment: DEPLOYMENT,
        engine: Engine::open(library.as_ref()).expect("the runtime loads"),
        clock: Clock::new(|| 1_000_000),
    });
    let first = Opened::open(sign(&pen, &first().encode_to_vec()), &trust, DEPLOYMENT).expect("it is signed");
    let files = |_: &[u8]| Ok(IRIS.to_vec());
    let serving = node
        .build(&first.config, &first.position, &files, None)
        .expect("it can be served");
    let held = Held {
        config: Some(first),
        in_force: true,
        offered: None,
    };
    World {
        pen,
        trust,
        node,
        held,
        serving,
    }
});

fn first() -> Config {
    let endpoint = Endpoint {
        name: "iris".to_owned(),
        kind: 1,
        model: Some(File {
            path: "iris.onnx".to_owned(),
            digest: sha256(&[IRIS]).to_vec(),
            size: IRIS.len() as u64,
        }),
        ..Endpoint::default()
    };
    let version = RoutedVersion {
        name: "v1".to_owned(),
        weight: 100,
        digest: sha256(&[IRIS]).to_vec(),
        endpoints: vec![endpoint],
    };
    let key = Key {
        id: Uuid::from_u128(2).as_bytes().to_vec(),
        hash: vec![3; 32],
        ..Key::default()
    };
    Config {
        deployment_id: DEPLOYMENT.as_bytes().to_vec(),
        deployment: "iris-on-dev".to_owned(),
        epoch: 1,
        version: 5,
        serving: Some(Served {
            service: "iris".to_owned(),
            versions: vec![version],
            limits: None,
        }),
        access: Some(Access {
            keys: vec![key],
            ..Access::default()
        }),
    }
}

fn sign(pen: &Ed25519KeyPair, config: &[u8]) -> Signed {
    let public: [u8; 32] = pen.public_key().as_ref().try_into().expect("it has 32 bytes");
    Signed {
        config: config.to_vec(),
        key_id: signed::key_id(&public),
        signature: pen.sign(&signed::config_message(config)).as_ref().to_vec(),
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let world = &*WORLD;
    unsigned(world, bytes);
    let Ok(offer) = Opened::open(sign(&world.pen, bytes), &world.trust, DEPLOYMENT) else {
        return;
    };
    let newer = (offer.config.epoch, offer.config.version) > (1, 5);
    match world.held.decide(&offer) {
        Step::Swap | Step::TightenAndLoad => assert!(newer),
        Step::Acknowledge => assert_eq!(Some(&offer), world.held.config.as_ref()),
        Step::Refuse(..) => assert!(!newer),
        Step::Load => panic!("something is in force"),
    }
    let files = |_: &[u8]| Err("there are no others".to_owned());
    let built = world
        .node
        .build(&offer.config, &offer.position, &files, Some(&world.serving));
    match built {
        Ok(serving) => {
            let weights: u64 = serving.versions.iter().map(|version| u64::from(version.weight)).sum();
            assert_eq!(weights, 100);
            let keys = offer.config.access.map_or(0, |access| access.keys.len());
            assert_eq!(serving.access.key_count(), keys);
        }
        Err(NotServed::Malformed(_) | NotServed::Package(_) | NotServed::TestQuery(_)) => {}
        Err(NotServed::Model(reason)) => panic!("no model was given: {reason}"),
    }
    // What the calls of a key are counted in is given back when no config holds the key any more.
    world.node.take_usage();
});

/// Nothing is believed that was not signed.
fn unsigned(world: &World, bytes: &[u8]) {
    if let Ok(signed) = Signed::decode(bytes) {
        assert!(Opened::open(signed, &world.trust, DEPLOYMENT).is_err());
    }
    if let Ok(overlay) = Overlay::decode(bytes, &world.trust, DEPLOYMENT) {
        assert!(overlay.is_empty() && bytes.is_empty());
    }
    if let Ok((join, _)) = str::from_utf8(bytes)
        .map_err(drop)
        .and_then(|text| Join::parse(text).map_err(drop))
    {
        assert!(!join.signing_keys.is_empty());
    }
}
