//! Whether what a pod starts with fits into its Secret. Said to whoever causes that it does not, and not half applied later.
//!
//! Counted are the signed config and the join document; addresses of packages take what is left of the Secret. The rule a
//! newcomer would break: what makes a config smaller is never refused, or nobody could revoke a key of one that is too large
//! already.

use super::entity::{configs, deployments, infrastructures};
use super::{ConfigFacts, Error, Store, configs::lock_infrastructure, json};
use crate::domain::kubernetes::MOST_IN_SECRET;
use crate::domain::{Invalid, Kubernetes};
use sea_orm::sea_query::{Expr, Func, Query};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

/// The signature, its key's name and a token, and until when the config was the newest one: some 600 bytes.
const BESIDE: usize = 1 << 10;
/// The longest that an infrastructure says of its own: an authority, each byte of which may be written as six, and a URL.
const MOST_OWN: usize = 6 * (64 << 10) + (2 << 10);

/// Bytes of the join documents that a control plane writes, but for their tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinSize {
    /// All but the authority.
    pub alone: usize,
    /// The authority of the nodes' port, as it stands in them.
    pub authority: usize,
}

impl JoinSize {
    /// Of those for this infrastructure.
    fn on(self, settings: &Kubernetes) -> usize {
        let Some(own) = &settings.control_plane else {
            return self.alone + self.authority;
        };
        let authority = own.ca.as_deref().map_or(self.authority, quoted);
        self.alone + quoted(&own.url) + authority
    }

    /// At most, whatever the infrastructure.
    fn most(self) -> usize {
        self.alone + self.authority + MOST_OWN
    }
}

/// Bytes of a text in JSON.
fn quoted(text: &str) -> usize {
    serde_json::to_string(text).map_or(6 * text.len(), |quoted| quoted.len())
}

/// What is left for a config of so many bytes; none when it is too large.
fn room(config: usize, join: usize) -> Option<usize> {
    MOST_IN_SECRET.checked_sub(config + join + BESIDE)
}

/// The end of what is said of a config that is too large.
fn too_large(deployment: &str, config: usize, join: usize) -> String {
    let most = MOST_IN_SECRET.saturating_sub(join + BESIDE);
    format!(
        "the config of {deployment} has {config} bytes, and beside the join document a Secret of Kubernetes ({MOST_IN_SECRET} bytes) takes {most}"
    )
}

/// Checks that a deployment's next config fits where its pods start from.
///
/// # Errors
/// It does not, and is larger than the one before; or the database failed.
pub(super) async fn check(
    store: &Store,
    tx: &DatabaseTransaction,
    facts: &ConfigFacts,
    bytes: usize,
) -> Result<(), Error> {
    let size = store.join_size();
    if room(bytes, size.most()).is_some() {
        return Ok(());
    }
    let deployment = deployments::Entity::find_by_id(facts.deployment_id).one(tx).await?;
    let infrastructure = deployment.ok_or(Error::NotFound("deployment"))?.infrastructure_id;
    // What its nodes are told there stays so until this is committed.
    lock_infrastructure(tx, infrastructure).await?;
    let infrastructure = infrastructures::Entity::find_by_id(infrastructure).one(tx).await?;
    let Some(settings) = infrastructure.and_then(|row| row.kubernetes) else {
        return Ok(());
    };
    let settings: Kubernetes = json::read(&settings, "settings of a cluster")?;
    let join = size.on(&settings);
    if room(bytes, join).is_some() {
        return Ok(());
    }
    let before = configs::Entity::find_by_id(facts.deployment_id).one(tx).await?;
    if before.is_some_and(|before| bytes <= before.config.len()) {
        return Ok(());
    }
    Err(Error::Invalid(Invalid::new(
        "",
        format!(
            "does not fit: {}; revoke keys, or route to versions with fewer endpoints and labels",
            too_large(&facts.deployment, bytes, join)
        ),
    )))
}

/// Checks that the configs on an infrastructure, which is locked, fit beside the join documents of its new settings.
///
/// # Errors
/// One does not; or the database failed.
pub(super) async fn check_settings(
    store: &Store,
    tx: &DatabaseTransaction,
    id: Uuid,
    before: Option<&Kubernetes>,
    after: Option<&Kubernetes>,
) -> Result<(), Error> {
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(());
    };
    let size = store.join_size();
    let join = size.on(after);
    if join <= size.on(before) {
        return Ok(());
    }
    let here = Query::select()
        .column(deployments::Column::Id)
        .from(deployments::Entity)
        .and_where(deployments::Column::InfrastructureId.eq(id))
        .to_owned();
    let bytes = || Func::cust("length").arg(Expr::col(configs::Column::Config));
    let largest: Option<(Uuid, i32)> = configs::Entity::find()
        .select_only()
        .column(configs::Column::DeploymentId)
        .expr_as(bytes(), "bytes")
        .filter(configs::Column::DeploymentId.in_subquery(here))
        .order_by(Expr::from(bytes()), Order::Desc)
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    let Some((deployment, bytes)) = largest else {
        return Ok(());
    };
    let bytes = usize::try_from(bytes).unwrap_or_default();
    if room(bytes, join).is_some() {
        return Ok(());
    }
    let deployment = deployments::Entity::find_by_id(deployment).one(tx).await?;
    let name = deployment.map(|row| row.name).unwrap_or_default();
    Err(Error::Invalid(Invalid::new(
        "/kubernetes/control_plane",
        format!(
            "does not fit: {}; give a shorter authority",
            too_large(&name, bytes, join)
        ),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NamespaceName;
    use crate::domain::kubernetes::DialledAt;

    fn settings(ca: Option<&str>) -> Kubernetes {
        Kubernetes {
            control_plane: Some(DialledAt {
                url: "https://c.example:8401".to_owned(),
                ca: ca.map(str::to_owned),
                addresses: Vec::new(),
            }),
            ..Kubernetes::of(NamespaceName::parse("models").unwrap())
        }
    }

    #[test]
    fn all_that_lies_in_a_secret_counts() {
        let size = JoinSize {
            alone: 300,
            authority: 700,
        };
        let plain = Kubernetes::of(NamespaceName::parse("models").unwrap());
        // A line's end and a character that nobody sees are written as two bytes and as six.
        let ca = format!("{}\n\u{1}", "a".repeat(60_000));
        for (settings, join) in [
            (plain, 1_000),
            (settings(None), 1_000 + 24),
            (settings(Some(&ca)), 300 + 24 + 60_010),
        ] {
            let counted = size.on(&settings);
            assert_eq!(counted, join);
            assert!(counted <= size.most());
            let most = MOST_IN_SECRET - BESIDE - join;
            assert_eq!(room(most, counted), Some(0));
            assert_eq!(room(most + 1, counted), None);
        }
    }
}
