//! Versions of a service: immutable, named once and for ever.

use super::audit::Deed;
use super::deployments::in_the_way;
use super::entity::{deployments, versions};
use super::error::stored;
use super::{Error, Page, PageRequest, Permit, Store, Visible, commit, configs, json};
use crate::authz::{Read, View, Write};
use crate::domain::package::{Digest, Endpoint, Manifest};
use crate::domain::{Deployment, Leg, Service, Time, Version, VersionName};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;
use uuid::Uuid;

/// A version whose package has been kept already.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// Unique in the service, also after its deletion.
    pub name: VersionName,
    /// SHA-256 of the bytes as they were uploaded.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// What is in it.
    pub manifest: Manifest,
}

pub(super) fn version(row: versions::Model) -> Result<Version, Error> {
    let digest: [u8; 32] = stored(row.digest.try_into(), "a digest")?;
    Ok(Version {
        id: row.id,
        service_id: row.service_id,
        name: stored(VersionName::parse(&row.name), "a version's name")?,
        digest: Digest::new(digest),
        size: stored(u64::try_from(row.size), "a size")?,
        manifest: json::read(&row.manifest, "a manifest")?,
        created_by: row.created_by,
        created_at: Time::from_ms(row.created_at),
    })
}

pub(super) async fn find(
    db: &impl ConnectionTrait,
    service_id: Uuid,
    name: &str,
) -> Result<Option<versions::Model>, Error> {
    Ok(versions::Entity::find()
        .filter(versions::Column::ServiceId.eq(service_id))
        .filter(versions::Column::Name.eq(name))
        .one(db)
        .await?)
}

