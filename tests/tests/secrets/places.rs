//! Everything that can be read: every GET as everybody, events, metrics, logs, files, arguments and environments.

use super::marker::Search;
use super::{BODY, files};
use acceptance::{Actor, Cast, Deployed, Request, eventually, processes};
use std::fs;

/// Looks through all of it.
pub fn everything(cast: &Cast, dev: &Deployed, roles: &[Actor], search: &mut Search<'_>) {
    let paths = paths(cast, dev);
    for actor in roles {
        for path in &paths {
            let who = if actor.name.is_empty() { "nobody" } else { &actor.name };
            let place = format!("GET {path} as {who}");
            if path.ends_with("/events") {
                let stream = actor.request("GET", path).header("last-event-id", "0").stream();
                if stream.status == 200 && ["admin", "dana"].contains(&who) {
                    let first = if path.ends_with("/logs/events") {
                        "data:"
                    } else {
                        "created"
                    };
                    eventually("there are events", || stream.text().contains(first));
                }
                search.look(&place, &stream.text());
                continue;
            }
            let answer = actor.get(path);
            assert!(answer.status < 500, "{place}: {}", answer.text());
            search.look(&place, &format!("{:?}\n{}", answer.headers, answer.text()));
        }
    }
    // What nobody has to prove anything for.
    let ops = eventually("the node says where its metrics are", || {
        dev.nodes()[0].shown["ops_address"]
            .as_str()
            .map(|address| format!("http://{address}"))
    });
    let server = &cast.world.server;
    for (whose, url, paths) in [
        (
            "control plane",
            &server.ops,
            ["/metrics", "/readyz", "/livez", "/", "/debug"],
        ),
        (
            "control plane",
            &server.url,
            ["/", "/docs/", "/openapi.json", "/metrics", "/api"],
        ),
        ("node", &ops, ["/metrics", "/readyz", "/livez", "/", "/debug"]),
        (
            "node",
            &dev.url,
            [
                "/v2",
                "/v2/models/iris",
                "/v2/models/iris/config",
                "/v2/models/iris/stats",
                "/metrics",
            ],
        ),
    ] {
        for path in paths {
            for key in ["", &dev.key] {
                let answer = Request::get(format!("{url}{path}")).header("x-api-key", key).send();
                let text = format!("{:?}\n{}", answer.headers, answer.text());
                assert!(!text.contains(BODY), "what a caller sends is in {path}");
                search.look(&format!("GET {path} of the {whose}"), &text);
            }
        }
    }
    of_the_machine(cast, search);
}

/// Logs, files, arguments, environments.
fn of_the_machine(cast: &Cast, search: &mut Search<'_>) {
    let mut logs = 0;
    for path in files(cast.world.folder()) {
        let bytes = fs::read(&path).unwrap_or_default();
        let name = path.strip_prefix(cast.world.folder()).unwrap().display().to_string();
        // The password's file and the key's are how the test brought them.
        if name == "admin-password" || name == "master.key" {
            continue;
        }
        let text = String::from_utf8_lossy(&bytes);
        if name.ends_with("log") {
            logs += 1;
            assert!(!text.contains(BODY), "what a caller sends is in {name}");
            let talkative = text.contains("\"DEBUG\"") || name != "serve.log";
            assert!(talkative, "{name} says little: {} bytes", text.len());
        }
        search.look(&format!("the file {name}"), &text);
    }
    assert!(
        logs >= 3,
        "the control plane, its node, and the one by hand keep a log: {logs}"
    );
    let running = processes::of(cast.world.folder());
    assert!(running.len() >= 2, "the control plane and its node");
    for process in running {
        let arguments = process.arguments();
        let what = match arguments.contains("castoff-node") {
            true => "castoff-node",
            false => "castoff serve",
        };
        search.look(&format!("the arguments of {what}"), &arguments);
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        search.look(
            &format!("the environment of {what}"),
            &String::from_utf8_lossy(&environment),
        );
    }
}

/// The path of every GET of openapi.json, with what is there.
fn paths(cast: &Cast, dev: &Deployed) -> Vec<String> {
    let described = Request::get(format!("{}/openapi.json", cast.world.server.url))
        .send()
        .expect(200);
    let services_key = cast.dana.get("/services/iris/keys").expect(200).string("/items/0/id");
    let mut paths = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        if methods.get("get").is_none() {
            continue;
        }
        let path = path.strip_prefix("/api/v1").unwrap_or(path);
        let filled = [
            ("{service}", "iris"),
            ("{version}", "v1"),
            ("{infrastructure}", "dev"),
            ("{deployment}", dev.name.as_str()),
            ("{group}", "devops"),
            ("{user}", "marked"),
            ("{account}", "robot"),
            ("{n}", "1"),
        ]
        .iter()
        .fold(path.to_owned(), |path, (part, name)| path.replace(part, name));
        let keys = match filled.starts_with("/services") {
            true => vec![services_key.clone()],
            false => cast
                .dana
                .list(&dev.path("/keys"))
                .iter()
                .map(|key| key["id"].as_str().unwrap().to_owned())
                .collect(),
        };
        match filled.contains("{key}") {
            true => paths.extend(keys.iter().map(|key| filled.replace("{key}", key))),
            false => paths.push(filled),
        }
    }
    // Pages of the longest lists.
    paths.extend(["/audit?limit=200".to_owned(), dev.path("/logs?tail=1000")]);
    assert!(
        paths.len() > 30 && !paths.iter().any(|path| path.contains('{')),
        "say here what to fill in: {paths:?}"
    );
    paths
}
