//! The schema goes up and down on both databases, and two operators at once do no harm.

use acceptance::castoff::command;
use acceptance::{Database, Edge, World, json, scratch};
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

/// A later release has added to the schema and to what is in it: this one runs on it, so that one can go back to it, and
/// leaves the steps as they are. One that took something away names the step since which nobody needs it.
fn later_release(database: &Database) {
    let mut edge = Edge::of(World::with_cast(database.clone()));
    let data = edge.cast.world.server.data.clone();
    let plant = |step: &str| {
        let row = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{step}', 0)");
        database.state(&data, &row);
    };
    plant("m9998_more");
    plant("m9999_contract_0001_accounts");
    for table in ["deployments", "revisions"] {
        let more = r#"{"more": {"of": "it"}, "#;
        let sets = ["scale", "limits", "route"].map(|column| format!("{column} = replace({column}, '{{', '{more}')"));
        database.state(&data, &format!("UPDATE {table} SET {}", sets.join(", ")));
    }
    assert_eq!(edge.cast.world.server.stop(), Some(0));
    edge.cast.world.server.launch();
    let dana = &edge.cast.dana;
    dana.get(&edge.path("")).expect(200);
    assert_eq!(dana.list("/deployments").len(), 1);
    assert_eq!(dana.list(&edge.path("/revisions")).len(), 1);
    edge.new_key("its config is made anew");
    dana.patch(&edge.path(""), json!({"limits": {"queue": 7}})).expect(200);

    let status = succeeds(&migrate(&data, database, &["status"]));
    assert!(status.contains("m9998_more  (by a later release)"), "{status}");
    assert!(!status.contains("pending"), "{status}");
    let refused = |arguments: &[&str], said: &str| {
        let output = command(&data, database).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(said), "{text}");
    };
    refused(&["migrate", "down"], "take them back with that one");
    plant("m9999_contract_9998_more");
    assert_eq!(edge.cast.world.server.stop(), Some(0));
    let said = "a later release took away what this one needs (m9999_contract_9998_more)";
    refused(&["migrate", "up"], said);
    refused(
        &["serve", "--listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"],
        said,
    );
}

#[test]
fn what_a_later_release_left_is_worked_with_on_sqlite() {
    later_release(&Database::Sqlite);
}

#[test]
fn what_a_later_release_left_is_worked_with_on_postgresql() {
    if let Some(database) = Database::postgres() {
        later_release(&database);
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
