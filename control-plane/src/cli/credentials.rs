//! Which server to talk to and which token to show it.
//!
//! The token of a login goes only to the server it was made at, whatever `--url` says, and the file is for its owner alone.

use super::failure::Failure;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where `castoff serve` listens unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8400";

/// The variable that holds a token for the process itself.
const TOKEN_VARIABLE: &str = "CASTOFF_TOKEN";

/// Longer than any token or key.
const MOST_SECRET_BYTES: u64 = 4096;

/// A token, key or password: never shown by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(String);

impl Secret {
    /// Takes the first line of the text.
    pub(super) fn first_line(text: &str) -> Result<Self, Failure> {
        match text.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
            Some(line) => Ok(Self(line.to_owned())),
            None => Err(Failure::Usage("the secret is empty".to_owned())),
        }
    }

    /// Takes the text as it is: a password may begin with a blank.
    pub(super) fn whole(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the one who sends it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What `castoff login` leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) url: String,
    /// The account.
    pub(super) name: String,
    /// What the token is called at the server, to take it back with `castoff logout`.
    pub(super) token_name: String,
    pub(super) token: Secret,
}

impl Login {
    /// The file, from the environment: `CASTOFF_CONFIG`, else below `XDG_CONFIG_HOME`, else below the home.
    pub(super) fn place() -> Result<PathBuf, Failure> {
        place(|name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        })
        .ok_or_else(|| Failure::Local("there is no home folder; set CASTOFF_CONFIG to a file".to_owned()))
    }

    /// Reads the file, if there is one.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|_| Failure::Local(format!("{} is not a login; log in again", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::file(path, &error)),
        }
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Failure::Local(error.to_string()))?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let write = || {
            std::fs::create_dir_all(folder)?;
            // A temporary file is made with mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)
        };
        write().map(drop).map_err(|error| Failure::file(path, &error))
    }
}

fn place(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let below = |folder: PathBuf| folder.join("castoff").join("login.json");
    variable("CASTOFF_CONFIG")
        .or_else(|| variable("XDG_CONFIG_HOME").map(below))
        .or_else(|| variable("HOME").map(|home| below(home.join(".config"))))
}

/// The server, and the token if there is one for it.
pub(super) fn choose(url: Option<&str>, token_file: Option<&Path>) -> Result<(String, Option<Secret>), Failure> {
    let given = match token_file {
        Some(path) => Some(read_secret(path)?),
        None => std::env::var(TOKEN_VARIABLE)
            .ok()
            .and_then(|text| Secret::first_line(&text).ok()),
    };
    if let (Some(url), Some(token)) = (url, &given) {
        return Ok((tidy(url), Some(token.clone())));
    }
    // A machine without a home, such as a container in CI, is no reason to stop.
    let login = Login::place()
        .ok()
        .map(|path| Login::read(&path))
        .transpose()?
        .flatten();
    Ok(settle(url, given, login))
}

fn settle(url: Option<&str>, given: Option<Secret>, login: Option<Login>) -> (String, Option<Secret>) {
    let url = match (url, &login) {
        (Some(url), _) => tidy(url),
        (None, Some(login)) => login.url.clone(),
        (None, None) => DEFAULT_URL.to_owned(),
    };
    let token = given.or_else(|| login.filter(|login| login.url == url).map(|login| login.token));
    (url, token)
}

/// The address without the slash at its end, so that two spellings of it are equal.
pub(super) fn tidy(url: &str) -> String {
    url.trim().trim_end_matches('/').to_owned()
}

/// Reads a secret from a file, `-` being standard input.
pub(super) fn read_secret(path: &Path) -> Result<Secret, Failure> {
    Secret::first_line(&read_text(path)?)
}

/// Reads the little text that holds a secret, `-` being standard input.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    use std::io::Read;
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MOST_SECRET_BYTES)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST_SECRET_BYTES).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::file(path, &error))?;
    Ok(text)
}

/// Writes a secret to a new file that only its owner may read.
pub(super) fn save_secret(path: &Path, secret: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{secret}"))
        .map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::Local(format!(
                "{} is there already, and is not overwritten: name a new file",
                path.display()
            )),
            _ => Failure::file(path, &error),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn login(url: &str) -> Login {
        Login {
            url: url.into(),
            name: "dana".into(),
            token_name: "cli".into(),
            token: Secret("castoff_x".into()),
        }
    }

    #[test]
    fn a_token_goes_only_where_it_was_made() {
        let token = |(_, token): (String, Option<Secret>)| token.map(|token| token.0);
        let here = || Some(login("http://here:1"));
        assert_eq!(settle(None, None, here()).0, "http://here:1");
        assert_eq!(token(settle(None, None, here())).as_deref(), Some("castoff_x"));
        assert_eq!(
            token(settle(Some("http://here:1/"), None, here())).as_deref(),
            Some("castoff_x")
        );
        assert_eq!(token(settle(Some("http://there:1"), None, here())), None);
        assert_eq!(settle(None, None, None), (DEFAULT_URL.to_owned(), None));
        let given = Some(Secret("given".into()));
        assert_eq!(
            token(settle(Some("http://there:1"), given, here())).as_deref(),
            Some("given")
        );
    }

    #[test]
    fn the_file_has_three_places() {
        let with = |set: &'static [(&str, &str)]| {
            place(|name| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| PathBuf::from(value))
            })
        };
        assert_eq!(
            with(&[("HOME", "/h")]),
            Some(PathBuf::from("/h/.config/castoff/login.json"))
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]),
            Some(PathBuf::from("/x/castoff/login.json"))
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("CASTOFF_CONFIG", "/c.json")]),
            Some(PathBuf::from("/c.json"))
        );
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn a_login_is_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/login.json");
        assert_eq!(Login::read(&path).unwrap(), None);
        login("http://here:1").write(&path).unwrap();
        assert_eq!(Login::read(&path).unwrap(), Some(login("http://here:1")));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{:?}", login("x")).contains("castoff_x"));
    }

    #[test]
    fn secrets_come_and_go_by_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        save_secret(&path, "cst_abc").unwrap();
        assert_eq!(read_secret(&path).unwrap().expose(), "cst_abc");
        assert!(
            save_secret(&path, "cst_other").is_err(),
            "a file that is there is never overwritten"
        );
        assert_eq!(read_secret(&folder.path().join("none")).unwrap_err().code(), 1);
    }
}
