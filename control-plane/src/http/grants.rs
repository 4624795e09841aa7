//! Grants of services and of infrastructures.

use super::input::{IfMatch, Json};
use super::output::{Answer, Etagged, List, whole};
use super::permit::Last;
use super::problem::Problem;
use super::state::Api;
use crate::authz::{Administer, InfrastructureMask, ServiceMask};
use crate::domain::{Infrastructure, Service};
use crate::store::Permit;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};

/// What a group was granted.
#[derive(Serialize, ToSchema)]
pub struct Grant {
    group: String,
    privileges: Vec<&'static str>,
    /// Names what is granted; to be sent as `If-Match`, as `"0"` where a group has no grant yet.
    revision: i64,
}

impl Grant {
    fn new(group: String, privileges: Vec<&'static str>, bits: i32) -> Self {
        Self {
            group,
            privileges,
            revision: bits.into(),
        }
    }
}

/// What a group is to be granted on a service.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicePrivileges {
    #[schema(schema_with = on_service)]
    privileges: Vec<String>,
}

/// What a group is to be granted on an infrastructure.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InfrastructurePrivileges {
    #[schema(schema_with = on_infrastructure)]
    privileges: Vec<String>,
}

fn on_service() -> Array {
    some_of(ServiceMask::words())
}

fn on_infrastructure() -> Array {
    some_of(InfrastructureMask::words())
}

fn some_of(words: Vec<&'static str>) -> Array {
    let most = words.len();
    let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    let list = ArrayBuilder::new().items(word);
    list.min_items(Some(1)).max_items(Some(most)).build()
}

/// The grants on a service.
#[utoipa::path(get, path = "/services/{service}/grants", tag = "services", params(("service" = String, Path)), responses((status = 200, body = List<Grant>)))]
pub async fn list_on_service(permit: Permit<Administer, Service>, State(api): State<Api>) -> Answer<List<Grant>> {
    let grants = api.store.service_grants(&permit).await?;
    Ok(whole(
        grants
            .into_iter()
            .map(|grant| Grant::new(grant.group, grant.mask.names(), grant.mask.into()))
            .collect(),
    ))
}

/// Grant a group something on a service, in place of what it had.
#[utoipa::path(put, path = "/services/{service}/grants/{group}", tag = "services", params(("service" = String, Path), ("group" = String, Path), IfMatch),
    request_body = ServicePrivileges, responses((status = 200, body = Grant)))]
pub async fn put_on_service(
    permit: Permit<Administer, Service>,
    State(api): State<Api>,
    Last(group): Last,
    if_match: IfMatch,
    Json(input): Json<ServicePrivileges>,
) -> Answer<Etagged<Grant>> {
    let mask = ServiceMask::parse(&input.privileges)?;
    api.store
        .grant_on_service(&permit, &group, mask, if_match.revision()?)
        .await?;
    let grant = Grant::new(group, mask.names(), mask.into());
    Ok(Etagged(grant.revision, grant))
}

/// Take a group's grant on a service away.
#[utoipa::path(delete, path = "/services/{service}/grants/{group}", tag = "services", params(("service" = String, Path), ("group" = String, Path), IfMatch),
    responses((status = 204)))]
pub async fn remove_on_service(
    permit: Permit<Administer, Service>,
    State(api): State<Api>,
    Last(group): Last,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    let granted = api.store.service_grants(&permit).await?;
    if !granted.iter().any(|grant| grant.group == group) {
        return Err(Problem::not_found());
    }
    api.store
        .grant_on_service(&permit, &group, ServiceMask::default(), if_match.revision()?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The grants on an infrastructure.
#[utoipa::path(get, path = "/infrastructures/{infrastructure}/grants", tag = "infrastructures", params(("infrastructure" = String, Path)),
    responses((status = 200, body = List<Grant>)))]
pub async fn list_on_infrastructure(
    permit: Permit<Administer, Infrastructure>,
    State(api): State<Api>,
) -> Answer<List<Grant>> {
    let grants = api.store.infrastructure_grants(&permit).await?;
    Ok(whole(
        grants
            .into_iter()
            .map(|grant| Grant::new(grant.group, grant.mask.names(), grant.mask.into()))
            .collect(),
    ))
}

/// Grant a group something on an infrastructure, in place of what it had.
#[utoipa::path(put, path = "/infrastructures/{infrastructure}/grants/{group}", tag = "infrastructures",
    params(("infrastructure" = String, Path), ("group" = String, Path), IfMatch), request_body = InfrastructurePrivileges, responses((status = 200, body = Grant)))]
pub async fn put_on_infrastructure(
    permit: Permit<Administer, Infrastructure>,
    State(api): State<Api>,
    Last(group): Last,
    if_match: IfMatch,
    Json(input): Json<InfrastructurePrivileges>,
) -> Answer<Etagged<Grant>> {
    let mask = InfrastructureMask::parse(&input.privileges)?;
    api.store
        .grant_on_infrastructure(&permit, &group, mask, if_match.revision()?)
        .await?;
    let grant = Grant::new(group, mask.names(), mask.into());
    Ok(Etagged(grant.revision, grant))
}

/// Take a group's grant on an infrastructure away.
#[utoipa::path(delete, path = "/infrastructures/{infrastructure}/grants/{group}", tag = "infrastructures",
    params(("infrastructure" = String, Path), ("group" = String, Path), IfMatch), responses((status = 204)))]
pub async fn remove_on_infrastructure(
    permit: Permit<Administer, Infrastructure>,
    State(api): State<Api>,
    Last(group): Last,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    let granted = api.store.infrastructure_grants(&permit).await?;
    if !granted.iter().any(|grant| grant.group == group) {
        return Err(Problem::not_found());
    }
    api.store
        .grant_on_infrastructure(&permit, &group, InfrastructureMask::default(), if_match.revision()?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
