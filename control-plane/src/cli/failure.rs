//! Why a command did not do what it was asked, in words and as an exit code.
//!
//! Apart, because scripts rely on the codes: they are a promise, so each is given here and nowhere else.

use super::table::printable;
use serde_json::Value;
use std::io;

/// For `--help` of the whole: where to begin, and what the exit codes mean.
pub const AFTER_HELP: &str = "\
Examples:
  castoff serve
  castoff login --name dana
  castoff deploy iris v1 --on dev --wait 30s

Exit codes:
  0  done
  1  anything not listed here: another refusal by the server, a file that cannot be read
  2  the command line is wrong
  3  not logged in, or the key is not accepted (401)
  4  not allowed (403)
  5  not found, or not visible to you (404)
  6  in conflict with what is there, or changed meanwhile (409, 412)
  7  a value is not accepted, by the server (422) or in a file of `apply`
  8  the server cannot be reached or failed (5xx)
  9  waited, and it did not happen
  10 `plan --exit-code`: there is something to do";

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line asks for something that cannot be.
    Usage(String),
    /// The server, or a node, answered no.
    Refused(Box<Refusal>),
    /// Nothing was found under a name.
    Missing(String),
    /// What is there is not what was asked for.
    Conflict(String),
    /// There is no token to show the server.
    NotLoggedIn,
    /// There is no key to show the node.
    NoKey,
    /// The answer of can-i is no; it is already printed.
    Forbidden,
    /// What was looked at does not work; it is already printed.
    Unfit,
    /// The server cannot be reached, or what it says makes no sense.
    Unreachable(String),
    /// The time to wait is over.
    Waited(String),
    /// Files say what cannot be.
    Unacceptable(String),
    /// What is there is not what files say; it is already printed.
    Differs,
    /// Something on this machine.
    Local(String),
    /// Nobody reads the output any more.
    Closed,
}

/// The answer of a server that says no.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body: problem+json, or whatever a node's dialect says.
    pub(super) body: Value,
    /// Seconds after which another attempt makes sense.
    pub(super) retry_after: Option<u64>,
    /// The address that was asked.
    pub(super) asked: String,
    /// The parts of its path after `/api/v1`.
    pub(super) path: Vec<String>,
    /// Of the body that was sent, the texts that the answer points at, with the pointers.
    pub(super) sent_names: Vec<(String, String)>,
    /// What may help, where the command knows more than the answer.
    pub(super) hint: Option<String>,
}

impl Failure {
    /// A file that cannot be read or written.
    pub(super) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::Local(format!("{}: {error}", path.display()))
    }

    /// The status of the server's answer, if that is what failed.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Whether the server's answer points at a member of this name, wherever it stood in the body.
    pub(super) fn points_at(&self, member: &str) -> bool {
        let Self::Refused(refusal) = self else { return false };
        let places = refusal.body.get("errors").and_then(Value::as_array);
        let mut pointers = places
            .into_iter()
            .flatten()
            .filter_map(|place| place.get("pointer")?.as_str());
        pointers.any(|pointer| pointer.rsplit('/').next() == Some(member))
    }

    /// Adds what to type next, if this is the server's answer to it and nothing better is known.
    pub(super) fn hint(mut self, status: u16, hint: impl FnOnce() -> String) -> Self {
        if let Self::Refused(refusal) = &mut self
            && refusal.status == status
        {
            refusal.hint.get_or_insert_with(hint);
        }
        self
    }

    /// Notes what a refused call had sent, where the answer points at it. Never a secret: only names are looked up.
    pub(super) fn about(mut self, sent: Option<&Value>) -> Self {
        if let (Self::Refused(refusal), Some(sent)) = (&mut self, sent) {
            let places = refusal.body.get("errors").and_then(Value::as_array);
            let pointers = places
                .into_iter()
                .flatten()
                .filter_map(|place| place.get("pointer")?.as_str());
            let names =
                pointers.filter_map(|pointer| Some((pointer.to_owned(), sent.pointer(pointer)?.as_str()?.to_owned())));
            refusal.sent_names = names.collect();
        }
        self
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Local(_) => 1,
            Self::Usage(_) => 2,
            Self::NotLoggedIn | Self::NoKey => 3,
            Self::Unfit => 1,
            Self::Forbidden => 4,
            Self::Missing(_) => 5,
            Self::Conflict(_) => 6,
            Self::Unreachable(_) => 8,
            Self::Waited(_) => 9,
            Self::Unacceptable(_) => 7,
            Self::Differs => 10,
            Self::Refused(refusal) => match refusal.status {
                401 => 3,
                403 => 4,
                404 => 5,
                409 | 412 => 6,
                422 => 7,
                500.. => 8,
                _ => 1,
            },
        }
    }

    /// What to tell the person, line by line; empty when everything is said.
    pub(super) fn lines(&self) -> Vec<String> {
        match self {
            Self::Forbidden | Self::Unfit | Self::Differs | Self::Closed => Vec::new(),
            Self::NotLoggedIn => vec![
                "error: not logged in".to_owned(),
                "  log in with `castoff login`, or give a token with --token-file or the variable CASTOFF_TOKEN"
                    .to_owned(),
            ],
            Self::NoKey => vec![
                "error: the deployment wants a key".to_owned(),
                "  give it with --key-file or the variable CASTOFF_KEY".to_owned(),
            ],
            Self::Usage(text)
            | Self::Missing(text)
            | Self::Conflict(text)
            | Self::Unreachable(text)
            | Self::Waited(text)
            | Self::Unacceptable(text)
            | Self::Local(text) => {
                let mut lines = text.lines().map(printable);
                let first = lines.next().unwrap_or_default();
                std::iter::once(format!("error: {first}"))
                    .chain(lines.map(|line| format!("  {line}")))
                    .collect()
            }
            Self::Refused(refusal) => refusal.lines(),
        }
    }
}

