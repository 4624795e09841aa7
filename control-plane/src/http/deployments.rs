//! Deployments: made, changed, switched, rolled back.

use super::caller::Caller;
use super::deployment_state::{DeploymentState, state, url};
use super::input::{IfMatch, Json, JsonOrNothing, PageQuery, Query, WaitQuery};
use super::output::{Answer, Created, Etagged, List};
use super::permit::admit;
use super::receipts::{Receipt, collect, status};
use super::site::find;
use super::state::Api;
use crate::authn::Actor;
use crate::authz::{Deploy, View};
use crate::domain::kubernetes::Autoscaling;
use crate::domain::{
    Access, Deployment, DeploymentName, Description, HeaderName, InfrastructureName, Invalid, Leg, Limits, Route,
    SaidScale, Scale, ServiceName, Time, VersionName,
};
use crate::store::{DeploymentChange, NewDeployment, Node, Permit, Visible};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where a config stands.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub struct ConfigPosition {
    /// Raised when a database was restored.
    pub epoch: u64,
    /// Raised by every change.
    pub version: u64,
}

/// A deployment.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployment)]
pub struct DeploymentOut {
    id: Uuid,
    name: DeploymentName,
    service: String,
    infrastructure: String,
    enabled: bool,
    access: Access,
    route: Vec<Leg>,
    scale: Scale,
    /// What is in force, its own or its infrastructure's; null: there are as many nodes as `scale.replicas` says.
    autoscaling: Option<Autoscaling>,
    limits: Limits,
    /// Header in which keys travel, besides Authorization.
    key_header: HeaderName,
    /// Where programs call it; null while it has no address.
    url: Option<String>,
    state: DeploymentState,
    config: ConfigPosition,
    created_by: String,
    created_at: Time,
    updated_at: Time,
    revision: i64,
    /// Of the change that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// A deployment to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDeployment)]
pub struct NewDeploymentIn {
    /// `{service}-on-{infrastructure}` when absent.
    name: Option<DeploymentName>,
    service: ServiceName,
    infrastructure: InfrastructureName,
    /// All calls to this version; or `route`.
    version: Option<VersionName>,
    /// Several versions, whose weights sum to 100; or `version`.
    #[schema(value_type = Option<Vec<Leg>>, min_items = 1, max_items = 10)]
    route: Option<Route>,
    /// Yes when absent.
    enabled: Option<bool>,
    /// `keys` when absent.
    access: Option<Access>,
    #[schema(value_type = Option<Scale>)]
    scale: Option<SaidScale>,
    limits: Option<Limits>,
    /// `x-api-key` when absent.
    key_header: Option<HeaderName>,
    /// Why, for the history.
    note: Option<Description>,
}

/// What is to be changed of a deployment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeploymentChange)]
pub struct DeploymentChangeIn {
    version: Option<VersionName>,
    #[schema(value_type = Option<Vec<Leg>>, min_items = 1, max_items = 10)]
    route: Option<Route>,
    access: Option<Access>,
    /// What is absent in it becomes its default.
    #[schema(value_type = Option<Scale>)]
    scale: Option<SaidScale>,
    /// What is absent in it becomes its default.
    limits: Option<Limits>,
    key_header: Option<HeaderName>,
    note: Option<Description>,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Note {
    note: Option<Description>,
}

/// Back to which revision, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// A revision of the history.
    #[schema(minimum = 1)]
    to: i64,
    note: Option<Description>,
}

fn render(deployment: Deployment, nodes: &[Node], receipt: Option<Receipt>) -> DeploymentOut {
    DeploymentOut {
        state: state(&deployment, nodes),
        url: url(&deployment, nodes),
        id: deployment.id,
        name: deployment.name,
        service: deployment.service,
        infrastructure: deployment.infrastructure,
        enabled: deployment.enabled,
        access: deployment.access,
        route: deployment.route.into(),
        scale: deployment.scale,
        autoscaling: deployment.autoscaling,
        limits: deployment.limits,
        key_header: deployment.key_header,
        config: ConfigPosition {
            epoch: deployment.config.0,
            version: deployment.config.1,
        },
        created_by: deployment.created_by,
        created_at: deployment.created_at,
        updated_at: deployment.updated_at,
        revision: deployment.revision,
        receipt,
    }
}

async fn show_one(
    api: &Api,
    permit: Permit<View, Deployment>,
    receipt: Option<Receipt>,
) -> Answer<Etagged<DeploymentOut>> {
    let nodes = api.store.nodes(&permit).await?;
    let deployment = permit.into_row();
    Ok(Etagged(deployment.revision, render(deployment, &nodes, receipt)))
}

/// What a change answers: the deployment as it is now, and how far the change has come.
async fn show_changed(
    api: &Api,
    actor: &Arc<Actor>,
    name: &str,
    wait: Option<Duration>,
) -> Answer<(StatusCode, Etagged<DeploymentOut>)> {
    let permit: Permit<View, Deployment> = admit(api, api.store.deployment(actor, name).await?, actor).await?;
    let mut receipts = collect(api, actor, &[permit.id], wait).await?;
    // Without `wait` the caller did not ask whether the nodes have it.
    let status = if wait.is_some() {
        status(&receipts)
    } else {
        StatusCode::OK
    };
    Ok((status, show_one(api, permit, receipts.pop()).await?))
}

/// A route from either of the two ways to say it.
fn route(version: Option<VersionName>, route: Option<Route>) -> Result<Option<Route>, Invalid> {
    match (version, route) {
        (Some(_), Some(_)) => Err(Invalid::new("/route", "is said twice: give version or route")),
        (Some(version), None) => Ok(Some(Route::only(version))),
        (None, route) => Ok(route),
    }
}

fn reason(note: Option<Description>) -> String {
    note.map(String::from).unwrap_or_default()
}

/// Both, when they hold together, whatever is usual where they are for.
fn checked(said: Option<SaidScale>, limits: Option<Limits>) -> Result<Option<Limits>, Invalid> {
    if let Some(said) = said {
        said.or(1).check().map_err(|invalid| invalid.under("/scale"))?;
    }
    let limits = limits.map(|limits| limits.check().map_err(|invalid| invalid.under("/limits")));
    limits.transpose()
}

fn header(name: Option<HeaderName>) -> Result<Option<HeaderName>, Invalid> {
    let taken = [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "cookie",
        "authorization",
    ];
    match name {
        Some(name) if name.as_str().bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Err(Invalid::new("/key_header", "must be lower case"))
        }
        Some(name) if taken.contains(&name.as_str()) => {
            Err(Invalid::new("/key_header", "means something else in HTTP"))
        }
        other => Ok(other),
    }
}

