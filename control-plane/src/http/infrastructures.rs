//! Infrastructures: where deployments run.

use super::caller::Caller;
use super::input::{IfMatch, Json, PageQuery, Query};
use super::kubernetes_settings as settings;
use super::output::{Answer, Created, Etagged, List};
use super::permit::admit;
use super::state::Api;
use crate::authn::Actor;
use crate::authz::{Action, Administer, Standing, View};
use crate::domain::kubernetes::{Autoscaling, Resources};
use crate::domain::{
    Allowances, Description, Infrastructure, InfrastructureKind, InfrastructureName, Invalid, Kubernetes, Stage, Time,
};
use crate::store::{InfrastructureChange, Listed, NewInfrastructure, Permit, Platform, Visible};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// An infrastructure.
#[derive(Serialize, ToSchema)]
#[schema(as = Infrastructure)]
pub struct InfrastructureOut {
    id: Uuid,
    name: InfrastructureName,
    kind: InfrastructureKind,
    stage: Stage,
    description: String,
    allow: Allowances,
    /// Of kind kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<PodDefaults>,
    /// Of kind kubernetes, for those who administer it.
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes: Option<Kubernetes>,
    /// What the caller may do on it.
    my_privileges: Vec<&'static str>,
    /// Groups that can give more.
    admin_groups: Vec<String>,
    created_at: Time,
    updated_at: Time,
    revision: i64,
}

/// What everybody who may see an infrastructure knows of its pods: what they take and how many there are, unless their
/// deployment says otherwise. How the cluster is laid out and entered is known to those who administer it.
#[derive(Serialize, ToSchema)]
pub struct PodDefaults {
    replicas: u32,
    resources: Resources,
    autoscaling: Option<Autoscaling>,
}

impl PodDefaults {
    fn of(settings: &Kubernetes) -> Self {
        Self {
            replicas: settings.replicas,
            resources: settings.resources,
            autoscaling: settings.autoscaling,
        }
    }
}

/// An infrastructure to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewInfrastructure)]
pub struct NewInfrastructureIn {
    name: InfrastructureName,
    kind: InfrastructureKind,
    stage: Stage,
    description: Option<Description>,
    /// On stage dev everything when absent, elsewhere nothing.
    allow: Option<AllowancesIn>,
    /// Of kind kubernetes, and needed there: at least a namespace.
    kubernetes: Option<Kubernetes>,
    /// Of kind kubernetes: the text of a kubeconfig file, which is never shown again; absent for the cluster that the
    /// control plane runs in.
    #[schema(max_length = 131_072, write_only)]
    kubeconfig: Option<String>,
}

/// What is to be changed of an infrastructure.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InfrastructureChange)]
pub struct InfrastructureChangeIn {
    stage: Option<Stage>,
    description: Option<Description>,
    allow: Option<AllowancesIn>,
    /// What is absent in it stays; null brings back a default, but for `resources.cpu_limit`, where it is no limit.
    #[schema(value_type = Option<Object>)]
    kubernetes: Option<serde_json::Map<String, serde_json::Value>>,
    /// In place of the one that opens its cluster now.
    #[schema(max_length = 131_072, write_only)]
    kubeconfig: Option<String>,
    /// The new kubeconfig opens the same cluster as before, whose API server has another address now: deployments stay. What runs
    /// in a cluster that is not given here any more is nobody's.
    #[serde(default)]
    same_cluster: bool,
}

/// Which ways past a deployment's own keys are allowed; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AllowancesChange)]
pub struct AllowancesIn {
    inherit: Option<bool>,
    public: Option<bool>,
    personal_keys: Option<bool>,
}

impl AllowancesIn {
    fn over(&self, before: Allowances) -> Allowances {
        Allowances {
            inherit: self.inherit.unwrap_or(before.inherit),
            public: self.public.unwrap_or(before.public),
            personal_keys: self.personal_keys.unwrap_or(before.personal_keys),
        }
    }
}

fn render(api: &Api, row: Infrastructure, standing: &Standing, admin_groups: Vec<String>) -> InfrastructureOut {
    InfrastructureOut {
        id: row.id,
        name: row.name,
        kind: row.kind,
        stage: row.stage,
        description: row.description,
        allow: row.allow,
        pods: row.kubernetes.as_ref().map(PodDefaults::of),
        kubernetes: row
            .kubernetes
            .filter(|_| api.table.allows(Action::AdministerInfrastructure, standing)),
        my_privileges: api.table.infrastructure_privileges(standing).names(),
        admin_groups,
        created_at: row.created_at,
        updated_at: row.updated_at,
        revision: row.revision,
    }
}

async fn show_one<P>(api: &Api, permit: Permit<P, Infrastructure>) -> Answer<Etagged<InfrastructureOut>> {
    let groups = api.store.infrastructure_admin_groups(permit.id).await?;
    let standing = *permit.standing();
    let row = permit.into_row();
    Ok(Etagged(row.revision, render(api, row, &standing, groups)))
}

