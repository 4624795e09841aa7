//! What the wrong things are sent to: a control plane with two deployments that run, and what must stay as it is.

use super::table::{Sent, To, Wrong};
use super::unsent::takes_its_time;
use acceptance::processes::Process;
use acceptance::world::in_seconds;
use acceptance::{Cast, Database, Deployed, Request, Value, World, eventually, json, models, raw};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::ScopedJoinHandle;

/// What the processes may take at their highest, in MiB, and a tenth more. A control plane has 80 when idle, two hashes of
/// passwords of 19, and the parts of bodies in flight; a node has 60 with a small model, and a body of 16 as text and
/// again as what it means.
const PLANE_MIB: u64 = 140;
const NODE_MIB: u64 = 140;

/// Seconds that the control plane waits for a body: short, for there are bodies that do not come.
pub(super) const PATIENCE: &str = "4";

pub(super) struct Stage {
    cast: Cast,
    columns: Deployed,
    tensors: Deployed,
    processes: Vec<(String, Process)>,
    words: BTreeMap<&'static str, String>,
}

impl Stage {
    pub(super) fn set() -> Self {
        let cast = World::with_cast_and(Database::Sqlite, &["--body-patience", PATIENCE]);
        let columns = cast.iris_on_dev();
        cast.service("plain", "iris-tensor.onnx");
        let plain = json!({"service": "plain", "infrastructure": "dev", "version": "v1"});
        let tensors = Deployed::create(&cast.dana, plain);
        cast.dana
            .upload("iris", "v2", models::read("iris-tensor.onnx"))
            .expect(201);
        let key = |body: Value| cast.dana.post(&tensors.path("/keys?wait=30s"), body).expect(201);
        let expires = key(json!({"name": "expired", "expires_at": in_seconds(2)}));
        let early = key(json!({"name": "early", "not_before": in_seconds(86_400)}));
        let revoked = key(json!({"name": "revoked"}));
        let id = revoked.string("/id");
        cast.dana
            .post(&tensors.path(&format!("/keys/{id}/revoke?wait=30s")), json!({}))
            .expect(200);
        let shown = tensors.path(&format!("/keys/{}", expires.string("/id")));
        eventually("the key has expired", || cast.dana.get(&shown)["state"] == "expired");

        let mut typo = tensors.key.clone();
        let last = typo.pop();
        typo.push(if last == Some('0') { '1' } else { '0' });
        let words = BTreeMap::from([
            ("{key}", tensors.key.clone()),
            ("{other}", columns.key.clone()),
            ("{token}", cast.admin.token().to_owned()),
            ("{expired}", expires.string("/key")),
            ("{early}", early.string("/key")),
            ("{revoked}", revoked.string("/key")),
            ("{typo}", typo),
            ("{unknown}", castoff_wire::key::mint(&[7; 32])),
            ("{long}", "x".repeat(10_000)),
            (
                "{basic-password}",
                models::base64(format!("{}:secret", tensors.key).as_bytes()),
            ),
            ("{id}", columns.key_id("first")),
        ]);
        let mut processes = vec![("the control plane".to_owned(), cast.world.server.process())];
        for deployed in [&columns, &tensors] {
            processes.push((format!("the node of {}", deployed.name), deployed.processes(1)[0]));
        }
        Self {
            cast,
            columns,
            tensors,
            processes,
            words,
        }
    }

    fn url(&self, to: To) -> &str {
        match to {
            To::Plane => &self.cast.world.server.url,
            To::Columns => &self.columns.url,
            To::Tensors => &self.tensors.url,
        }
    }

    fn filled(&self, text: &str) -> String {
        let fill = |text: String, (word, value): (&&str, &String)| text.replace(*word, value);
        self.words.iter().fold(text.to_owned(), fill)
    }

