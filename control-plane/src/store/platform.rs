//! The rows without permits: for background loops, and for the command line on the machine itself.
//!
//! The rule a newcomer would break: no handler of a request holds a [`SystemStore`], but for the streams of nodes, which
//! prove themselves with the token of their own deployment.

use super::accounts::{self, NewAccount};
use super::api_keys::MachineKeyUse;
use super::audit::Deed;
use super::credentials::insert_token;
use super::entity::{accounts as account_rows, groups, members, tokens};
use super::{Change, Error, LaunchedNode, Node, Progress, Reported, Store, StoredConfig, Written, commit, take_turn};
use crate::authn::{Actor, PasswordHash, Secret};
use crate::domain::package::Digest;
use crate::domain::{AccessToken, AccountKind, AccountName, Deployment, GroupName, Time, Title};
use castoff_wire::proto::{Signed, SignedDelta};
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use std::collections::HashMap;
use tokio::sync::broadcast;
use uuid::Uuid;

/// The store as the system itself uses it.
#[derive(Clone)]
pub struct SystemStore {
    store: Store,
}

/// The group that the first admin is in.
const ADMINS: &str = "admins";

impl SystemStore {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// What time it is for the store.
    pub fn now(&self) -> Time {
        self.store.clock.now()
    }

    /// Hints of changes from here on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.store.changes()
    }

    /// Whether nobody can administer yet: the first start.
    ///
    /// # Errors
    /// The database failed.
    pub async fn is_unclaimed(&self) -> Result<bool, Error> {
        Ok(account_rows::Entity::find().count(&self.store.db).await? == 0)
    }

    /// Makes the first user, in a group of platform admins. `false` when another was faster.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim(&self, name: AccountName, password: PasswordHash) -> Result<bool, Error> {
        let now = self.now();
        let tx = self.store.begin().await?;
        take_turn(&tx).await?;
        if account_rows::Entity::find().count(&tx).await? > 0 {
            return Ok(false);
        }
        let new = NewAccount {
            kind: AccountKind::User,
            name: name.clone(),
            display_name: String::new(),
            password: Some(password),
        };
        let account_id = accounts::insert(&tx, new, now).await?;
        let group_id = Uuid::now_v7();
        let group = GroupName::parse(ADMINS)?;
        groups::ActiveModel {
            id: Set(group_id),
            name: Set(group.to_string()),
            create_service: Set(true),
            admin: Set(true),
            created_at: Set(now.ms()),
            revision: Set(1),
        }
        .insert(&tx)
        .await
        .map_err(Error::taken("group"))?;
        members::ActiveModel {
            group_id: Set(group_id),
            account_id: Set(account_id),
        }
        .insert(&tx)
        .await?;
        Deed::new("create-account", "user", name.as_str())
            .record(&tx, &Actor::machine(), now)
            .await?;
        commit(tx).await?;
        Ok(true)
    }

    /// Makes an admin key: an account of its own with one token.
    ///
    /// # Errors
    /// The name is taken, or the database failed.
    pub async fn create_admin_key(&self, name: &AccountName, expires_at: Option<Time>) -> Result<Secret, Error> {
        let now = self.now();
        let tx = self.store.begin().await?;
        let new = NewAccount {
            kind: AccountKind::AdminKey,
            name: name.clone(),
            display_name: String::new(),
            password: None,
        };
        let account_id = accounts::insert(&tx, new, now).await?;
        let title = Title::parse(name.as_str())?;
        let (secret, _) = insert_token(&tx, account_id, &title, expires_at, now).await?;
        Deed::new("create-admin-key", "admin-key", name.as_str())
            .record(&tx, &Actor::machine(), now)
            .await?;
        commit(tx).await?;
        Ok(secret)
    }

    /// The admin keys' tokens, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn admin_keys(&self) -> Result<Vec<AccessToken>, Error> {
        let rows = account_rows::Entity::find()
            .filter(account_rows::Column::Kind.eq("admin-key"))
            .all(&self.store.db)
            .await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            keys.extend(self.store.tokens_of(row.id).await?);
        }
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(keys)
    }

    /// Deletes an admin key. Services that it created go to nobody: they must be handed over before.
    ///
    /// # Errors
    /// There is none of that name, it owns services, or the database failed.
    pub async fn delete_admin_key(&self, name: &str) -> Result<(), Error> {
        let now = self.now();
        let tx = self.store.begin().await?;
        let row = account_rows::Entity::find()
            .filter(account_rows::Column::Kind.eq("admin-key"))
            .filter(account_rows::Column::Name.eq(name))
            .one(&tx)
            .await?
            .ok_or(Error::NotFound("admin key"))?;
        tokens::Entity::delete_many()
            .filter(tokens::Column::AccountId.eq(row.id))
            .exec(&tx)
            .await?;
        account_rows::Entity::delete_by_id(row.id)
            .exec(&tx)
            .await
            .map_err(Error::referred_to("the admin key owns services: hand them over first"))?;
        Deed::new("delete-admin-key", "admin-key", name)
            .record(&tx, &Actor::machine(), now)
            .await?;
        commit(tx).await?;
        Ok(())
    }

    /// The deployment that a node token belongs to.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deployment_of_token(&self, secret: &Secret) -> Result<Option<Uuid>, Error> {
        self.store.deployment_of_token(secret).await
    }

    /// (deployment, SHA-256) of every node token that is valid now, the newest of a deployment last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn valid_node_tokens(&self) -> Result<Vec<(Uuid, Vec<u8>)>, Error> {
        self.store.valid_node_tokens().await
    }

    /// The newest token of a deployment, for the join document of a local node.
    ///
    /// # Errors
    /// The database failed, or the token was sealed by another installation.
    pub async fn newest_node_token(&self, deployment_id: Uuid) -> Result<Option<Secret>, Error> {
        self.store.newest_node_token(deployment_id).await
    }

    /// A deployment's config as it is sent.
    ///
    /// # Errors
    /// The database failed.
    pub async fn config(&self, deployment_id: Uuid) -> Result<Option<StoredConfig>, Error> {
        self.store.stored_config(deployment_id).await
    }

    /// That this config was the newest one at a moment, signed and encoded for nodes that start alone.
    pub fn vouch(&self, config: &StoredConfig, at: Time) -> Vec<u8> {
        self.store.publisher.vouch(config, at)
    }

    /// What changed from one config to the next, signed, where that is much less than the next itself.
    pub fn delta(&self, before: &Signed, after: &Signed) -> Option<SignedDelta> {
        self.store.publisher.delta(before, after)
    }

    /// (deployment, epoch, version) of every config.
    ///
    /// # Errors
    /// The database failed.
    pub async fn config_positions(&self) -> Result<Vec<(Uuid, u64, u64)>, Error> {
        self.store.config_positions().await
    }

    /// Lifts the epoch and raises every config: after a database was restored from a backup.
    ///
    /// # Errors
    /// The database failed.
    pub async fn raise_epoch(&self) -> Result<u64, Error> {
        self.store.raise_epoch().await
    }

    /// Every deployment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deployments(&self) -> Result<Vec<Deployment>, Error> {
        self.store.all_deployments().await
    }

    /// One deployment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deployment(&self, id: Uuid) -> Result<Option<Deployment>, Error> {
        self.store.deployment_by_id(id).await
    }

    /// What the launcher recorded of the nodes that it started.
    ///
    /// # Errors
    /// The database failed.
    pub async fn launched_nodes(&self) -> Result<Vec<LaunchedNode>, Error> {
        self.store.launched_nodes().await
    }

    /// Records what nodes, each with its deployment, said of themselves. `written` is what the same caller has recorded before.
    ///
    /// # Errors
    /// The database failed; nothing was recorded.
    pub async fn save_reports(&self, reports: &[Reported], written: &mut Written) -> Result<(), Error> {
        self.store.save_reports(reports, written).await
    }

    /// The nodes of a deployment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nodes(&self, deployment_id: Uuid) -> Result<Vec<Node>, Error> {
        self.store.nodes_of(&[deployment_id]).await
    }

    /// How far a deployment's nodes have come.
    ///
    /// # Errors
    /// The database failed.
    pub async fn progress(&self, deployment_id: Uuid) -> Result<Vec<Progress>, Error> {
        self.store.progress(deployment_id).await
    }

    /// How many nodes take calls of each deployment that has such.
    ///
    /// # Errors
    /// The database failed.
    pub async fn serving_nodes(&self) -> Result<HashMap<Uuid, u32>, Error> {
        self.store.serving_nodes().await
    }

    /// How many nodes took calls of a deployment when they were last heard.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_serving_nodes(&self, deployment_id: Uuid) -> Result<u32, Error> {
        self.store.last_serving_nodes(deployment_id).await
    }

    /// Adds what nodes counted to the keys, and says which of them have a quota.
    ///
    /// # Errors
    /// The database failed, and nothing was added.
    pub async fn count_key_use(&self, uses: &[MachineKeyUse]) -> Result<Vec<Uuid>, Error> {
        self.store.count_key_use(uses).await
    }

    /// Has those of these keys refused by their nodes that have used up their quota.
    ///
    /// # Errors
    /// The database failed; what was not done is done when one of them was used again.
    pub async fn end_quotas(&self, keys: &[Uuid]) -> Result<(), Error> {
        self.store.end_quotas(keys).await
    }

    /// Notes something that happened to a deployment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn note_event(&self, deployment_id: Uuid, kind: &str, message: &str) -> Result<(), Error> {
        let tx = self.store.begin().await?;
        self.store.note_event(tx, deployment_id, kind, message).await
    }

    /// The digests that some version refers to.
    ///
    /// # Errors
    /// The database failed.
    pub async fn digests_in_use(&self) -> Result<Vec<Digest>, Error> {
        self.store.digests_in_use().await
    }
}
