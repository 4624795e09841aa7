//! The notes that helm prints: from an empty namespace to a model that is called, by them alone.

use super::{Cluster, Namespace, Release};
use acceptance::castoff::binary;
use acceptance::{ports, scratch};
use std::process::Stdio;

/// Of REST and of the model, as the notes forward them.
const PORTS: [u16; 2] = [8400, 8000];

/// The commands are taken out of the notes as they are printed, and run as they are: only the two ports of this machine
/// that they use are others, since other tests use them, too.
#[test]
fn the_notes_lead_to_a_model_that_answers() {
    let Some(cluster) = Cluster::there() else { return };
    let namespace = Namespace::new(cluster, "notes");
    let release = Release::of(cluster, &namespace);
    release.helm("install", &[]);
    let notes = namespace.helm(&["get", "notes", "castoff"]).expect("notes");
    let mut script = String::new();
    for command in notes.lines().filter_map(|line| line.strip_prefix("   ")) {
        script += &format!("{command}\n");
    }
    for port in PORTS {
        let own = ports::one();
        assert!(script.contains(&format!(" {port} &")), "{port}: {script}");
        script = script.replace(&format!(" {port} &"), &format!(" {own}:{port} &"));
        script = script.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{own}"));
    }
    let folder = scratch::subfolder("notes");
    let model = acceptance::models::read("iris-columns.onnx");
    std::fs::create_dir_all(folder.join("tests/models")).expect("a folder");
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
        .stdin(Stdio::null())
        .output()
        .expect("bash is there");
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    assert!(output.status.success(), "{script}\n{}\n{}", said[0], said[1]);
    let last = said[0].lines().last().unwrap_or_default();
    assert!(
        last.contains("\"prediction\":\"setosa\""),
        "{script}\n{}\n{}",
        said[0],
        said[1]
    );
}
