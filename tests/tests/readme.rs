//! README.md as a new user types it: every line of its first steps, by whom it says.

use acceptance::castoff::binary;
use acceptance::{Database, World, scratch};
use std::path::Path;
use std::process::Command;

/// Refused, as the text says.
const REFUSED: &str = "castoff deploy flowers v1 --on prod";

#[test]
fn the_first_steps_do_what_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md"))
        .unwrap()
        .replace("\\\n", " ");
    let (_, steps) = readme.split_once("## First steps").unwrap();
    let (steps, _) = steps.split_once("\n## ").unwrap();
    let cast = World::with_cast(Database::Sqlite);
    let desk = scratch::subfolder("desk");
    std::fs::create_dir_all(desk.join("data/demo")).unwrap();
    std::os::unix::fs::symlink(root.join("tests"), desk.join("tests")).unwrap();
    let programs = binary("castoff").parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let (mut who, mut fenced, mut typed) = (&cast.dana, false, 0);
    for line in steps.lines() {
        for (name, actor) in [("dana", &cast.dana), ("omar", &cast.omar), ("admin", &cast.admin)] {
            if line.starts_with(&format!("**As {name}**")) {
                who = actor;
            }
        }
        fenced ^= line.starts_with("```");
        // What curl is told is the demo's own address.
        if !fenced || !(line.starts_with("castoff ") || line.starts_with("CASTOFF_KEY=")) {
            continue;
        }
        let mut shell = line.replace("--wait 30s", "--wait 60s");
        if line.starts_with("castoff login") {
            shell = format!("printf '%s\\n' \"$PASSWORD\" | {line} --password-stdin");
        }
        if line.starts_with("castoff keys ") {
            shell += " --wait 60s";
        }
        let done = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &shell])
            .current_dir(&desk)
            .env("PATH", &path)
            .env("PASSWORD", &who.password)
            .env("CASTOFF_URL", &who.url)
            .env("CASTOFF_CONFIG", desk.join("login.json"))
            .env_remove("CASTOFF_TOKEN")
            .env_remove("CASTOFF_KEY")
            .output()
            .unwrap();
        let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        let said = said.concat();
        let expected = if line == REFUSED { 4 } else { 0 };
        assert_eq!(done.status.code(), Some(expected), "{line}\n{said}");
        if line.starts_with("castoff query") || line.starts_with("CASTOFF_KEY=") {
            assert!(said.contains("setosa"), "{line}\n{said}");
        }
        typed += 1;
    }
    assert!(typed >= 20, "{typed}");
}
