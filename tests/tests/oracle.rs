//! Rights, exhaustively: what the control plane decides over HTTP, against a table of the design in Python.
//!
//! The programs in `tests/clients/permissions` walk over every operation of `openapi.json` and fail on one that they do
//! not know. `CASTOFF_EXHAUSTIVE=1` takes every combination of bits and longer histories.

use acceptance::world::PASSWORD;
use acceptance::{Database, World};

/// Plays a program of `tests/clients/permissions` on a control plane, and prints what it says.
fn play(world: &World, program: &str) {
    let path = format!("permissions/{program}.py");
    acceptance::program::run(program, &path, [&world.server.url, PASSWORD], []);
}

/// Service privileges × infrastructure privileges × owner × platform admin × create-service × anonymous, on every operation.
#[test]
fn every_combination_of_rights_is_decided_as_designed() {
    play(&World::start(Database::Sqlite), "exhaustive");
}

/// The same on PostgreSQL, where it takes twice as long: not in `make test`.
#[test]
fn every_combination_of_rights_is_decided_as_designed_on_postgresql() {
    if std::env::var("CASTOFF_EXHAUSTIVE").is_ok_and(|set| set == "1")
        && let Some(database) = Database::postgres()
    {
        play(&World::start(database), "exhaustive");
    }
}

/// What one may not see, on every operation that names something: as what is not there, byte for byte.
#[test]
fn what_is_hidden_answers_as_what_is_not_there() {
    play(&World::start(Database::Sqlite), "hidden");
}
