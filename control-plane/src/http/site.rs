//! Where a deployment is to be made: what a body names, found for who may deploy there.
//!
//! Apart from paths, of which a stranger is told that there is nothing: a body was read already, so it is told what is wrong
//! with it. The rule a newcomer would break: what is hidden and what is not there are answered alike, halves one by one.

use super::output::Answer;
use super::permit::admit;
use super::problem::Problem;
use super::state::Api;
use crate::authn::Actor;
use crate::authz::{Action, Deploy};
use crate::domain::Invalid;
use crate::store::{Error, Permit, Site};
use axum::http::StatusCode;
use std::sync::Arc;

/// What a body names and the caller may not see is as unknown as what is not there: 422 at its place.
pub async fn find(api: &Api, actor: &Arc<Actor>, service: &str, infrastructure: &str) -> Answer<Permit<Deploy, Site>> {
    let unknown = |pointer: &str, what: &str| {
        Problem::from(Invalid::new(
            pointer,
            format!("there is no such {what}, or you may not see it"),
        ))
    };
    let hidden = |error: Error, pointer, what| match error {
        Error::NotFound(_) => unknown(pointer, what),
        other => other.into(),
    };
    let found = api
        .store
        .service(actor, service)
        .await
        .map_err(|error| hidden(error, "/service", "service"))?;
    if !api.table.allows(Action::SeeService, &found.facts().standing) {
        return Err(unknown("/service", "service"));
    }
    let found = api.store.infrastructure(actor, infrastructure).await;
    let found = found.map_err(|error| hidden(error, "/infrastructure", "infrastructure"))?;
    if !api.table.allows(Action::SeeInfrastructure, &found.facts().standing) {
        return Err(unknown("/infrastructure", "infrastructure"));
    }
    let found = api.store.site(actor, service, infrastructure).await?;
    let facts = found.facts().clone();
    let admitted = admit(api, found, actor).await;
    if let Err(problem) = &admitted
        && problem.status() == StatusCode::FORBIDDEN
    {
        let object = format!("{service}-on-{infrastructure}");
        api.store
            .record_refusal(actor, "create-deployment", "deployment", &object, &facts)
            .await?;
    }
    admitted
}
