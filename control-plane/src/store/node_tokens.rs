//! The tokens by which nodes prove of which deployment they are.
//!
//! Two are valid at once. The rule a newcomer would break: of a rotation the old one ends only when every node has the new
//! one on disk, and it lies where nodes boot from; a node that is cut off would not come back otherwise.

use super::entity::{node_tokens, nodes};
use super::error::stored;
use super::nodes::LOST_AFTER_MS;
use super::vault::Place;
use super::{Change, Error, Permit, Store, SystemStore, commit};
use crate::authn::{Secret, SecretKind};
use crate::authz::Deploy;
use crate::domain::{Deployment, InfrastructureKind, Time};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The sealed token of a deployment, from which its launcher writes join documents, has this owner in the vault.
const TOKENS: &str = "node_tokens";
/// So long an old token goes on when it is not needed any more.
const AFTERLIFE_MS: i64 = 300_000;

/// What a token is called where nothing may be told about it.
pub fn token_id(hash: &[u8]) -> Vec<u8> {
    let mut id = castoff_wire::sha256(&[b"castoff-node-token-id\0", hash]).to_vec();
    id.truncate(16);
    id
}

/// How a new token stands to those before it.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// They end when all nodes have it.
    rotates: bool,
    /// It lies where nodes boot from, or need not lie there.
    copied: bool,
}

impl Manner {
    /// One more, beside what is there.
    pub(super) const BESIDE: Self = Self {
        rotates: false,
        copied: true,
    };
}

/// Makes a node token; the latest is kept sealed, so that a launcher can write the join document again.
pub(super) async fn new_node_token(
    store: &Store,
    tx: &impl ConnectionTrait,
    deployment_id: Uuid,
    manner: Manner,
) -> Result<Secret, Error> {
    let secret = Secret::mint(SecretKind::NodeToken).map_err(|_| Error::NoRandom)?;
    let id = Uuid::now_v7();
    let place = Place {
        table: TOKENS,
        row: id,
        owner: deployment_id,
    };
    node_tokens::ActiveModel {
        id: Set(id),
        deployment_id: Set(deployment_id),
        hash: Set(secret.hash().into_bytes()),
        sealed: Set(Some(store.vault.seal(&place, secret.expose().as_bytes())?)),
        created_at: Set(store.clock.now().ms()),
        expires_at: Set(None),
        rotates: Set(manner.rotates),
        copied: Set(manner.copied),
    }
    .insert(tx)
    .await?;
    Ok(secret)
}

impl Store {
    /// A new token for nodes that an operator starts. At most two are valid: the oldest of more ends.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_node_token(&self, permit: &Permit<Deploy, Deployment>) -> Result<Secret, Error> {
        let tx = self.begin_creation().await?;
        let secret = self.one_more(&tx, permit, "create-node-token", Manner::BESIDE).await?;
        commit(tx).await?;
        Ok(secret)
    }

    /// A new token in place of the one that nodes have; they are told it. The old one ends when all of them have it. At
    /// most two are valid: the oldest of more ends at once. The nodes that have not got it yet.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rotate_node_token(&self, permit: &Permit<Deploy, Deployment>) -> Result<Vec<Uuid>, Error> {
        let tx = self.begin().await?;
        let manner = Manner {
            rotates: true,
            copied: permit.kind != InfrastructureKind::Kubernetes,
        };
        self.one_more(&tx, permit, "rotate-node-token", manner).await?;
        let pending = without(&tx, permit.id, &[], self.clock.now()).await?;
        commit(tx).await?;
        self.tell(Change::Deployment(permit.id));
        Ok(pending)
    }

    async fn one_more(
        &self,
        tx: &DatabaseTransaction,
        permit: &Permit<Deploy, Deployment>,
        verb: &str,
        manner: Manner,
    ) -> Result<Secret, Error> {
        // One after the other: each of two that count at once would leave one more.
        super::configs::lock_services(tx, &[permit.service_id]).await?;
        let rows = node_tokens::Entity::find()
            .filter(node_tokens::Column::DeploymentId.eq(permit.id))
            .order_by_desc(node_tokens::Column::Id)
            .all(tx)
            .await?;
        for old in rows.into_iter().skip(1) {
            node_tokens::Entity::delete_by_id(old.id).exec(tx).await?;
        }
        let secret = new_node_token(self, tx, permit.id, manner).await?;
        super::audit::Deed::new(verb, "deployment", permit.name.as_str())
            .on_service(permit.service_id)
            .on_infrastructure(permit.infrastructure_id)
            .record(tx, permit.actor(), self.clock.now())
            .await?;
        Ok(secret)
    }

    pub(super) async fn deployment_of_token(&self, secret: &Secret) -> Result<Option<Uuid>, Error> {
        let now = self.clock.now();
        let row = node_tokens::Entity::find()
            .filter(node_tokens::Column::Hash.eq(secret.hash().into_bytes()))
            .one(&self.db)
            .await?;
        Ok(row
            .filter(|row| row.expires_at.is_none_or(|end| end > now.ms()))
            .map(|row| row.deployment_id))
    }

    /// (deployment, hash) of every token that is valid now, the newest of a deployment last.
    pub(super) async fn valid_node_tokens(&self) -> Result<Vec<(Uuid, Vec<u8>)>, Error> {
        use node_tokens::Column;
        let now = self.clock.now();
        let ends_later = Column::ExpiresAt.is_null().or(Column::ExpiresAt.gt(now.ms()));
        Ok(node_tokens::Entity::find()
            .select_only()
            .columns([Column::DeploymentId, Column::Hash])
            .filter(ends_later)
            .order_by_asc(Column::Id)
            .into_tuple()
            .all(&self.db)
            .await?)
    }

    pub(super) async fn newest_node_token(&self, deployment_id: Uuid) -> Result<Option<Secret>, Error> {
        let row = node_tokens::Entity::find()
            .filter(node_tokens::Column::DeploymentId.eq(deployment_id))
            .order_by_desc(node_tokens::Column::Id)
            .one(&self.db)
            .await?;
        let Some((id, sealed)) = row.and_then(|row| Some((row.id, row.sealed?))) else {
            return Ok(None);
        };
        let place = Place {
            table: TOKENS,
            row: id,
            owner: deployment_id,
        };
        let text = stored(String::from_utf8(self.vault.open(&place, &sealed)?), "a node token")?;
        Ok(Secret::presented(SecretKind::NodeToken, &text))
    }
}

