//! Logging in and out.
//!
//! A login makes an access token and ends its session at once, so nothing but the token outlives the command.

use super::client::Proof;
use super::credentials::{self, Secret};
use super::failure::Failure;
use super::table::{Table, cell};
use super::{Desk, Output};
use crate::clock::Clock;
use axum::http::{HeaderMap, header::SET_COOKIE};
use clap::Args;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

/// How long the token of a login lives.
const TOKEN_DAYS: i64 = 90;

/// Log in.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  castoff login --name dana --url https://castoff.example.com
  castoff login --name dana --password-stdin < password.txt")]
pub struct Login {
    /// The account; asked for when it is left out
    #[arg(long)]
    name: Option<String>,
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

impl Login {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let place = credentials::Login::place()?;
        let name = match self.name {
            Some(name) => name,
            None => ask_name()?,
        };
        let password = if self.password_stdin {
            password_from_stdin()?
        } else {
            ask_password("Password: ")?
        };
        let entry = json!({"name": name, "password": password.expose()});
        let nobody = desk.server.with(Proof::None);
        let entered = nobody
            .post(&["session"], &[], Some(&entry))
            .await
            .map_err(|failure| match failure {
                // Whoever is just logging in needs no hint to log in.
                Failure::Refused(mut refusal) => {
                    if let (401, Some(body)) = (refusal.status, refusal.body.as_object_mut()) {
                        body.retain(|name, _| name == "detail");
                    }
                    Failure::Refused(refusal)
                }
                other => other,
            })?;
        let session = desk.server.with(Proof::Session(cookies(&entered.headers)?));

        let now = Clock::default().now();
        let expires_at = now.after_ms(TOKEN_DAYS * 24 * 60 * 60 * 1000).to_string();
        let token_name = format!("cli on {}, {now}", host());
        let made = session
            .post(
                &["tokens"],
                &[],
                Some(&json!({"name": token_name, "expires_at": expires_at})),
            )
            .await;
        // The session has done its work, whether or not there is a token now.
        let _ = session.delete(&["session"]).await;
        let made = made?.body;
        let Some(token) = made.get("token").and_then(Value::as_str) else {
            return Err(Failure::Unreachable(format!("{} made no token", desk.url)));
        };
        let before = credentials::Login::read(&place).unwrap_or_default();
        let login = credentials::Login {
            url: credentials::tidy(&desk.url),
            name: cell(&entered.body, "/name"),
            token_name: cell(&made, "/name"),
            token: Secret::first_line(token)?,
        };
        login.write(&place)?;
        if let Some(before) = before {
            take_back(&before).await;
        }
        let sentence = format!(
            "logged in to {} as {} until {}",
            login.url,
            login.name,
            &expires_at.replace('T', " ")
        );
        desk.out.note(&format!("the token is kept in {}", place.display()));
        desk.out.done(&entered.body, &sentence)
    }
}

/// Ends the login of this machine.
pub(super) async fn logout(desk: &Desk) -> Result<(), Failure> {
    let place = credentials::Login::place()?;
    let Some(login) = credentials::Login::read(&place)? else {
        return desk.out.done(&Value::Null, "nobody is logged in on this machine");
    };
    let ended = take_back(&login).await;
    std::fs::remove_file(&place).map_err(|error| Failure::file(&place, &error))?;
    if !ended {
        desk.out
            .note("the server could not be told: the token is gone from this machine, but works until it expires");
    }
    desk.out.done(&Value::Null, &format!("logged out of {}", login.url))
}

/// Deletes the token of a login at its own server; true when it works no more.
async fn take_back(login: &credentials::Login) -> bool {
    let address = format!("{}/api/v1", login.url);
    let Ok(server) = super::Client::new(&address, Proof::Token(login.token.clone())) else {
        return false;
    };
    match server.delete(&["tokens", &login.token_name]).await {
        Ok(_) => true,
        Err(failure) => matches!(failure.status(), Some(401 | 404)),
    }
}

