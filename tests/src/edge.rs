//! A deployment whose nodes are started by hand, so that a test can choose what they dial.

use crate::answer::{Answer, Stream};
use crate::node::ByHand;
use crate::world::{Cast, Database, World, grant};
use crate::{eventually, scratch};
use serde_json::{Value, json};

/// Iris on the static infrastructure `edge`, deployed by dana, and the join document of its nodes.
#[derive(Debug)]
pub struct Edge {
    /// The people and their control plane.
    pub cast: Cast,
    join: Value,
}

/// A key as it was shown once.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// The key itself.
    pub key: String,
}

impl Edge {
    /// One on SQLite.
    #[track_caller]
    pub fn start() -> Self {
        Self::of(World::with_cast(Database::Sqlite))
    }

    /// One in this world.
    #[track_caller]
    pub fn of(cast: Cast) -> Self {
        cast.iris();
        let join = deploy(&cast, "edge");
        Self { cast, join }
    }

    /// Its path in the API, and what follows.
    pub fn path(&self, rest: &str) -> String {
        format!("/deployments/iris-on-edge{rest}")
    }

    /// What a node of its needs, to dial this `http://host:port`.
    pub fn join(&self, control_plane: &str) -> Value {
        let mut join = self.join.clone();
        join["control_plane"] = json!(control_plane);
        join
    }

    /// A node that dials this address.
    #[track_caller]
    pub fn node(&self, control_plane: &str) -> ByHand {
        ByHand::start(&scratch::subfolder("node"), &self.join(control_plane))
    }

    /// Waits until a node lets a key in.
    #[track_caller]
    pub fn serves(&self, node: &ByHand, key: &Key) {
        eventually("the node serves", || match node.call(&key.key) {
            200 => Ok(()),
            status => Err(format!("{status}")),
        });
    }

    /// A new key; nodes hear of it by and by.
    #[track_caller]
    pub fn new_key(&self, name: &str) -> Key {
        self.new_key_with(json!({"name": name}))
    }

    /// A new key with more to it than a name.
    #[track_caller]
    pub fn new_key_with(&self, body: Value) -> Key {
        let made = self.cast.dana.post(&self.path("/keys"), body).expect_any(&[201, 202]);
        Key {
            id: made.string("/id"),
            key: made.string("/key"),
        }
    }

    /// Revokes a key and asks for the receipt at once, or after a wait such as `?wait=1s`.
    #[track_caller]
    pub fn revoke(&self, key: &Key, wait: &str) -> Answer {
        let path = self.path(&format!("/keys/{}/revoke{wait}", key.id));
        self.cast.dana.post(&path, json!({})).expect_any(&[200, 202])
    }

    /// What the API says about how it stands.
    #[track_caller]
    pub fn status(&self) -> Answer {
        self.cast.dana.get(&self.path("/status")).expect(200)
    }

    /// What the status says about one node.
    #[track_caller]
    pub fn seen(&self, node: &ByHand) -> Value {
        let (status, id) = (self.status(), node.id());
        let nodes = status["nodes"].as_array().expect("a list of nodes");
        nodes.iter().find(|seen| seen["id"] == id).cloned().unwrap_or_default()
    }

    /// Waits until a node is ready with the newest config.
    #[track_caller]
    pub fn up_to_date(&self, node: &ByHand) {
        eventually("the node has the newest config", || {
            let (seen, config) = (self.seen(node), self.status()["config"].clone());
            match seen["state"] == "ready" && seen["acked"] == config {
                true => Ok(()),
                false => Err(format!("{config}: {seen}")),
            }
        });
    }

    /// Its events from now on.
    #[track_caller]
    pub fn events(&self) -> Stream {
        let events = self.cast.dana.request("GET", &self.path("/events")).stream();
        assert_eq!(events.status, 200);
        events
    }
}

/// Deploys iris on a new static infrastructure of this name; the join document of its nodes.
#[track_caller]
pub fn deploy(cast: &Cast, name: &str) -> Value {
    let body = json!({"name": name, "kind": "static", "stage": "dev"});
    cast.admin.post("/infrastructures", body).expect(201);
    grant(&cast.admin, "infrastructures", name, "data-scientists", &["deploy"]);
    let body = json!({"service": "iris", "infrastructure": name, "version": "v1"});
    let made = cast.dana.post("/deployments", body).expect(201);
    assert_eq!(made["state"], "waiting", "{}", made.text());
    let path = format!("/deployments/{}/node-tokens", made.string("/name"));
    cast.dana.post(&path, json!({})).expect(201)["join"].clone()
}
