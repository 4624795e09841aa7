//! Receipts: which nodes have a change, and which not yet.

use super::problem::Problem;
use super::state::Api;
use crate::authn::Actor;
use crate::domain::Deployment;
use crate::push;
use crate::store::Visible;
use axum::http::StatusCode;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

/// How far a change has come.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Receipt {
    /// The deployment whose config was raised.
    deployment: String,
    epoch: u64,
    /// The config that holds the change.
    version: u64,
    /// How many nodes have it.
    acked: usize,
    /// The nodes that have it.
    nodes: Vec<Uuid>,
    /// The nodes that do not have it yet, and have not been proven to have ended.
    pending: Vec<Uuid>,
    /// Every node that has it would also start again with it.
    durable_copy_written: bool,
    elapsed_ms: u64,
}

/// 200 when every node of theirs has it, else 202.
pub fn status(receipts: &[Receipt]) -> StatusCode {
    let is_whole = |receipt: &Receipt| receipt.pending.is_empty() && receipt.durable_copy_written;
    if receipts.iter().all(is_whole) {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    }
}

/// Waits for the nodes of the deployments whose configs were raised, as far as the actor may see these; not at all without
/// a time to wait. What they may not see shows neither in the answer nor in how long it takes.
///
/// # Errors
/// The database failed.
pub async fn collect(
    api: &Api,
    actor: &Actor,
    raised: &[Uuid],
    wait: Option<Duration>,
) -> Result<Vec<Receipt>, Problem> {
    let wait = wait.unwrap_or_default();
    let visible = Visible::<Deployment>::of(actor, &api.table);
    let names = api.store.names_of(&visible, raised).await?;
    let seen: Vec<Uuid> = names.iter().map(|(id, _)| *id).collect();
    let positions = api.store.config_positions_of(&seen).await?;
    let waiting = positions
        .iter()
        .map(|(id, epoch, version)| api.receipts.wait(*id, (*epoch, *version), wait));
    let receipts: Vec<push::Receipt> = futures::future::try_join_all(waiting).await?;
    let named = receipts.into_iter().filter_map(|receipt| {
        let (_, name) = names.iter().find(|(id, _)| *id == receipt.deployment_id)?;
        Some(Receipt {
            deployment: name.clone(),
            epoch: receipt.epoch,
            version: receipt.version,
            acked: receipt.acked.len(),
            nodes: receipt.acked,
            pending: receipt.pending,
            durable_copy_written: receipt.durable_copy_written,
            elapsed_ms: receipt.elapsed_ms,
        })
    });
    Ok(named.collect())
}