impl Refusal {
    fn lines(&self) -> Vec<String> {
        let word = |name: &str| self.body.get(name).map(flat).filter(|text| !text.is_empty());
        let ours = |slug: &str| self.body.get("type") == Some(&format!("https://castoff.dev/problems/{slug}").into());
        if ours("unauthenticated") && self.status == 401 {
            return vec![
                "error: the access token is not accepted: it has ended, or was taken back".to_owned(),
                "  log in with `castoff login`; CASTOFF_TOKEN and --token-file count before a login".to_owned(),
            ];
        }
        let title = word("title");
        // The dialects of a node say `error`, `detail` or `message`. Where places are named, they say it all.
        let places = self.body.get("errors").and_then(Value::as_array);
        let detail = match (&title, places) {
            (Some(_), Some(places)) if !places.is_empty() => None,
            _ => word("detail").or_else(|| word("error")).or_else(|| word("message")),
        };
        let said = match (title, detail) {
            (Some(title), Some(detail)) if title != detail => format!("{title}: {detail}"),
            (Some(text), _) | (None, Some(text)) => text,
            (None, None) if self.status >= 500 => format!("the server answered {}", self.status),
            (None, None) => format!("{} answered {}: is this Castoff's address?", self.asked, self.status),
        };
        let mut lines = vec![format!("error: {said}")];
        for error in places.into_iter().flatten() {
            let part = |name: &str| error.get(name).map(flat).unwrap_or_default();
            lines.push(match (part("pointer"), part("reason")) {
                (pointer, reason) if pointer.is_empty() => format!("  {reason}"),
                (pointer, reason) => format!("  {pointer}: {reason}"),
            });
        }
        lines.extend(missing(&self.body));
        if ours("not-found") {
            lines.push(format!("  asked for {}", self.asked));
        }
        let hints = self.hint.iter().flat_map(|hint| hint.lines());
        lines.extend(hints.map(|hint| format!("  {}", printable(hint))));
        // A problem about waiting says how long already.
        if let Some(seconds) = self.retry_after.filter(|_| !ours("slow-down")) {
            lines.push(format!("  try again in {seconds} s"));
        }
        lines
    }
}

/// What is missing for an action, who can give it and what they type, from a problem or from the answer of can-i.
pub(super) fn missing(body: &Value) -> Vec<String> {
    let part = |name: &str| body.get(name).map(flat).filter(|text| !text.is_empty());
    let mut lines = Vec::new();
    lines.extend(part("missing").map(|text| format!("  missing: {text}")));
    lines.extend(part("ask").map(|text| format!("  who can give it: {text}")));
    let each = body.get("missing").and_then(Value::as_array).into_iter().flatten();
    let typed = each.filter_map(|privilege| gift(privilege.as_str()?));
    lines.extend(typed.map(|command| format!("  they type: {}", printable(&command))));
    lines
}

/// The command that gives a privilege such as `deploy on infrastructure prod`. The group is for them to choose.
fn gift(privilege: &str) -> Option<String> {
    let (privilege, on) = privilege.split_once(" on ")?;
    match on.split_once(' ') {
        Some(("infrastructure", name)) => Some(format!("castoff infra grant {name} GROUP {privilege}")),
        // A group may hold write and deploy side by side, and a grant takes the place of the one before.
        Some(("service", name)) => Some(format!(
            "castoff service grant {name} GROUP {privilege}, with what GROUP has already"
        )),
        _ if privilege == "create-service" => Some("castoff group set GROUP --create-service true".to_owned()),
        _ => None,
    }
}

