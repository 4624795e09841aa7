//! Reading what a request says beside its path: JSON, queries, `If-Match`.

use super::problem::{Kind, Problem};
use super::state::Api;
use crate::domain::Invalid;
use crate::store::PageRequest;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use castoff_wire::strict;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use std::time::Duration;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

/// A JSON body. Wrong syntax is 400, a wrong value 422 with a pointer.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(is_json);
        let body = api.bodies.read(request.into_body()).await?;
        if !json {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "the body must be JSON, with Content-Type: application/json",
            ));
        }
        parse(&body).map(Self)
    }
}

/// A JSON body that may be left out: an empty one and `null` are `{}`.
pub struct JsonOrNothing<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for JsonOrNothing<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let body = api.bodies.read(request.into_body()).await?;
        if body.is_empty() || body.trim_ascii() == b"null" {
            parse(b"{}").map(Self)
        } else {
            parse(&body).map(Self)
        }
    }
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.eq_ignore_ascii_case("application/merge-patch+json")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    strict::from_slice(body).map_err(|wrong| {
        let error = &wrong.error;
        match error.classify() {
            Category::Data => Invalid::new(wrong.pointer(), without_position(error)).into(),
            _ => {
                let (reason, line, column) = (without_position(error), error.line(), error.column());
                let detail = format!("the body is not JSON: {reason}, line {line}, column {column}");
                Problem::new(Kind::Malformed, detail)
            }
        }
    })
}

/// What serde says, without its position (the pointer says it better) and cut to a line.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    text.chars().take(300).collect()
}

/// Tells an absent field from `null`, as a merge patch needs it.
///
/// # Errors
/// As the field's own type.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A query. What is unknown in it is refused: a misspelt filter must not list everything.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|rejection| {
            let text = rejection.body_text();
            let text = text
                .strip_prefix("Failed to deserialize query string: ")
                .unwrap_or(&text);
            let (pointer, reason) = match text.split_once(": ") {
                Some((name, reason)) if !name.contains(' ') => (format!("/{name}"), reason),
                // "duplicate field `limit`" says its place itself.
                _ => match text
                    .strip_prefix("duplicate field `")
                    .and_then(|name| name.strip_suffix('`'))
                {
                    Some(name) => (format!("/{name}"), "is there twice"),
                    None => (String::new(), text),
                },
            };
            Problem::from(Invalid::new(pointer, reason.chars().take(300).collect::<String>()))
        })
    }
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Where the page begins: `next` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 342)]
    cursor: Option<String>,
    /// How many items: 1 to 200, 50 when not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u64>,
}

impl PageQuery {
    /// The page that is asked for.
    ///
    /// # Errors
    /// 422.
    pub fn request(&self) -> Result<PageRequest, Problem> {
        Ok(PageRequest::parse(self.cursor.as_deref(), self.limit)?)
    }
}

/// How long to wait for nodes.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// How long to wait until every node has the change: `2s`, `500ms`; at most 60 s. Not at all when not said.
    #[param(pattern = "^([0-9]|[1-5][0-9]|60)s$|^(0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|60000)ms$")]
    wait: Option<String>,
}

impl WaitQuery {
    /// The time to wait; none when nothing was said.
    ///
    /// # Errors
    /// 422.
    pub fn duration(&self) -> Result<Option<Duration>, Problem> {
        let Some(text) = &self.wait else { return Ok(None) };
        // `parse` alone takes a sign and any number of zeros.
        let number = |digits: &str| {
            let plain =
                digits.bytes().all(|digit| digit.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
            digits.parse().ok().filter(|_| plain)
        };
        let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(digits), _) => number(digits).map(Duration::from_millis),
            (None, Some(digits)) => number(digits).map(Duration::from_secs),
            (None, None) => None,
        };
        let fits = parsed.filter(|wait| *wait <= Duration::from_secs(60));
        Ok(Some(fits.ok_or_else(|| {
            Invalid::new("/wait", "must be a time such as 2s or 500ms, at most 60s")
        })?))
    }
}

/// What `If-Match` demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Nothing.
    Any,
    /// This revision.
    Revision(i64),
    /// Something that no revision is.
    Never,
}

impl IfMatch {
    /// Reads the header.
    pub fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::IF_MATCH) else {
            return Self::Any;
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Self::Any;
        }
        let number = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|number| number.parse().ok());
        number.map_or(Self::Never, Self::Revision)
    }

    /// Holds it against what is there.
    ///
    /// # Errors
    /// 412.
    pub fn check(self, revision: i64) -> Result<(), Problem> {
        match self {
            Self::Any => Ok(()),
            Self::Revision(wanted) if wanted == revision => Ok(()),
            Self::Revision(_) | Self::Never => {
                let detail = format!("it is at revision {revision}: read it again, then change what you find");
                Err(Problem::new(Kind::Stale, detail))
            }
        }
    }

    /// The revision, where one was named.
    ///
    /// # Errors
    /// 412 where what was named is no revision.
    pub fn revision(self) -> Result<Option<i64>, Problem> {
        match self {
            Self::Any => Ok(None),
            Self::Revision(revision) => Ok(Some(revision)),
            Self::Never => Err(Problem::new(Kind::Stale, "If-Match is not an ETag of ours")),
        }
    }
}

impl utoipa::IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r#"^(\*|"(0|[1-9][0-9]{0,17})")$"#))
            .examples(["*"]);
        let header = ParameterBuilder::new()
            .name("If-Match")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("The ETag of what was read, or `*`: 412 when it was changed since"))
            .schema(Some(schema))
            .build();
        vec![header]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct In {
        #[allow(dead_code)]
        legs: Vec<u32>,
    }

    #[test]
    fn a_wrong_value_is_named_by_its_place() {
        let status = |text: &str| parse::<In>(text.as_bytes()).unwrap_err().status().as_u16();
        assert_eq!(status(r#"{"legs":[1,"x"]}"#), 422);
        assert_eq!(status(r#"{"legs":[1],"lags":2}"#), 422);
        assert_eq!(status(r#"{"legs":[1],"legs":[2]}"#), 422);
        assert_eq!(status(r#"{"legs":[1]"#), 400);
        assert_eq!(status(r#"{"legs":[1]} x"#), 400);
        let problem = parse::<In>(br#"{"legs":[1,"x"]}"#).unwrap_err();
        assert!(format!("{problem:?}").contains("/legs/1"), "{problem:?}");
    }

    #[test]
    fn waits_are_written_in_one_way() {
        let wait = |text: &str| {
            let wait = Some(text.to_owned());
            WaitQuery { wait }.duration().ok().flatten()
        };
        for (text, milliseconds) in [
            ("0s", 0),
            ("2s", 2_000),
            ("60s", 60_000),
            ("500ms", 500),
            ("60000ms", 60_000),
        ] {
            assert_eq!(wait(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "61s",
            "60001ms",
            "+2s",
            "02s",
            "-1s",
            "2",
            "2m",
            " 2s",
            "18446744073709551616s",
        ] {
            assert_eq!(wait(text), None, "{text}");
        }
    }

    #[test]
    fn if_match() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, axum::http::HeaderValue::from_static(text));
            IfMatch::of(&headers)
        };
        assert_eq!(of("\"3\""), IfMatch::Revision(3));
        assert_eq!(of("*"), IfMatch::Any);
        assert_eq!(of("3"), IfMatch::Never);
        assert_eq!(of("W/\"3\""), IfMatch::Never);
        assert!(of("\"3\"").check(4).is_err());
    }
}