    /// What came back for each. Those for which is waited as long as the other side does are sent at the same time.
    pub(super) fn send_all(&self, rows: &[Wrong]) -> Vec<(u16, String)> {
        std::thread::scope(|scope| {
            let sent: Vec<_> = rows
                .iter()
                .map(|row| match takes_its_time(row) {
                    true => Err(scope.spawn(|| self.send(row))),
                    false => Ok(self.send(row)),
                })
                .collect();
            let answer = |sent: Result<_, ScopedJoinHandle<'_, _>>| sent.unwrap_or_else(|sent| sent.join().unwrap());
            sent.into_iter().map(answer).collect()
        })
    }

    /// The status and the text of what came back.
    fn send(&self, row: &Wrong) -> (u16, String) {
        match &row.sent {
            Sent::Raw(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => raw::exchange(self.url(row.to), self.filled(text).as_bytes()),
                Err(_) => raw::exchange(self.url(row.to), bytes),
            },
            Sent::Begun(head) => raw::begin(self.url(row.to), self.filled(head).as_bytes()),
            Sent::Dripped(head) => raw::drip(self.url(row.to), self.filled(head).as_bytes()),
            Sent::Flood(head, bytes) => raw::flood(self.url(row.to), self.filled(head).as_bytes(), *bytes),
            Sent::Asked(ask, headers, body) => {
                let (method, path) = ask.split_once(' ').unwrap();
                let (base, proof) = match row.to {
                    To::Plane => ("/api/v1", self.cast.admin.token()),
                    To::Columns => ("", self.columns.key.as_str()),
                    To::Tensors => ("", self.tensors.key.as_str()),
                };
                let mut request = Request::new(method, format!("{}{base}{}", self.url(row.to), self.filled(path)));
                if !headers.iter().any(|(name, _)| *name == "authorization") {
                    request = request.header("authorization", format!("Bearer {proof}"));
                }
                // Of two content types the last counts: a row says its own after the usual one.
                let own = headers.iter().rposition(|(name, _)| *name == "content-type");
                for (place, (name, value)) in headers.iter().enumerate() {
                    let replaced = *name == "content-type" && own != Some(place);
                    if !value.is_empty() && !replaced {
                        request = request.header(name, self.filled(value));
                    }
                }
                let answer = request.body(body.clone()).send();
                (answer.status, answer.text())
            }
        }
    }

    /// All that the admin can see, but for what counts calls and deeds.
    pub(super) fn everything(&self) -> BTreeMap<String, Value> {
        let admin = &self.cast.admin;
        let mut seen = BTreeMap::new();
        let mut list = |path: String| {
            let items = admin.list(&path);
            seen.insert(path, Value::Array(items.iter().map(still).collect()));
            items
        };
        for nouns in ["users", "service-accounts"] {
            list(format!("/{nouns}"));
        }
        for group in list("/groups".to_owned()) {
            list(format!("/groups/{}/members", group["name"].as_str().unwrap()));
        }
        for service in list("/services".to_owned()) {
            let name = service["name"].as_str().unwrap();
            list(format!("/services/{name}/versions"));
            list(format!("/services/{name}/keys"));
            list(format!("/services/{name}/grants"));
        }
        for infrastructure in list("/infrastructures".to_owned()) {
            list(format!(
                "/infrastructures/{}/grants",
                infrastructure["name"].as_str().unwrap()
            ));
        }
        for deployment in list("/deployments".to_owned()) {
            let name = deployment["name"].as_str().unwrap();
            list(format!("/deployments/{name}/keys"));
            list(format!("/deployments/{name}/revisions"));
            list(format!("/deployments/{name}/nodes"));
        }
        let packages = self.cast.world.server.data.join("packages");
        seen.insert("packages on disk".to_owned(), json!(files(&packages)));
        seen
    }

    /// Nobody ended and came again.
    pub(super) fn still_the_same(&self, row: &str) {
        for (who, process) in &self.processes {
            assert!(process.alive(), "{row}: {who} has ended");
        }
    }