/// JSON as a phrase: the parts of a list with commas, those of an object with their names.
fn flat(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(parts) => parts
            .iter()
            .map(flat)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
        Value::Object(parts) => parts
            .iter()
            .map(|(name, part)| (name, flat(part)))
            .filter(|(_, part)| !part.is_empty())
            .map(|(name, part)| match (name.strip_suffix('s'), parts.get(name)) {
                // `groups` of one is a group.
                (Some(one), Some(Value::Array(list))) if list.len() == 1 => format!("{} {part}", printable(one)),
                _ => format!("{} {part}", printable(name)),
            })
            .collect::<Vec<_>>()
            .join("; "),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(status: u16, body: Value) -> Failure {
        Failure::Refused(Box::new(Refusal {
            status,
            body,
            retry_after: None,
            asked: "http://127.0.0.1:8400/api/v1/services/rose".to_owned(),
            path: Vec::new(),
            sent_names: Vec::new(),
            hint: None,
        }))
    }

    #[test]
    fn each_status_has_its_code() {
        for (status, code) in [
            (400, 1),
            (401, 3),
            (403, 4),
            (404, 5),
            (409, 6),
            (412, 6),
            (413, 1),
            (422, 7),
            (429, 1),
            (500, 8),
            (503, 8),
        ] {
            assert_eq!(refused(status, Value::Null).code(), code, "{status}");
        }
    }

    #[test]
    fn a_problem_reads_as_words() {
        let failure = refused(
            403,
            json!({"type": "https://castoff.dev/problems/forbidden", "title": "Forbidden", "status": 403,
                "detail": "needs deploy on infrastructure prod; you have view",
                "missing": ["deploy on infrastructure prod"],
                "ask": {"owner": "olga", "groups": ["platform", "sre"]}}),
        );
        assert_eq!(
            failure.lines(),
            [
                "error: Forbidden: needs deploy on infrastructure prod; you have view",
                "  missing: deploy on infrastructure prod",
                "  who can give it: owner olga; groups platform, sre",
                "  they type: castoff infra grant prod GROUP deploy",
            ]
        );
    }

    #[test]
    fn what_is_missing_comes_with_the_command_that_gives_it() {
        for (missing, command) in [
            (
                "view on infrastructure prod",
                Some("castoff infra grant prod GROUP view"),
            ),
            (
                "write on service iris",
                Some("castoff service grant iris GROUP write, with what GROUP has already"),
            ),
            (
                "create-service on the platform",
                Some("castoff group set GROUP --create-service true"),
            ),
            ("admin on the platform", None),
            ("patience", None),
        ] {
            assert_eq!(gift(missing).as_deref(), command, "{missing}");
        }
    }

    #[test]
    fn a_hint_is_for_whom_it_helps() {
        let ours = |slug: &str| format!("https://castoff.dev/problems/{slug}");
        let lines = refused(
            401,
            json!({"type": ours("unauthenticated"), "title": "Nobody", "detail": "log in"}),
        )
        .lines();
        assert!(lines.join(" ").contains("castoff login"), "{lines:?}");
        // A node's 401 is about a key, and a log-in would not help.
        let lines = refused(
            401,
            json!({"type": ours("bad-key"), "title": "Unauthorized", "detail": "wrong"}),
        )
        .lines();
        assert!(!lines.join(" ").contains("castoff login"), "{lines:?}");
        let lines = refused(
            404,
            json!({"type": ours("not-found"), "title": "Nothing", "detail": "hidden"}),
        )
        .lines();
        assert_eq!(lines[1], "  asked for http://127.0.0.1:8400/api/v1/services/rose");
    }

    #[test]
    fn what_to_type_next_is_said_of_the_answer_it_is_about() {
        let answer = || {
            refused(
                422,
                json!({"title": "No", "errors": [{"pointer": "/route/0/version", "reason": "none"}]}),
            )
        };
        assert!(answer().points_at("version") && !answer().points_at("route"));
        assert_eq!(
            answer().hint(422, || "look".to_owned()).lines().pop().unwrap(),
            "  look"
        );
        assert_eq!(answer().hint(409, || "look".to_owned()).lines(), answer().lines());
    }

    #[test]
    fn every_invalid_value_is_named() {
        let failure = refused(
            422,
            json!({"title": "Invalid", "detail": "/name must have 1 to 29 characters", "errors": [
                {"pointer": "/name", "reason": "must have 1 to 29 characters"},
                {"pointer": "", "reason": "must be an object"}]}),
        );
        assert_eq!(
            failure.lines(),
            [
                "error: Invalid",
                "  /name: must have 1 to 29 characters",
                "  must be an object"
            ]
        );
    }

    #[test]
    fn what_a_node_says_is_shown_and_cannot_drive_the_terminal() {
        assert_eq!(
            refused(403, json!({"detail": "Invalid API key"})).lines(),
            ["error: Invalid API key"]
        );
        assert_eq!(
            refused(400, json!({"error": "a\u{1b}[2Jb"})).lines(),
            ["error: a\u{fffd}[2Jb"]
        );
        assert_eq!(refused(502, Value::Null).lines(), ["error: the server answered 502"]);
        assert_eq!(
            refused(404, Value::Null).lines(),
            ["error: http://127.0.0.1:8400/api/v1/services/rose answered 404: is this Castoff's address?"]
        );
    }
}