/// The deployments that the caller may see, by name.
#[utoipa::path(get, path = "/deployments", tag = "deployments", params(PageQuery), responses((status = 200, body = List<DeploymentOut>)))]
pub async fn list(
    visible: Visible<Deployment>,
    State(api): State<Api>,
    Query(page): Query<PageQuery>,
) -> Answer<List<DeploymentOut>> {
    let page = api.store.deployments(&visible, &page.request()?).await?;
    let ids: Vec<Uuid> = page.items.iter().map(|deployment| deployment.id).collect();
    let nodes = api.store.nodes_of(&ids).await?;
    let page = page.map(|deployment| {
        let own: Vec<Node> = nodes
            .iter()
            .filter(|node| node.deployment_id == deployment.id)
            .cloned()
            .collect();
        render(deployment, &own, None)
    });
    Ok(List {
        items: page.items,
        next: page.next,
    })
}

/// Make a deployment: deploy on the service and on the infrastructure are needed. It starts with no keys, so nobody can
/// call it until one is made.
#[utoipa::path(post, path = "/deployments", tag = "deployments", params(WaitQuery), request_body = NewDeploymentIn,
    responses((status = 201, body = DeploymentOut)))]
pub async fn create(
    Caller(actor): Caller,
    State(api): State<Api>,
    Query(wait): Query<WaitQuery>,
    Json(input): Json<NewDeploymentIn>,
) -> Answer<impl IntoResponse> {
    let wait = wait.duration()?;
    let limits = checked(input.scale, input.limits)?;
    let route = route(input.version, input.route)?
        .ok_or_else(|| Invalid::new("/version", "is missing: give version or route"))?;
    let key_header = match header(input.key_header)? {
        Some(name) => name,
        None => HeaderName::parse("x-api-key")?,
    };
    let default_name = format!("{}-on-{}", input.service, input.infrastructure);
    let name = match input.name {
        Some(name) => name,
        None => DeploymentName::parse(&default_name)?,
    };
    let note = reason(input.note);
    let site = find(&api, &actor, input.service.as_str(), input.infrastructure.as_str()).await?;
    let usual = site.infrastructure.kubernetes.as_ref();
    let usual = usual.map_or(1, |settings| settings.replicas);
    let new = NewDeployment {
        name: name.clone(),
        route,
        enabled: input.enabled.unwrap_or(true),
        access: input.access.unwrap_or(Access::Keys),
        key_header,
        scale: input.scale.unwrap_or_default().or(usual),
        limits: limits.unwrap_or_default(),
        note,
    };
    api.store.create_deployment(&site, new).await?;
    let (_, shown) = show_changed(&api, &actor, name.as_str(), wait).await?;
    Ok(Created(format!("/deployments/{name}"), shown))
}

/// A deployment.
#[utoipa::path(get, path = "/deployments/{deployment}", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 200, body = DeploymentOut)))]
pub async fn show(permit: Permit<View, Deployment>, State(api): State<Api>) -> Answer<Etagged<DeploymentOut>> {
    show_one(&api, permit, None).await
}

