//! The audit: who did what.

use super::caller::Caller;
use super::input::Query;
use super::output::{Answer, List};
use super::permit::may_be_name;
use super::state::Api;
use crate::domain::{Invalid, Time};
use crate::store::{AuditFilter, AuditRow, PageRequest, Seen};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Which rows.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// The name of what it was done to.
    #[param(pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$", max_length = 100)]
    object: Option<String>,
    /// The name of who did it.
    #[param(pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$", max_length = 100)]
    actor: Option<String>,
    /// Not older.
    since: Option<Time>,
    /// `next` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 342)]
    cursor: Option<String>,
    /// 1 to 200, 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u64>,
}

/// One deed.
#[derive(Serialize, ToSchema)]
pub struct AuditOut {
    id: i64,
    at: Time,
    actor: String,
    actor_kind: String,
    /// The access token that was used, by name.
    token: Option<String>,
    /// The address that the call came from.
    source: Option<String>,
    action: String,
    object_kind: String,
    object: String,
    before: Option<Value>,
    after: Option<Value>,
    /// `done` or `refused`.
    outcome: String,
}

impl From<AuditRow> for AuditOut {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            actor: row.actor,
            actor_kind: row.actor_kind,
            token: row.token,
            source: row.source,
            action: row.action,
            object_kind: row.object_kind,
            object: row.object,
            before: row.before,
            after: row.after,
            outcome: row.outcome,
        }
    }
}

fn name(pointer: &str, text: Option<String>) -> Result<Option<String>, Invalid> {
    match text {
        Some(text) if !may_be_name(&text) => Err(Invalid::new(
            pointer,
            "is no name: too long, or with control characters",
        )),
        text => Ok(text),
    }
}

/// The audit of what the caller may see, the newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditQuery), responses((status = 200, body = List<AuditOut>)))]
pub async fn list(
    Caller(actor): Caller,
    State(api): State<Api>,
    Query(query): Query<AuditQuery>,
) -> Answer<List<AuditOut>> {
    let page = PageRequest::parse(query.cursor.as_deref(), query.limit)?;
    let filter = AuditFilter {
        object: name("/object", query.object)?,
        actor: name("/actor", query.actor)?,
        since: query.since,
    };
    Ok(api
        .store
        .audit(&actor, &Seen::of(&actor, &api.table), filter, &page)
        .await?
        .into())
}