async fn show_named(api: &Api, actor: &Arc<Actor>, name: &str) -> Answer<Etagged<InfrastructureOut>> {
    let permit: Permit<View, Infrastructure> = admit(api, api.store.infrastructure(actor, name).await?, actor).await?;
    show_one(api, permit).await
}

/// The infrastructures that the caller may see, by name.
#[utoipa::path(get, path = "/infrastructures", tag = "infrastructures", params(PageQuery), responses((status = 200, body = List<InfrastructureOut>)))]
pub async fn list(
    Caller(actor): Caller,
    visible: Visible<Infrastructure>,
    State(api): State<Api>,
    Query(page): Query<PageQuery>,
) -> Answer<List<InfrastructureOut>> {
    let page = api.store.infrastructures(&visible, &page.request()?).await?;
    let page = page.map(|listed| {
        let Listed {
            row,
            mask,
            admin_groups,
        } = listed;
        let standing = Standing {
            platform_admin: actor.admin,
            infrastructure: mask,
            ..Standing::default()
        };
        render(&api, row, &standing, admin_groups)
    });
    Ok(List {
        items: page.items,
        next: page.next,
    })
}

/// Make an infrastructure.
#[utoipa::path(post, path = "/infrastructures", tag = "infrastructures", request_body = NewInfrastructureIn,
    responses((status = 201, body = InfrastructureOut)))]
pub async fn create(
    admin: Permit<Administer, Platform>,
    Caller(actor): Caller,
    State(api): State<Api>,
    Json(input): Json<NewInfrastructureIn>,
) -> Answer<impl IntoResponse> {
    let by_stage = Allowances::of_stage(&input.stage);
    let (kubernetes, kubeconfig) = settings::made(input.kind, input.kubernetes, input.kubeconfig)?;
    let new = NewInfrastructure {
        name: input.name.clone(),
        kind: input.kind,
        description: input.description.map(String::from).unwrap_or_default(),
        allow: input.allow.map_or(by_stage, |allow| allow.over(by_stage)),
        stage: input.stage,
        kubernetes,
        kubeconfig,
    };
    api.store.create_infrastructure(&admin, new).await?;
    let shown = show_named(&api, &actor, input.name.as_str()).await?;
    Ok(Created(format!("/infrastructures/{}", input.name), shown))
}

/// An infrastructure.
#[utoipa::path(get, path = "/infrastructures/{infrastructure}", tag = "infrastructures", params(("infrastructure" = String, Path)),
    responses((status = 200, body = InfrastructureOut)))]
pub async fn show(permit: Permit<View, Infrastructure>, State(api): State<Api>) -> Answer<Etagged<InfrastructureOut>> {
    show_one(&api, permit).await
}

/// Change an infrastructure. What its deployments use cannot be disallowed under them.
#[utoipa::path(patch, path = "/infrastructures/{infrastructure}", tag = "infrastructures", params(("infrastructure" = String, Path), IfMatch),
    request_body = InfrastructureChangeIn, responses((status = 200, body = InfrastructureOut)))]
pub async fn change(
    permit: Permit<Administer, Infrastructure>,
    Caller(actor): Caller,
    State(api): State<Api>,
    if_match: IfMatch,
    Json(input): Json<InfrastructureChangeIn>,
) -> Answer<Etagged<InfrastructureOut>> {
    if_match.check(permit.revision)?;
    if input.same_cluster && input.kubeconfig.is_none() {
        return Err(Invalid::new("/same_cluster", "goes with a kubeconfig, which has its new address").into());
    }
    let (kubernetes, kubeconfig) = settings::changed(permit.kubernetes.as_ref(), input.kubernetes, input.kubeconfig)?;
    let change = InfrastructureChange {
        stage: input.stage,
        description: input.description.map(String::from),
        allow: input.allow.map(|allow| allow.over(permit.allow)),
        kubernetes,
        kubeconfig,
        same_cluster: input.same_cluster,
    };
    api.store.change_infrastructure(&permit, change).await?;
    show_named(&api, &actor, permit.name.as_str()).await
}

/// Whether to give up what is left.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ForceQuery {
    /// Give up what could not be taken away from its cluster, because of this. It is written into the audit.
    #[param(
        min_length = 1,
        max_length = 2_000,
        pattern = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
    )]
    force: Option<String>,
}

/// Delete an infrastructure on which nothing runs.
#[utoipa::path(delete, path = "/infrastructures/{infrastructure}", tag = "infrastructures", params(("infrastructure" = String, Path), ForceQuery, IfMatch),
    responses((status = 204)))]
pub async fn remove(
    permit: Permit<Administer, Infrastructure>,
    State(api): State<Api>,
    Query(query): Query<ForceQuery>,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    if_match.check(permit.revision)?;
    let reason = query.force.as_deref().map(why).transpose()?;
    let visible = Visible::of(permit.actor(), &api.table);
    api.store
        .delete_infrastructure(permit, &visible, reason.as_ref().map(Description::as_str))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why what is left is given up.
fn why(text: &str) -> Result<Description, Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid::new("/force", "must say why"));
    }
    Description::parse(text).map_err(|invalid| invalid.under("/force"))
}
