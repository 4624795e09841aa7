//! The signed config of each deployment: raised in the transaction of its cause.

use super::config_facts::{ConfigFacts, KeyFact, LegFact};
use super::entity::{api_keys, configs, deployments, infrastructures, installation, services};
use super::error::stored;
use super::services::{parse_word, word};
use super::{Error, Store, boot_size, commit, json};
use crate::domain::package::Digest;
use crate::domain::{Access, HeaderName, Leg, ServiceAccess, Time};
use castoff_wire::key::KeyHash;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, LockType, OnConflict, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

/// At most so many keys open one deployment.
pub(super) const MOST_KEYS: usize = 10_000;

/// A config as it is sent to nodes.
#[derive(Clone)]
pub struct StoredConfig {
    /// The deployment.
    pub deployment_id: Uuid,
    /// Of the installation.
    pub epoch: u64,
    /// Of the config.
    pub version: u64,
    /// SHA-256 of its bytes.
    pub digest: Vec<u8>,
    /// Its bytes.
    pub config: Vec<u8>,
    /// Who signed it.
    pub key_id: String,
    /// Ed25519.
    pub signature: Vec<u8>,
    /// The files that its nodes may fetch, with their sizes.
    pub files: Vec<(Digest, u64)>,
}

/// Locks the services in the order of their ids: whatever changes a config does so first, so that no deployment misses a
/// change and no two changes wait for each other. SQLite has one writer anyway.
pub(super) async fn lock_services(tx: &DatabaseTransaction, ids: &[Uuid]) -> Result<(), Error> {
    if tx.get_database_backend() == DbBackend::Postgres {
        services::Entity::find()
            .filter(services::Column::Id.is_in(ids.iter().copied()))
            .order_by_asc(services::Column::Id)
            .lock(LockType::Update)
            .all(tx)
            .await?;
    }
    Ok(())
}

/// Keeps an infrastructure's allowances as they are until the transaction ends.
pub(super) async fn lock_infrastructure(tx: &DatabaseTransaction, id: Uuid) -> Result<(), Error> {
    if tx.get_database_backend() == DbBackend::Postgres {
        infrastructures::Entity::find_by_id(id)
            .lock(LockType::Update)
            .one(tx)
            .await?;
    }
    Ok(())
}

/// Raises the configs of a service's deployments that inherit from it.
pub(super) async fn raise_inheriting(
    store: &Store,
    tx: &DatabaseTransaction,
    service_id: Uuid,
) -> Result<Vec<Uuid>, Error> {
    let rows = deployments::Entity::find()
        .filter(deployments::Column::ServiceId.eq(service_id))
        .filter(deployments::Column::Access.eq("inherit"))
        // The order in which infrastructures are locked.
        .order_by_asc(deployments::Column::InfrastructureId)
        .all(tx)
        .await?;
    let ids: Vec<Uuid> = rows.into_iter().map(|row| row.id).collect();
    for id in &ids {
        raise(store, tx, *id).await?;
    }
    Ok(ids)
}

/// (deployment, service) of those on an infrastructure that inherit from a public service.
pub(super) async fn inherit_public(
    tx: &DatabaseTransaction,
    infrastructure_id: Uuid,
) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let public = Query::select()
        .column(services::Column::Id)
        .from(services::Entity)
        .and_where(services::Column::Access.eq(word(&ServiceAccess::Public)?))
        .to_owned();
    let found = deployments::Entity::find()
        .filter(deployments::Column::InfrastructureId.eq(infrastructure_id))
        .filter(deployments::Column::Access.eq(word(&Access::Inherit)?))
        .filter(deployments::Column::ServiceId.in_subquery(public))
        .all(tx)
        .await?;
    Ok(found.into_iter().map(|row| (row.id, row.service_id)).collect())
}

