//! What is kept there, and what happens when it is away, wrong, or looked through for what nobody needs.

use super::beside;
use acceptance::castoff::{Server, Sha256, command};
use acceptance::deployed::Deployed;
use acceptance::objects::{Objects, files};
use acceptance::world::PASSWORD;
use acceptance::{Actor, Database, World, eventually, json, models, scratch};
use std::path::Path;
use std::time::Duration;

/// A model of so many megabytes.
fn large(megabytes: usize) -> Vec<u8> {
    models::with_text("iris-tensor.onnx", &"x".repeat(megabytes << 20))
}

#[test]
fn a_model_is_kept_there_and_nowhere_else_and_answers() {
    let objects = Objects::start();
    let cast = beside(&objects, Database::Sqlite);
    cast.iris();
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1"});
    let deployed = Deployed::create(&cast.dana, body);
    assert_eq!(deployed.call(&deployed.key).status, 200);
    // Of three parts, so that it is put together there.
    let big = large(20);
    cast.dana.upload("iris", "big", big.clone()).expect(201);
    cast.dana.upload("iris", "big", big.clone()).expect(200);
    let package = cast.dana.get("/services/iris/versions/big/package").expect(200);
    assert!(package.body == big);
    let iris = Sha256::of(&models::read("iris-columns.onnx")).to_string();
    let mut expected = [iris, Sha256::of(&big).to_string()].map(|digest| digest.replace("sha256:", ""));
    expected.sort();
    let names = |files: Vec<std::path::PathBuf>| {
        let name = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = files.iter().map(name).collect();
        names.sort();
        names
    };
    assert_eq!(names(objects.kept()), expected);
    let here = files(&cast.world.server.data.join("packages"));
    assert!(here.is_empty(), "{here:?}");
    let log = cast.world.server.logged();
    assert!(!log.contains(&objects.secret), "what opens the bucket is in the log");
}

/// Over TLS, by the authority that it is told of; without that it says what it lacks, and what it does not need goes on.
#[test]
fn a_certificate_that_is_not_trusted_is_told_as_such() {
    let objects = Objects::start_with_tls();
    let arguments = objects.arguments();
    let trusting: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (rest, _) = trusting.split_at(trusting.len() - 2);
    assert!(!rest.contains(&"--packages-ca") && trusting.contains(&"--packages-ca"));
    let cast = World::with_cast_and(Database::Sqlite, rest);
    let log = cast.world.server.logged();
    assert!(
        log.contains("name the authority of its certificate with --packages-ca"),
        "{log}"
    );
    cast.dana.post("/services", json!({"name": "iris"})).expect(201);
    let refused = cast
        .dana
        .upload("iris", "v1", models::read("iris-tensor.onnx"))
        .expect(503);
    assert!(refused.string("/detail").contains("object store"), "{}", refused.text());
    assert!(objects.kept().is_empty());
    let cast = beside(&objects, Database::Sqlite);
    cast.iris();
    assert_eq!(objects.kept().len(), 1);
}

#[test]
fn two_control_planes_need_no_folder_in_common() {
    let Some(database) = Database::postgres() else { return };
    let objects = Objects::start();
    let cast = beside(&objects, database.clone());
    cast.iris();
    let folder = scratch::subfolder("replica");
    std::fs::copy(cast.world.folder().join("master.key"), folder.join("master.key")).unwrap();
    let arguments = objects.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let there = Server::start(&folder, database, PASSWORD, &arguments);
    let dana = Actor::with_token(&there.url, "dana", cast.dana.token());
    let package = dana.get("/services/iris/versions/v1/package").expect(200);
    assert!(package.body == models::read("iris-columns.onnx"));
}

