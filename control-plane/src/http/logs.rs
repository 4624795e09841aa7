//! What nodes log: local ones into files of this machine, pods into their cluster.

use super::input::Query;
use super::output::Answer;
use super::problem::Problem;
use super::state::Api;
use crate::authz::View;
use crate::domain::{Deployment, InfrastructureKind, Invalid};
use crate::store::Permit;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use uuid::Uuid;

/// As many as are kept in mind of each.
const MOST_LINES: usize = 2_000;

/// Which lines of which log.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// One node; all when absent.
    node: Option<Uuid>,
    /// The last so many lines of each: 1 to 2000, 200 when absent.
    #[param(minimum = 1, maximum = 2000)]
    tail: Option<usize>,
}

/// The last lines that a deployment's nodes logged; an operator's own nodes log where the operator has them.
#[utoipa::path(get, path = "/deployments/{deployment}/logs", tag = "deployments", params(("deployment" = String, Path), LogQuery),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn logs(
    permit: Permit<View, Deployment>,
    State(api): State<Api>,
    Query(query): Query<LogQuery>,
) -> Answer<impl IntoResponse> {
    let logs = of_nodes(&api, &permit, &query).await?;
    if query.node.is_some() && logs.is_empty() {
        return Err(Problem::not_found());
    }
    let titled = query.node.is_none() && logs.len() > 1;
    let mut text = String::new();
    for (id, lines) in &logs {
        if titled {
            text.push_str(&format!("==> node {id} <==\n"));
        }
        text.push_str(lines);
        // One that goes on ends here for now.
        if !lines.is_empty() && !lines.ends_with('\n') {
            text.push('\n');
        }
    }
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, plain)], text))
}

impl LogQuery {
    /// How many lines of each.
    pub(super) fn tail(&self) -> Result<usize, Invalid> {
        let tail = self.tail.unwrap_or(200);
        match (1..=MOST_LINES).contains(&tail) {
            true => Ok(tail),
            false => Err(Invalid::new("/tail", format!("must be 1 to {MOST_LINES}"))),
        }
    }

    fn is_asked(&self, id: Uuid) -> bool {
        self.node.is_none_or(|wanted| wanted == id)
    }
}

type Logs = Vec<(Uuid, String)>;

/// The last lines of each node that is asked for.
pub(super) async fn of_nodes(api: &Api, permit: &Permit<View, Deployment>, query: &LogQuery) -> Answer<Logs> {
    let tail = query.tail()?;
    let is_asked = |id: Uuid| query.is_asked(id);
    let mut logs = match permit.kind {
        InfrastructureKind::Kubernetes => of_pods(api, permit, tail, is_asked).await?,
        InfrastructureKind::Local | InfrastructureKind::Static => of_processes(api, permit, tail, is_asked).await?,
    };
    logs.retain(|(id, _)| is_asked(*id));
    Ok(logs)
}

async fn of_pods(
    api: &Api,
    permit: &Permit<View, Deployment>,
    tail: usize,
    is_asked: impl Fn(Uuid) -> bool,
) -> Answer<Logs> {
    let pods = api.clusters.logs(permit.infrastructure_id, permit.id, tail).await?;
    let pods = pods.map_err(|why| Problem::unavailable(&why))?;
    Ok(pods.iter().filter(|(id, _)| is_asked(*id)).cloned().collect())
}

/// Of nodes that are not asked for only that they are there.
async fn of_processes(
    api: &Api,
    permit: &Permit<View, Deployment>,
    tail: usize,
    is_asked: impl Fn(Uuid) -> bool,
) -> Answer<Logs> {
    let mut logs = Vec::new();
    for node in api.store.nodes(permit).await? {
        let lines = match node.launched && is_asked(node.id) {
            true => api
                .logs
                .tail(node.id, tail)
                .await
                .map_err(|error| Problem::internal(&error))?,
            false => String::new(),
        };
        logs.push((node.id, lines));
    }
    Ok(logs)
}
