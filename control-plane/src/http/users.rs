//! Users: people with a password.

use super::caller::Caller;
use super::input::{IfMatch, Json, PageQuery, Query};
use super::output::{Answer, Created, Etagged, List, Secretive};
use super::permit::{Last, admit, part};
use super::problem::{Kind, Problem};
use super::state::Api;
use crate::authn::{Guesser, Password};
use crate::authz::Administer;
use crate::domain::{Account, AccountKind, AccountName, DisplayName, Invalid, Time};
use crate::store::{AccountChange, NewAccount, Permit, Platform};
use axum::extract::{RawPathParams, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A user.
#[derive(Serialize, ToSchema)]
pub struct User {
    name: String,
    display_name: String,
    disabled: bool,
    groups: Vec<String>,
    created_at: Time,
    revision: i64,
    /// The generated password, once, in the answer to its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// A user to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    name: AccountName,
    /// Generated when absent, and shown once.
    #[schema(format = Password, min_length = 10, max_length = 1024)]
    password: Option<String>,
    display_name: Option<DisplayName>,
}

/// What is to be changed of a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    display_name: Option<DisplayName>,
    /// Ends their sessions, tokens and event streams at once.
    disabled: Option<bool>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The one that is replaced; needed for one's own.
    #[schema(format = Password)]
    current: Option<String>,
    #[schema(format = Password, min_length = 10, max_length = 1024)]
    password: String,
}

impl From<Account> for User {
    fn from(account: Account) -> Self {
        Self {
            name: account.name.to_string(),
            display_name: account.display_name,
            disabled: account.disabled,
            groups: account.groups,
            created_at: account.created_at,
            revision: account.revision,
            password: None,
        }
    }
}

/// The users, by name.
#[utoipa::path(get, path = "/users", tag = "accounts", params(PageQuery), responses((status = 200, body = List<User>)))]
pub async fn list(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Query(page): Query<PageQuery>,
) -> Answer<List<User>> {
    Ok(api
        .store
        .accounts(&admin, AccountKind::User, &page.request()?)
        .await?
        .into())
}

/// Make a user. Without a password one is made, and shown in the answer only.
#[utoipa::path(post, path = "/users", tag = "accounts", request_body = NewUser, responses((status = 201, body = User)))]
pub async fn create(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Json(input): Json<NewUser>,
) -> Answer<impl IntoResponse> {
    let (password, generated) = match input.password {
        Some(text) => (Password::new(text)?, false),
        None => (Password::generate().map_err(|error| Problem::internal(&error))?, true),
    };
    let shown = generated.then(|| password.expose().to_owned());
    let hash = api
        .passwords
        .hash(password)
        .await
        .map_err(|error| Problem::internal(&error))?;
    let new = NewAccount {
        kind: AccountKind::User,
        name: input.name.clone(),
        display_name: input.display_name.map(String::from).unwrap_or_default(),
        password: Some(hash),
    };
    api.store.create_account(&admin, new).await?;
    let account = api
        .store
        .account(&admin, AccountKind::User, input.name.as_str())
        .await?;
    let user = User {
        password: shown,
        ..User::from(account)
    };
    Ok(Secretive(Created(
        format!("/users/{}", input.name),
        Etagged(user.revision, user),
    )))
}

/// A user.
#[utoipa::path(get, path = "/users/{user}", tag = "accounts", params(("user" = String, Path)), responses((status = 200, body = User)))]
pub async fn show(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(user): Last,
) -> Answer<Etagged<User>> {
    let account = api.store.account(&admin, AccountKind::User, &user).await?;
    Ok(Etagged(account.revision, account.into()))
}

/// Change a user.
#[utoipa::path(patch, path = "/users/{user}", tag = "accounts", params(("user" = String, Path), IfMatch), request_body = UserChange,
    responses((status = 200, body = User)))]
pub async fn change(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(user): Last,
    if_match: IfMatch,
    Json(input): Json<UserChange>,
) -> Answer<Etagged<User>> {
    let account = api.store.account(&admin, AccountKind::User, &user).await?;
    if_match.check(account.revision)?;
    let display_name = input.display_name.map(String::from);
    api.store
        .change_account(
            &admin,
            &account,
            AccountChange {
                display_name,
                disabled: input.disabled,
            },
        )
        .await?;
    let account = api.store.account(&admin, AccountKind::User, &user).await?;
    Ok(Etagged(account.revision, account.into()))
}

/// Delete a user who owns no service.
#[utoipa::path(delete, path = "/users/{user}", tag = "accounts", params(("user" = String, Path), IfMatch), responses((status = 204)))]
pub async fn remove(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(user): Last,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    let account = api.store.account(&admin, AccountKind::User, &user).await?;
    if_match.check(account.revision)?;
    api.store.delete_account(&admin, &account).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Set a password: one's own with the current one, anybody's as a platform admin. Ends the user's other sessions.
#[utoipa::path(put, path = "/users/{user}/password", tag = "accounts", params(("user" = String, Path)), request_body = NewPassword,
    responses((status = 204)))]
pub async fn set_password(
    Caller(actor): Caller,
    State(api): State<Api>,
    path: RawPathParams,
    request: axum::extract::Request,
) -> Answer<StatusCode> {
    let user = part(&path, "user").ok_or_else(Problem::not_found)?;
    let own = actor.kind == AccountKind::User && actor.name == user;
    let account_id = if own {
        actor.account_id
    } else {
        let admin: Permit<Administer, Platform> = admit(&api, api.store.platform(&actor), &actor).await?;
        api.store.account(&admin, AccountKind::User, user).await?.id
    };
    let Json(input) = <Json<NewPassword> as axum::extract::FromRequest<Api>>::from_request(request, &api).await?;
    let password = Password::new(input.password)?;
    if own {
        let who = [Guesser::Name(user.to_owned())];
        let now = api.store.clock().now();
        if let Some(seconds) = api.slow_down.wait_s(&who, now) {
            return Err(Problem::slow_down(seconds));
        }
        let hash = api.store.password_of(user).await?.map(|(_, hash)| hash);
        let current = Password::presented(input.current.unwrap_or_default());
        if !api
            .passwords
            .verify(current, hash)
            .await
            .map_err(|error| Problem::internal(&error))?
        {
            api.slow_down.wrong(&who, now);
            return Err(Invalid::new("/current", "is not the current password").into());
        }
    }
    let hash = api
        .passwords
        .hash(password)
        .await
        .map_err(|error| Problem::internal(&error))?;
    api.store
        .set_password(&actor, account_id, hash)
        .await
        .map_err(|error| match error {
            crate::store::Error::NotFound(_) => Problem::new(Kind::NotFound, "there is no such user"),
            other => other.into(),
        })?;
    Ok(StatusCode::NO_CONTENT)
}
