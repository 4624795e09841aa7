//! Somebody who calls the control plane. The caller is the receiver: `dana.post("/services", …)`.

use crate::answer::{Answer, Request};
use crate::cli::Cli;
use serde_json::{Value, json};

/// One account with its proof.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account's name.
    pub name: String,
    /// Its password; empty when it has none.
    pub password: String,
    /// `http://127.0.0.1:port`
    pub url: String,
    token: Option<String>,
}

impl Actor {
    /// Nobody: no proof at all.
    pub fn nobody(url: &str) -> Self {
        Self {
            name: String::new(),
            password: String::new(),
            url: url.to_owned(),
            token: None,
        }
    }

    /// Somebody who shows this token.
    pub fn with_token(url: &str, name: &str, token: &str) -> Self {
        Self {
            name: name.to_owned(),
            token: Some(token.to_owned()),
            ..Self::nobody(url)
        }
    }

    /// Logs in with a password and makes an access token, as a person does before writing a script.
    #[track_caller]
    pub fn log_in(url: &str, name: &str, password: &str) -> Self {
        let cookie = cookie(url, name, password);
        let made = Request::post(format!("{url}/api/v1/tokens"))
            .header("cookie", cookie)
            .header("origin", url)
            .json(&json!({"name": "acceptance"}))
            .send()
            .expect(201);
        Self {
            password: password.to_owned(),
            ..Self::with_token(url, name, &made.string("/token"))
        }
    }

    /// The token, for tests that look where it must not be.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// A request with this actor's proof; the path is below `/api/v1`.
    pub fn request(&self, method: &str, path: &str) -> Request {
        let request = Request::new(method, format!("{}/api/v1{path}", self.url));
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    /// POST with JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.request("POST", path).json(&body).send()
    }

    /// PATCH with JSON.
    #[track_caller]
    pub fn patch(&self, path: &str, body: Value) -> Answer {
        self.request("PATCH", path)
            .header("content-type", "application/merge-patch+json")
            .body(body.to_string())
            .send()
    }

    /// PUT with JSON.
    #[track_caller]
    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.request("PUT", path).json(&body).send()
    }

    /// DELETE.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send()
    }

    /// Uploads a package.
    #[track_caller]
    pub fn upload(&self, service: &str, version: &str, package: impl Into<Vec<u8>>) -> Answer {
        self.request("PUT", &format!("/services/{service}/versions/{version}"))
            .header("content-type", "application/octet-stream")
            .body(package)
            .send()
    }

    /// All items of a list, page by page.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{joint}limit=100{cursor}")).expect(200);
            found.extend_from_slice(page.items());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    }

    /// Runs the real `castoff` as this person.
    pub fn cli<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Cli {
        Cli::run(self, arguments)
    }
}

/// Logs in and gives what came back, whatever it is.
#[track_caller]
pub fn session(url: &str, name: &str, password: &str) -> Answer {
    Request::post(format!("{url}/api/v1/session"))
        .json(&json!({"name": name, "password": password}))
        .send()
}

/// Logs in: the session as a browser sends it back.
#[track_caller]
pub fn cookie(url: &str, name: &str, password: &str) -> String {
    let answer = session(url, name, password).expect(200);
    let set = answer.header("set-cookie").expect("a session comes as a cookie");
    set.split(';').next().expect("a cookie has a value").to_owned()
}
