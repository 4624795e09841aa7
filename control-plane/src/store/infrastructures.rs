//! Infrastructures: where deployments run.

use super::audit::Deed;
use super::deployments::in_the_way;
use super::entity::{deployments, infrastructures};
use super::error::stored;
use super::listing::{Beside, Listed, Listing};
use super::services::{parse_word, word};
use super::{
    Change, Error, Page, PageRequest, Permit, Platform, Store, Visible, boot_size, clusters, commit, configs, json,
    room,
};
use crate::authn::Actor;
use crate::authz::{Administer, InfrastructureMask};
use crate::domain::kubernetes::Kubeconfig;
use crate::domain::{
    Access, Allowances, Deployment, Infrastructure, InfrastructureKind, InfrastructureName, Kubernetes, Stage, Time,
};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect,
};
use serde_json::json;
use uuid::Uuid;

/// An infrastructure to be made. It may hold a secret, and so has no Debug.
#[derive(Clone)]
pub struct NewInfrastructure {
    /// Unique.
    pub name: InfrastructureName,
    /// What runs the nodes.
    pub kind: InfrastructureKind,
    /// Where it stands in the life cycle.
    pub stage: Stage,
    /// For people.
    pub description: String,
    /// Which ways past a deployment's own keys it allows.
    pub allow: Allowances,
    /// Of kind kubernetes.
    pub kubernetes: Option<Kubernetes>,
    /// What opens its cluster.
    pub kubeconfig: Option<Kubeconfig>,
}

/// What is to be changed of an infrastructure; what is absent stays. It may hold a secret, and so has no Debug.
#[derive(Clone, Default)]
pub struct InfrastructureChange {
    /// Where it stands in the life cycle.
    pub stage: Option<Stage>,
    /// For people.
    pub description: Option<String>,
    /// Which ways past a deployment's own keys it allows.
    pub allow: Option<Allowances>,
    /// Of kind kubernetes.
    pub kubernetes: Option<Kubernetes>,
    /// What opens its cluster.
    pub kubeconfig: Option<Kubeconfig>,
    /// Its cluster has another address now: what runs there may stay.
    pub same_cluster: bool,
}

impl TryFrom<infrastructures::Model> for Infrastructure {
    type Error = Error;

    fn try_from(row: infrastructures::Model) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            name: stored(InfrastructureName::parse(&row.name), "an infrastructure's name")?,
            kind: parse_word(&row.kind)?,
            stage: stored(Stage::parse(&row.stage), "a stage")?,
            description: row.description,
            allow: Allowances {
                inherit: row.allow_inherit,
                public: row.allow_public,
                personal_keys: row.allow_personal,
            },
            kubernetes: row
                .kubernetes
                .map(|text| json::read(&text, "settings of a cluster"))
                .transpose()?,
            created_at: Time::from_ms(row.created_at),
            updated_at: Time::from_ms(row.updated_at),
            revision: row.revision,
        })
    }
}

