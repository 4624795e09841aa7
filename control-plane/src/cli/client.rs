//! Talks HTTP. The only file of the control plane that names reqwest.
//!
//! Paths are made of parts that are encoded one by one, so that no name given on a command line can walk to another path.

use super::credentials::Secret;
use super::failure::{Failure, Refusal};
use axum::http::HeaderMap;
use futures::StreamExt;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;
use std::time::Duration;
use tokio_util::io::ReaderStream;

/// A server that does not answer the knock of a connection within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The server waits at most 60 s for nodes; the rest is for the way.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);

/// 200 items of a list, each with a page of text, stay far below; more than this is not an answer of ours.
const MOST_ANSWER_BYTES: usize = 64 << 20;

/// The server's limit of a page.
const PAGE: usize = 200;

/// A server, and what proves to it who is calling.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    proof: Proof,
}

/// What proves who is calling.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// Nothing does.
    None,
    /// An access token.
    Token(Secret),
    /// The session of a browser or of a login that is about to make a token.
    Session(Secret),
    /// A key of a deployment, in the header the deployment wants it in.
    Key(String, Secret),
}

/// What the server said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Client {
    /// A client of the server at this address.
    pub(super) fn new(address: &str, proof: Proof) -> Result<Self, Failure> {
        // Fails only when there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut base = Url::parse(address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none())
            .ok_or_else(|| {
                let address = address.trim_end_matches("/api/v1");
                Failure::Usage(format!(
                    "{address} is not an address such as https://castoff.example.com or http://127.0.0.1:8400"
                ))
            })?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(Failure::Usage(
                "an address must not hold a user name or a password".to_owned(),
            ));
        }
        base.set_fragment(None);
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("castoff/", env!("CARGO_PKG_VERSION")));
        if base.scheme() == "http" {
            // Plain HTTP needs no certificates, and a small container has none.
            builder = builder.tls_certs_only([]);
        }
        if loopback(&base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| Failure::Local(reason(&error)))?;
        Ok(Self { http, base, proof })
    }

    /// The same server with another proof.
    pub(super) fn with(&self, proof: Proof) -> Self {
        Self {
            http: self.http.clone(),
            base: self.base.clone(),
            proof,
        }
    }

    /// Whether what is sent can be read on the way.
    pub(super) fn unprotected(&self) -> bool {
        self.base.scheme() == "http" && !loopback(&self.base)
    }

    /// GET of something.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        Ok(self.call(Method::GET, path, query, None).await?.body)
    }

    /// All items of a list, page after page, at most so many.
    pub(super) async fn list(&self, path: &[&str], query: &[(&str, &str)], most: usize) -> Result<Vec<Value>, Failure> {
        let mut items: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        while items.len() < most {
            let limit = most.saturating_sub(items.len()).min(PAGE).to_string();
            let mut query = [query, &[("limit", limit.as_str())]].concat();
            if !cursor.is_empty() {
                query.push(("cursor", &cursor));
            }
            let mut page = self.get(path, &query).await?;
            let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) else {
                return Err(Failure::Unreachable(format!(
                    "{} does not speak Castoff's language",
                    self.base
                )));
            };
            let empty = more.is_empty();
            items.extend(more);
            match page.get("next").and_then(Value::as_str) {
                // A cursor that stands still would be followed for ever.
                Some(next) if next != cursor && !empty => cursor = next.to_owned(),
                _ => break,
            }
        }
        Ok(items)
    }

    /// POST of a body.
    pub(super) async fn post(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        self.call(Method::POST, path, query, body).await
    }

    /// PUT of a body.
    pub(super) async fn put(&self, path: &[&str], body: Option<&Value>) -> Result<Answer, Failure> {
        self.call(Method::PUT, path, &[], body).await
    }

    /// PATCH with a body.
    pub(super) async fn patch(&self, path: &[&str], query: &[(&str, &str)], body: &Value) -> Result<Answer, Failure> {
        self.call(Method::PATCH, path, query, Some(body)).await
    }

    /// DELETE of something.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.delete_with(path, &[]).await
    }

    /// DELETE with a query.
    pub(super) async fn delete_with(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.call(Method::DELETE, path, query, None).await
    }

    /// A change of what was read at a revision: 412 when it is another one by now.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        revision: Option<u64>,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(method, path, query)?.timeout(ANSWER_TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(revision) = revision {
            request = request.header("if-match", format!("\"{revision}\""));
        }
        let response = self.send(request).await.map_err(|failure| failure.about(body))?;
        self.read(response).await
    }

    /// GET of a file, written as it comes.
    pub(super) async fn download(&self, path: &[&str], into: &mut impl std::io::Write) -> Result<(), Failure> {
        let mut response = self.send(self.request(Method::GET, path, &[])?).await?;
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(&error))? {
            into.write_all(&chunk)
                .map_err(|error| Failure::Local(error.to_string()))?;
        }
        Ok(())
    }

    /// GET of something that is text.
    pub(super) async fn text(&self, path: &[&str], query: &[(&str, &str)]) -> Result<String, Failure> {
        let response = self
            .send(self.request(Method::GET, path, query)?.timeout(ANSWER_TIMEOUT))
            .await?;
        Ok(String::from_utf8_lossy(&self.whole(response).await?).into_owned())
    }

    /// A stream of events after one of them, or from now on.
    pub(super) async fn listen(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        last: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut request = self.request(Method::GET, path, query)?;
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        self.send(request).await
    }

    /// PUT of a file, which is told how many bytes have gone.
    pub(super) async fn upload(
        &self,
        path: &[&str],
        file: tokio::fs::File,
        size: u64,
        gone: impl Fn(u64) + Send + 'static,
    ) -> Result<Answer, Failure> {
        let bytes = ReaderStream::with_capacity(file, 256 << 10).inspect(move |read| {
            if let Ok(read) = read {
                gone(u64::try_from(read.len()).unwrap_or_default());
            }
        });
        let request = self
            .request(Method::PUT, path, &[])?
            .header("content-type", "application/octet-stream")
            .header("content-length", size)
            .body(reqwest::Body::wrap_stream(bytes));
        self.read(self.send(request).await?).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        self.change(method, path, query, body, None).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, Failure> {
        if let Some(part) = path.iter().find(|part| matches!(**part, "" | "." | "..")) {
            return Err(Failure::Usage(format!("{part:?} is not a name")));
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::Usage(format!("{} is not an address", self.base)))?
            .pop_if_empty()
            .extend(path);
        let mut request = self.http.request(method, url).header("accept", "application/json");
        if !query.is_empty() {
            request = request.query(query);
        }
        Ok(match &self.proof {
            Proof::None => request.header("origin", self.base.origin().ascii_serialization()),
            Proof::Token(token) => request.bearer_auth(token.expose()),
            Proof::Session(cookie) => request
                .header("cookie", cookie.expose())
                .header("origin", self.base.origin().ascii_serialization()),
            Proof::Key(header, key) => request.header(header, key.expose()),
        })
    }

    /// Sends, and turns every answer that is not a success into a failure.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            let text = format!(
                "{} sends callers elsewhere ({status}); give the address it points to",
                self.base
            );
            return Err(Failure::Unreachable(text));
        }
        if status.as_u16() == 401 && matches!(self.proof, Proof::None) && !response.url().path().ends_with("/session") {
            return Err(Failure::NotLoggedIn);
        }
        let asked = response.url().to_string();
        let parts = response.url().path_segments().into_iter().flatten();
        let path = parts
            .skip_while(|part| *part != "v1")
            .skip(1)
            .map(str::to_owned)
            .collect();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = self.whole(response).await.unwrap_or_default();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Err(Failure::Refused(Box::new(Refusal {
            status: status.as_u16(),
            body,
            retry_after,
            asked,
            path,
            sent_names: Vec::new(),
            hint: None,
        })))
    }

    async fn read(&self, response: Response) -> Result<Answer, Failure> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = self.whole(response).await?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .map_err(|_| Failure::Unreachable(format!("{} does not answer with JSON", self.base)))?
        };
        Ok(Answer { status, headers, body })
    }

    async fn whole(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(&error))? {
            if bytes.len().saturating_add(chunk.len()) > MOST_ANSWER_BYTES {
                return Err(Failure::Unreachable(format!("the answer of {} is too long", self.base)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn lost(&self, error: &reqwest::Error) -> Failure {
        let what = if error.is_timeout() {
            "does not answer in time"
        } else if error.is_connect() || error.is_body() {
            "cannot be reached"
        } else {
            "does not speak as a Castoff server does"
        };
        let place = self.base.origin().ascii_serialization();
        let mut text = format!("{place} {what}: {}", reason(error));
        if error.is_connect() {
            text.push_str("\nstart it with `castoff serve`, or name another with --url or CASTOFF_URL");
        }
        Failure::Unreachable(text)
    }
}

/// Whoever only asks whether somebody answers: has nothing to prove and nothing to lose, and takes any certificate.
pub(super) struct Stranger(reqwest::Client);

/// What a stranger is told.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) grpc_status: Option<String>,
    /// The beginning of the body.
    pub(super) text: String,
}

impl Stranger {
    /// One who has not asked yet.
    pub(super) fn new() -> Result<Self, Failure> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([])
            .tls_danger_accept_invalid_certs(true)
            .build();
        client.map(Self).map_err(|error| Failure::Local(reason(&error)))
    }

    /// GET of a path there.
    pub(super) async fn get(&self, at: &str, path: &str) -> Result<Heard, Failure> {
        Self::hear(at, self.0.get(format!("{}{path}", at.trim_end_matches('/')))).await
    }

    /// A method of gRPC there, without a message.
    pub(super) async fn call(&self, at: &str, method: &str) -> Result<Heard, Failure> {
        let request = self.0.post(format!("{}{method}", at.trim_end_matches('/')));
        let request = request
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        Self::hear(at, request).await
    }

    async fn hear(at: &str, request: RequestBuilder) -> Result<Heard, Failure> {
        let lost = |error: reqwest::Error| match error.is_builder() {
            true => Failure::Usage(format!("{at} is not an address such as https://castoff.example:8401")),
            false => Failure::Unreachable(format!("{at} cannot be reached: {}", reason(&error))),
        };
        let mut response = request.send().await.map_err(lost)?;
        let grpc_status = response.headers().get("grpc-status");
        let grpc_status = grpc_status.and_then(|value| value.to_str().ok().map(str::to_owned));
        let first = response.chunk().await.map_err(lost)?.unwrap_or_default();
        Ok(Heard {
            status: response.status().as_u16(),
            grpc_status,
            text: String::from_utf8_lossy(first.get(..1_024).unwrap_or(&first)).into_owned(),
        })
    }
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
