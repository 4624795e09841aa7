//! A deployment that runs, seen by somebody who calls it.

use crate::actor::Actor;
use crate::answer::{Answer, Request};
use crate::processes::Process;
use crate::{eventually, models};
use serde_json::{Value, json};

/// One deployment, its address and its first key.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Its name.
    pub name: String,
    /// Its service's name.
    pub service: String,
    /// Where it answers.
    pub url: String,
    /// The key `first`, as it was shown once.
    pub key: String,
    by: Actor,
}

/// One node as the control plane shows it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its process, if it is alive.
    pub process: Option<Process>,
    /// The whole answer.
    pub shown: Value,
}

impl Deployed {
    /// Creates it, waits until it runs, makes a key and waits until every node knows it.
    #[track_caller]
    pub fn create(by: &Actor, body: Value) -> Self {
        let made = by.post("/deployments", body).expect(201);
        let name = made.string("/name");
        let service = made.string("/service");
        let mut deployed = Self {
            url: String::new(),
            key: String::new(),
            by: by.clone(),
            name,
            service,
        };
        deployed.running();
        deployed.url = deployed.show().string("/url");
        deployed.key = deployed.new_key("first");
        deployed
    }

    /// The same, asked about by somebody else or at another control plane.
    #[must_use]
    pub fn seen_by(&self, by: &Actor) -> Self {
        Self {
            by: by.clone(),
            ..self.clone()
        }
    }

    /// Revokes a key of this name; every node knows when this returns.
    #[track_caller]
    pub fn revoke(&self, name: &str) {
        let path = self.path(&format!("/keys/{}/revoke?wait=30s", self.key_id(name)));
        self.by.post(&path, json!({})).expect(200);
    }

    /// `/deployments/<name>` and what follows.
    pub fn path(&self, rest: &str) -> String {
        format!("/deployments/{}{rest}", self.name)
    }

    /// What the API says about it.
    #[track_caller]
    pub fn show(&self) -> Answer {
        self.by.get(&self.path("")).expect(200)
    }

    /// Waits until it runs as it was asked to.
    #[track_caller]
    pub fn running(&self) {
        eventually("the deployment runs", || {
            let status = self.by.get(&self.path("/status")).expect(200);
            match status["state"] == "running" {
                true => Ok(()),
                false => Err(status.text()),
            }
        });
    }

    /// Makes a key that every node knows when this returns.
    #[track_caller]
    pub fn new_key(&self, name: &str) -> String {
        let made = self
            .by
            .post(&self.path("/keys?wait=30s"), json!({"name": name}))
            .expect(201);
        assert_eq!(made.json["receipts"][0]["pending"], json!([]), "{}", made.text());
        made.string("/key")
    }

    /// Switches it off, revokes its keys, deletes it.
    #[track_caller]
    pub fn delete(&self) {
        self.by.post(&self.path("/disable"), json!({})).expect_any(&[200, 202]);
        for key in self.by.list(&self.path("/keys")) {
            let id = key["id"].as_str().expect("a key has an id");
            self.by
                .post(&self.path(&format!("/keys/{id}/revoke")), json!({}))
                .expect_any(&[200, 202]);
        }
        self.by.delete(&self.path("")).expect(204);
    }

    /// The id of one of its keys, by name.
    #[track_caller]
    pub fn key_id(&self, name: &str) -> String {
        let keys = self.by.list(&self.path("/keys"));
        let key = keys.iter().find(|key| key["name"] == name).expect("a key of this name");
        key["id"].as_str().expect("a key has an id").to_owned()
    }

    /// Its nodes.
    #[track_caller]
    pub fn nodes(&self) -> Vec<Node> {
        let nodes = self.by.get(&self.path("/nodes")).expect(200);
        let nodes = nodes.items().iter().map(|shown| Node {
            id: shown["id"].as_str().expect("a node has an id").to_owned(),
            process: shown["pid"]
                .as_u64()
                .and_then(|pid| Process::find(u32::try_from(pid).ok()?)),
            shown: shown.clone(),
        });
        nodes.collect()
    }

    /// Its living node processes, once there are so many.
    #[track_caller]
    pub fn processes(&self, count: usize) -> Vec<Process> {
        eventually("so many nodes are ready", || {
            let ready = self.nodes().into_iter().filter(|node| node.shown["state"] == "ready");
            let alive: Vec<Process> = ready.filter_map(|node| node.process).collect();
            match alive.len() == count {
                true => Ok(alive),
                false => Err(format!("{alive:?}")),
            }
        })
    }

    /// Where its only endpoint takes records.
    pub fn predict_url(&self) -> String {
        format!(
            "{}/public/api/v1/{service}/{service}/predict",
            self.url,
            service = self.service
        )
    }

    /// A call with a flower in the records dialect and this key, or why no answer came.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn try_call(&self, key: &str) -> Result<Answer, String> {
        let request = Request::post(self.predict_url()).json(&models::setosa());
        let request = match key {
            "" => request,
            key => request.header("authorization", format!("Bearer {key}")),
        };
        request.try_send()
    }

    /// A call with a flower and this key.
    #[track_caller]
    pub fn call(&self, key: &str) -> Answer {
        match self.try_call(key) {
            Ok(answer) => answer,
            Err(reason) => panic!("no answer: {reason}"),
        }
    }

    /// Calls with the first key; the answer must be right.
    #[track_caller]
    pub fn answers(&self) -> Answer {
        let answer = self.call(&self.key).expect(200);
        assert!(answer.json.pointer("/result/prediction").is_some(), "{}", answer.text());
        answer
    }
}
