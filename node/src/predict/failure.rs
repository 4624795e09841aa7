//! Why a call is not answered, and how each dialect says so.
//!
//! One type for all dialects, so that a limit or a refusal is decided once. The rule a newcomer would break: the text is
//! for the caller who sent the call; it never holds a key, and it is never logged.

use super::place::Dialect;
use crate::engine::Unanswered;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::time::Duration;

/// Seconds after which a caller that was told to come back should.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No key, where one is needed.
    KeyMissing,
    /// A key that opens nothing here.
    KeyWrong,
    /// A key that opens something else here.
    KeyOutOfScope,
    /// A request that cannot be right: a key given twice, a header that makes no sense.
    Request,
    /// The body, or something in it.
    Input,
    /// There is no such thing.
    NotFound,
    /// There is, but it is called by another method.
    Method(&'static str),
    /// The body is larger than allowed.
    TooLarge,
    /// The body did not arrive in time.
    SlowBody,
    /// A content encoding that is not spoken.
    Encoding,
    /// As many calls wait as may.
    Full,
    /// The key has been used as often as it may; in so many seconds it may again.
    Limited(u32),
    /// The deadline passed.
    Late,
    /// Nothing is served now.
    Unavailable,
    /// The model gave something that this dialect cannot carry.
    Output,
    /// A bug.
    Broken,
}

/// One field of an input that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where, from the body inwards.
    pub at: Vec<Value>,
    /// What is wrong.
    pub wrong: String,
    /// `missing`, `extra_forbidden`, `type_error`, `json_invalid`: FastAPI's words.
    pub kind: &'static str,
}

/// Why a call is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is.
    pub reason: Reason,
    /// One line for the caller.
    pub detail: String,
    /// The fields that are wrong, when that is known.
    pub fields: Vec<Field>,
}

