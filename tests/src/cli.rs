//! The real `castoff` as a person types it, with a login file of their own.

use crate::actor::Actor;
use crate::castoff::binary;
use crate::scratch;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How a command ended.
#[derive(Debug)]
pub struct Cli {
    /// What was typed.
    pub typed: String,
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Cli {
    /// Runs a command as this actor, logged in by password the first time.
    pub(crate) fn run<'a>(actor: &Actor, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let login = login_file(actor);
        call(&login, actor, arguments, None)
    }

    /// Ends the test unless this is the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "castoff {}\n{}\n{}", self.typed, self.out, self.err);
        self
    }

    /// Standard output as JSON, for `-o json`.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.out) {
            Ok(value) => value,
            Err(error) => panic!("castoff {} printed no JSON ({error}): {}", self.typed, self.out),
        }
    }
}

/// The login file of this actor at this server. Its address alone does not tell it from one of before: ports are used again.
fn login_file(actor: &Actor) -> PathBuf {
    static FILES: OnceLock<Mutex<HashMap<[String; 3], PathBuf>>> = OnceLock::new();
    let files = FILES.get_or_init(Mutex::default);
    let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
    let who = [actor.url.as_str(), actor.name.as_str(), actor.token()].map(str::to_owned);
    let known = files.entry(who).or_insert_with(|| {
        let file = scratch::subfolder("cli").join("login.json");
        if !actor.password.is_empty() {
            let arguments = ["login", "--name", &actor.name, "--url", &actor.url, "--password-stdin"];
            call(&file, actor, arguments, Some(&actor.password)).expect(0);
        }
        file
    });
    known.clone()
}

fn call<'a>(login: &Path, actor: &Actor, arguments: impl IntoIterator<Item = &'a str>, input: Option<&str>) -> Cli {
    let arguments: Vec<&str> = arguments.into_iter().collect();
    let mut command = Command::new(binary("castoff"));
    command
        .args(&arguments)
        .env("CASTOFF_CONFIG", login)
        .env("CASTOFF_URL", &actor.url)
        .env_remove("CASTOFF_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("castoff can be started");
    if let (Some(input), Some(pipe)) = (input, child.stdin.as_mut()) {
        writeln!(pipe, "{input}").expect("castoff reads");
    }
    let output = child.wait_with_output().expect("castoff ends");
    Cli {
        typed: arguments.join(" "),
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
