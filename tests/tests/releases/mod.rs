//! This release and the one before it: beside each other on one database, one after the other in one folder, and back.
//!
//! What both read of the same rows is compared whole, so that what a later release adds is tested without being named here.

mod alone;
mod beside;
mod commands;

use acceptance::node::ByHand;
use acceptance::{Actor, Cast, Deployed, Value, eventually, json, models};

/// What changes by itself while nobody does anything.
const PASSING: [&str; 4] = ["last_seen_at", "last_used_at", "calls", "usage"];

/// The people, as they call one control plane.
struct People {
    admin: Actor,
    dana: Actor,
    omar: Actor,
}

impl People {
    /// At this address, with the tokens that they have.
    fn at(url: &str, cast: &Cast) -> Self {
        let there = |who: &Actor| Actor::with_token(url, &who.name, who.token());
        Self {
            admin: there(&cast.admin),
            dana: there(&cast.dana),
            omar: there(&cast.omar),
        }
    }

    /// All that the admin is shown, by path. What a release does not know is not asked there.
    #[track_caller]
    fn everything(&self) -> Vec<(String, Value)> {
        let mut shown = Vec::new();
        let mut list = |path: String| {
            let items = self.admin.list(&path);
            shown.push((path, Value::Array(items.clone())));
            items
        };
        let below = |noun: &str, items: &[Value], rest: &[&str]| -> Vec<String> {
            let name = |item: &Value| item["name"].as_str().expect("it has a name").to_owned();
            let paths = |item| {
                let name = name(item);
                rest.iter()
                    .map(move |rest| format!("/{noun}/{name}/{rest}"))
                    .collect::<Vec<_>>()
            };
            items.iter().flat_map(paths).collect()
        };
        let mut rest = Vec::new();
        for (noun, parts) in [
            ("services", &["versions", "keys", "grants"][..]),
            ("infrastructures", &["grants"]),
            ("deployments", &["keys", "revisions", "nodes"]),
            ("groups", &["members"]),
            ("users", &[]),
            ("service-accounts", &["tokens"]),
        ] {
            rest.extend(below(noun, &list(format!("/{noun}")), parts));
        }
        for path in rest {
            list(path);
        }
        list("/audit".to_owned());
        for (_, value) in &mut shown {
            settle(value);
        }
        shown
    }
}

/// Takes out what changes by itself.
fn settle(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !PASSING.contains(&name.as_str()));
            members.values_mut().for_each(settle);
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}

/// Where the later release shows something else than the earlier one; it may show more members.
fn difference(path: &str, earlier: &Value, later: &Value) -> Option<String> {
    match (earlier, later) {
        (Value::Object(fewer), Value::Object(more)) => fewer.iter().find_map(|(name, value)| {
            let other = more.get(name).unwrap_or(&Value::Null);
            difference(&format!("{path}/{name}"), value, other)
        }),
        (Value::Array(some), Value::Array(others)) if some.len() == others.len() => {
            let mut pairs = some.iter().zip(others).enumerate();
            pairs.find_map(|(n, (one, other))| difference(&format!("{path}/{n}"), one, other))
        }
        _ => (earlier != later).then(|| format!("{path}: {earlier}, and later {later}")),
    }
}

/// Both show the same of everything, once what nodes say by the second has come to rest.
#[track_caller]
fn agree(earlier: &People, later: &People) {
    eventually("both releases show the same", || {
        let (earlier, later) = (earlier.everything(), later.everything());
        let both = earlier.iter().zip(&later);
        let found = both.fold(None, |found, ((path, one), (_, other))| {
            found.or_else(|| difference(path, one, other))
        });
        match found {
            None if earlier.len() == later.len() => Ok(()),
            None => Err("one shows more".to_owned()),
            Some(difference) => Err(difference),
        }
    });
}

/// A key that is made, let in, revoked and refused by every node.
#[track_caller]
fn a_key_comes_and_goes(deployed: &Deployed, name: &str) {
    let key = deployed.new_key(name);
    deployed.call(&key).expect(200);
    deployed.revoke(name);
    deployed.call(&key).expect(401);
}

/// A key that is made here and revoked there, as these nodes have it when the receipt says so.
#[track_caller]
fn revoked_elsewhere(made: &Actor, revoked: &Actor, nodes: &[ByHand]) {
    let keys = "/deployments/iris-on-edge/keys";
    let key = made
        .post(&format!("{keys}?wait=30s"), json!({"name": "passing"}))
        .expect(201);
    assert_eq!(key["receipts"][0]["pending"], json!([]), "{}", key.text());
    let (id, key) = (key.string("/id"), key.string("/key"));
    let all = |status: u16| nodes.iter().all(|node| node.call(&key) == status);
    assert!(all(200), "every node lets it in");
    let receipt = revoked
        .post(&format!("{keys}/{id}/revoke?wait=30s"), json!({}))
        .expect(200);
    assert_eq!(receipt["receipts"][0]["pending"], json!([]), "{}", receipt.text());
    assert!(all(401), "every node refuses it");
    made.delete(&format!("{keys}/{id}")).expect(204);
}

/// A recoverable key, shown again by the other.
#[track_caller]
fn recoverable(by: &Actor, name: &str) -> (String, Value) {
    let body = json!({"name": name, "class": "recoverable"});
    let made = by.post("/deployments/iris-on-edge/keys", body).expect_any(&[201, 202]);
    (made.string("/id"), made["key"].clone())
}

#[track_caller]
fn revealed(by: &Actor, id: &str) -> Value {
    let path = format!("/deployments/iris-on-edge/keys/{id}/reveal");
    by.post(&path, json!({})).expect(200)["key"].clone()
}

/// Another version of iris, on the way by one and there by the other.
#[track_caller]
fn new_version(by: &Actor, version: &str) {
    by.upload("iris", version, models::read("iris-columns.onnx"))
        .expect(201);
}
