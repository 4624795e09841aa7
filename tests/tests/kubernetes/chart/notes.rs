//! The notes that helm prints: from an empty namespace to a model that is called, by them alone.

use super::{Cluster, Namespace, Release};
use acceptance::castoff::binary;
use acceptance::{models, ports, scratch, tell};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Of REST and of the model, as the notes forward them.
const PORTS: [u16; 2] = [8400, 8000];

/// Runs the commands of the notes as they are printed: only the two ports of this machine that they use are others, since
/// other tests use them, too, and this machine has the name that its certificate has. The last one calls a model.
#[track_caller]
pub(super) fn follow(namespace: &Namespace, host: &str) {
    let notes = namespace.helm(&["get", "notes", "castoff"]).expect("notes");
    let commands = notes.lines().filter_map(|line| line.strip_prefix("   "));
    let mut script = commands.collect::<Vec<_>>().join("\n");
    for port in PORTS {
        let own = ports::one();
        assert!(script.contains(&format!(" {port} &")), "{port}: {script}");
        script = script.replace(&format!(" {port} &"), &format!(" {own}:{port} &"));
        script = script.replace(&format!("127.0.0.1:{port}"), &format!("{host}:{own}"));
    }
    let folder = scratch::subfolder("notes");
    std::fs::create_dir_all(folder.join("tests/models")).expect("a folder");
    let model = models::read("iris-columns.onnx");
    std::fs::write(folder.join("tests/models/iris-columns.onnx"), model).expect("the model");
    let programs = binary("castoff");
    let programs = programs.parent().expect("a folder").display();
    let path = format!("{programs}:{}", std::env::var("PATH").expect("a path"));
    let output = namespace
        .command("bash")
        .args(["-euo", "pipefail", "-c"])
        .arg(format!("trap 'kill $(jobs -p)' EXIT\n{script}"))
        .current_dir(&folder)
        .env("PATH", path)
        .env("CASTOFF_CONFIG", folder.join("login.json"))
        .env_remove("CASTOFF_URL")
        .env_remove("SSL_CERT_FILE")
        .stdin(Stdio::null())
        .output()
        .expect("bash is there");
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    assert!(output.status.success(), "{script}\n{}\n{}", said[0], said[1]);
    let last = said[0].lines().last().unwrap_or_default();
    let is_answer = last.contains("\"prediction\":\"setosa\"");
    assert!(is_answer, "{script}\n{}\n{}", said[0], said[1]);
}

#[test]
fn the_notes_lead_to_a_model_that_answers() {
    let Some(cluster) = Cluster::there() else { return };
    let (namespace, begun) = (Namespace::new(cluster, "notes"), Instant::now());
    Release::of(cluster, &namespace).helm("install", &[]);
    follow(&namespace, "127.0.0.1");
    tell(&format!(
        "from helm install to a model that answers: {:.1?}",
        begun.elapsed()
    ));
}

/// An authority in a folder of its own, and a certificate of it for these names.
fn certified(names: &str) -> std::path::PathBuf {
    let folder = scratch::subfolder("certified");
    let script = "
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=company -keyout ca.key -out ca.crt
        openssl req -newkey rsa:2048 -nodes -subj /CN=castoff -keyout tls.key -out tls.csr
        printf 'extendedKeyUsage=serverAuth\nsubjectAltName=%s' \"$NAMES\" >extensions
        openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out tls.crt";
    let made = Command::new("sh")
        .args(["-ec", script])
        .env("NAMES", names)
        .current_dir(&folder)
        .output()
        .expect("sh is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

/// With certificates that are given, in Secrets as cert-manager makes them, the same way leads there: REST speaks TLS, and
/// the pods of the model trust the authority of the port that they dial and no other.
#[test]
fn certificates_that_are_given_are_shown_and_trusted() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "certified");
    let rest = certified("IP:127.0.0.1");
    let nodes = certified(&format!("DNS:castoff.{}.svc", namespace.name));
    for (name, folder) in [("rest-tls", &rest), ("nodes-tls", &nodes)] {
        let file = |name: &str| format!("--from-file={}", folder.join(name).display());
        let [chain, key, authority] = ["tls.crt", "tls.key", "ca.crt"].map(file);
        let secret = ["create", "secret", "generic", name, "--type=kubernetes.io/tls"];
        namespace
            .kubectl(&[&secret[..], &[&chain, &key, &authority]].concat())
            .expect("a Secret");
    }
    let release = Release::of(cluster, &namespace);
    let given = "http.exposed=true,http.tlsSecret=rest-tls,nodes.tlsSecret=nodes-tls";
    release.helm("install", &["--set", given]);
    release.proves_itself();
    follow(&namespace, "127.0.0.1");
    let template = "go-template={{index .data \"join.json\" | base64decode}}";
    let join = namespace.kubectl(&["get", "secret", "iris-on-cluster", "-o", template]);
    let authority = std::fs::read_to_string(nodes.join("ca.crt")).expect("it was made");
    let pinned = authority.lines().nth(1).expect("a line of PEM");
    assert!(join.expect("it is there").contains(pinned), "pods trust what was given");
}
