//! Infrastructures of kind kubernetes as their launcher sees them, and what it writes down about them.

use super::entity::{configs, deployments, infrastructures, leftovers, nodes};
use super::error::stored;
use super::vault::Place;
use super::{Change, Error, NewInfrastructure, Store, SystemStore, commit};
use crate::authn::Actor;
use crate::domain::kubernetes::{Kubeconfig, Make};
use crate::domain::{Allowances, Infrastructure, InfrastructureKind, InfrastructureName, Kubernetes, Stage};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// An infrastructure of kind kubernetes. It may hold a secret, and so has no Debug.
#[derive(Clone)]
pub struct Cluster {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: InfrastructureName,
    /// What it is told.
    pub settings: Kubernetes,
    /// What opens it; none for the cluster that the control plane runs in.
    pub kubeconfig: Option<Kubeconfig>,
    /// Raised by every change.
    pub revision: i64,
}

/// A deployment that was deleted, whose objects may still be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The deployment.
    pub deployment_id: Uuid,
    /// Where.
    pub infrastructure_id: Uuid,
    /// What it was called.
    pub name: String,
}

fn place(id: Uuid) -> Place<'static> {
    Place {
        table: "infrastructures",
        row: id,
        owner: id,
    }
}

impl Store {
    /// A kubeconfig as it is stored.
    pub(super) fn seal_kubeconfig(&self, id: Uuid, kubeconfig: &Kubeconfig) -> Result<Vec<u8>, Error> {
        let text = stored(serde_json::to_vec(kubeconfig), "a kubeconfig")?;
        self.vault.seal(&place(id), &text)
    }

    fn open_kubeconfig(&self, id: Uuid, sealed: &[u8]) -> Result<Kubeconfig, Error> {
        let text = self.vault.open(&place(id), sealed)?;
        stored(serde_json::from_slice(&text), "a kubeconfig")
    }
}

/// Notes that a deployment's objects are to be taken away.
pub(super) async fn leave(
    store: &Store,
    tx: &DatabaseTransaction,
    deployment_id: Uuid,
    infrastructure_id: Uuid,
    name: &str,
) -> Result<(), Error> {
    use sea_orm::ActiveValue::Set;
    let row = leftovers::ActiveModel {
        deployment_id: Set(deployment_id),
        infrastructure_id: Set(infrastructure_id),
        name: Set(name.to_owned()),
        since: Set(store.clock.now().ms()),
    };
    leftovers::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// The names of deployments whose objects are still to be taken away from an infrastructure.
pub(super) async fn left_on(db: &impl ConnectionTrait, infrastructure_id: Uuid) -> Result<Vec<String>, Error> {
    let rows = leftovers::Entity::find()
        .filter(leftovers::Column::InfrastructureId.eq(infrastructure_id))
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Forgets what is to be taken away from an infrastructure that is given up.
pub(super) async fn abandon(tx: &DatabaseTransaction, infrastructure_id: Uuid) -> Result<(), Error> {
    leftovers::Entity::delete_many()
        .filter(leftovers::Column::InfrastructureId.eq(infrastructure_id))
        .exec(tx)
        .await?;
    Ok(())
}

impl SystemStore {
    /// Every infrastructure of kind kubernetes.
    ///
    /// # Errors
    /// The database failed, or a kubeconfig was sealed by another installation.
    pub async fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        let store = self.store();
        let rows = infrastructures::Entity::find()
            .filter(infrastructures::Column::Kubernetes.is_not_null())
            .all(&store.db)
            .await?;
        rows.into_iter()
            .map(|row| {
                let kubeconfig = row.kubeconfig.as_deref();
                let kubeconfig = kubeconfig
                    .map(|sealed| store.open_kubeconfig(row.id, sealed))
                    .transpose()?;
                let (id, revision) = (row.id, row.revision);
                let row = Infrastructure::try_from(row)?;
                Ok(Cluster {
                    id,
                    name: row.name,
                    settings: row.kubernetes.ok_or(Error::Unreadable("settings of a cluster"))?,
                    kubeconfig,
                    revision,
                })
            })
            .collect()
    }

    /// Makes the namespace that the first control plane is in an infrastructure of stage dev, unless a start that did not
    /// come further has made it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn first_infrastructure(&self, name: InfrastructureName, settings: Kubernetes) -> Result<(), Error> {
        let stage = Stage::parse("dev")?;
        let new = NewInfrastructure {
            kind: InfrastructureKind::Kubernetes,
            description: "The cluster that Castoff runs in".to_owned(),
            allow: Allowances::of_stage(&stage),
            kubernetes: Some(settings),
            kubeconfig: None,
            name,
            stage,
        };
        let tx = self.store().begin().await?;
        let id = match super::infrastructures::insert(self.store(), &tx, &Actor::machine(), new).await {
            Err(Error::Taken(_)) => return Ok(()),
            made => made?,
        };
        commit(tx).await?;
        self.store().tell(Change::Infrastructure(id));
        Ok(())
    }

    /// Deployments that were deleted, whose objects may still be there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn leftovers(&self) -> Result<Vec<Leftover>, Error> {
        let rows = leftovers::Entity::find().all(&self.store().db).await?;
        Ok(rows
            .into_iter()
            .map(|row| Leftover {
                deployment_id: row.deployment_id,
                infrastructure_id: row.infrastructure_id,
                name: row.name,
            })
            .collect())
    }

    /// Whether this config, or a newer one, lies where a deployment's nodes boot from: trivially where they keep it
    /// themselves, or where there are none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn is_copied(&self, deployment_id: Uuid, config: (u64, u64)) -> Result<bool, Error> {
        let elsewhere = deployments::Entity::find_by_id(deployment_id)
            .select_only()
            .columns([deployments::Column::Enabled, deployments::Column::InfrastructureId])
            .into_tuple::<(bool, Uuid)>()
            .one(&self.store().db)
            .await?;
        let Some((true, infrastructure)) = elsewhere else {
            return Ok(true);
        };
        let in_cluster = infrastructures::Entity::find_by_id(infrastructure)
            .filter(infrastructures::Column::Kubernetes.is_not_null())
            .count(&self.store().db)
            .await?;
        Ok(in_cluster == 0 || self.copied(deployment_id).await? >= Some(config))
    }

    /// The config that lies where a deployment's nodes boot from; none before the first was written there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn copied(&self, deployment_id: Uuid) -> Result<Option<(u64, u64)>, Error> {
        let row = configs::Entity::find_by_id(deployment_id).one(&self.store().db).await?;
        Ok(row.and_then(|row| super::nodes::position(row.copied_epoch, row.copied_version)))
    }
}

