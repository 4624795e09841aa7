//! What must never be seen: keys, tokens, passwords and what callers send. Not in answers, logs or arguments.

use acceptance::processes;
use acceptance::{Answer, Database, Request, World, eventually, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A password that is found wherever it leaks.
const MARKED: &str = "marked-password-7f3a91c2";
/// A value in a request to the model.
const BODY: &str = "marked-body-5512ab9d";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn secrets_are_in_no_answer_log_or_argument() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let admin = &cast.admin;
    admin
        .post("/users", json!({"name": "marked", "password": MARKED}))
        .expect(201);
    let recoverable = json!({"name": "recoverable", "class": "recoverable"});
    let recoverable = cast
        .dana
        .post(&dev.path("/keys?wait=30s"), recoverable)
        .expect(201)
        .string("/key");
    let imported = "marked-key-that-was-imported-90ee";
    cast.dana
        .post(
            &dev.path("/keys?wait=30s"),
            json!({"name": "imported", "key": imported}),
        )
        .expect(201);
    let design = cast
        .dana
        .post("/services/iris/keys", json!({"name": "design"}))
        .expect(201)
        .string("/key");
    let token = cast
        .dana
        .post("/tokens", json!({"name": "marked"}))
        .expect(201)
        .string("/token");

    // They are used, rightly and wrongly.
    for key in [&dev.key, &recoverable, imported] {
        dev.call(key).expect(200);
    }
    dev.call(&design).expect(401);
    let odd = Request::post(dev.predict_url()).header("x-api-key", &dev.key);
    odd.json(&json!({"features": {"sepal_length": BODY}}))
        .send()
        .expect_any(&[400, 422]);
    Request::get(format!("{}?api_key={imported}", dev.predict_url())).send();
    acceptance::actor::session(&admin.url, "marked", MARKED).expect(200);
    acceptance::actor::session(&admin.url, "marked", &format!("{MARKED}-wrong")).expect(401);
    acceptance::actor::session(&admin.url, MARKED, "typed into the wrong field").expect_any(&[401, 422]);

    let secrets = [
        ("key", dev.key.as_str()),
        ("recoverable key", &recoverable),
        ("imported key", imported),
        ("service key", &design),
        ("token", &token),
        ("dana's token", cast.dana.token()),
        ("password", MARKED),
        ("admin's password", acceptance::world::PASSWORD),
    ];
    let mut leaks = Vec::new();
    let mut search = |place: &str, text: &str| {
        for (what, secret) in &secrets {
            // Prefixes and last fours are shown on purpose: search for the middle.
            let middle = &secret[9..secret.len() - 5];
            if text.contains(middle) {
                leaks.push(format!("{what} in {place}"));
            }
        }
    };
    for path in [
        "/users",
        "/users/marked",
        "/groups",
        "/tokens",
        "/services",
        "/services/iris",
        "/services/iris/keys",
        "/services/iris/grants",
        "/services/iris/versions",
        "/infrastructures",
        "/infrastructures/dev",
        "/deployments",
        "/deployments/iris-on-dev",
        "/deployments/iris-on-dev/keys",
        "/deployments/iris-on-dev/status",
        "/deployments/iris-on-dev/nodes",
        "/deployments/iris-on-dev/logs",
        "/deployments/iris-on-dev/sample",
        "/deployments/iris-on-dev/revisions",
        "/audit",
        "/whoami",
        "/service-accounts",
    ] {
        for actor in [&cast.dana, admin] {
            let answer: Answer = actor.get(path);
            search(&format!("GET {path} as {}", actor.name), &answer.text());
        }
    }
    for (name, url) in [("metrics", &cast.world.server.ops), ("node metrics", &node_ops(&dev))] {
        let metrics = Request::get(format!("{url}/metrics")).send().expect(200);
        search(name, &metrics.text());
        assert!(!metrics.text().contains(BODY));
    }
    let log = cast.world.server.logged();
    search("the control plane's log", &log);
    let node_logs: Vec<PathBuf> = files(&cast.world.server.data.join("nodes"));
    let node_logs = node_logs.iter().filter(|path| path.ends_with("log"));
    let mut count = 0;
    for path in node_logs {
        let text = fs::read_to_string(path).unwrap();
        search("a node's log", &text);
        assert!(!text.contains(BODY), "what a caller sends is in the log");
        count += 1;
    }
    assert!(count > 0, "a node keeps a log");
    let processes = processes::of(cast.world.folder());
    assert!(processes.len() >= 2, "the control plane and its node");
    for process in processes {
        search("arguments", &process.arguments());
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        search("environment", &String::from_utf8_lossy(&environment));
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

fn node_ops(dev: &acceptance::Deployed) -> String {
    let address = eventually("the node says where its metrics are", || {
        dev.nodes()[0].shown["ops_address"].as_str().map(str::to_owned)
    });
    format!("http://{address}")
}

/// The database of another person's laptop: no secret can be read from the file.
#[test]
fn secrets_are_not_in_the_database() {
    let mut cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let recoverable = json!({"name": "recoverable", "class": "recoverable"});
    let recoverable = cast
        .dana
        .post(&dev.path("/keys"), recoverable)
        .expect(201)
        .string("/key");
    cast.world.server.stop();
    let data = cast.world.server.data.clone();
    for path in files(&data) {
        let bytes = fs::read(&path).unwrap_or_default();
        for (what, secret) in [
            ("a key", dev.key.as_str()),
            ("a recoverable key", &recoverable),
            ("a token", cast.dana.token()),
            ("a password", acceptance::world::PASSWORD),
        ] {
            let middle = &secret.as_bytes()[9..secret.len() - 5];
            let found = bytes.windows(middle.len()).any(|window| window == middle);
            assert!(!found, "{what} is in {}", path.display());
        }
    }
    // And what holds secrets is for its owner alone.
    use std::os::unix::fs::PermissionsExt;
    let others_may = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!(others_may(&data), 0);
    for path in files(&data) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "master.key" || name == "join.json" || name == "token" {
            assert_eq!(others_may(&path), 0, "{}", path.display());
        }
    }
}
