//! Deployments as they are made, changed, switched and taken away: each with its history, its config and its audit, in
//! one transaction.

use super::audit::Deed;
use super::entity::{deployments, infrastructures, revisions};
use super::error::stored;
use super::node_tokens::Manner;
use super::rows::Site;
use super::services::word;
use super::{Change, Error, Permit, Store, clusters, commit, configs, events, room};
use crate::authn::Actor;
use crate::authz::Deploy;
use crate::domain::{
    Access, Deployment, DeploymentName, HeaderName, Infrastructure, InfrastructureKind, Invalid, Limits, Revision,
    Route, Scale,
};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use std::collections::HashMap;
use uuid::Uuid;

/// A deployment to be made.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// Unique.
    pub name: DeploymentName,
    /// Which versions answer.
    pub route: Route,
    /// Whether nodes should run at once.
    pub enabled: bool,
    /// Who may call.
    pub access: Access,
    /// The header in which keys travel.
    pub key_header: HeaderName,
    /// How many nodes.
    pub scale: Scale,
    /// What a node allows itself and its callers.
    pub limits: Limits,
    /// Why, for the history.
    pub note: String,
}

/// What is to be changed of a deployment; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct DeploymentChange {
    /// Which versions answer.
    pub route: Option<Route>,
    /// Whether nodes should run.
    pub enabled: Option<bool>,
    /// Who may call.
    pub access: Option<Access>,
    /// The header in which keys travel.
    pub key_header: Option<HeaderName>,
    /// How many nodes.
    pub scale: Option<Scale>,
    /// What a node allows itself and its callers.
    pub limits: Option<Limits>,
    /// Why, for the history.
    pub note: String,
}

/// What stands in the audit of a deployment.
struct Look<'a> {
    route: &'a Route,
    enabled: bool,
    access: Access,
    key_header: &'a HeaderName,
    scale: Scale,
    limits: Limits,
}

impl Look<'_> {
    fn json(&self) -> Value {
        json!({
            "route": self.route.legs(), "enabled": self.enabled, "access": self.access,
            "key_header": self.key_header, "scale": self.scale, "limits": self.limits,
        })
    }
}

impl Store {
    /// Makes a deployment with an empty set of keys, unless said otherwise.
    ///
    /// # Errors
    /// The name is taken, a version is unknown, the infrastructure does not allow the access, its pods cannot keep the model
    /// files, or the database failed.
    pub async fn create_deployment(&self, permit: &Permit<Deploy, Site>, new: NewDeployment) -> Result<Uuid, Error> {
        let (id, now, actor) = (Uuid::new_v4(), self.clock.now(), permit.actor());
        let (service, infrastructure) = (&permit.service, &permit.infrastructure);
        let tx = self.begin_creation().await?;
        configs::lock_services(&tx, &[service.id]).await?;
        let place = check_access(&tx, infrastructure.id, new.access).await?;
        if let Some(settings) = &place.kubernetes {
            let host = settings.check_host(new.name.as_str());
            host.map_err(|wrong| {
                Invalid::new(
                    "/name",
                    format!("does not fit its infrastructure: its host {}", wrong.reason),
                )
            })?;
        }
        let on_its_kind = new.scale.check_on(infrastructure.kind);
        on_its_kind.map_err(|invalid| invalid.under("/scale"))?;
        let route = pin(&tx, service.id, new.route).await?;
        deployments::ActiveModel {
            id: Set(id),
            name: Set(new.name.to_string()),
            service_id: Set(service.id),
            infrastructure_id: Set(infrastructure.id),
            enabled: Set(new.enabled),
            access: Set(word(&new.access)?),
            key_header: Set(new.key_header.to_string()),
            route: Set(text(&route)?),
            scale: Set(text(&new.scale)?),
            limits: Set(text(&new.limits)?),
            port: Set(None),
            problem: Set(None),
            image: Set(None),
            moving: Set(false),
            // As the database has it, until its pods are made.
            template: NotSet,
            balancer: Set(None),
            created_by: Set(actor.name.clone()),
            created_at: Set(now.ms()),
            updated_at: Set(now.ms()),
            revision: Set(1),
        }
        .insert(&tx)
        .await
        .map_err(Error::taken("deployment"))?;
        let look = Look {
            route: &route,
            enabled: new.enabled,
            access: new.access,
            key_header: &new.key_header,
            scale: new.scale,
            limits: new.limits,
        };
        let revision = Revision {
            n: 1,
            route: route.clone(),
            scale: new.scale,
            limits: new.limits,
            author: actor.name.clone(),
            note: new.note,
            at: now,
        };
        remember(&tx, id, revision).await?;
        configs::raise(self, &tx, id).await?;
        room::check(&tx, infrastructure.id, id, room::Files::new()).await?;
        if infrastructure.kind != InfrastructureKind::Static {
            super::node_tokens::new_node_token(self, &tx, id, Manner::BESIDE).await?;
        }
        let mut after = look.json();
        if let Some(fields) = after.as_object_mut() {
            fields.insert("service".to_owned(), service.name.as_str().into());
            fields.insert("infrastructure".to_owned(), infrastructure.name.as_str().into());
        }
        Deed::new("create-deployment", "deployment", new.name.as_str())
            .on_service(service.id)
            .on_infrastructure(infrastructure.id)
            .change(None, Some(after))
            .record(&tx, actor, now)
            .await?;
        let place = events::Place {
            deployment_id: id,
            deployment: new.name.as_str(),
            service_id: service.id,
            infrastructure_id: infrastructure.id,
        };
        events::insert(&tx, &place, now, "created", &format!("created by {}", actor.name)).await?;
        commit(tx).await?;
        self.tell(Change::Config(id));
        self.tell(Change::Deployment(id));
        self.tell(Change::Event);
        Ok(id)
    }

