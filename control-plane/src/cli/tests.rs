//! The command line as a whole, and the client against a small server that misbehaves.

use super::*;
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::{CommandFactory, Parser};
use serde_json::{Value, json};
use std::collections::HashMap;

/// As the binary has it, without the commands of the server.
#[derive(Parser, Debug)]
#[command(name = "castoff")]
struct Whole {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Every command without subcommands, with its name.
fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() {
            leaves(sub, &path, found);
        } else {
            found.push((path, sub.clone()));
        }
    }
}

/// Splits as a shell does, as far as the examples need it.
fn words(line: &str) -> Vec<String> {
    let line = line.split([';', '<', '>']).next().unwrap();
    let quoted = line.split('\'').enumerate();
    let part = |(at, text): (usize, &str)| match at % 2 {
        0 => text.split_whitespace().map(str::to_owned).collect(),
        _ => vec![text.to_owned()],
    };
    quoted.flat_map(part).collect()
}

#[test]
fn the_command_line_is_sound() {
    Whole::command().debug_assert();
}

#[test]
fn every_command_has_an_example_and_every_example_works() {
    let mut found = Vec::new();
    leaves(&Whole::command(), "castoff", &mut found);
    assert!(found.len() > 50, "{}", found.len());
    for (path, command) in found {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<_> = help.lines().filter(|line| line.starts_with("  castoff ")).collect();
        assert!(!examples.is_empty(), "{path} has no example");
        for example in examples {
            assert!(example.trim().starts_with(&path), "{path}: {example}");
            if let Err(error) = Whole::try_parse_from(words(example)) {
                panic!("{example}: {error}");
            }
        }
    }
}

#[test]
fn mistakes_on_the_command_line() {
    for line in [
        "castoff keys list",
        "castoff keys list --deployment a --service b",
        "castoff keys create k --deployment d --weak",
        "castoff deploy iris v1",
        "castoff query d",
        "castoff query d --data 1 --feature a=1",
        "castoff status d --service s",
        "castoff service grant iris group",
        "castoff login --password secret",
        "castoff keys revoke k --deployment d --wait soon",
    ] {
        assert!(Whole::try_parse_from(words(line)).is_err(), "{line}");
    }
    let typo = Whole::try_parse_from(["castoff", "deplyo"]).unwrap_err().to_string();
    assert!(typo.contains("deploy"), "{typo}");
}

#[test]
fn global_options_stand_anywhere() {
    let whole = Whole::try_parse_from(words("castoff service list -o json --url http://here:1 -q")).unwrap();
    assert_eq!(whole.globals.url.as_deref(), Some("http://here:1"));
    assert_eq!(whole.globals.output, Format::Json);
    assert!(whole.globals.quiet);
}

/// Starts a server and makes a client of it.
async fn client(router: Router, proof: Proof) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(&format!("http://{address}/api/v1"), proof).unwrap()
}

fn token() -> Proof {
    Proof::Token(credentials::Secret::first_line("castoff_x").unwrap())
}

async fn page(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    Json(match query.get("cursor").map(String::as_str) {
        None => json!({"items": [1, 2], "next": "a"}),
        Some("a") => json!({"items": [3], "next": "b"}),
        Some(_) => json!({"items": [4], "next": "b"}),
    })
}

#[tokio::test]
async fn lists_are_followed_to_their_end() {
    let server = client(Router::new().route("/api/v1/things", get(page)), token()).await;
    let all = server.list(&["things"], &[], usize::MAX).await.unwrap();
    assert_eq!(
        all,
        [1, 2, 3, 4].map(Value::from),
        "a cursor that stands still ends the list"
    );
}