/// Writes the next version of a deployment's config from what the transaction sees.
pub(super) async fn raise(store: &Store, tx: &DatabaseTransaction, deployment_id: Uuid) -> Result<u64, Error> {
    let facts = gather(tx, deployment_id).await?;
    let published = store.publisher.publish(&facts);
    boot_size::check(store, tx, &facts, published.config.len()).await?;
    let mut files: Vec<(String, u64)> = Vec::new();
    for file in facts.legs.iter().flat_map(|leg| leg.manifest.files()) {
        files.push((file.digest.to_string(), file.size));
    }
    files.sort();
    files.dedup();
    let row = configs::ActiveModel {
        deployment_id: Set(deployment_id),
        epoch: Set(to_stored(facts.epoch)),
        version: Set(to_stored(facts.version)),
        digest: Set(published.digest.to_vec()),
        config: Set(published.config),
        key_id: Set(published.key_id),
        signature: Set(published.signature),
        files: Set(stored(serde_json::to_string(&files), "a list of files")?),
        created_at: Set(store.clock.now().ms()),
        // Of an earlier one, which stays there until it is replaced.
        copied_epoch: NotSet,
        copied_version: NotSet,
    };
    use configs::Column;
    configs::Entity::insert(row)
        .on_conflict(
            OnConflict::column(Column::DeploymentId)
                .update_columns([
                    Column::Epoch,
                    Column::Version,
                    Column::Digest,
                    Column::Config,
                    Column::KeyId,
                    Column::Signature,
                    Column::Files,
                    Column::CreatedAt,
                ])
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(facts.version)
}

async fn gather(tx: &DatabaseTransaction, deployment_id: Uuid) -> Result<ConfigFacts, Error> {
    let deployment = deployments::Entity::find_by_id(deployment_id)
        .one(tx)
        .await?
        .ok_or(Error::NotFound("deployment"))?;
    let service = services::Entity::find_by_id(deployment.service_id)
        .one(tx)
        .await?
        .ok_or(Error::NotFound("service"))?;
    let epoch = installation::Entity::find().one(tx).await?.map_or(1, |row| row.epoch);
    let before = configs::Entity::find_by_id(deployment_id)
        .select_only()
        .columns([configs::Column::Epoch, configs::Column::Version])
        .into_tuple::<(i64, i64)>()
        .one(tx)
        .await?;
    let version = match before {
        Some((of, version)) if of >= epoch => version + 1,
        _ => 1,
    };
    let access: Access = parse_word(&deployment.access)?;
    let inherits = access == Access::Inherit;
    let service_access: ServiceAccess = parse_word(&service.access)?;
    let public = match (access, service_access) {
        (Access::Public, _) => true,
        // Else a service's owner could open what the infrastructure's admin keeps closed.
        (Access::Inherit, ServiceAccess::Public) => allows_public(tx, deployment.infrastructure_id).await?,
        _ => false,
    };
    Ok(ConfigFacts {
        deployment_id,
        deployment: deployment.name.clone(),
        epoch: from_stored(epoch)?,
        version: from_stored(version)?,
        legs: legs(tx, &deployment).await?,
        keys: keys(tx, deployment_id, inherits.then_some(service.id)).await?,
        service: service.name,
        limits: json::read(&deployment.limits, "limits")?,
        public,
        key_header: stored(HeaderName::parse(&deployment.key_header), "a header's name")?,
    })
}

/// Whether deployments there may be public now. It stays so until the transaction ends.
async fn allows_public(tx: &DatabaseTransaction, infrastructure_id: Uuid) -> Result<bool, Error> {
    lock_infrastructure(tx, infrastructure_id).await?;
    let row = infrastructures::Entity::find_by_id(infrastructure_id).one(tx).await?;
    Ok(row.ok_or(Error::NotFound("infrastructure"))?.allow_public)
}

async fn legs(tx: &DatabaseTransaction, deployment: &deployments::Model) -> Result<Vec<LegFact>, Error> {
    let route: Vec<Leg> = json::read(&deployment.route, "a route")?;
    let mut legs = Vec::with_capacity(route.len());
    for leg in route {
        let row = super::versions::find(tx, deployment.service_id, leg.version.as_str()).await?;
        let version = super::versions::version(row.ok_or(Error::NotFound("version"))?)?;
        legs.push(LegFact {
            version: leg.version,
            weight: leg.weight,
            digest: version.digest,
            manifest: version.manifest,
        });
    }
    Ok(legs)
}

async fn keys(tx: &DatabaseTransaction, deployment_id: Uuid, service_id: Option<Uuid>) -> Result<Vec<KeyFact>, Error> {
    let mut place = Condition::any().add(api_keys::Column::DeploymentId.eq(deployment_id));
    if let Some(id) = service_id {
        place = place.add(api_keys::Column::ServiceId.eq(id));
    }
    let rows = api_keys::Entity::find()
        .filter(place)
        .filter(api_keys::Column::RevokedAt.is_null())
        .order_by_asc(api_keys::Column::Id)
        .all(tx)
        .await?;
    if rows.len() > MOST_KEYS {
        return Err(Error::InUse(format!(
            "at most {MOST_KEYS} keys open one deployment: revoke some first"
        )));
    }
    rows.into_iter()
        .map(|row| {
            Ok(KeyFact {
                id: row.id,
                hash: KeyHash::from_stored(&row.hash).ok_or(Error::Unreadable("a key's hash"))?,
                endpoints: json::read(&row.endpoints, "a key's endpoints")?,
                not_before: row.not_before.map(Time::from_ms),
                expires_at: row.expires_at.map(Time::from_ms),
                rate_limit: super::api_keys::limit(row.rate_limit.as_deref())?,
                used_up_until: row.used_up_until.map(Time::from_ms),
            })
        })
        .collect()
}

pub(super) fn to_stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn from_stored(number: i64) -> Result<u64, Error> {
    stored(u64::try_from(number), "a number")
}

impl Store {
    pub(super) async fn stored_config(&self, deployment_id: Uuid) -> Result<Option<StoredConfig>, Error> {
        let Some(row) = configs::Entity::find_by_id(deployment_id).one(&self.db).await? else {
            return Ok(None);
        };
        let files: Vec<(String, u64)> = json::read(&row.files, "a list of files")?;
        let files = files
            .into_iter()
            .map(|(digest, size)| Ok((stored(digest.parse(), "a digest")?, size)))
            .collect::<Result<_, Error>>()?;
        Ok(Some(StoredConfig {
            deployment_id,
            epoch: from_stored(row.epoch)?,
            version: from_stored(row.version)?,
            digest: row.digest,
            config: row.config,
            key_id: row.key_id,
            signature: row.signature,
            files,
        }))
    }

    /// (deployment, epoch, version) of every config: cheap enough to be asked for every second.
    pub(super) async fn config_positions(&self) -> Result<Vec<(Uuid, u64, u64)>, Error> {
        let rows = configs::Entity::find()
            .select_only()
            .columns([
                configs::Column::DeploymentId,
                configs::Column::Epoch,
                configs::Column::Version,
            ])
            .into_tuple::<(Uuid, i64, i64)>()
            .all(&self.db)
            .await?;
        rows.into_iter()
            .map(|(id, epoch, version)| Ok((id, from_stored(epoch)?, from_stored(version)?)))
            .collect()
    }

    pub(super) async fn raise_epoch(&self) -> Result<u64, Error> {
        let tx = self.begin().await?;
        let ids: Vec<Uuid> = services::Entity::find()
            .order_by_asc(services::Column::Id)
            .all(&tx)
            .await?
            .into_iter()
            .map(|row| row.id)
            .collect();
        lock_services(&tx, &ids).await?;
        installation::Entity::update_many()
            .col_expr(
                installation::Column::Epoch,
                Expr::col(installation::Column::Epoch).add(1),
            )
            .exec(&tx)
            .await?;
        let deployments = deployments::Entity::find()
            .order_by_asc(deployments::Column::InfrastructureId)
            .all(&tx)
            .await?;
        for deployment in deployments {
            raise(self, &tx, deployment.id).await?;
        }
        let epoch = installation::Entity::find().one(&tx).await?.map_or(1, |row| row.epoch);
        commit(tx).await?;
        from_stored(epoch)
    }
}