/// Who the server takes the caller for.
pub(super) async fn whoami(desk: &Desk) -> Result<(), Failure> {
    let who = desk.server.get(&["whoami"], &[]).await?;
    desk.out.show(&who, |who| {
        let mut facts = Table::facts();
        facts.fact("name", cell(who, "/name"));
        facts.fact("kind", cell(who, "/kind"));
        facts.fact("groups", cell(who, "/groups"));
        facts.fact("platform admin", cell(who, "/admin"));
        facts.fact("may create services", cell(who, "/create_service"));
        facts.fact("server", desk.url.clone());
        facts
    })
}

fn ask_name() -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no terminal to ask for the name; give --name".to_owned(),
        ));
    }
    let _ = write!(std::io::stderr().lock(), "Name: ");
    let mut name = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut name)
        .map_err(|error| Failure::Local(error.to_string()))?;
    Ok(name.trim().to_owned())
}

/// Asks for a password without showing it.
pub(super) fn ask_password(prompt: &str) -> Result<Secret, Failure> {
    rpassword::prompt_password(prompt)
        .map(Secret::whole)
        .map_err(|_| Failure::Usage("there is no terminal to ask for the password; give --password-stdin".to_owned()))
}

/// Reads a password, the first line of standard input.
pub(super) fn password_from_stdin() -> Result<Secret, Failure> {
    let text = credentials::read_text(Path::new("-"))?;
    Ok(Secret::whole(text.lines().next().unwrap_or_default().to_owned()))
}

/// The cookies to send back, from those the server has set.
fn cookies(headers: &HeaderMap) -> Result<Secret, Failure> {
    let pairs = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next());
    let cookies = pairs.collect::<Vec<_>>().join("; ");
    if cookies.is_empty() {
        return Err(Failure::Unreachable("the server opened no session".to_owned()));
    }
    Ok(Secret::whole(cookies))
}

/// What this machine is called.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "some machine".to_owned(),
        name => name.chars().filter(|letter| !letter.is_control()).take(40).collect(),
    }
}

/// Refuses a `--save` that cannot be written to, before a secret is made that would have nowhere to go.
pub(super) fn may_save(save: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = save else { return Ok(()) };
    credentials::save_secret(path, "")?;
    std::fs::remove_file(path).map_err(|error| Failure::file(path, &error))
}

/// Shows a secret once: to a file for its owner alone, or to standard output with a remark beside it.
pub(super) fn hand_over(out: Output, value: &Value, name: &str, save: Option<&Path>) -> Result<(), Failure> {
    let Some(secret) = value.get(name).and_then(Value::as_str) else {
        return Err(Failure::Unreachable(format!("the server sent no {name}")));
    };
    if let Some(path) = save {
        if let Err(failure) = credentials::save_secret(path, secret) {
            // It cannot be had again, so it is better shown than lost.
            out.line(secret)?;
            return Err(failure);
        }
        out.note(&format!("the {name} is in {}; it is not shown again", path.display()));
        if out.json() {
            let mut rest = value.clone();
            if let Some(rest) = rest.as_object_mut() {
                rest.shift_remove(name);
            }
            return out.raw(&rest);
        }
        return Ok(());
    }
    out.note(&format!("keep the {name}, it is shown only this once:"));
    if out.json() { out.raw(value) } else { out.line(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_file_that_cannot_be_written_to_is_refused_before_there_is_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        may_save(None).unwrap();
        may_save(Some(&path)).unwrap();
        assert!(!path.exists(), "looking leaves nothing behind");
        std::fs::write(&path, "mine").unwrap();
        let said = may_save(Some(&path)).unwrap_err().lines().concat();
        assert!(said.contains("name a new file"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert!(may_save(Some(&folder.path().join("none/key.txt"))).is_err());
    }

    #[test]
    fn cookies_go_back_without_their_attributes() {
        let mut headers = HeaderMap::new();
        assert!(cookies(&headers).is_err());
        let set = HeaderValue::from_static("castoff_session=abc; Path=/; HttpOnly; SameSite=Strict");
        headers.append(SET_COOKIE, set);
        assert_eq!(cookies(&headers).unwrap().expose(), "castoff_session=abc");
    }
}
