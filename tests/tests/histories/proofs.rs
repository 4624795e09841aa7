//! Who calls, and by what they prove it: what a name proved once must prove nothing for the next one of that name.

use super::company::{Company, Number};
use super::deeds::PASSWORD;
use acceptance::actor::cookie;
use acceptance::{Answer, Request, Value, json};

/// A proof of one account, as long as it was given.
#[derive(Clone, Debug)]
pub struct Proof {
    pub name: String,
    pub number: Number,
    /// A session ends when its account is disabled; a token sleeps.
    pub session: bool,
    pub ended: bool,
    url: String,
    headers: Vec<(&'static str, String)>,
}

impl Proof {
    /// A token of an account.
    pub fn token(url: &str, (name, number): (&str, Number), token: &str) -> Self {
        Self {
            name: name.to_owned(),
            number,
            session: false,
            ended: false,
            url: url.to_owned(),
            headers: vec![("authorization", format!("Bearer {token}"))],
        }
    }

    /// Whether it proves anything now.
    pub fn holds(&self, company: &Company) -> bool {
        let account = company.accounts.get(&self.name);
        !self.ended && account.is_some_and(|account| account.number == self.number && !account.disabled)
    }

    /// A request of its owner below `/api/v1`; null is no body.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let mut request = Request::new(method, format!("{}/api/v1{path}", self.url));
        for (name, value) in &self.headers {
            request = request.header(name, value.clone());
        }
        match body {
            Value::Null => request.send(),
            body => request.json(body).send(),
        }
    }

    /// Uploads a package.
    #[track_caller]
    pub fn upload(&self, path: &str, package: Vec<u8>) -> Answer {
        let mut request = Request::new("PUT", format!("{}/api/v1{path}", self.url));
        for (name, value) in &self.headers {
            request = request.header(name, value.clone());
        }
        request
            .header("content-type", "application/octet-stream")
            .body(package)
            .send()
    }

    /// All items of a list.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self
                .send("GET", &format!("{path}?limit=200{cursor}"), &Value::Null)
                .expect(200);
            found.extend_from_slice(page.items());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    }

    /// What an account that was just made proves itself by: a user by a session and a token, a program by a token.
    #[track_caller]
    pub fn of_new(root: &Self, nouns: &str, account: (&str, Number)) -> Vec<Self> {
        let (url, name) = (root.url.as_str(), account.0);
        if nouns != "users" {
            let made = root.send("POST", &format!("/{nouns}/{name}/tokens"), &json!({"name": "t"}));
            return vec![Self::token(url, account, &made.expect(201).string("/token"))];
        }
        let cookie = cookie(url, name, PASSWORD);
        let session = Self {
            session: true,
            headers: vec![("cookie", cookie), ("origin", url.to_owned())],
            ..Self::token(url, account, "")
        };
        let made = session.send("POST", "/tokens", &json!({"name": "t"})).expect(201);
        let token = Self::token(url, account, &made.string("/token"));
        vec![token, session]
    }
}
