//! Access tokens: one's own, and those of service accounts.

use super::caller::Caller;
use super::input::Json;
use super::output::{Answer, Created, List, Secretive, whole};
use super::permit::Last;
use super::state::Api;
use crate::authn::Secret;
use crate::domain::{AccessToken, Time, Title};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An access token.
#[derive(Serialize, ToSchema)]
pub struct Token {
    name: Title,
    /// The last four characters.
    hint: String,
    created_at: Time,
    expires_at: Option<Time>,
    /// To the minute.
    last_used_at: Option<Time>,
    /// The token itself, once, in the answer to its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    pub(super) name: Title,
    /// Never when absent.
    pub(super) expires_at: Option<Time>,
}

impl From<AccessToken> for Token {
    fn from(token: AccessToken) -> Self {
        Self {
            name: token.name,
            hint: token.hint,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            token: None,
        }
    }
}

impl Token {
    /// The token with its text, to be shown once.
    pub fn shown(secret: &Secret, token: AccessToken) -> Self {
        Self {
            token: Some(secret.expose().to_owned()),
            ..token.into()
        }
    }
}

/// One's own access tokens.
#[utoipa::path(get, path = "/tokens", tag = "accounts", responses((status = 200, body = List<Token>)))]
pub async fn list(Caller(actor): Caller, State(api): State<Api>) -> Answer<List<Token>> {
    Ok(whole(
        api.store
            .own_tokens(&actor)
            .await?
            .into_iter()
            .map(Token::from)
            .collect(),
    ))
}

/// Make an access token for oneself. Its text is in this answer only.
#[utoipa::path(post, path = "/tokens", tag = "accounts", request_body = NewToken, responses((status = 201, body = Token)))]
pub async fn create(
    Caller(actor): Caller,
    State(api): State<Api>,
    Json(input): Json<NewToken>,
) -> Answer<impl IntoResponse> {
    let (secret, token) = api
        .store
        .create_own_token(&actor, &input.name, input.expires_at)
        .await?;
    let place = format!("/tokens/{}", super::path_part(token.name.as_str()));
    Ok(Secretive(Created(place, axum::Json(Token::shown(&secret, token)))))
}

/// Delete an access token of one's own.
#[utoipa::path(delete, path = "/tokens/{token}", tag = "accounts", params(("token" = String, Path)), responses((status = 204)))]
pub async fn remove(Caller(actor): Caller, State(api): State<Api>, Last(token): Last) -> Answer<StatusCode> {
    api.store.delete_own_token(&actor, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