    /// The highest that each ever took.
    pub(super) fn memory_is_bounded(&self) {
        for (who, process) in &self.processes {
            let limit = if who.starts_with("the node") {
                NODE_MIB
            } else {
                PLANE_MIB
            };
            let kib = process.highest_kib();
            println!("{who}: {} MiB at its highest", kib >> 10);
            assert!(
                kib * 10 <= (limit << 10) * 11,
                "{who} took {} MiB, more than {limit} and a tenth",
                kib >> 10
            );
        }
    }

    /// No panic, no failure of ours, in any log.
    pub(super) fn nothing_broke(&self) {
        for log in [self.cast.world.server.logged()]
            .into_iter()
            .chain(self.logged_by_nodes())
        {
            for bad in ["panicked", "a handler panicked", "\"ERROR\"", "\"level\":\"ERROR\""] {
                let line = log.lines().find(|line| line.contains(bad));
                assert!(line.is_none(), "{line:?}");
            }
        }
    }

    fn logged_by_nodes(&self) -> [String; 2] {
        [&self.columns, &self.tensors].map(|deployed| {
            let log = self.cast.admin.get(&deployed.path("/logs?tail=2000"));
            log.expect(200).text()
        })
    }

    /// How often each node came to be on the line with the control plane.
    pub(super) fn lines_begun(&self) -> [usize; 2] {
        self.logged_by_nodes()
            .map(|log| log.matches("on the line with the control plane").count())
    }

    /// Open descriptors of each process.
    pub(super) fn descriptors(&self) -> Vec<usize> {
        let processes = self.processes.iter();
        processes.map(|(_, process)| process.descriptors()).collect()
    }

    /// The ports of the control plane and of a node.
    pub(super) fn ports(&self) -> [(&'static str, String); 5] {
        let server = &self.cast.world.server;
        [
            ("REST", server.url.clone()),
            ("the control plane's operators", server.ops.clone()),
            ("nodes", server.node.clone()),
            ("callers", self.columns.url.clone()),
            ("the node's operators", self.node_ops()),
        ]
    }

    fn node_ops(&self) -> String {
        let node = &self.columns.nodes()[0];
        format!("http://{}", node.shown["ops_address"].as_str().unwrap())
    }

    /// On each port whoever is right, all at the same time; and what is revoked is no longer valid.
    pub(super) fn everybody_is_answered(&self) {
        let server = &self.cast.world.server;
        let ready = |ops: &str| Request::get(format!("{ops}/readyz")).send().expect(200);
        std::thread::scope(|scope| {
            scope.spawn(|| self.cast.dana.get("/whoami").expect(200));
            scope.spawn(|| ready(&server.ops));
            scope.spawn(|| raw::greet(&server.node));
            scope.spawn(|| self.columns.answers());
            scope.spawn(|| ready(&self.node_ops()));
            scope.spawn(|| {
                let name = format!("crowd-{}", uuid::Uuid::new_v4().simple());
                let key = self.columns.new_key(&name);
                self.columns.call(&key).expect(200);
                self.columns.revoke(&name);
                self.columns.call(&key).expect(401);
            });
        });
    }

    pub(super) fn still_answers(&self) {
        self.columns.answers();
        self.cast.dana.get("/services/iris").expect(200);
    }
}

/// Without what changes by itself: what was called, and when somebody was seen.
fn still(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(fields) = item.as_object_mut() {
        for name in ["calls", "last_used_at", "last_seen_at"] {
            fields.shift_remove(name);
        }
    }
    item
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found.sort();
    found
}

/// The first that is not as it was.
pub(super) fn difference(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> String {
    let changed = after.iter().find(|(path, value)| before.get(*path) != Some(value));
    match changed {
        Some((path, value)) => format!("{path}: {value}, was {:?}", before.get(path)),
        None => "something is gone".to_owned(),
    }
}
