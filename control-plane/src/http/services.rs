//! Services: what can be deployed.

use super::input::{IfMatch, Json, PageQuery, Query};
use super::output::{Answer, Created, Etagged, List};
use super::permit::admit;
use super::state::Api;
use crate::authn::Actor;
use crate::authz::{Administer, CreateService, Read, Standing};
use crate::domain::{AccountName, Description, KeyVisibility, Service, ServiceAccess, ServiceName, Time};
use crate::store::{Listed, NewService, Permit, Platform, ServiceChange, Visible};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// A service.
#[derive(Serialize, ToSchema)]
#[schema(as = Service)]
pub struct ServiceOut {
    id: Uuid,
    name: ServiceName,
    description: String,
    /// Has every privilege on it.
    owner: String,
    /// What deployments with access `inherit` take over.
    access: ServiceAccess,
    /// Who may reveal its recoverable keys.
    key_visibility: KeyVisibility,
    /// What the caller may do with it.
    my_privileges: Vec<&'static str>,
    /// Groups that can give more.
    admin_groups: Vec<String>,
    created_at: Time,
    updated_at: Time,
    revision: i64,
}

/// A service to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewService)]
pub struct NewServiceIn {
    name: ServiceName,
    description: Option<Description>,
    /// `keys` when absent.
    access: Option<ServiceAccess>,
    /// `owner` when absent.
    key_visibility: Option<KeyVisibility>,
}

/// What is to be changed of a service.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServiceChange)]
pub struct ServiceChangeIn {
    description: Option<Description>,
    access: Option<ServiceAccess>,
    key_visibility: Option<KeyVisibility>,
    /// Hands it over: to yourself, to the owner of a service that you may see, or as a platform admin to anybody.
    owner: Option<AccountName>,
}

fn render(api: &Api, service: Service, standing: &Standing, admin_groups: Vec<String>) -> ServiceOut {
    ServiceOut {
        id: service.id,
        name: service.name,
        description: service.description,
        owner: service.owner,
        access: service.access,
        key_visibility: service.key_visibility,
        my_privileges: api.table.service_privileges(standing).names(),
        admin_groups,
        created_at: service.created_at,
        updated_at: service.updated_at,
        revision: service.revision,
    }
}

async fn show_one<P>(api: &Api, permit: Permit<P, Service>) -> Answer<Etagged<ServiceOut>> {
    let groups = api.store.service_admin_groups(permit.id).await?;
    let standing = *permit.standing();
    let service = permit.into_row();
    Ok(Etagged(service.revision, render(api, service, &standing, groups)))
}

async fn show_named(api: &Api, actor: &Arc<Actor>, name: &str) -> Answer<Etagged<ServiceOut>> {
    let permit: Permit<Read, Service> = admit(api, api.store.service(actor, name).await?, actor).await?;
    show_one(api, permit).await
}

/// The services that the caller may see, by name.
#[utoipa::path(get, path = "/services", tag = "services", params(PageQuery), responses((status = 200, body = List<ServiceOut>)))]
pub async fn list(
    super::caller::Caller(actor): super::caller::Caller,
    visible: Visible<Service>,
    State(api): State<Api>,
    Query(page): Query<PageQuery>,
) -> Answer<List<ServiceOut>> {
    let page = api.store.services(&visible, &page.request()?).await?;
    let page = page.map(|listed| {
        let Listed {
            row: service,
            mask,
            admin_groups,
        } = listed;
        let standing = Standing {
            platform_admin: actor.admin,
            create_service: actor.create_service,
            service: mask,
            service_owner: service.owner_id == actor.account_id,
            ..Standing::default()
        };
        render(&api, service, &standing, admin_groups)
    });
    Ok(List {
        items: page.items,
        next: page.next,
    })
}

/// Make a service; the caller becomes its owner.
#[utoipa::path(post, path = "/services", tag = "services", request_body = NewServiceIn, responses((status = 201, body = ServiceOut)))]
pub async fn create(
    permit: Permit<CreateService, Platform>,
    super::caller::Caller(actor): super::caller::Caller,
    State(api): State<Api>,
    Json(input): Json<NewServiceIn>,
) -> Answer<impl IntoResponse> {
    let new = NewService {
        name: input.name.clone(),
        description: input.description.map(String::from).unwrap_or_default(),
        access: input.access.unwrap_or(ServiceAccess::Keys),
        key_visibility: input.key_visibility.unwrap_or(KeyVisibility::Owner),
    };
    api.store.create_service(&permit, new).await?;
    let shown = show_named(&api, &actor, input.name.as_str()).await?;
    Ok(Created(format!("/services/{}", input.name), shown))
}

/// A service.
#[utoipa::path(get, path = "/services/{service}", tag = "services", params(("service" = String, Path)), responses((status = 200, body = ServiceOut)))]
pub async fn show(permit: Permit<Read, Service>, State(api): State<Api>) -> Answer<Etagged<ServiceOut>> {
    show_one(&api, permit).await
}

/// Change a service. What it says of access reaches its deployments that inherit.
#[utoipa::path(patch, path = "/services/{service}", tag = "services", params(("service" = String, Path), IfMatch), request_body = ServiceChangeIn,
    responses((status = 200, body = ServiceOut)))]
pub async fn change(
    permit: Permit<Administer, Service>,
    super::caller::Caller(actor): super::caller::Caller,
    State(api): State<Api>,
    if_match: IfMatch,
    Json(input): Json<ServiceChangeIn>,
) -> Answer<Etagged<ServiceOut>> {
    if_match.check(permit.revision)?;
    let change = ServiceChange {
        description: input.description.map(String::from),
        access: input.access,
        key_visibility: input.key_visibility,
        owner: input.owner,
    };
    let visible = Visible::of(&actor, &api.table);
    api.store.change_service(&permit, &visible, change).await?;
    let name = permit.name.clone();
    match show_named(&api, &actor, name.as_str()).await {
        // Whoever hands a service over may no longer see it: what they still may is what they saw.
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => show_one(&api, permit).await,
        other => other,
    }
}

/// Delete a service that nothing runs of.
#[utoipa::path(delete, path = "/services/{service}", tag = "services", params(("service" = String, Path), IfMatch), responses((status = 204)))]
pub async fn remove(
    permit: Permit<Administer, Service>,
    State(api): State<Api>,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    if_match.check(permit.revision)?;
    let visible = Visible::of(permit.actor(), &api.table);
    api.store.delete_service(permit, &visible).await?;
    Ok(StatusCode::NO_CONTENT)
}
