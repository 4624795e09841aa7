//! What a caller is told when it does not get what it asked for: RFC 9457, and nothing else.
//!
//! The only renderer of errors. The rule a newcomer would break: an internal error never tells its source to the caller;
//! it is logged here, once.

use crate::causes::with_causes;
use crate::domain::Invalid;
use crate::store::{Ask, Error, has_committed};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The kinds of problem: each a stable `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 400: not HTTP or JSON as it should be.
    Malformed,
    /// 401.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 408.
    Slow,
    /// 409: a name is taken.
    Conflict,
    /// 409: something is in the way.
    InUse,
    /// 412.
    Stale,
    /// 413.
    TooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 422.
    Invalid,
    /// 429.
    SlowDown,
    /// 500.
    Internal,
    /// 503: nothing was changed.
    Unavailable,
    /// 503: all of it was changed or nothing, or it was changed and cannot be shown.
    Unclear,
    /// 507.
    Full,
}

impl Kind {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "Nobody is logged in"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "This is not allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Not a method of this path",
            ),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "slow", "The body did not come in time"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "The name is taken"),
            Self::InUse => (StatusCode::CONFLICT, "in-use", "Something is in the way"),
            Self::Stale => (
                StatusCode::PRECONDITION_FAILED,
                "stale",
                "It has changed since it was read",
            ),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Not a body that is read here",
            ),
            Self::Invalid => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "The request does not hold together",
            ),
            Self::SlowDown => (StatusCode::TOO_MANY_REQUESTS, "slow-down", "Too often"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Castoff failed"),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Castoff cannot answer now",
            ),
            Self::Unclear => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unclear",
                "Castoff cannot say what became of this",
            ),
            Self::Full => (
                StatusCode::INSUFFICIENT_STORAGE,
                "full",
                "The disk of the control plane is full",
            ),
        }
    }
}

/// A problem on its way to the caller.
#[derive(Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<Place>,
    missing: Vec<String>,
    // Boxed: what is rarely there must not make every result large.
    ask: Option<Box<AskOut>>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// One wrong place in a body or a query.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Place {
    /// A JSON pointer; of a query parameter `/` and its name.
    pointer: String,
    /// What is wrong there.
    reason: String,
}

/// Who can give what is missing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AskOut {
    /// The owner of the service concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Groups with admin on what is concerned.
    groups: Vec<String>,
}

/// RFC 9457, as it is written.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemOut {
    /// A stable URI of the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem, for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// This problem, for people.
    detail: String,
    /// What is wrong where, of a 422.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Place>,
    /// The privileges that are missing, of a 403.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    /// Who can give them, of a 403.
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<AskOut>,
}

impl From<Ask> for AskOut {
    fn from(ask: Ask) -> Self {
        Self {
            owner: ask.owner,
            groups: ask.groups,
        }
    }
}

impl Problem {
    /// A problem of a kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            missing: Vec::new(),
            ask: None,
            header: None,
        }
    }

    /// There is nothing here, or nothing that this caller may know of: one and the same.
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "there is nothing of this name, or you may not see it")
    }

    /// The caller is nobody.
    pub fn unauthenticated() -> Self {
        let mut problem = Self::new(
            Kind::Unauthenticated,
            "log in, or send an access token as Authorization: Bearer",
        );
        problem.header = Some(Box::new((
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"castoff\""),
        )));
        problem
    }

    /// The caller must wait.
    pub fn slow_down(seconds: u64) -> Self {
        let mut problem = Self::new(
            Kind::SlowDown,
            format!("too many wrong passwords: try again in {seconds} s"),
        );
        problem.header = Some(Box::new((header::RETRY_AFTER, HeaderValue::from(seconds))));
        problem
    }

    /// The caller may see the thing, but not do this.
    pub fn forbidden(detail: String, missing: Vec<String>, ask: Option<Ask>) -> Self {
        let mut problem = Self::new(Kind::Forbidden, detail);
        problem.missing = missing;
        problem.ask = ask.map(AskOut::from).map(Box::new);
        problem
    }

    /// Something that is asked does not answer now.
    pub fn unavailable(why: &str) -> Self {
        Self::new(Kind::Unavailable, why)
    }

    /// Something failed in here. What, goes to the log only.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = with_causes(error), "a request failed");
        Self::new(Kind::Internal, "it is in the log of the control plane")
    }

    /// The status that it is going to have.
    pub fn status(&self) -> StatusCode {
        self.kind.parts().0
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let mut problem = Self::new(Kind::Invalid, invalid.to_string());
        problem.errors.push(Place {
            pointer: invalid.pointer,
            reason: invalid.reason,
        });
        problem
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) => Self::not_found(),
            Error::Stale => Self::new(Kind::Stale, "read it again, then change what you find"),
            Error::Taken(_) => Self::new(Kind::Conflict, error.to_string()),
            Error::InUse(detail) => Self::new(Kind::InUse, detail),
            Error::Invalid(invalid) => invalid.into(),
            Error::NotAllowed(detail) => Self::new(Kind::Forbidden, detail),
            Error::NoRandom | Error::Unreadable(_) | Error::Overtaken => Self::internal(&error),
            Error::Database(_) if error.is_passing() && has_committed() => {
                tracing::error!(error = with_causes(&error), "the database does not answer");
                Self::new(
                    Kind::Unclear,
                    "it was done, and the database was lost before it could be shown: look at it",
                )
            }
            Error::Database(_) if error.is_passing() => {
                tracing::error!(error = with_causes(&error), "the database does not answer");
                Self::new(
                    Kind::Unavailable,
                    "the database does not answer, nothing was changed: try again",
                )
            }
            Error::Unclear(_) => {
                tracing::error!(error = with_causes(&error), "the database does not answer");
                Self::new(
                    Kind::Unclear,
                    "the database was lost at the last moment: all of it was done, or nothing: look, then try again",
                )
            }
            Error::Database(_) if error.is_full() => {
                tracing::error!(error = with_causes(&error), "the disk of the database is full");
                Self::new(
                    Kind::Full,
                    "nothing was changed: make space where the database lies, then try again",
                )
            }
            Error::Database(_) => Self::internal(&error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, slug, title) = self.kind.parts();
        let body = ProblemOut {
            kind: format!("https://castoff.dev/problems/{slug}"),
            title,
            status: status.as_u16(),
            detail: self.detail,
            errors: self.errors,
            missing: self.missing,
            ask: self.ask.map(|ask| *ask),
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let kind = (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        let mut response = (status, [kind], text).into_response();
        if let Some((name, value)) = self.header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
