//! Groups and their members.

use super::caller::Caller;
use super::input::{IfMatch, Json, PageQuery, Query};
use super::output::{Answer, Created, Etagged, List};
use super::permit::{First, Last};
use super::state::Api;
use crate::authz::Administer;
use crate::domain::{AccountKind, Group, GroupName};
use crate::store::{GroupChange, Permit, Platform};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A group. Whoever is not a platform admin sees its name only.
#[derive(Serialize, ToSchema)]
#[schema(as = Group)]
pub struct GroupOut {
    name: GroupName,
    /// Its members may create services.
    #[serde(skip_serializing_if = "Option::is_none")]
    create_service: Option<bool>,
    /// Its members are platform admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
}

/// A group to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    name: GroupName,
    #[serde(default)]
    create_service: bool,
    #[serde(default)]
    admin: bool,
}

/// What is to be changed of a group.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GroupChange)]
pub struct GroupChangeIn {
    create_service: Option<bool>,
    admin: Option<bool>,
}

/// A member of a group.
#[derive(Serialize, ToSchema)]
pub struct Member {
    name: String,
    kind: AccountKind,
}

impl From<Group> for GroupOut {
    fn from(group: Group) -> Self {
        Self {
            name: group.name,
            create_service: Some(group.create_service),
            admin: Some(group.admin),
            revision: Some(group.revision),
        }
    }
}

impl From<(String, AccountKind)> for Member {
    fn from((name, kind): (String, AccountKind)) -> Self {
        Self { name, kind }
    }
}

/// The groups, by name. Names are no secret to anybody who is logged in: they are who to ask.
#[utoipa::path(get, path = "/groups", tag = "accounts", params(PageQuery), responses((status = 200, body = List<GroupOut>)))]
pub async fn list(
    Caller(actor): Caller,
    State(api): State<Api>,
    Query(page): Query<PageQuery>,
) -> Answer<List<GroupOut>> {
    let page = api.store.groups(&actor, &page.request()?).await?;
    let full = actor.admin;
    let name_only = |group: GroupOut| GroupOut {
        create_service: None,
        admin: None,
        revision: None,
        ..group
    };
    Ok(page
        .map(|group| {
            if full {
                GroupOut::from(group)
            } else {
                name_only(group.into())
            }
        })
        .into())
}

/// Make a group.
#[utoipa::path(post, path = "/groups", tag = "accounts", request_body = NewGroup, responses((status = 201, body = GroupOut)))]
pub async fn create(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Json(input): Json<NewGroup>,
) -> Answer<impl IntoResponse> {
    let change = GroupChange {
        create_service: Some(input.create_service),
        admin: Some(input.admin),
    };
    api.store.create_group(&admin, &input.name, change).await?;
    let group = api.store.group(admin.actor(), input.name.as_str()).await?;
    Ok(Created(
        format!("/groups/{}", input.name),
        Etagged(group.revision, GroupOut::from(group)),
    ))
}

/// A group.
#[utoipa::path(get, path = "/groups/{group}", tag = "accounts", params(("group" = String, Path)), responses((status = 200, body = GroupOut)))]
pub async fn show(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(group): Last,
) -> Answer<Etagged<GroupOut>> {
    let group = api.store.group(admin.actor(), &group).await?;
    Ok(Etagged(group.revision, group.into()))
}

/// Change what a group may do everywhere.
#[utoipa::path(patch, path = "/groups/{group}", tag = "accounts", params(("group" = String, Path), IfMatch), request_body = GroupChangeIn,
    responses((status = 200, body = GroupOut)))]
pub async fn change(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(name): Last,
    if_match: IfMatch,
    Json(input): Json<GroupChangeIn>,
) -> Answer<Etagged<GroupOut>> {
    let group = api.store.group(admin.actor(), &name).await?;
    if_match.check(group.revision)?;
    let change = GroupChange {
        create_service: input.create_service,
        admin: input.admin,
    };
    api.store.change_group(&admin, &group, change).await?;
    let group = api.store.group(admin.actor(), &name).await?;
    Ok(Etagged(group.revision, group.into()))
}

/// Delete a group; its grants go with it.
#[utoipa::path(delete, path = "/groups/{group}", tag = "accounts", params(("group" = String, Path), IfMatch), responses((status = 204)))]
pub async fn remove(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(name): Last,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    let group = api.store.group(admin.actor(), &name).await?;
    if_match.check(group.revision)?;
    api.store.delete_group(&admin, &group).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The members of a group, by name.
#[utoipa::path(get, path = "/groups/{group}/members", tag = "accounts", params(("group" = String, Path), PageQuery),
    responses((status = 200, body = List<Member>)))]
pub async fn list_members(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    Last(name): Last,
    Query(page): Query<PageQuery>,
) -> Answer<List<Member>> {
    let group = api.store.group(admin.actor(), &name).await?;
    Ok(api.store.members(&admin, &group, &page.request()?).await?.into())
}

/// Put a user or a service account into a group. Saying it twice changes nothing.
#[utoipa::path(put, path = "/groups/{group}/members/{user}", tag = "accounts", params(("group" = String, Path), ("user" = String, Path)),
    responses((status = 204)))]
pub async fn add_member(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    First(name): First,
    Last(user): Last,
) -> Answer<StatusCode> {
    let group = api.store.group(admin.actor(), &name).await?;
    api.store.set_member(&admin, &group, &user, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a user or a service account out of a group.
#[utoipa::path(delete, path = "/groups/{group}/members/{user}", tag = "accounts", params(("group" = String, Path), ("user" = String, Path)),
    responses((status = 204)))]
pub async fn remove_member(
    admin: Permit<Administer, Platform>,
    State(api): State<Api>,
    First(name): First,
    Last(user): Last,
) -> Answer<StatusCode> {
    let group = api.store.group(admin.actor(), &name).await?;
    api.store.set_member(&admin, &group, &user, false).await?;
    Ok(StatusCode::NO_CONTENT)
}