#[test]
fn while_it_is_away_nothing_is_half_there_and_everything_else_goes_on() {
    let mut objects = Objects::start();
    let cast = beside(&objects, Database::Sqlite);
    let deployed = cast.iris_on_dev();
    let before = objects.kept();
    objects.kill();
    let refused = cast
        .dana
        .upload("iris", "v2", models::read("iris-tensor.onnx"))
        .expect(503);
    assert!(refused.string("/detail").contains("object store"), "{}", refused.text());
    cast.dana.get("/services/iris/versions/v1/package").expect(503);
    assert_eq!(deployed.call(&deployed.key).status, 200);
    deployed.new_key("while it is away");
    // Started again without it, too: keys are still to be revoked.
    let mut cast = cast;
    cast.world.server.kill();
    cast.world.server.launch();
    assert!(cast.world.server.logged().contains("does not answer as it should"));
    deployed.new_key("after a start without it");

    objects.launch();
    // It goes away in the middle of an upload of many parts.
    let dana = cast.dana.clone();
    let upload = std::thread::spawn(move || dana.upload("iris", "v3", large(400)));
    eventually("the first parts have come", || !objects.parts().is_empty());
    objects.kill();
    let refused = upload.join().unwrap().expect(503);
    assert!(refused.string("/detail").contains("object store"), "{}", refused.text());
    objects.launch();
    assert_eq!(objects.kept(), before);
    let versions = cast.dana.list("/services/iris/versions");
    assert_eq!(versions.len(), 1, "{versions:?}");
    cast.dana
        .upload("iris", "v3", models::read("iris-tensor.onnx"))
        .expect(201);
}

/// What `castoff serve` says when it does not start.
#[track_caller]
fn refusal(folder: &Path, arguments: &[String]) -> String {
    let mut command = command(&folder.join("data"), &Database::Sqlite);
    command.arg("serve");
    for listen in ["--listen", "--node-listen", "--ops-listen"] {
        command.args([listen, "127.0.0.1:0"]);
    }
    let output = command.args(arguments).output().expect("castoff runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_start_with_a_wrong_store_says_what_is_wrong() {
    let objects = Objects::start();
    let folder = scratch::subfolder("wrong");
    let told = |changes: &[(&str, &str)]| {
        let mut arguments = objects.arguments();
        for (name, value) in changes {
            match arguments.iter().position(|argument| argument == name) {
                Some(at) => arguments[at + 1] = (*value).to_owned(),
                None => arguments.extend([(*name).to_owned(), (*value).to_owned()]),
            }
        }
        refusal(&folder, &arguments)
    };
    let other = objects.credentials("another-secret").display().to_string();
    let torn = folder.join("torn");
    std::fs::write(&torn, "[default]\naws_secret_access_key = very-secret\n").unwrap();
    for (name, value, says) in [
        ("--packages-url", "s3://nowhere", "no such bucket"),
        ("--packages-url", "/var/lib", "must begin with s3://"),
        (
            "--packages-credentials-file",
            other.as_str(),
            "refuses these credentials",
        ),
        (
            "--packages-credentials-file",
            torn.to_str().unwrap(),
            "has no aws_access_key_id",
        ),
        ("--packages-credentials-file", "/nowhere", "/nowhere"),
        (
            "--packages-endpoint",
            "http://10.255.255.1:9000",
            "models would travel in the clear",
        ),
    ] {
        let said = told(&[(name, value)]);
        assert!(said.contains(says), "{name} {value}: {said}");
        assert!(
            !said.contains("very-secret") && !said.contains("another-secret") && !said.contains(&objects.secret),
            "{said}"
        );
    }
}

#[test]
fn what_nobody_needs_goes_and_what_is_used_stays() {
    let objects = Objects::start();
    let mut cast = beside(&objects, Database::Sqlite);
    cast.iris();
    let other = models::read("iris-tensor.onnx");
    cast.dana.upload("iris", "v2", other.clone()).expect(201);
    cast.dana.delete("/services/iris/versions/v2").expect(204);
    assert_eq!(objects.kept().len(), 2);
    let collect = |world: &mut World| {
        // A control plane looks at once when it starts.
        world.server.kill();
        world.server.launch();
    };
    collect(&mut cast.world);
    eventually("it has looked at them", || {
        cast.world.server.logged().matches("serving").count() >= 2
    });
    assert_eq!(objects.kept().len(), 2, "what is young waits for its version");
    objects.age(Duration::from_secs(25 * 3_600));
    collect(&mut cast.world);
    eventually("what no version names is gone", || objects.kept().len() == 1);
    let package = cast.dana.get("/services/iris/versions/v1/package").expect(200);
    assert!(package.body == models::read("iris-columns.onnx"));
    // Kept again over what is old: it is looked at twice, and stays.
    objects.age(Duration::from_secs(25 * 3_600));
    cast.dana
        .upload("iris", "again", models::read("iris-columns.onnx"))
        .expect(201);
    cast.dana.upload("iris", "v4", other).expect(201);
    collect(&mut cast.world);
    cast.dana.get("/services/iris/versions/v4/package").expect(200);
    assert_eq!(objects.kept().len(), 2);
}
