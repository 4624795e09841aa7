//! Who is calling: from the headers of a request to a [`Caller`], or a refusal.
//!
//! Pure but for the log line. One judge for every protocol. The rule a newcomer would break: it runs before the body is
//! read and before anything is looked up by what the caller named, so that a stranger learns nothing.

use super::failure::{Failure, Reason};
use crate::serving::{Key, Serving};
use crate::state::InForce;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use castoff_wire::key::{KeyHash, is_minted, looks_minted};
use http::{HeaderMap, HeaderName, header};
use std::borrow::Cow;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// No key is longer; what is, is not even hashed.
const LONGEST_KEY: usize = 256;

/// Somebody who may make this call.
#[derive(Clone)]
pub enum Caller {
    /// Nobody in particular, at a public deployment.
    Anonymous,
    /// The holder of a key.
    Holder(Arc<Key>),
}

/// Why somebody may not. The id of a key is for the log alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No key was given.
    Missing,
    /// More than one key was given.
    Twice,
    /// A key was given with a password beside it.
    Password,
    /// Not a key of this deployment.
    Unknown,
    /// A key of ours with a typo in it.
    Typo,
    /// A key that was revoked a moment ago.
    Revoked(Uuid),
    /// A key whose time has not come.
    NotYet(Uuid),
    /// A key whose time has passed.
    Expired(Uuid),
    /// A key for other endpoints.
    OutOfScope(Uuid),
}

impl Refusal {
    /// What the caller is told: never which of the ways of being wrong it was.
    pub fn failure(self) -> Failure {
        match self {
            Self::Missing => Failure::new(Reason::KeyMissing, "an API key is needed"),
            Self::Twice => Failure::new(Reason::Request, "more than one API key was given; send it in one place"),
            Self::Password => Failure::new(
                Reason::Request,
                "with Basic, the API key is the user name and the password is empty",
            ),
            Self::Unknown | Self::Typo | Self::Revoked(_) | Self::NotYet(_) | Self::Expired(_) => {
                Failure::new(Reason::KeyWrong, "the API key is not valid")
            }
            Self::OutOfScope(_) => Failure::new(Reason::KeyOutOfScope, "the API key does not open this endpoint"),
        }
    }

    /// The reason in a word, for the log and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Twice => "twice",
            Self::Password => "password",
            Self::Unknown => "unknown",
            Self::Typo => "typo",
            Self::Revoked(_) => "revoked",
            Self::NotYet(_) => "not-yet",
            Self::Expired(_) => "expired",
            Self::OutOfScope(_) => "out-of-scope",
        }
    }

    /// The key, when it is one of ours.
    pub fn key_id(self) -> Option<Uuid> {
        match self {
            Self::Revoked(id) | Self::NotYet(id) | Self::Expired(id) | Self::OutOfScope(id) => Some(id),
            Self::Missing | Self::Twice | Self::Password | Self::Unknown | Self::Typo => None,
        }
    }
}

/// The key that a request carries in its headers: the deployment's own header, `Authorization: Bearer`, or the user
/// name of `Authorization: Basic`. An empty one is none.
///
/// # Errors
/// When there is more than one, or a password beside it.
pub fn presented<'a>(headers: &'a HeaderMap, key_header: &HeaderName) -> Result<Option<Cow<'a, [u8]>>, Refusal> {
    let mut found = None;
    let own = headers
        .get_all(key_header)
        .iter()
        .map(|value| Ok(Cow::Borrowed(value.as_bytes())));
    // Were the deployment's own header this one, its value would count twice.
    let authorization = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter_map(|value| from_scheme(value.as_bytes()));
    let own = own.filter(|_| *key_header != header::AUTHORIZATION);
    for key in own.chain(authorization) {
        let key = key?;
        if key.is_empty() {
            continue;
        }
        if found.replace(key).is_some() {
            return Err(Refusal::Twice);
        }
    }
    Ok(found)
}

/// The key in a value of `Authorization`; `None` for a scheme that carries none.
fn from_scheme(value: &[u8]) -> Option<Result<Cow<'_, [u8]>, Refusal>> {
    let space = value.iter().position(|&byte| byte == b' ')?;
    let (scheme, rest) = value.split_at_checked(space)?;
    let credentials = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Ok(Cow::Borrowed(credentials)));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let Ok(pair) = STANDARD.decode(credentials) else {
        return Some(Err(Refusal::Unknown));
    };
    let colon = pair.iter().position(|&byte| byte == b':').unwrap_or(pair.len());
    let (user, password) = pair.split_at_checked(colon)?;
    if password.len() > 1 {
        return Some(Err(Refusal::Password));
    }
    Some(Ok(Cow::Owned(user.to_owned())))
}

/// Whether a request carries a key in its URL, where it would end up in logs. `api_key` and `apikey` are names of
/// columns when the endpoint has such a one.
pub fn is_key_in_url(path: &str, query: &[(String, String)], is_column: impl Fn(&str) -> bool) -> bool {
    let named = |name: &str| {
        let lower = name.to_ascii_lowercase();
        (lower == "api_key" || lower == "apikey") && !is_column(name)
    };
    path.split('/').any(looks_minted)
        || query
            .iter()
            .any(|(name, value)| named(name) || looks_minted(value) || looks_minted(name))
}

