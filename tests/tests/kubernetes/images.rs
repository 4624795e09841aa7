//! The images, as a machine of the cluster has them: what their Dockerfiles promise.

use acceptance::cluster::Cluster;
use acceptance::{Release, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Where the images of the first machine are.
const MACHINE: &str = "/run/castoff-cluster/node-1/containerd.sock";

fn ctr(arguments: &[&str]) -> String {
    let mut ctr = Command::new("ctr");
    let ctr = ctr
        .args(["--address", MACHINE, "--namespace", "k8s.io"])
        .args(arguments);
    let done = ctr.output().expect("ctr is there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// How containers of an image are started, by its configuration.
fn started(image: &str) -> Value {
    let listed = ctr(&["images", "list", &format!("name=={image}")]);
    let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:"));
    let read = |digest: &str| -> Value {
        let text = ctr(&["content", "get", digest]);
        serde_json::from_str(&text).expect("JSON")
    };
    let manifest = read(digest.expect(image));
    read(manifest["config"]["digest"].as_str().expect("a digest"))["config"].take()
}

/// What a Dockerfile says of what it makes, by the word that each line begins with.
fn promised(program: &str) -> BTreeMap<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../images/{program}.Dockerfile"));
    let text = std::fs::read_to_string(file).expect("it is there");
    let (_, last) = text.split_once("FROM ${BASE}\n").expect("what is made stands last");
    let joined = last.replace("\\\n", " ");
    let said = joined.lines().filter_map(|line| line.split_once(' '));
    said.filter(|(word, _)| *word != "COPY" && *word != "ARG" && *word != "#")
        .map(|(word, said)| (word.to_owned(), said.trim().to_owned()))
        .collect()
}

/// Labels by which whoever finds one knows what it is, and of which commit; a user that is not root; what is started.
#[test]
fn they_are_what_their_dockerfiles_say() {
    let Some(cluster) = Cluster::there() else { return };
    if !cluster.is_ours() {
        return;
    }
    for program in ["castoff", "castoff-node"] {
        let (image, said) = (started(&cluster.image(program)), promised(program));
        let labels = image["Labels"].as_object().expect("labels");
        let mut of_program = 0;
        for pair in said["LABEL"].split("org.opencontainers.image.").skip(1) {
            let (name, value) = pair.trim().split_once('=').expect("a name and a value");
            let label = labels.get(&format!("org.opencontainers.image.{name}"));
            let label = label.and_then(Value::as_str).expect(name);
            match value.trim_matches('"') {
                "${VERSION}" => assert_eq!(label, Release::This.number()),
                "${REVISION}" => assert!(is_commit(label), "{label}"),
                value => assert_eq!(label, value),
            }
            of_program += 1;
        }
        assert!(of_program >= 5, "{said:?}");
        assert_eq!(image["User"], said["USER"].as_str());
        assert_eq!(image["User"], "65532:65532", "a number, and not root's");
        let list = |word: &str| match said.get(word) {
            Some(list) => serde_json::from_str(list).expect("a list"),
            None => Value::Null,
        };
        assert_eq!(image["Entrypoint"], list("ENTRYPOINT"));
        assert_eq!(image["Entrypoint"], json!([format!("/usr/bin/{program}")]));
        assert_eq!(image["Cmd"], list("CMD"));
        if let Some(variable) = said.get("ENV") {
            let variables = image["Env"].as_array().expect("variables");
            assert!(variables.contains(&json!(variable)), "{variables:?}");
        }
    }
}

/// Of a clone, which knows its commit; an archive of the sources does not.
fn is_commit(label: &str) -> bool {
    let is_clone = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.git").exists();
    match is_clone {
        true => label.len() == 40 && label.bytes().all(|letter| letter.is_ascii_hexdigit()),
        false => label == "unknown",
    }
}