#[tokio::test]
async fn answers_become_exit_codes() {
    let status = |code: u16| (StatusCode::from_u16(code).unwrap(), Json(json!({"title": "No"})));
    let router = Router::new()
        .route("/api/v1/422", get(move || async move { status(422) }))
        .route("/api/v1/401", get(move || async move { status(401) }))
        .route(
            "/api/v1/503",
            get(|| async { (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")], "<html>") }),
        )
        .route(
            "/api/v1/302",
            get(|| async { (StatusCode::FOUND, [("location", "http://elsewhere/")]) }),
        )
        .route("/api/v1/html", get(|| async { "<html>" }));
    let server = client(router, token()).await;
    for (path, code) in [
        ("422", 7),
        ("401", 3),
        ("503", 8),
        ("302", 8),
        ("html", 8),
        ("none", 5),
        ("..", 2),
        ("", 2),
    ] {
        assert_eq!(server.get(&[path], &[]).await.unwrap_err().code(), code, "{path}");
    }
    let busy = server.get(&["503"], &[]).await.unwrap_err().lines();
    assert_eq!(busy, ["error: the server answered 503", "  try again in 7 s"]);
    let nobody = server.with(Proof::None).get(&["401"], &[]).await.unwrap_err();
    assert!(nobody.lines().concat().contains("castoff login"));
}

#[tokio::test]
async fn nobody_there_is_exit_code_8() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let server = Client::new(&format!("http://{address}"), token()).unwrap();
    let failure = server.get(&["x"], &[]).await.unwrap_err();
    assert_eq!(failure.code(), 8);
    assert!(failure.lines().concat().contains("refused"), "{:?}", failure.lines());
}

#[tokio::test]
async fn each_proof_travels_in_its_place() {
    async fn echo(headers: HeaderMap) -> Json<Value> {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let names = ["authorization", "cookie", "x-key", "origin"];
        Json(
            names
                .iter()
                .map(|name| ((*name).to_owned(), json!(header(name))))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        )
    }
    let server = client(Router::new().route("/api/v1/a%2Fb%3Fc", post(echo)), token()).await;
    let secret = || credentials::Secret::first_line("s").unwrap();
    let sent = async |proof| server.with(proof).post(&["a/b?c"], &[], None).await.unwrap().body;
    assert_eq!(sent(token()).await["authorization"], "Bearer castoff_x");
    assert_eq!(sent(Proof::Key("x-key".into(), secret())).await["x-key"], "s");
    let session = sent(Proof::Session(secret())).await;
    assert_eq!(session["cookie"], "s");
    assert!(session["origin"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert_eq!(session["authorization"], Value::Null);
}

#[test]
fn addresses_are_checked() {
    for address in [
        "",
        "localhost:8400",
        "ftp://x/",
        "http://",
        "https://dana:secret@x/",
        "http://x/?a=b",
    ] {
        assert_eq!(Client::new(address, Proof::None).unwrap_err().code(), 2, "{address}");
    }
    let unprotected = |address: &str| Client::new(address, Proof::None).unwrap().unprotected();
    assert!(unprotected("http://castoff.example.com"));
    assert!(
        !unprotected("http://127.0.0.1:8400") && !unprotected("http://[::1]:1") && !unprotected("http://localhost")
    );
    assert!(!unprotected("https://castoff.example.com"));
}

/// What is not there, under a name that is nearly right, in the path and in the body.
#[tokio::test]
async fn a_slip_in_a_name_gets_a_suggestion() {
    let problem = |status: u16, body: Value| (StatusCode::from_u16(status).unwrap(), Json(body));
    let unknown = json!({"title": "No", "errors": [{"pointer": "/service", "reason": "there is no such service"}]});
    let router = Router::new()
        .route(
            "/api/v1/services",
            get(|| async { Json(json!({"items": [{"name": "flowers"}, {"name": "iris"}], "next": null})) }),
        )
        .route(
            "/api/v1/deployments",
            post(move || async move { problem(422, unknown.clone()) }),
        );
    let server = client(router, token()).await;
    let hint = async |mut failure: Failure| {
        suggestion::add(&server, &mut failure).await;
        failure.lines().pop().unwrap()
    };
    let failure = server.get(&["services", "flowrs", "grants"], &[]).await.unwrap_err();
    assert_eq!(hint(failure).await, "  did you mean flowers?");
    let body = json!({"service": "irsi"});
    let failure = server.post(&["deployments"], &[], Some(&body)).await.unwrap_err();
    assert_eq!(hint(failure).await, "  did you mean iris?");
    let failure = server.get(&["services", "lighthouse"], &[]).await.unwrap_err();
    assert_eq!(
        hint(failure).await,
        "  you see no service lighthouse; those you see: castoff service list"
    );
}