    /// Changes a deployment. A change of route, scale or limits is a new entry of its history.
    ///
    /// # Errors
    /// It has changed since the permit was given, a version is unknown, the infrastructure does not allow the access, its pods
    /// cannot keep the model files, or the database failed.
    pub async fn change_deployment(
        &self,
        permit: &Permit<Deploy, Deployment>,
        action: &str,
        change: DeploymentChange,
    ) -> Result<(), Error> {
        let (now, actor, before): (_, &Actor, &Deployment) = (self.clock.now(), permit.actor(), permit);
        let tx = self.begin().await?;
        configs::lock_services(&tx, &[before.service_id]).await?;
        let access = change.access.unwrap_or(before.access);
        if access != before.access {
            check_access(&tx, before.infrastructure_id, access).await?;
        }
        let route = match change.route {
            None => before.route.clone(),
            Some(route) => pin(&tx, before.service_id, route).await?,
        };
        let enabled = change.enabled.unwrap_or(before.enabled);
        let key_header = change.key_header.unwrap_or_else(|| before.key_header.clone());
        let scale = change.scale.unwrap_or(before.scale);
        scale.check_on(before.kind).map_err(|invalid| invalid.under("/scale"))?;
        let limits = change.limits.unwrap_or(before.limits);
        let changed = deployments::Entity::update_many()
            .col_expr(deployments::Column::Enabled, Expr::value(enabled))
            .col_expr(deployments::Column::Access, Expr::value(word(&access)?))
            .col_expr(deployments::Column::KeyHeader, Expr::value(key_header.as_str()))
            .col_expr(deployments::Column::Route, Expr::value(text(&route)?))
            .col_expr(deployments::Column::Scale, Expr::value(text(&scale)?))
            .col_expr(deployments::Column::Limits, Expr::value(text(&limits)?))
            .col_expr(deployments::Column::UpdatedAt, Expr::value(now.ms()))
            .col_expr(deployments::Column::Revision, Expr::value(before.revision + 1))
            .filter(deployments::Column::Id.eq(before.id))
            .filter(deployments::Column::Revision.eq(before.revision))
            .exec(&tx)
            .await?;
        if changed.rows_affected == 0 {
            return Err(Error::Stale);
        }
        if route != before.route || scale != before.scale || limits != before.limits {
            let revision = Revision {
                n: before.revision + 1,
                route: route.clone(),
                scale,
                limits,
                author: actor.name.clone(),
                note: change.note,
                at: now,
            };
            remember(&tx, before.id, revision).await?;
        }
        let kept = match before.enabled && enabled {
            true => room::files(&tx, before.id).await?,
            false => room::Files::new(),
        };
        configs::raise(self, &tx, before.id).await?;
        if route != before.route || (enabled && !before.enabled) {
            room::check(&tx, before.infrastructure_id, before.id, kept).await?;
        }
        let look = |route, enabled, access, key_header, scale, limits| {
            Look {
                route,
                enabled,
                access,
                key_header,
                scale,
                limits,
            }
            .json()
        };
        let was = look(
            &before.route,
            before.enabled,
            before.access,
            &before.key_header,
            before.scale,
            before.limits,
        );
        let is = look(&route, enabled, access, &key_header, scale, limits);
        Deed::new(action, "deployment", before.name.as_str())
            .on_service(before.service_id)
            .on_infrastructure(before.infrastructure_id)
            .change(Some(was), Some(is))
            .record(&tx, actor, now)
            .await?;
        let what = action.replace("-deployment", "");
        events::insert(
            &tx,
            &events::Place::of(before),
            now,
            &what,
            &format!("{what} by {}", actor.name),
        )
        .await?;
        commit(tx).await?;
        self.tell(Change::Config(before.id));
        self.tell(Change::Deployment(before.id));
        self.tell(Change::Event);
        Ok(())
    }