impl Store {
    /// The infrastructures that may be listed, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn infrastructures(
        &self,
        visible: &Visible<Infrastructure>,
        page: &PageRequest,
    ) -> Result<Page<Listed<Infrastructure, InfrastructureMask>>, Error> {
        let seen = visible.seen();
        let mut query = QuerySelect::query(&mut infrastructures::Entity::find()).take();
        seen.beside_this_infrastructure(&mut query);
        let listing = Listing {
            table: infrastructures::Entity,
            query,
            one: None,
            all: infrastructures::Column::Id.in_subquery(seen.infrastructures()),
        };
        let rows: Vec<Beside<infrastructures::Model>> = self.listed(listing, seen, page).await?;
        let rows = rows.into_iter().map(|row| row.listed(InfrastructureMask::from_stored));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        Ok(page.cut(rows, |listed| listed.row.name.to_string()))
    }

    /// Makes an infrastructure.
    ///
    /// # Errors
    /// The name is taken, or the database failed.
    pub async fn create_infrastructure(
        &self,
        permit: &Permit<Administer, Platform>,
        new: NewInfrastructure,
    ) -> Result<Uuid, Error> {
        let tx = self.begin_creation().await?;
        let id = insert(self, &tx, permit.actor(), new).await?;
        commit(tx).await?;
        self.tell(Change::Infrastructure(id));
        Ok(id)
    }

    /// Changes an infrastructure. What deployments there use already cannot be disallowed under them.
    ///
    /// # Errors
    /// A deployment uses what would be disallowed, it has changed since the permit was given, or the database failed.
    pub async fn change_infrastructure(
        &self,
        permit: &Permit<Administer, Infrastructure>,
        change: InfrastructureChange,
    ) -> Result<(), Error> {
        let (now, before): (_, &Infrastructure) = (self.clock.now(), permit);
        let stage = change.stage.unwrap_or_else(|| before.stage.clone());
        let description = change.description.unwrap_or_else(|| before.description.clone());
        let allow = change.allow.unwrap_or(before.allow);
        let kubernetes = change.kubernetes.or_else(|| before.kubernetes.clone());
        let replaced = change.kubeconfig.is_some();
        let kubeconfig = change.kubeconfig.as_ref();
        let kubeconfig = kubeconfig
            .map(|kubeconfig| self.seal_kubeconfig(before.id, kubeconfig))
            .transpose()?;
        let tx = self.begin().await?;
        let opens = allow.public && !before.allow.public;
        let inheriting = configs::inherit_public(&tx, before.id).await?;
        if opens {
            let services: Vec<Uuid> = inheriting.iter().map(|(_, service)| *service).collect();
            configs::lock_services(&tx, &services).await?;
        }
        configs::lock_infrastructure(&tx, before.id).await?;
        // Asked again under the lock: what has become public in between counts.
        let inheriting = configs::inherit_public(&tx, before.id).await?;
        if !allow.public && before.allow.public && !inheriting.is_empty() {
            return Err(Error::InUse(format!(
                "{} deployments inherit from a public service: change them first",
                inheriting.len()
            )));
        }
        for (access, allowed) in [(Access::Inherit, allow.inherit), (Access::Public, allow.public)] {
            if allowed {
                continue;
            }
            let uses = deployments::Entity::find()
                .filter(deployments::Column::InfrastructureId.eq(before.id))
                .filter(deployments::Column::Access.eq(word(&access)?))
                .count(&tx)
                .await?;
            if uses > 0 {
                let access = word(&access)?;
                return Err(Error::InUse(format!(
                    "{uses} deployments have access {access}: change them first"
                )));
            }
        }
        let same_cluster = change.same_cluster;
        let place = |settings: &Option<Kubernetes>| {
            let settings = settings.as_ref()?;
            let cluster = (!same_cluster).then(|| settings.cluster.clone());
            Some((cluster, settings.namespace.clone()))
        };
        if place(&kubernetes) != place(&before.kubernetes) {
            self.check_empty(&tx, before.id).await?;
        }
        boot_size::check_settings(self, &tx, before.id, before.kubernetes.as_ref(), kubernetes.as_ref()).await?;
        check_hosts(&tx, before, kubernetes.as_ref()).await?;
        let packages = |settings: &Option<Kubernetes>| settings.as_ref().map(|settings| settings.packages);
        if let Some(less) = packages(&kubernetes).filter(|now| Some(*now) < packages(&before.kubernetes)) {
            room::check_all(&tx, before.id, less).await?;
        }
        let mut changing = infrastructures::Entity::update_many();
        if let Some(sealed) = kubeconfig {
            changing = changing.col_expr(infrastructures::Column::Kubeconfig, Expr::value(sealed));
        }
        let changed = changing
            .col_expr(
                infrastructures::Column::Kubernetes,
                Expr::value(settings(kubernetes.as_ref())?),
            )
            .col_expr(infrastructures::Column::Stage, Expr::value(stage.as_str()))
            .col_expr(infrastructures::Column::Description, Expr::value(description.as_str()))
            .col_expr(infrastructures::Column::AllowInherit, Expr::value(allow.inherit))
            .col_expr(infrastructures::Column::AllowPublic, Expr::value(allow.public))
            .col_expr(infrastructures::Column::AllowPersonal, Expr::value(allow.personal_keys))
            .col_expr(infrastructures::Column::UpdatedAt, Expr::value(now.ms()))
            .col_expr(infrastructures::Column::Revision, Expr::value(before.revision + 1))
            .filter(infrastructures::Column::Id.eq(before.id))
            .filter(infrastructures::Column::Revision.eq(before.revision))
            .exec(&tx)
            .await?;
        if changed.rows_affected == 0 {
            return Err(Error::Stale);
        }
        let raised = if opens { inheriting } else { Vec::new() };
        for (deployment, _) in &raised {
            configs::raise(self, &tx, *deployment).await?;
        }
        Deed::new("change-infrastructure", "infrastructure", before.name.as_str())
            .on_infrastructure(before.id)
            .change(
                Some(json!({
                    "stage": before.stage, "description": before.description, "allow": before.allow,
                    "kubernetes": before.kubernetes,
                })),
                Some(json!({
                    "stage": stage, "description": description, "allow": allow, "kubernetes": kubernetes,
                    "kubeconfig": replaced.then_some("replaced"), "same_cluster": same_cluster.then_some(true),
                })),
            )
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        self.tell(Change::Infrastructure(before.id));
        for (deployment, _) in raised {
            self.tell(Change::Config(deployment));
        }
        Ok(())
    }

    /// Deletes an infrastructure on which nothing runs. With `force`, which says why, also one from whose cluster not all
    /// that was made there has been taken away.
    ///
    /// # Errors
    /// It has deployments, it has changed since the permit was given, or the database failed.
    pub async fn delete_infrastructure(
        &self,
        permit: Permit<Administer, Infrastructure>,
        visible: &Visible<Deployment>,
        force: Option<&str>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let tx = self.begin().await?;
        let deployed = deployments::Entity::find()
            .filter(deployments::Column::InfrastructureId.eq(permit.id))
            .all(&tx)
            .await?;
        if !deployed.is_empty() {
            let ids: Vec<Uuid> = deployed.into_iter().map(|row| row.id).collect();
            let names = in_the_way(&tx, visible, &ids).await?;
            return Err(Error::InUse(format!("something runs there: delete {names} first")));
        }
        match force {
            Some(_) => clusters::abandon(&tx, permit.id).await?,
            None => {
                let left = clusters::left_on(&tx, permit.id).await?;
                if !left.is_empty() {
                    return Err(Error::InUse(format!(
                        "what {} became is still being taken away from its cluster: wait, or give it up there with force and a reason",
                        left.join(", ")
                    )));
                }
            }
        }
        let gone = infrastructures::Entity::delete_many()
            .filter(infrastructures::Column::Id.eq(permit.id))
            .filter(infrastructures::Column::Revision.eq(permit.revision))
            .exec(&tx)
            .await
            .map_err(Error::referred_to(
                "the infrastructure has deployments: delete them first",
            ))?;
        if gone.rows_affected == 0 {
            return Err(Error::Stale);
        }
        // Not on the infrastructure: nobody sees that any more. The row stays with who did it.
        Deed::new("delete-infrastructure", "infrastructure", permit.name.as_str())
            .change(None, force.map(|reason| json!({"force": reason})))
            .record(&tx, permit.actor(), now)
            .await?;
        commit(tx).await?;
        self.tell(Change::Infrastructure(permit.id));
        Ok(())
    }

    /// What runs in one place cannot be told to run in another.
    async fn check_empty(&self, tx: &DatabaseTransaction, id: Uuid) -> Result<(), Error> {
        let deployed = deployments::Entity::find()
            .filter(deployments::Column::InfrastructureId.eq(id))
            .count(tx)
            .await?;
        if deployed > 0 || !clusters::left_on(tx, id).await?.is_empty() {
            return Err(Error::InUse(
                "namespace and cluster cannot be changed while there are deployments: make another infrastructure; \
                 where it is the same cluster under another address, say so by same_cluster"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Checks that all deployments there have a host by settings that are new.
async fn check_hosts(
    tx: &DatabaseTransaction,
    before: &Infrastructure,
    settings: Option<&Kubernetes>,
) -> Result<(), Error> {
    let exposure = before.kubernetes.as_ref().map(|settings| &settings.exposure);
    let Some(settings) = settings.filter(|settings| Some(&settings.exposure) != exposure) else {
        return Ok(());
    };
    let names: Vec<String> = deployments::Entity::find()
        .select_only()
        .column(deployments::Column::Name)
        .filter(deployments::Column::InfrastructureId.eq(before.id))
        .into_tuple()
        .all(tx)
        .await?;
    let checked = names.iter().try_for_each(|name| settings.check_host(name));
    checked.map_err(|wrong| wrong.under("/kubernetes/exposure/host").into())
}

/// Makes an infrastructure, with its audit.
pub(super) async fn insert(
    store: &Store,
    tx: &DatabaseTransaction,
    actor: &Actor,
    new: NewInfrastructure,
) -> Result<Uuid, Error> {
    let (id, now) = (Uuid::now_v7(), store.clock.now());
    let kubeconfig = new.kubeconfig.map(|kubeconfig| store.seal_kubeconfig(id, &kubeconfig));
    infrastructures::ActiveModel {
        id: Set(id),
        name: Set(new.name.to_string()),
        kind: Set(word(&new.kind)?),
        stage: Set(new.stage.to_string()),
        description: Set(new.description.clone()),
        allow_inherit: Set(new.allow.inherit),
        allow_public: Set(new.allow.public),
        allow_personal: Set(new.allow.personal_keys),
        kubernetes: Set(settings(new.kubernetes.as_ref())?),
        kubeconfig: Set(kubeconfig.transpose()?),
        created_at: Set(now.ms()),
        updated_at: Set(now.ms()),
        revision: Set(1),
    }
    .insert(tx)
    .await
    .map_err(Error::taken("infrastructure"))?;
    Deed::new("create-infrastructure", "infrastructure", new.name.as_str())
        .on_infrastructure(id)
        .change(
            None,
            Some(json!({
                "kind": new.kind, "stage": new.stage, "allow": new.allow, "kubernetes": new.kubernetes,
            })),
        )
        .record(tx, actor, now)
        .await?;
    Ok(id)
}

fn settings(settings: Option<&Kubernetes>) -> Result<Option<String>, Error> {
    let text = settings.map(|settings| stored(serde_json::to_string(settings), "settings of a cluster"));
    text.transpose()
}
