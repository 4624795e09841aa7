//! Logging in and out, and who one is.

use super::caller::{COOKIE, Caller, same_origin, source};
use super::input::Json;
use super::output::{Answer, Secretive};
use super::problem::{Kind, Problem, ProblemOut};
use super::state::Api;
use crate::authn::{Actor, Guesser, Password, Via};
use crate::domain::{AccountKind, AccountName};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A name and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    name: String,
    #[schema(format = Password)]
    password: String,
}

/// Who one is.
#[derive(Serialize, ToSchema)]
pub struct WhoAmI {
    name: String,
    kind: AccountKind,
    /// `session` or `token`.
    via: &'static str,
    groups: Vec<String>,
    /// Platform admin.
    admin: bool,
    create_service: bool,
}

impl From<&Actor> for WhoAmI {
    fn from(actor: &Actor) -> Self {
        Self {
            name: actor.name.clone(),
            kind: actor.kind,
            via: if matches!(actor.via, Via::Session(_)) {
                "session"
            } else {
                "token"
            },
            groups: actor.groups.iter().map(|group| group.name.clone()).collect(),
            admin: actor.admin,
            create_service: actor.create_service,
        }
    }
}

/// Log in. A browser gets a cookie; programs use access tokens instead.
#[utoipa::path(post, path = "/session", tag = "accounts", request_body = LogIn, security(()),
    responses((status = 200, body = WhoAmI), (status = 401, description = "Wrong name or password", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong passwords", body = ProblemOut, content_type = "application/problem+json")))]
pub async fn create(
    State(api): State<Api>,
    parts: Parts,
    jar: CookieJar,
    Json(input): Json<LogIn>,
) -> Answer<impl IntoResponse> {
    same_origin(&parts, false)?;
    let (now, from) = (api.store.clock().now(), source(&parts));
    // A name that cannot be one is not remembered: it could be anything, also very long.
    let name = AccountName::parse(&input.name).ok();
    let mut who: Vec<Guesser> = name.iter().map(|name| Guesser::Name(name.to_string())).collect();
    who.extend(from.map(Guesser::Address));
    if let Some(seconds) = api.slow_down.wait_s(&who, now) {
        return Err(Problem::slow_down(seconds));
    }
    let known = match &name {
        Some(name) => api.store.password_of(name.as_str()).await?,
        None => None,
    };
    let (account_id, hash) = known.unzip();
    let password = Password::presented(input.password);
    let right = api
        .passwords
        .verify(password, hash)
        .await
        .map_err(|error| Problem::internal(&error))?;
    let (true, Some(account_id)) = (right, account_id) else {
        api.slow_down.wrong(&who, now);
        // A password typed into the wrong field is a name, too: only one that is an account's is logged.
        let known = name.as_ref().filter(|_| account_id.is_some());
        tracing::info!(account.name = known.map(AccountName::as_str), "a password was wrong");
        return Err(Problem::new(Kind::Unauthenticated, "the name or the password is wrong"));
    };
    // Not the address: whoever has one account must not be free to guess at others.
    if let Some(name) = &name {
        api.slow_down.right(&Guesser::Name(name.to_string()));
    }
    let (secret, actor, _) = api.store.begin_session(account_id, from).await?;
    let cookie = Cookie::build((COOKIE, secret.expose().to_owned()))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(api.secure_cookies);
    Ok(Secretive((jar.add(cookie), axum::Json(WhoAmI::from(&actor)))))
}

/// Log out.
#[utoipa::path(delete, path = "/session", tag = "accounts", responses((status = 204)))]
pub async fn remove(Caller(actor): Caller, State(api): State<Api>, jar: CookieJar) -> Answer<impl IntoResponse> {
    api.store.end_session(&actor).await?;
    Ok((StatusCode::NO_CONTENT, jar.remove(Cookie::build(COOKIE).path("/"))))
}

/// Who one is.
#[utoipa::path(get, path = "/whoami", tag = "accounts", responses((status = 200, body = WhoAmI)))]
pub async fn whoami(Caller(actor): Caller) -> axum::Json<WhoAmI> {
    axum::Json(WhoAmI::from(&*actor))
}
