//! Whether an infrastructure can be used, asked of what it is made of.

use super::output::Answer;
use super::state::Api;
use crate::authz::Administer;
use crate::domain::Infrastructure;
use crate::launch::kubernetes::Finding;
use crate::store::Permit;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// What works and what is missing.
#[derive(Serialize, ToSchema)]
pub struct Check {
    /// Whether deployments can be made there.
    works: bool,
    findings: Vec<FindingOut>,
}

/// One thing that was looked at.
#[derive(Serialize, ToSchema)]
#[schema(as = Finding)]
pub struct FindingOut {
    /// What: the cluster, something that Castoff needs to do there, its quota, a pod.
    what: String,
    /// Whether it is as it should be.
    works: bool,
    /// What was found, and what to do.
    message: String,
}

impl From<Finding> for FindingOut {
    fn from(finding: Finding) -> Self {
        Self {
            what: finding.what,
            works: finding.works,
            message: finding.message,
        }
    }
}

/// Look whether an infrastructure can be used: of kind kubernetes its cluster, every permission there, the quota, and
/// whether a pod would be admitted. Nothing is changed.
#[utoipa::path(post, path = "/infrastructures/{infrastructure}/check", tag = "infrastructures", params(("infrastructure" = String, Path)),
    responses((status = 200, body = Check)))]
pub async fn check(permit: Permit<Administer, Infrastructure>, State(api): State<Api>) -> Answer<axum::Json<Check>> {
    let findings = api.clusters.check(permit.id).await?.unwrap_or_default();
    Ok(axum::Json(Check {
        works: findings.iter().all(|finding| finding.works),
        findings: findings.into_iter().map(FindingOut::from).collect(),
    }))
}