impl Failure {
    /// A failure with one line for the caller.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            fields: Vec::new(),
        }
    }

    /// An input that is wrong as a whole.
    pub fn input(detail: impl Into<String>) -> Self {
        Self::new(Reason::Input, detail)
    }

    /// An input with fields that are wrong.
    pub fn fields(fields: Vec<Field>) -> Self {
        let lines: Vec<&str> = fields.iter().map(|field| field.wrong.as_str()).collect();
        Self {
            reason: Reason::Input,
            detail: lines.join("; "),
            fields,
        }
    }

    /// A key that is over its rate limit or has used up its quota, and may be used again after this wait.
    pub fn limited(why: &str, wait: Duration) -> Self {
        // Whoever comes back too soon has to wait again: what is left of a second counts as a whole one.
        let seconds = u32::try_from(wait.as_millis().div_ceil(1_000))
            .unwrap_or(u32::MAX)
            .max(1);
        let detail = format!("the API key {why}; come back in {seconds} s");
        Self::new(Reason::Limited(seconds), detail)
    }

    /// The status, which the dialects agree on but for a wrong input and a wrong key.
    pub fn status(&self, dialect: Dialect) -> StatusCode {
        match (self.reason, dialect) {
            (Reason::KeyMissing, _) => StatusCode::UNAUTHORIZED,
            (Reason::KeyWrong, Dialect::Simple) | (Reason::KeyOutOfScope, _) => StatusCode::FORBIDDEN,
            (Reason::KeyWrong, _) => StatusCode::UNAUTHORIZED,
            (Reason::Input, Dialect::Simple) | (Reason::Output, _) => StatusCode::UNPROCESSABLE_ENTITY,
            (Reason::Request | Reason::Input, _) => StatusCode::BAD_REQUEST,
            (Reason::NotFound, _) => StatusCode::NOT_FOUND,
            (Reason::Method(_), _) => StatusCode::METHOD_NOT_ALLOWED,
            (Reason::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (Reason::SlowBody, _) => StatusCode::REQUEST_TIMEOUT,
            (Reason::Encoding, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            (Reason::Full | Reason::Limited(_), _) => StatusCode::TOO_MANY_REQUESTS,
            (Reason::Late, _) => StatusCode::GATEWAY_TIMEOUT,
            (Reason::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
            (Reason::Broken, _) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer, as the dialect says it.
    pub fn render(&self, dialect: Dialect) -> Response {
        let status = self.status(dialect);
        let (content_type, body) = match dialect {
            Dialect::V2 => ("application/json", json!({ "error": self.detail })),
            Dialect::Records => ("application/problem+json", self.problem(status)),
            Dialect::Simple => ("application/json", json!({ "detail": self.simple_detail(status) })),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge(dialect)));
        }
        let retry_after = match self.reason {
            Reason::Full | Reason::Unavailable => Some(RETRY_AFTER_SECONDS),
            Reason::Limited(seconds) => Some(seconds),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Reason::Method(allowed) = self.reason {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }

    fn problem(&self, status: StatusCode) -> Value {
        let slug = match self.reason {
            Reason::KeyMissing | Reason::KeyWrong => "unauthenticated",
            Reason::KeyOutOfScope => "forbidden",
            Reason::Request | Reason::Input | Reason::Output | Reason::Encoding | Reason::Method(_) => "invalid",
            Reason::NotFound => "not-found",
            Reason::TooLarge => "too-large",
            Reason::Full | Reason::Limited(_) | Reason::SlowBody => "slow-down",
            Reason::Late | Reason::Unavailable => "unavailable",
            Reason::Broken => "internal",
        };
        let mut problem = json!({
            "type": format!("https://castoff.dev/problems/{slug}"),
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if !self.fields.is_empty()
            && let Some(problem) = problem.as_object_mut()
        {
            problem.insert("errors".to_owned(), self.fields.iter().map(Field::pointer).collect());
        }
        problem
    }

    /// FastAPI's way: a list of places for a 422, a line for the rest.
    fn simple_detail(&self, status: StatusCode) -> Value {
        match self.reason {
            Reason::KeyMissing => json!("Not authenticated"),
            Reason::KeyWrong => json!("Invalid API key"),
            _ if status != StatusCode::UNPROCESSABLE_ENTITY => json!(self.detail),
            _ if self.fields.is_empty() => {
                json!([{ "type": "value_error", "loc": ["body"], "msg": self.detail }])
            }
            _ => self
                .fields
                .iter()
                .map(|field| {
                    let place = std::iter::once(json!("body")).chain(field.at.iter().cloned());
                    json!({ "type": field.kind, "loc": place.collect::<Vec<_>>(), "msg": field.wrong })
                })
                .collect(),
        }
    }
}

impl Field {
    fn pointer(&self) -> Value {
        let pointer: String = self
            .at
            .iter()
            .map(|step| match step {
                Value::String(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
                other => format!("/{other}"),
            })
            .collect();
        json!({ "pointer": pointer, "reason": self.wrong })
    }
}

fn challenge(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::V2 => "Bearer realm=\"castoff\"",
        Dialect::Records => "Basic realm=\"castoff\"",
        Dialect::Simple => "APIKey",
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Full => Self::new(Reason::Full, "too many calls wait already; come back in a moment"),
            Unanswered::Late => Self::new(Reason::Late, "the model did not answer before the deadline"),
            Unanswered::Input(detail) => Self::input(detail),
            Unanswered::Output(detail) => Self::new(Reason::Output, detail),
            Unanswered::Broken(detail) => Self::new(Reason::Broken, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_refuses_in_its_own_words() {
        for (reason, dialect, status, challenge) in [
            (Reason::KeyMissing, Dialect::V2, 401, Some("Bearer realm=\"castoff\"")),
            (Reason::KeyWrong, Dialect::V2, 401, Some("Bearer realm=\"castoff\"")),
            (
                Reason::KeyMissing,
                Dialect::Records,
                401,
                Some("Basic realm=\"castoff\""),
            ),
            (Reason::KeyWrong, Dialect::Records, 401, Some("Basic realm=\"castoff\"")),
            (Reason::KeyMissing, Dialect::Simple, 401, Some("APIKey")),
            (Reason::KeyWrong, Dialect::Simple, 403, None),
            (Reason::KeyOutOfScope, Dialect::V2, 403, None),
        ] {
            let response = Failure::new(reason, "no").render(dialect);
            assert_eq!(response.status(), status, "{reason:?} {dialect:?}");
            let header = response.headers().get(header::WWW_AUTHENTICATE);
            assert_eq!(
                header.map(|value| value.to_str().unwrap()),
                challenge,
                "{reason:?} {dialect:?}"
            );
        }
    }

    #[test]
    fn whoever_comes_too_often_is_told_when_to_come_back() {
        for (wait, seconds) in [
            (Duration::ZERO, "1"),
            (Duration::from_nanos(1), "1"),
            (Duration::from_millis(1_001), "2"),
            (Duration::from_secs(3_600), "3600"),
            (Duration::MAX, "4294967295"),
        ] {
            let failure = Failure::limited("is tired", wait);
            for dialect in [Dialect::V2, Dialect::Records, Dialect::Simple] {
                let response = failure.render(dialect);
                assert_eq!(response.status(), 429, "{dialect:?}");
                assert_eq!(response.headers()[header::RETRY_AFTER], seconds, "{dialect:?}");
            }
            assert_eq!(
                failure.simple_detail(StatusCode::TOO_MANY_REQUESTS),
                json!(failure.detail)
            );
        }
        let failure = Failure::limited("is tired", Duration::from_secs(7));
        assert_eq!(failure.detail, "the API key is tired; come back in 7 s");
        assert!(
            failure.problem(StatusCode::TOO_MANY_REQUESTS)["type"]
                .as_str()
                .unwrap()
                .ends_with("/slow-down")
        );
    }

    #[test]
    fn a_wrong_field_is_named_in_every_dialect() {
        let at = vec![json!(1), json!("a/b")];
        let failure = Failure::fields(vec![Field {
            at,
            wrong: "a/b is missing".to_owned(),
            kind: "missing",
        }]);
        assert_eq!(failure.detail, "a/b is missing");
        assert_eq!(
            failure.problem(StatusCode::BAD_REQUEST)["errors"][0]["pointer"],
            "/1/a~1b"
        );
        assert_eq!(
            failure.simple_detail(StatusCode::UNPROCESSABLE_ENTITY),
            json!([{ "type": "missing", "loc": ["body", 1, "a/b"], "msg": "a/b is missing" }])
        );
    }
}
