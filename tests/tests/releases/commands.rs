//! The command line of either release at a server of either: pipelines are not upgraded on the day of the server.

use acceptance::{Actor, Cast, Database, Release, Value, World, models};
use std::process::Command;

/// What a pipeline does: push, deploy, look, a key that comes and goes.
#[track_caller]
fn delivers(program: Release, dana: &Actor, version: &str) {
    let castoff = |arguments: &[&str]| {
        let done = Command::new(program.program("castoff"))
            .args(arguments)
            .env("CASTOFF_URL", &dana.url)
            .env("CASTOFF_TOKEN", dana.token())
            .output()
            .expect("it can be started");
        let said = [&done.stdout, &done.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
        assert!(
            done.status.success(),
            "{program:?}: {}: {}{}",
            arguments.join(" "),
            said[0],
            said[1]
        );
        said[0].clone()
    };
    let model = models::folder().join("iris-columns.onnx");
    let deployment = "iris-on-dev";
    assert!(castoff(&["whoami"]).contains("dana"));
    castoff(&["version", "push", "iris", version, model.to_str().expect("a path")]);
    castoff(&["deploy", "iris", version, "--on", "dev", "--wait"]);
    let status = castoff(&["status", deployment]);
    assert!(status.contains("running"), "{status}");
    let made = castoff(&["-o", "json", "keys", "create", version, "--deployment", deployment]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    assert!(made["key"].as_str().is_some_and(|key| key.starts_with("cst_")));
    assert!(castoff(&["keys", "list", "--deployment", deployment]).contains(version));
    castoff(&["keys", "revoke", version, "--deployment", deployment, "--wait", "30s"]);
    castoff(&["deployment", "rollback", deployment, "--to", "1"]);
    castoff(&["can-i", "change-deployment", "--service", "iris", "--infra", "dev"]);
    for list in ["service", "infra", "deployment"] {
        castoff(&[list, "list"]);
    }
    castoff(&["audit"]);
    castoff(&["logs", deployment]);
}

#[test]
fn pipelines_of_either_release_deliver_to_servers_of_either() {
    let Some(previous) = Release::previous() else { return };
    for (server, program) in [(Release::This, previous), (previous, Release::This)] {
        let cast = Cast::gather(World::start_of(server, Database::Sqlite, &[], &[]));
        cast.iris();
        for version in ["first", "second"] {
            delivers(program, &cast.dana, version);
        }
    }
}