/// Whether the holder of this key may call this endpoint now. At a public deployment a key that opens nothing is as
/// good as none.
///
/// # Errors
/// Why not.
pub fn judge(
    in_force: &InForce,
    serving: &Serving,
    presented: Result<Option<Cow<'_, [u8]>>, Refusal>,
    endpoint: Option<&str>,
    now_ms: i64,
) -> Result<Caller, Refusal> {
    let held = match presented {
        Ok(Some(key)) => held(in_force, serving, &key, endpoint, now_ms),
        Ok(None) => Err(Refusal::Missing),
        Err(refusal) => Err(refusal),
    };
    match held {
        Ok(key) => Ok(Caller::Holder(key)),
        Err(refusal @ (Refusal::Twice | Refusal::Password)) => Err(refusal),
        Err(_) if serving.access.public => Ok(Caller::Anonymous),
        Err(refusal) => Err(refusal),
    }
}

fn held(
    in_force: &InForce,
    serving: &Serving,
    presented: &[u8],
    endpoint: Option<&str>,
    now_ms: i64,
) -> Result<Arc<Key>, Refusal> {
    let text = std::str::from_utf8(presented).map_err(|_| Refusal::Unknown)?;
    if text.len() > LONGEST_KEY {
        return Err(Refusal::Unknown);
    }
    if looks_minted(text) && !is_minted(text) {
        return Err(Refusal::Typo);
    }
    let hash = KeyHash::of(presented).at(serving.deployment_id);
    let key = serving.access.keys.get(&hash).ok_or(Refusal::Unknown)?;
    // The look-up stops at the first differing byte of a hash that nobody outside knows; this does not.
    if !bool::from(key.hash.ct_eq(&hash)) {
        return Err(Refusal::Unknown);
    }
    if in_force.revoked.contains(&key.id) {
        return Err(Refusal::Revoked(key.id));
    }
    if key.not_before_ms != 0 && now_ms < key.not_before_ms {
        return Err(Refusal::NotYet(key.id));
    }
    if key.expires_at_ms != 0 && now_ms >= key.expires_at_ms {
        return Err(Refusal::Expired(key.id));
    }
    let in_scope = match (&key.endpoints, endpoint) {
        (Some(scope), Some(endpoint)) => scope.contains(endpoint),
        _ => true,
    };
    if in_scope {
        Ok(Arc::clone(key))
    } else {
        Err(Refusal::OutOfScope(key.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use castoff_wire::key::mint;
    use http::HeaderValue;

    fn key_of(headers: &[(&'static str, &str)]) -> Result<Option<String>, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let key = presented(&map, &HeaderName::from_static("x-api-key"))?;
        Ok(key.map(|key| String::from_utf8(key.into_owned()).unwrap()))
    }

    #[test]
    fn a_key_is_found_in_each_place_but_never_in_two() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let some = |key: &str| Ok(Some(key.to_owned()));
        for (headers, expected) in [
            (&[][..], Ok(None)),
            (&[("x-api-key", "")], Ok(None)),
            (&[("x-api-key", "k")], some("k")),
            (&[("authorization", "Bearer k")], some("k")),
            (&[("authorization", "bearer  k ")], some("k")),
            (&[("authorization", &basic("k:"))], some("k")),
            (&[("authorization", &basic("k"))], some("k")),
            (&[("authorization", &basic(":"))], Ok(None)),
            (&[("authorization", &basic("k:p"))], Err(Refusal::Password)),
            (&[("authorization", "Basic !")], Err(Refusal::Unknown)),
            (&[("authorization", "Digest k")], Ok(None)),
            (&[("authorization", "k")], Ok(None)),
            (&[("x-api-key", "k"), ("authorization", "Digest k")], some("k")),
            (
                &[("x-api-key", "k"), ("authorization", "Bearer k")],
                Err(Refusal::Twice),
            ),
            (&[("x-api-key", "k"), ("x-api-key", "k")], Err(Refusal::Twice)),
            (
                &[("authorization", "Bearer k"), ("authorization", "Bearer l")],
                Err(Refusal::Twice),
            ),
        ] {
            assert_eq!(key_of(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_key_in_a_url_is_seen() {
        let minted = mint(&[3; 32]);
        let in_path = format!("/v2/models/{minted}");
        for (path, name, value, seen) in [
            ("/v2", "a", "b", false),
            ("/v2", "api_key", "b", true),
            ("/v2", "ApiKey", "b", true),
            ("/v2", "apikey", "", true),
            ("/v2", "column_key", "b", false),
            ("/v2", "column_key", &minted, true),
            ("/v2", &minted, "", true),
            (&in_path, "a", "b", true),
        ] {
            let query = [(name.to_owned(), value.to_owned())];
            assert_eq!(is_key_in_url(path, &query, |_| false), seen, "{name}");
        }
        let query = [("api_key".to_owned(), "b".to_owned())];
        assert!(!is_key_in_url("/v2", &query, |name| name == "api_key"));
    }
}
