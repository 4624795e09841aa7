//! Why a deed is allowed or not: the decision, explained.

use super::caller::Caller;
use super::input::Query;
use super::output::Answer;
use super::permit::may_be_name;
use super::problem::{AskOut, Problem};
use super::state::Api;
use crate::authz::{Action, Half, Source, Standing, Verdict};
use crate::domain::{InfrastructureName, Invalid, ServiceName};
use crate::store::{Error, Facts};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The name of an action, for the document.
struct ActionName;

impl PartialSchema for ActionName {
    fn schema() -> RefOr<Schema> {
        let names = Action::ALL.iter().map(|action| action.name());
        let name = ObjectBuilder::new().schema_type(Type::String);
        name.enum_values(Some(names)).into()
    }
}

impl ToSchema for ActionName {}

/// What one wants to know.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// A deed, by its name in policies/builtin.csv: see-service, write-versions, change-deployment, …
    #[param(inline, value_type = ActionName)]
    action: String,
    /// The service that it is about.
    #[param(value_type = Option<ServiceName>)]
    service: Option<String>,
    /// The infrastructure that it is about.
    #[param(value_type = Option<InfrastructureName>)]
    infrastructure: Option<String>,
}

/// A decision, explained.
#[derive(Serialize, ToSchema)]
pub struct Explanation {
    allowed: bool,
    action: String,
    /// Which group, which grant, which rule.
    because: Vec<String>,
    /// What is missing, when it is not allowed.
    missing: Vec<String>,
    /// What the caller has on what it asked about.
    have: Vec<String>,
    /// Who can give what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<AskOut>,
}

/// May one do this, and why?
#[utoipa::path(get, path = "/can-i", tag = "accounts", params(Question), responses((status = 200, body = Explanation)))]
pub async fn ask(
    Caller(actor): Caller,
    State(api): State<Api>,
    Query(question): Query<Question>,
) -> Answer<axum::Json<Explanation>> {
    let action = Action::parse(&question.action).ok_or_else(|| {
        let names: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
        Invalid::new("/action", format!("must be one of {}", names.join(", ")))
    })?;
    let mut facts = Facts {
        standing: Standing {
            platform_admin: actor.admin,
            create_service: actor.create_service,
            ..Standing::default()
        },
        service: None,
        infrastructure: None,
    };
    let mut sources = Vec::new();
    let unknown = |pointer: &str| {
        Problem::from(Invalid::new(
            pointer,
            "there is none of this name, or you may not see it",
        ))
    };
    let hidden = |error: Error, pointer: &str| match error {
        Error::NotFound(_) => unknown(pointer),
        other => other.into(),
    };
    if action.needs(Half::Service) {
        let name = question
            .service
            .as_deref()
            .ok_or_else(|| Invalid::new("/service", "is missing: this deed is about one"))?;
        let name = Some(name)
            .filter(|name| may_be_name(name))
            .ok_or_else(|| unknown("/service"))?;
        let found = api
            .store
            .service(&actor, name)
            .await
            .map_err(|error| hidden(error, "/service"))?;
        if !api.table.allows(Action::SeeService, &found.facts().standing) {
            return Err(unknown("/service"));
        }
        facts.standing.service = found.facts().standing.service;
        facts.standing.service_owner = found.facts().standing.service_owner;
        facts.service.clone_from(&found.facts().service);
        if let Some((id, _)) = facts.service {
            let of = api.store.service_sources(&actor, id).await?;
            sources.extend(of.into_iter().map(|source| Source::service(source.group, source.mask)));
        }
    }
    if action.needs(Half::Infrastructure) {
        let name = question.infrastructure.as_deref();
        let name = name.ok_or_else(|| Invalid::new("/infrastructure", "is missing: this deed is about one"))?;
        let name = Some(name)
            .filter(|name| may_be_name(name))
            .ok_or_else(|| unknown("/infrastructure"))?;
        let found = api
            .store
            .infrastructure(&actor, name)
            .await
            .map_err(|error| hidden(error, "/infrastructure"))?;
        if !api.table.allows(Action::SeeInfrastructure, &found.facts().standing) {
            return Err(unknown("/infrastructure"));
        }
        facts.standing.infrastructure = found.facts().standing.infrastructure;
        facts.infrastructure.clone_from(&found.facts().infrastructure);
        if let Some((id, _)) = facts.infrastructure {
            let of = api.store.infrastructure_sources(&actor, id).await?;
            sources.extend(
                of.into_iter()
                    .map(|source| Source::infrastructure(source.group, source.mask)),
            );
        }
    }
    let service = facts.service.as_ref().map(|(_, name)| name.as_str());
    let infrastructure = facts.infrastructure.as_ref().map(|(_, name)| name.as_str());
    let explained = api
        .table
        .explain(action, &facts.standing, &sources, service, infrastructure);
    // Whoever administers a half that is not missing cannot help.
    if let Verdict::Forbidden { missing } = api.table.decide(action, &facts.standing) {
        let lacks = |half| missing.iter().any(|missing| missing.half() == half);
        facts.service = facts.service.filter(|_| lacks(Half::Service));
        facts.infrastructure = facts.infrastructure.filter(|_| lacks(Half::Infrastructure));
    }
    let ask = if explained.allowed {
        None
    } else {
        Some(api.store.who_can_give(&facts).await?.into())
    };
    Ok(axum::Json(Explanation {
        allowed: explained.allowed,
        action: action.name().to_owned(),
        because: explained.because,
        missing: explained.missing,
        have: explained.have,
        ask,
    }))
}