/// Change a deployment: its version or route, access, scale, limits. Keys, weights, limits and access reach its nodes
/// without a restart.
#[utoipa::path(patch, path = "/deployments/{deployment}", tag = "deployments", params(("deployment" = String, Path), WaitQuery, IfMatch),
    request_body = DeploymentChangeIn,
    responses((status = 200, body = DeploymentOut), (status = 202, body = DeploymentOut, description = "Some nodes do not have it yet")))]
pub async fn change(
    permit: Permit<Deploy, Deployment>,
    Caller(actor): Caller,
    State(api): State<Api>,
    Query(wait): Query<WaitQuery>,
    if_match: IfMatch,
    Json(input): Json<DeploymentChangeIn>,
) -> Answer<impl IntoResponse> {
    if_match.check(permit.revision)?;
    let wait = wait.duration()?;
    let limits = checked(input.scale, input.limits)?;
    let change = DeploymentChange {
        route: route(input.version, input.route)?,
        access: input.access,
        key_header: header(input.key_header)?,
        scale: input.scale.map(|said| said.or(permit.usual_replicas)),
        limits,
        note: reason(input.note),
        enabled: None,
    };
    api.store
        .change_deployment(&permit, "change-deployment", change)
        .await?;
    show_changed(&api, &actor, permit.name.as_str(), wait).await
}

async fn switch(
    api: &Api,
    permit: Permit<Deploy, Deployment>,
    actor: &Arc<Actor>,
    enabled: bool,
    note: Option<Description>,
) -> Answer<impl IntoResponse + use<>> {
    if permit.enabled != enabled {
        let action = if enabled {
            "enable-deployment"
        } else {
            "disable-deployment"
        };
        let change = DeploymentChange {
            enabled: Some(enabled),
            note: reason(note),
            ..DeploymentChange::default()
        };
        api.store.change_deployment(&permit, action, change).await?;
    }
    show_changed(api, actor, permit.name.as_str(), None).await
}

/// Switch a deployment on. Saying it twice changes nothing.
#[utoipa::path(post, path = "/deployments/{deployment}/enable", tag = "deployments", params(("deployment" = String, Path), IfMatch),
    request_body = Option<Note>, responses((status = 200, body = DeploymentOut)))]
pub async fn enable(
    permit: Permit<Deploy, Deployment>,
    Caller(actor): Caller,
    State(api): State<Api>,
    if_match: IfMatch,
    JsonOrNothing(input): JsonOrNothing<Note>,
) -> Answer<impl IntoResponse> {
    if_match.check(permit.revision)?;
    switch(&api, permit, &actor, true, input.note).await
}

/// Switch a deployment off: its nodes finish what they are doing and end.
#[utoipa::path(post, path = "/deployments/{deployment}/disable", tag = "deployments", params(("deployment" = String, Path), IfMatch),
    request_body = Option<Note>, responses((status = 200, body = DeploymentOut)))]
pub async fn disable(
    permit: Permit<Deploy, Deployment>,
    Caller(actor): Caller,
    State(api): State<Api>,
    if_match: IfMatch,
    JsonOrNothing(input): JsonOrNothing<Note>,
) -> Answer<impl IntoResponse> {
    if_match.check(permit.revision)?;
    switch(&api, permit, &actor, false, input.note).await
}

/// Roll back to a revision: its route, scale and limits, never its access.
#[utoipa::path(post, path = "/deployments/{deployment}/rollback", tag = "deployments", params(("deployment" = String, Path), WaitQuery, IfMatch),
    request_body = RollBack,
    responses((status = 200, body = DeploymentOut), (status = 202, body = DeploymentOut, description = "Some nodes do not have it yet")))]
pub async fn roll_back(
    permit: Permit<Deploy, Deployment>,
    Caller(actor): Caller,
    State(api): State<Api>,
    Query(wait): Query<WaitQuery>,
    if_match: IfMatch,
    Json(input): Json<RollBack>,
) -> Answer<impl IntoResponse> {
    if_match.check(permit.revision)?;
    let wait = wait.duration()?;
    api.store.roll_back(&permit, input.to, reason(input.note)).await?;
    show_changed(&api, &actor, permit.name.as_str(), wait).await
}

/// Delete a deployment that is switched off.
#[utoipa::path(delete, path = "/deployments/{deployment}", tag = "deployments", params(("deployment" = String, Path), IfMatch), responses((status = 204)))]
pub async fn remove(
    permit: Permit<Deploy, Deployment>,
    State(api): State<Api>,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    if_match.check(permit.revision)?;
    api.store.delete_deployment(permit).await?;
    Ok(StatusCode::NO_CONTENT)
}
