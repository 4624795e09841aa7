//! Nodes that start while no control plane is there, without a file of theirs: they fetch it from the object store.

use super::beside;
use acceptance::castoff::Sha256;
use acceptance::edge::Key;
use acceptance::node::ByHand;
use acceptance::objects::Objects;
use acceptance::{Database, Edge, Request, Value, eventually, json, models};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LIFE: Duration = Duration::from_secs(600);

/// A node that had its config and its model, both ended, and its model gone.
struct Orphan {
    edge: Edge,
    objects: Objects,
    node: Option<ByHand>,
    /// Whom the node is told to trust.
    authority: Option<String>,
    kept: Key,
    revoked: Key,
    file: Sha256,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

impl Orphan {
    fn leave_alone() -> Self {
        Self::beside(Objects::start())
    }

    fn beside(objects: Objects) -> Self {
        let mut edge = Edge::of(beside(&objects, Database::Sqlite));
        let url = format!("http://{}", edge.cast.world.server.node);
        let node = edge.node(&url);
        let (kept, revoked) = (edge.new_key("kept"), edge.new_key("revoked"));
        edge.up_to_date(&node);
        edge.revoke(&revoked, "?wait=10s").expect(200);
        assert_eq!([node.call(&kept.key), node.call(&revoked.key)], [200, 401]);
        edge.cast.world.server.kill();
        Self {
            edge,
            objects,
            node: Some(node),
            authority: None,
            kept,
            revoked,
            file: Sha256::of(&models::read("iris-columns.onnx")),
        }
    }

    /// The node again, without its model, and with these addresses.
    fn start(&mut self, expires_at_ms: u64, address: &str) -> &ByHand {
        let folder = self.node.as_ref().unwrap().folder().to_owned();
        // It ends with its owner.
        self.node = None;
        fs::remove_dir_all(folder.join("packages")).unwrap();
        fs::remove_file(folder.join("log")).unwrap();
        let hex = self.file.to_string().replace("sha256:", "");
        self.tell(
            &folder,
            &json!({"expires_at_ms": expires_at_ms, "files": {hex: address}, "ca_pem": self.authority}),
        );
        let url = format!("http://{}", self.edge.cast.world.server.node);
        let environment = (
            "CASTOFF_PACKAGE_ADDRESSES",
            folder.join("addresses").display().to_string(),
        );
        let join = self.edge.join(&url);
        self.node.insert(ByHand::start_in(&folder, &join, &[environment]))
    }

    fn tell(&self, folder: &Path, addresses: &Value) {
        fs::write(folder.join("addresses"), addresses.to_string()).unwrap();
    }

