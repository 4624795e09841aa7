//! The history of a deployment: what it was, by whom and why.

use super::input::{PageQuery, Query};
use super::output::{Answer, List};
use super::permit::Last;
use super::problem::{Kind, Problem};
use super::state::Api;
use crate::authz::View;
use crate::domain::{Deployment, Leg, Limits, Revision, Scale, Time};
use crate::store::Permit;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// One entry of a deployment's history.
#[derive(Serialize, ToSchema)]
#[schema(as = Revision)]
pub struct RevisionOut {
    n: i64,
    route: Vec<Leg>,
    scale: Scale,
    limits: Limits,
    by: String,
    note: String,
    at: Time,
}

impl From<Revision> for RevisionOut {
    fn from(revision: Revision) -> Self {
        Self {
            n: revision.n,
            route: revision.route.into(),
            scale: revision.scale,
            limits: revision.limits,
            by: revision.author,
            note: revision.note,
            at: revision.at,
        }
    }
}

/// A deployment's history, the newest first.
#[utoipa::path(get, path = "/deployments/{deployment}/revisions", tag = "deployments", params(("deployment" = String, Path), PageQuery),
    responses((status = 200, body = List<RevisionOut>)))]
pub async fn list_revisions(
    permit: Permit<View, Deployment>,
    State(api): State<Api>,
    Query(page): Query<PageQuery>,
) -> Answer<List<RevisionOut>> {
    Ok(api.store.revisions(&permit, &page.request()?).await?.into())
}

/// One entry of a deployment's history.
#[utoipa::path(get, path = "/deployments/{deployment}/revisions/{n}", tag = "deployments", params(("deployment" = String, Path), ("n" = i64, Path, minimum = 1)),
    responses((status = 200, body = RevisionOut)))]
pub async fn show_revision(
    permit: Permit<View, Deployment>,
    State(api): State<Api>,
    Last(n): Last,
) -> Answer<axum::Json<RevisionOut>> {
    let n = n
        .parse()
        .map_err(|_| Problem::new(Kind::NotFound, "a revision is a number"))?;
    Ok(axum::Json(api.store.revision(&permit, n).await?.into()))
}
