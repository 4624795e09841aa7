//! The schema goes up and down on both databases, and two operators at once do no harm.

use acceptance::castoff::command;
use acceptance::{Database, World, scratch};
use std::path::Path;
use std::process::Output;

fn migrate(data: &Path, database: &Database, arguments: &[&str]) -> Output {
    command(data, database).arg("migrate").args(arguments).output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    text
}

fn there_and_back(database: &Database) {
    let data = scratch::subfolder("migrate").join("data");
    let before = succeeds(&migrate(&data, database, &["status"]));
    assert!(before.to_lowercase().contains("pending"), "{before}");
    succeeds(&migrate(&data, database, &["up"]));
    let after = succeeds(&migrate(&data, database, &["status"]));
    assert!(!after.to_lowercase().contains("pending"), "{after}");
    // Again is nothing.
    succeeds(&migrate(&data, database, &["up"]));
    succeeds(&migrate(&data, database, &["down"]));
    let down = succeeds(&migrate(&data, database, &["status"]));
    assert!(down.to_lowercase().contains("pending"), "{down}");
    succeeds(&migrate(&data, database, &["up"]));
}

#[test]
fn up_down_and_status_on_sqlite() {
    there_and_back(&Database::Sqlite);
}

#[test]
fn up_down_and_status_on_postgresql() {
    if let Some(database) = Database::postgres() {
        there_and_back(&database);
    }
}

#[test]
fn concurrent_migrators_are_safe_on_postgresql() {
    let Some(database) = Database::postgres() else { return };
    let data = scratch::subfolder("migrate").join("data");
    // The key's file is made by the first call; let that not be part of the race.
    succeeds(&migrate(&data, &database, &["status"]));
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| migrate(&data, &database, &["up"])))
            .collect();
        for run in runs {
            succeeds(&run.join().unwrap());
        }
    });
    let after = succeeds(&migrate(&data, &database, &["status"]));
    assert!(!after.to_lowercase().contains("pending"), "{after}");
    World::start(database).admin.get("/whoami").expect(200);
}

/// With PostgreSQL a master key that is missing stops the start; another one too.
#[test]
fn another_master_key_stops_the_start_on_postgresql() {
    let Some(database) = Database::postgres() else { return };
    let mut world = World::start(database.clone());
    world.server.kill();
    let key = world.server.data.with_file_name("master.key");
    let serve = |text: Option<&str>| {
        let mut command = command(&world.server.data, &database);
        match text {
            Some(text) => std::fs::write(&key, text).unwrap(),
            None => {
                command.env_remove("CASTOFF_MASTER_KEY_FILE");
            }
        }
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--node-listen",
                "127.0.0.1:0",
                "--ops-listen",
                "127.0.0.1:0",
            ])
            .env("CASTOFF_ONNXRUNTIME", acceptance::castoff::onnxruntime())
            .output()
            .unwrap()
    };
    for text in [None, Some("0".repeat(64).as_str())] {
        let output = serve(text);
        assert!(!output.status.success());
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(said.contains("master key"), "{said}");
    }
}