impl Store {
    /// The versions of a service, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn versions(&self, permit: &Permit<Read, Service>, page: &PageRequest) -> Result<Page<Version>, Error> {
        let mut query = versions::Entity::find()
            .filter(versions::Column::ServiceId.eq(permit.id))
            .filter(versions::Column::DeletedAt.is_null());
        if let Some(after) = page.after() {
            query = query.filter(versions::Column::Name.gt(after));
        }
        let rows = query
            .order_by_asc(versions::Column::Name)
            .limit(page.fetch())
            .all(&self.db)
            .await?;
        let rows = rows.into_iter().map(version).collect::<Result<Vec<_>, _>>()?;
        Ok(page.cut(rows, |version| version.name.to_string()))
    }

    /// A version of a service.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn version(&self, permit: &Permit<Read, Service>, name: &str) -> Result<Version, Error> {
        let row = find(&self.db, permit.id, name)
            .await?
            .filter(|row| row.deleted_at.is_none());
        version(row.ok_or(Error::NotFound("version"))?)
    }

    /// The same for whoever may download its package.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn package(&self, permit: &Permit<Write, Service>, name: &str) -> Result<Version, Error> {
        let row = find(&self.db, permit.id, name)
            .await?
            .filter(|row| row.deleted_at.is_none());
        version(row.ok_or(Error::NotFound("version"))?)
    }

    /// Adds a version. The same bytes under the same name again are fine, and make nothing: `false`.
    ///
    /// # Errors
    /// The name is or was used for other bytes, or the database failed.
    pub async fn add_version(
        &self,
        permit: &Permit<Write, Service>,
        new: NewVersion,
    ) -> Result<(Version, bool), Error> {
        let (now, actor) = (self.clock.now(), permit.actor());
        let tx = self.begin().await?;
        configs::lock_services(&tx, &[permit.id]).await?;
        if let Some(row) = find(&tx, permit.id, new.name.as_str()).await? {
            if row.deleted_at.is_some() {
                return Err(Error::InUse(format!(
                    "version {} was deleted, and a name is never used for other bytes again",
                    new.name
                )));
            }
            if row.digest != new.digest.as_bytes() {
                return Err(Error::InUse(format!(
                    "version {} holds other bytes, and versions never change: choose another name",
                    new.name
                )));
            }
            return Ok((version(row)?, false));
        }
        let row = versions::ActiveModel {
            id: Set(Uuid::now_v7()),
            service_id: Set(permit.id),
            name: Set(new.name.to_string()),
            digest: Set(new.digest.as_bytes().to_vec()),
            size: Set(i64::try_from(new.size).unwrap_or(i64::MAX)),
            manifest: Set(stored(serde_json::to_string(&new.manifest), "a manifest")?),
            created_by: Set(actor.name.clone()),
            created_at: Set(now.ms()),
            deleted_at: Set(None),
        }
        .insert(&tx)
        .await
        .map_err(|error| match Error::taken("version")(error) {
            Error::Stale => Error::NotFound("service"),
            other => other,
        })?;
        Deed::new("upload-version", "version", new.name.as_str())
            .on_service(permit.id)
            .change(
                None,
                Some(json!({"service": permit.name, "digest": new.digest.to_string(), "size": new.size})),
            )
            .record(&tx, actor, now)
            .await?;
        commit(tx).await?;
        Ok((version(row)?, true))
    }

    /// Deletes a version that no deployment routes to. Its name stays taken.
    ///
    /// # Errors
    /// A deployment routes to it, there is none, or the database failed.
    pub async fn delete_version(
        &self,
        permit: &Permit<Write, Service>,
        name: &str,
        visible: &Visible<Deployment>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        configs::lock_services(&tx, &[permit.id]).await?;
        let row = find(&tx, permit.id, name).await?.filter(|row| row.deleted_at.is_none());
        let row = row.ok_or(Error::NotFound("version"))?;
        let deployed = deployments::Entity::find()
            .filter(deployments::Column::ServiceId.eq(permit.id))
            .all(&tx)
            .await?;
        let mut routing = Vec::new();
        for deployment in deployed {
            let legs: Vec<Leg> = json::read(&deployment.route, "a route")?;
            if legs.iter().any(|leg| leg.version.as_str() == name) {
                routing.push(deployment.id);
            }
        }
        if !routing.is_empty() {
            let names = in_the_way(&tx, visible, &routing).await?;
            return Err(Error::InUse(format!(
                "calls are routed to version {name}: switch {names} to another first"
            )));
        }
        versions::Entity::update_many()
            .col_expr(versions::Column::DeletedAt, Expr::value(now.ms()))
            .filter(versions::Column::Id.eq(row.id))
            .exec(&tx)
            .await?;
        Deed::new("delete-version", "version", name)
            .on_service(permit.id)
            .change(Some(json!({"service": permit.name})), None)
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        Ok(())
    }

    /// The digests that some version refers to, files of packages included: what must be kept.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn digests_in_use(&self) -> Result<Vec<Digest>, Error> {
        let rows = versions::Entity::find()
            .filter(versions::Column::DeletedAt.is_null())
            .all(&self.db)
            .await?;
        let mut digests = Vec::with_capacity(rows.len());
        for row in rows {
            let version = version(row)?;
            digests.push(version.digest);
            digests.extend(version.manifest.files().map(|file| file.digest));
        }
        Ok(digests)
    }
}

impl Store {
    /// The first endpoint of the version that answers most calls of a deployment: what its sample code calls.
    ///
    /// # Errors
    /// The version is gone, or the database failed.
    pub async fn first_endpoint(&self, permit: &Permit<View, Deployment>) -> Result<Endpoint, Error> {
        let leg = permit
            .route
            .legs()
            .iter()
            .max_by_key(|leg| leg.weight)
            .ok_or(Error::Unreadable("a route"))?;
        let row = find(&self.db, permit.service_id, leg.version.as_str()).await?;
        let version = version(row.ok_or(Error::NotFound("version"))?)?;
        version
            .manifest
            .endpoints
            .into_iter()
            .next()
            .ok_or(Error::Unreadable("a manifest"))
    }
}
