//! Service accounts: programs with tokens and no password.

use super::input::{IfMatch, Json, PageQuery, Query};
use super::output::{Answer, Created, Etagged, List, Secretive, whole};
use super::permit::{First, Last};
use super::state::Api;
use super::tokens::{NewToken, Token};
use crate::authz::Administer;
use crate::domain::{Account, AccountKind, AccountName, Description, Time};
use crate::store::{AccountChange, NewAccount, Permit, Platform};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A service account.
#[derive(Serialize, ToSchema)]
pub struct ServiceAccount {
    name: String,
    description: String,
    disabled: bool,
    groups: Vec<String>,
    created_at: Time,
    revision: i64,
}

/// A service account to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewServiceAccount {
    name: AccountName,
    description: Option<Description>,
}

/// What is to be changed of a service account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccountChange {
    description: Option<Description>,
    /// Ends its tokens at once.
    disabled: Option<bool>,
}

impl From<Account> for ServiceAccount {
    fn from(account: Account) -> Self {
        Self {
            name: account.name.to_string(),
            description: account.display_name,
            disabled: account.disabled,
            groups: account.groups,
            created_at: account.created_at,
            revision: account.revision,
        }
    }
}

const KIND: AccountKind = AccountKind::ServiceAccount;

/// The service accounts, by name.
#[utoipa::path(get, path = "/service-accounts", tag = "accounts", params(PageQuery), responses((status = 200, body = List<ServiceAccount>)))]
pub async fn list(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Query(page): Query<PageQuery>,
) -> Answer<List<ServiceAccount>> {
    Ok(api.store.accounts(&admin, KIND, &page.request()?).await?.into())
}

/// Make a service account.
#[utoipa::path(post, path = "/service-accounts", tag = "accounts", request_body = NewServiceAccount, responses((status = 201, body = ServiceAccount)))]
pub async fn create(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Json(input): Json<NewServiceAccount>,
) -> Answer<impl IntoResponse> {
    let display_name = input.description.map(String::from).unwrap_or_default();
    api.store
        .create_account(
            &admin,
            NewAccount {
                kind: KIND,
                name: input.name.clone(),
                display_name,
                password: None,
            },
        )
        .await?;
    let account: ServiceAccount = api.store.account(&admin, KIND, input.name.as_str()).await?.into();
    Ok(Created(
        format!("/service-accounts/{}", input.name),
        Etagged(account.revision, account),
    ))
}

/// A service account.
#[utoipa::path(get, path = "/service-accounts/{account}", tag = "accounts", params(("account" = String, Path)),
    responses((status = 200, body = ServiceAccount)))]
pub async fn show(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(account): Last,
) -> Answer<Etagged<ServiceAccount>> {
    let account = api.store.account(&admin, KIND, &account).await?;
    Ok(Etagged(account.revision, account.into()))
}

/// Change a service account.
#[utoipa::path(patch, path = "/service-accounts/{account}", tag = "accounts", params(("account" = String, Path), IfMatch),
    request_body = ServiceAccountChange, responses((status = 200, body = ServiceAccount)))]
pub async fn change(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(name): Last,
    if_match: IfMatch,
    Json(input): Json<ServiceAccountChange>,
) -> Answer<Etagged<ServiceAccount>> {
    let account = api.store.account(&admin, KIND, &name).await?;
    if_match.check(account.revision)?;
    let display_name = input.description.map(String::from);
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
    let account = api.store.account(&admin, KIND, &name).await?;
    Ok(Etagged(account.revision, account.into()))
}

/// Delete a service account that owns no service; its tokens go with it.
#[utoipa::path(delete, path = "/service-accounts/{account}", tag = "accounts", params(("account" = String, Path), IfMatch), responses((status = 204)))]
pub async fn remove(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(name): Last,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    let account = api.store.account(&admin, KIND, &name).await?;
    if_match.check(account.revision)?;
    api.store.delete_account(&admin, &account).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A service account's tokens.
#[utoipa::path(get, path = "/service-accounts/{account}/tokens", tag = "accounts", params(("account" = String, Path)),
    responses((status = 200, body = List<Token>)))]
pub async fn list_tokens(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(name): Last,
) -> Answer<List<Token>> {
    let account = api.store.account(&admin, KIND, &name).await?;
    let tokens = api.store.account_tokens(&admin, &account).await?;
    Ok(whole(tokens.into_iter().map(Token::from).collect()))
}

/// Make a token for a service account. Its text is in this answer only.
#[utoipa::path(post, path = "/service-accounts/{account}/tokens", tag = "accounts", params(("account" = String, Path)),
    request_body = NewToken, responses((status = 201, body = Token)))]
pub async fn create_token(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(name): Last,
    Json(input): Json<NewToken>,
) -> Answer<impl IntoResponse> {
    let account = api.store.account(&admin, KIND, &name).await?;
    let (secret, token) = api
        .store
        .create_account_token(&admin, &account, &input.name, input.expires_at)
        .await?;
    let place = format!(
        "/service-accounts/{name}/tokens/{}",
        super::path_part(token.name.as_str())
    );
    Ok(Secretive(Created(place, axum::Json(Token::shown(&secret, token)))))
}

/// Delete a service account's token.
#[utoipa::path(delete, path = "/service-accounts/{account}/tokens/{token}", tag = "accounts",
    params(("account" = String, Path), ("token" = String, Path)), responses((status = 204)))]
pub async fn remove_token(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    First(name): First,
    Last(token): Last,
) -> Answer<StatusCode> {
    let account = api.store.account(&admin, KIND, &name).await?;
    api.store.delete_account_token(&admin, &account, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