pub(super) async fn keep_kubeconfig(
    store: &Store,
    tx: DatabaseTransaction,
    cluster: &Cluster,
    kubeconfig: &Kubeconfig,
) -> Result<(), Error> {
    use infrastructures::Column;
    let sealed = store.seal_kubeconfig(cluster.id, kubeconfig)?;
    let kept = infrastructures::Entity::update_many()
        .col_expr(Column::Kubeconfig, Expr::value(sealed))
        .filter(Column::Id.eq(cluster.id))
        .filter(Column::Revision.eq(cluster.revision))
        .exec(&tx)
        .await?;
    if kept.rows_affected == 0 {
        return Err(Error::Stale);
    }
    commit(tx).await
}

/// What the launcher writes down, in a transaction of its term.
pub(super) enum Note<'a> {
    /// Of what make the pods of a deployment are from now on.
    Make(&'a Make),
    /// All its pods are what it was moved to.
    Moved,
    /// Where the config stands that nodes boot from.
    Copied((u64, u64)),
    /// Nothing of a deleted deployment is left on this infrastructure.
    Settled(Uuid),
    /// Pods of a deployment that are there, with their names; all other nodes of it have ended.
    Pods(&'a [(Uuid, String)]),
}

pub(super) async fn note(
    store: &Store,
    tx: DatabaseTransaction,
    deployment_id: Uuid,
    note: Note<'_>,
) -> Result<(), Error> {
    let mut change = None;
    match note {
        Note::Make(make) => {
            deployments::Entity::update_many()
                .col_expr(deployments::Column::Image, Expr::value(make.image.as_str()))
                .col_expr(deployments::Column::Template, Expr::value(i64::from(make.template)))
                .filter(deployments::Column::Id.eq(deployment_id))
                .exec(&tx)
                .await?;
        }
        Note::Moved => {
            deployments::Entity::update_many()
                .col_expr(deployments::Column::Moving, Expr::value(false))
                .filter(deployments::Column::Id.eq(deployment_id))
                .exec(&tx)
                .await?;
        }
        Note::Copied((epoch, version)) => {
            use configs::Column;
            configs::Entity::update_many()
                .col_expr(Column::CopiedEpoch, Expr::value(super::configs::to_stored(epoch)))
                .col_expr(Column::CopiedVersion, Expr::value(super::configs::to_stored(version)))
                .filter(Column::DeploymentId.eq(deployment_id))
                .exec(&tx)
                .await?;
            change = Some(Change::Copy(deployment_id));
        }
        Note::Settled(infrastructure_id) => {
            leftovers::Entity::delete_many()
                .filter(leftovers::Column::DeploymentId.eq(deployment_id))
                .filter(leftovers::Column::InfrastructureId.eq(infrastructure_id))
                .exec(&tx)
                .await?;
        }
        Note::Pods(there) => {
            let gone = nodes::Entity::delete_many()
                .filter(nodes::Column::DeploymentId.eq(deployment_id))
                .filter(Expr::col(nodes::Column::Id).is_not_in(there.iter().map(|(id, _)| *id)))
                .exec(&tx)
                .await?;
            let mut changed = gone.rows_affected;
            // In the order in which what nodes say is written down, so that neither waits for the other.
            let ordered: BTreeMap<&Uuid, &String> = there.iter().map(|(id, name)| (id, name)).collect();
            for (id, name) in ordered {
                let named = nodes::Entity::update_many()
                    .col_expr(nodes::Column::Pod, Expr::value(name.as_str()))
                    .filter(nodes::Column::Id.eq(*id))
                    .filter(nodes::Column::DeploymentId.eq(deployment_id))
                    .filter(nodes::Column::Pod.is_null())
                    .exec(&tx)
                    .await?;
                changed += named.rows_affected;
            }
            change = (changed > 0).then_some(Change::Node(deployment_id));
        }
    }
    commit(tx).await?;
    if let Some(change) = change {
        store.tell(change);
    }
    Ok(())
}
