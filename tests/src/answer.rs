//! One HTTP request and what came back, for REST and for nodes alike.

use reqwest::{Client, Method};
use serde_json::Value;
use std::ops::Index;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Longer than `?wait=` may ask for in a test; only against hanging.
const LIMIT: Duration = Duration::from_secs(60);

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    })
}

fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
        Client::builder()
            .timeout(LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            // Each request is a caller of its own: a kept connection would go on with a node that is leaving.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .expect("an HTTP client")
    })
}

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// Begins one.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self {
            method: method.parse().expect("a method"),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With a body of JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// With a body of bytes.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it.
    ///
    /// # Errors
    /// When no answer comes: refused, reset, or longer than the limit.
    pub fn try_send(self) -> Result<Answer, String> {
        let what = format!("{} {}", self.method, self.url);
        let mut request = client().request(self.method, &self.url).body(self.body);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        runtime().block_on(async {
            let response = request.send().await.map_err(|error| format!("{what}: {error:?}"))?;
            let status = response.status().as_u16();
            let headers = response.headers().iter();
            let headers = headers
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            let body = response.bytes().await.map_err(|error| format!("{what}: {error:?}"))?;
            let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Ok(Answer {
                what,
                status,
                headers,
                body: body.to_vec(),
                json,
            })
        })
    }

    /// Sends it, and reads what comes in the background, until it ends.
    #[track_caller]
    pub fn stream(self) -> Stream {
        let mut request = client().request(self.method, &self.url).body(self.body);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let response = runtime()
            .block_on(async { request.send().await })
            .expect("an answer begins");
        let status = response.status().as_u16();
        let text = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&text);
        let reader = runtime().spawn(async move {
            let mut response = response;
            while let Ok(Some(bytes)) = response.chunk().await {
                heard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&String::from_utf8_lossy(&bytes));
            }
        });
        Stream { status, text, reader }
    }

    /// Sends it; no answer ends the test.
    #[track_caller]
    pub fn send(self) -> Answer {
        match self.try_send() {
            Ok(answer) => answer,
            Err(reason) => panic!("no answer: {reason}"),
        }
    }
}

/// An answer that goes on, such as events.
#[derive(Debug)]
pub struct Stream {
    /// The status.
    pub status: u16,
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Stream {
    /// What has come so far.
    pub fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the other side has ended it.
    pub fn ended(&self) -> bool {
        self.reader.is_finished()
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked: method and URL.
    pub what: String,
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
    /// The body as JSON; null when it is none.
    pub json: Value,
}

impl Answer {
    /// Ends the test unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{} answered {}: {}",
            self.what,
            self.status,
            self.text()
        );
        self
    }

    /// Ends the test unless the status is one of these.
    #[track_caller]
    pub fn expect_any(self, statuses: &[u16]) -> Self {
        assert!(
            statuses.contains(&self.status),
            "{} answered {}, not one of {statuses:?}: {}",
            self.what,
            self.status,
            self.text()
        );
        self
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(is, _)| is == name)?;
        Some(&named.1)
    }

    /// A string that must be in the JSON.
    #[track_caller]
    pub fn string(&self, pointer: &str) -> String {
        match self.json.pointer(pointer).and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => panic!("{} has no string {pointer} in {}", self.what, self.text()),
        }
    }

    /// The items of a list.
    #[track_caller]
    pub fn items(&self) -> &[Value] {
        match self.json["items"].as_array() {
            Some(items) => items,
            None => panic!("{} answered no list: {} {}", self.what, self.status, self.text()),
        }
    }

    /// What the items of a list are called, in order.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let names = self
            .items()
            .iter()
            .map(|item| item["name"].as_str().unwrap_or_default());
        names.map(str::to_owned).collect()
    }
}

impl Index<&str> for Answer {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        &self.json[name]
    }
}