    /// Waits until the node says what sort of trouble it has to whoever looks after it, and this in its log; and holds
    /// that against what must not be said.
    #[track_caller]
    fn says(&self, sort: &str, part: &str) {
        let node = self.node.as_ref().unwrap();
        eventually("the node says why it is not ready", || {
            let said = Request::get(format!("http://{}/readyz", node.ops())).try_send()?.text();
            match said.trim() == sort && node.logged().contains(part) {
                true => Ok(()),
                false => Err(format!("{said} {}", node.logged())),
            }
        });
        assert!(!node.logged().contains("X-Amz-Signature"), "{}", node.logged());
        assert_eq!(node.call(&self.kept.key), 503);
    }
}

/// What a node says that lacks a file which nobody gives it.
const UNREACHABLE: &str = "package unreachable";

#[test]
fn it_comes_back_with_what_it_fetched_and_refuses_what_was_revoked() {
    let mut orphan = Orphan::leave_alone();
    let address = orphan.objects.address(&orphan.file, LIFE);
    orphan.start(now_ms() + 600_000, &address);
    let node = orphan.node.as_ref().unwrap();
    orphan.edge.serves(node, &orphan.kept);
    assert_eq!([node.call(&orphan.revoked.key), node.call("nobody's")], [401, 401]);
    assert!(node.logged().contains("fetched a model file") && !node.logged().contains("X-Amz-Signature"));
}

#[test]
fn it_says_what_is_missing_and_goes_on_when_it_is_there() {
    let mut orphan = Orphan::leave_alone();
    let later = now_ms() + 600_000;
    let address = orphan.objects.address(&orphan.file, LIFE);

    orphan.start(now_ms() - 1, &address);
    orphan.says(UNREACHABLE, "the addresses in the object store have ended");

    // They have ended at the store before they have here: its clock is the one that counts.
    let ended = orphan.objects.address(&orphan.file, Duration::from_secs(1));
    eventually("the address ends", || {
        Request::get(&ended).try_send().map(|answer| answer.status) == Ok(403)
    });
    orphan.start(later, &ended);
    orphan.says(UNREACHABLE, "the object store answered 403");

    orphan.start(later, "http://192.0.2.1/a?X-Amz-Signature=b");
    orphan.says(UNREACHABLE, "its address in the object store has no TLS");

    orphan.objects.kill();
    orphan.start(later, &address);
    orphan.says(UNREACHABLE, "the object store cannot be reached");
    // It asks again and again.
    orphan.objects.launch();
    let node = orphan.node.as_ref().unwrap();
    orphan.edge.serves(node, &orphan.kept);
    assert_eq!(node.call(&orphan.revoked.key), 401);
}

/// Over TLS it believes the system's authorities and whom it is told to, and says of whom it does not.
#[test]
fn a_store_that_nobody_vouches_for_gets_no_question() {
    let mut orphan = Orphan::beside(Objects::start_with_tls());
    let later = now_ms() + 600_000;
    let address = orphan.objects.address(&orphan.file, LIFE);
    assert!(address.starts_with("https://127.0.0.1:"), "{address}");
    let own = fs::read_to_string(orphan.objects.authority()).unwrap();
    let strangers = fs::read_to_string(Objects::start_with_tls().authority()).unwrap();
    for authority in [None, Some(strangers)] {
        orphan.authority = authority;
        orphan.start(later, &address);
        orphan.says(UNREACHABLE, "a certificate of an authority that is not trusted here");
    }
    orphan.authority = Some(own);
    orphan.start(later, &address.replace("127.0.0.1", "localhost"));
    orphan.says(UNREACHABLE, "a certificate that is not for its name");
    orphan.start(later, &address);
    let node = orphan.node.as_ref().unwrap();
    orphan.edge.serves(node, &orphan.kept);
    assert_eq!(node.call(&orphan.revoked.key), 401);
}

#[test]
fn what_is_not_the_file_is_refused() {
    let mut orphan = Orphan::leave_alone();
    let later = now_ms() + 600_000;
    let [file] = &orphan.objects.kept()[..] else {
        panic!("one file")
    };
    let model = fs::read(file).unwrap();
    let address = orphan.objects.address(&orphan.file, LIFE);
    for other in [
        models::read("iris-tensor.onnx"),
        model.iter().map(|byte| byte ^ 1).collect(),
        model[..model.len() - 1].to_vec(),
        [model.as_slice(), &vec![0; 50 << 20]].concat(),
    ] {
        fs::write(file, other).unwrap();
        orphan.start(later, &address);
        let sort = "a model file has another size or digest than the config says";
        orphan.says(sort, sort);
        let left = fs::read_dir(orphan.node.as_ref().unwrap().folder().join("packages")).unwrap();
        assert_eq!(left.count(), 0);
    }
}

/// Who answers that the file is elsewhere is not followed.
#[test]
fn nobody_is_followed() {
    let mut orphan = Orphan::leave_alone();
    let address = orphan.objects.address(&orphan.file, LIFE);
    let guide = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = guide.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in guide.incoming() {
            let mut stream = stream.unwrap();
            // The question fits into one read.
            let _ = std::io::Read::read(&mut stream, &mut [0; 4_096]);
            let answer = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {address}\r\ncontent-length: 0\r\n\r\n");
            std::io::Write::write_all(&mut stream, answer.as_bytes()).ok();
        }
    });
    orphan.start(now_ms() + 600_000, &format!("http://{at}/a?X-Amz-Signature=b"));
    orphan.says(UNREACHABLE, "the object store answered 307");
}
