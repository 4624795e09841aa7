//! From a request to its [`Actor`], or 401.

use super::problem::{Kind, Problem};
use super::state::Api;
use crate::authn::{Actor, Secret, SecretKind};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version, header};
use axum_extra::extract::CookieJar;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The cookie that holds a session.
pub const COOKIE: &str = "castoff_session";

/// Whoever calls, proven.
#[derive(Clone, Debug)]
pub struct Caller(pub Arc<Actor>);

/// The address that a request came from.
pub fn source(parts: &Parts) -> Option<IpAddr> {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip())
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        // Several extractors of one handler ask; one look-up answers.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let source = source(parts);
        let actor = match bearer(&parts.headers)? {
            Some(token) => api.store.actor(&token, SecretKind::AccessToken, source).await?,
            None => match cookie(&parts.headers) {
                None => None,
                Some(session) => {
                    let actor = api.store.actor(&session, SecretKind::Session, source).await?;
                    if actor.is_some() && !parts.method.is_safe() {
                        same_origin(parts, true)?;
                    }
                    actor
                }
            },
        };
        let caller = Self(Arc::new(actor.ok_or_else(Problem::unauthenticated)?));
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<Secret>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::new(Kind::Malformed, "there are two Authorization headers"));
    }
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, token)| Secret::presented(SecretKind::AccessToken, token.trim()));
    token.map(Some).ok_or_else(Problem::unauthenticated)
}

fn cookie(headers: &HeaderMap) -> Option<Secret> {
    let jar = CookieJar::from_headers(headers);
    Secret::presented(SecretKind::Session, jar.get(COOKIE)?.value())
}

/// A browser says where a change comes from; a cookie counts only for changes that come from Castoff's own pages.
///
/// # Errors
/// 403 for another origin, or for none where one is demanded.
pub fn same_origin(parts: &Parts, demanded: bool) -> Result<(), Problem> {
    let refuse = |detail: &str| Err(Problem::new(Kind::Forbidden, detail));
    let Some(origin) = parts.headers.get(header::ORIGIN) else {
        return if demanded {
            refuse(
                "a session cookie changes things only with an Origin header of this server; programs use access tokens",
            )
        } else {
            Ok(())
        };
    };
    let host = match parts.version {
        Version::HTTP_2 => parts.uri.authority().map(Authority::as_str),
        // What HTTP/1 has in its first line is for proxies.
        _ => parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    let host = host.unwrap_or_default();
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    if !host.is_empty() && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    tracing::warn!(http.method = %parts.method, "a request came from another origin");
    refuse("the Origin header names another server")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[test]
    fn only_our_own_origin_is_ours() {
        for (origin, demanded, fits) in [
            (Some("http://castoff.example:8400"), true, true),
            (Some("https://castoff.example:8400"), true, true),
            (Some("http://castoff.example"), true, false),
            (Some("http://castoff.example:8400.evil.example"), true, false),
            (Some("null"), true, false),
            (None, true, false),
            (None, false, true),
        ] {
            let place = "castoff.example:8400";
            let http1 = Request::post("/api/v1/session").header(header::HOST, place);
            let http2 = Request::post(format!("https://{place}/api/v1/session")).version(Version::HTTP_2);
            let proxied = Request::post("http://castoff.example/").header(header::HOST, place);
            for request in [http1, http2, proxied] {
                let request = match origin {
                    Some(origin) => request.header(header::ORIGIN, origin),
                    None => request,
                };
                let (parts, ()) = request.body(()).unwrap().into_parts();
                assert_eq!(same_origin(&parts, demanded).is_ok(), fits, "{parts:?}");
            }
        }
    }
}