    /// Goes back to an earlier entry of the history: its route, scale and limits, never its access.
    ///
    /// # Errors
    /// There is no such entry, a version of it was deleted, or as [`Self::change_deployment`].
    pub async fn roll_back(&self, permit: &Permit<Deploy, Deployment>, n: i64, note: String) -> Result<(), Error> {
        let row = revisions::Entity::find_by_id((permit.id, n)).one(&self.db).await?;
        let row = row.ok_or_else(|| Invalid::new("/to", format!("there is no revision {n}")))?;
        let revision = Revision::try_from(row)?;
        let note = if note.is_empty() {
            format!("back to revision {n}")
        } else {
            note
        };
        let change = DeploymentChange {
            route: Some(revision.route),
            scale: Some(revision.scale),
            limits: Some(revision.limits),
            note,
            ..DeploymentChange::default()
        };
        self.change_deployment(permit, "roll-back-deployment", change)
            .await
            .map_err(|error| match error {
                Error::Invalid(invalid) => Error::InUse(format!("revision {n} cannot come back: {}", invalid.reason)),
                other => other,
            })
    }

    /// Deletes a deployment that is switched off, with its keys and its history.
    ///
    /// # Errors
    /// It is switched on, it has changed since the permit was given, or the database failed.
    pub async fn delete_deployment(&self, permit: Permit<Deploy, Deployment>) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        configs::lock_services(&tx, &[permit.service_id]).await?;
        if permit.enabled {
            return Err(Error::InUse("the deployment is enabled: disable it first".to_owned()));
        }
        let gone = deployments::Entity::delete_many()
            .filter(deployments::Column::Id.eq(permit.id))
            .filter(deployments::Column::Revision.eq(permit.revision))
            .exec(&tx)
            .await?;
        if gone.rows_affected == 0 {
            return Err(Error::Stale);
        }
        if permit.kind == InfrastructureKind::Kubernetes {
            let (name, place) = (permit.name.as_str(), permit.infrastructure_id);
            clusters::leave(self, &tx, permit.id, place, name).await?;
        }
        Deed::new("delete-deployment", "deployment", permit.name.as_str())
            .on_service(permit.service_id)
            .on_infrastructure(permit.infrastructure_id)
            .record(&tx, permit.actor(), now)
            .await?;
        events::insert(
            &tx,
            &events::Place::of(&permit),
            now,
            "deleted",
            &format!("deleted by {}", permit.actor().name),
        )
        .await?;
        commit(tx).await?;
        self.tell(Change::Deployment(permit.id));
        self.tell(Change::Event);
        Ok(())
    }
}

fn text<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    stored(serde_json::to_string(value), "a value")
}

/// The infrastructure, if it allows this access now. Read under a lock, so that it cannot be disallowed in between.
async fn check_access(
    tx: &DatabaseTransaction,
    infrastructure_id: Uuid,
    access: Access,
) -> Result<Infrastructure, Error> {
    configs::lock_infrastructure(tx, infrastructure_id).await?;
    let row = infrastructures::Entity::find_by_id(infrastructure_id).one(tx).await?;
    let row = row.ok_or(Error::NotFound("infrastructure"))?;
    let (allowed, what) = match access {
        Access::Keys => (true, "keys"),
        Access::Inherit => (row.allow_inherit, "inherit"),
        Access::Public => (row.allow_public, "public"),
    };
    if allowed {
        return row.try_into();
    }
    Err(Error::NotAllowed(format!(
        "infrastructure {} does not allow access {what}: whoever administers it can, with allow.{what}",
        row.name
    )))
}

/// The route with the digest that each version has. Every version must be there.
async fn pin(tx: &DatabaseTransaction, service_id: Uuid, route: Route) -> Result<Route, Error> {
    let mut digests = HashMap::new();
    for (place, leg) in route.legs().iter().enumerate() {
        let row = super::versions::find(tx, service_id, leg.version.as_str())
            .await?
            .filter(|row| row.deleted_at.is_none());
        let unknown = || {
            Invalid::new(
                format!("/route/{place}/version"),
                format!("there is no version {}", leg.version),
            )
        };
        let version = super::versions::version(row.ok_or_else(unknown)?)?;
        digests.insert(leg.version.clone(), version.digest.to_string());
    }
    Ok(route.pinned(|version| digests.get(version).cloned()))
}

async fn remember(tx: &DatabaseTransaction, deployment_id: Uuid, revision: Revision) -> Result<(), Error> {
    revisions::ActiveModel {
        deployment_id: Set(deployment_id),
        n: Set(revision.n),
        route: Set(text(&revision.route)?),
        scale: Set(text(&revision.scale)?),
        limits: Set(text(&revision.limits)?),
        author: Set(revision.author),
        note: Set(revision.note),
        at: Set(revision.at.ms()),
    }
    .insert(tx)
    .await?;
    Ok(())
}
