//! What must never be seen: keys, tokens, passwords and what callers send. Not in answers, logs, files or arguments.
//!
//! Every secret of every kind is planted, or learnt when it is made; it is used rightly and wrongly; then everything that
//! can be read is searched for it, in every form. What may hold one stands in one table.

pub(crate) mod marker;
mod misuse;
mod places;
mod planting;

use acceptance::objects::Objects;
use acceptance::{Cast, Database, World, json};
use marker::{Allowed, Marker, Search};
use std::fs;
use std::path::{Path, PathBuf};

/// A value in a request to the model.
const BODY: &str = "marked-body-5512ab9d";

/// Where a secret may be, and why. `place` is a part of the place's name.
const ALLOWED: &[Allowed] = &[
    Allowed {
        what: "master key",
        form: "raw",
        place: "data/master.key",
        why: "with SQLite the control plane keeps its own",
    },
    Allowed {
        what: "node token",
        form: "raw",
        place: "join.json",
        why: "a node proves itself with it",
    },
    Allowed {
        what: "database password",
        form: "raw",
        place: "environment of castoff serve",
        why: "the operator put it there",
    },
    Allowed {
        what: "",
        form: "raw",
        place: "in GET /services?{}=1",
        why: "who sends it as the name of a parameter is told, and nobody else, that there is none of this name",
    },
];

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

/// A company whose control plane and nodes log all that they have to say.
fn talkative(database: Database, objects: &Objects) -> Cast {
    let arguments = objects.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Cast::gather(World::start_in(database, &arguments, &[("CASTOFF_LOG", "debug")]))
}

/// Uses and misuses everything that was planted, and looks everywhere.
fn found_nowhere_else(database: Database) {
    // Of the two places that one kind of database has, the other is never met.
    let elsewhere = match &database {
        Database::Sqlite => "database password",
        Database::Postgres { .. } => "master key",
    };
    let objects = Objects::start();
    let cast = talkative(database, &objects);
    let mut planted = planting::plant(&cast);
    planted
        .markers
        .push(Marker::new("secret of the object store", &objects.secret));
    let mut search = Search::new(planted.markers, ALLOWED);
    let texts: Vec<(&str, String)> = search
        .markers
        .iter()
        .map(|marker| (marker.what, marker.text.clone()))
        .collect();
    for (what, text) in &texts {
        for (place, answer) in misuse::of_control_plane(&cast.world.server.url, cast.dana.token(), text) {
            search.look(&format!("the answer to {what} in {place}"), &answer);
        }
        for (place, answer) in misuse::of_node(&planted.dev.url, &planted.dev.predict_url(), text) {
            search.look(&format!("the answer to {what} in {place}"), &answer);
        }
    }
    places::everything(&cast, &planted.dev, &planted.roles, &mut search);
    println!("{} secrets, {} places", texts.len(), search.searched);
    for (allowed, met) in ALLOWED.iter().zip(&search.met) {
        println!(
            "{} ({}) in {}: {met}, for {}",
            allowed.what, allowed.form, allowed.place, allowed.why
        );
        assert!(
            *met > 0 || allowed.what == elsewhere,
            "never met, so not needed: {}",
            allowed.place
        );
    }
    search.leaks.sort();
    assert!(
        search.leaks.is_empty(),
        "{} leaks: {:#?}",
        search.leaks.len(),
        search.leaks
    );
}

#[test]
fn secrets_are_found_nowhere_else_on_sqlite() {
    found_nowhere_else(Database::Sqlite);
}

/// With the password in the database's URL.
#[test]
fn secrets_are_found_nowhere_else_on_postgresql() {
    if let Some(Database::Postgres { url, .. }) = Database::postgres() {
        let url = url.replace("castoff@", &format!("castoff:{}@", planting::DATABASE_PASSWORD));
        found_nowhere_else(Database::at(url));
    }
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