/// The nodes of a deployment that do not have this token, but for those that are proven to have ended.
async fn without(db: &impl ConnectionTrait, deployment_id: Uuid, id: &[u8], now: Time) -> Result<Vec<Uuid>, Error> {
    let rows = nodes::Entity::find()
        .filter(nodes::Column::DeploymentId.eq(deployment_id))
        .order_by_asc(nodes::Column::Id)
        .all(db)
        .await?;
    let lives = |node: &nodes::Model| {
        let heard = node.last_seen_at.is_some_and(|seen| now.ms() - seen < LOST_AFTER_MS);
        !(node.launched && node.pid.is_none()) || (node.connected && heard)
    };
    let lacks = |node: &nodes::Model| node.token.as_deref() != Some(id);
    let lacking = rows.iter().filter(|node| lives(node) && lacks(node));
    Ok(lacking.map(|node| node.id).collect())
}

impl SystemStore {
    /// The deployments whose newest token does not lie yet where their nodes boot from, and its hash.
    ///
    /// # Errors
    /// The database failed.
    pub async fn uncopied_node_tokens(&self) -> Result<Vec<(Uuid, Vec<u8>)>, Error> {
        use node_tokens::Column;
        Ok(node_tokens::Entity::find()
            .select_only()
            .columns([Column::DeploymentId, Column::Hash])
            .filter(Column::Rotates.eq(true))
            .filter(Column::Copied.eq(false))
            .into_tuple()
            .all(&self.store().db)
            .await?)
    }

    /// The tokens of each deployment that changes over to a new one, which lies where nodes boot from; the newest last.
    async fn rotations(&self) -> Result<BTreeMap<Uuid, Vec<node_tokens::Model>>, Error> {
        use node_tokens::Column;
        let rows = node_tokens::Entity::find()
            .filter(Column::ExpiresAt.is_null())
            .order_by_asc(Column::Id)
            .all(&self.store().db)
            .await?;
        let mut rotations: BTreeMap<Uuid, Vec<node_tokens::Model>> = BTreeMap::new();
        for row in rows {
            rotations.entry(row.deployment_id).or_default().push(row);
        }
        let goes_on = |tokens: &[node_tokens::Model]| {
            tokens.len() > 1 && tokens.last().is_some_and(|newest| newest.rotates && newest.copied)
        };
        rotations.retain(|_, tokens| goes_on(tokens));
        Ok(rotations)
    }

    /// The deployments whose old token is not needed any more, and the newest of each.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rotated(&self) -> Result<Vec<(Uuid, Uuid)>, Error> {
        let mut done = Vec::new();
        for (deployment_id, tokens) in self.rotations().await? {
            let Some(newest) = tokens.last() else { continue };
            let id = token_id(&newest.hash);
            let lacking = without(&self.store().db, deployment_id, &id, self.now()).await?;
            if lacking.is_empty() {
                done.push((deployment_id, newest.id));
            }
        }
        Ok(done)
    }
}

/// Notes that a token lies where its nodes boot from.
pub(super) async fn note_copied(tx: DatabaseTransaction, hash: &[u8]) -> Result<(), Error> {
    node_tokens::Entity::update_many()
        .col_expr(node_tokens::Column::Copied, Expr::value(true))
        .filter(node_tokens::Column::Hash.eq(hash.to_vec()))
        .exec(&tx)
        .await?;
    commit(tx).await
}

/// Lets the tokens before this one end, by and by, and says when.
pub(super) async fn end_before(
    store: &Store,
    tx: DatabaseTransaction,
    deployment_id: Uuid,
    newest: Uuid,
) -> Result<Time, Error> {
    use node_tokens::Column;
    let end = store.clock.now().after_ms(AFTERLIFE_MS);
    node_tokens::Entity::update_many()
        .col_expr(Column::ExpiresAt, Expr::value(end.ms()))
        .filter(Column::DeploymentId.eq(deployment_id))
        .filter(Column::Id.lt(newest))
        .filter(Column::ExpiresAt.is_null())
        .exec(&tx)
        .await?;
    commit(tx).await?;
    Ok(end)
}
