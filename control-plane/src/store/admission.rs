//! Finding what a path or a body names, sealed until the caller is admitted to it.

use super::entity::{accounts, deployments, groups, infrastructure_grants, infrastructures, service_grants, services};
use super::known::{Granted, Known};
use super::permit::{Facts, Unchecked};
use super::rows::{Platform, Site};
use super::seen::unindexed;
use super::{Error, Store};
use crate::authn::Actor;
use crate::authz::{InfrastructureMask, ServiceMask, Standing};
use crate::domain::{Deployment, Infrastructure, Service};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use std::sync::Arc;
use uuid::Uuid;

/// Who can give what is missing: shown to whoever may see the thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The owner of the service concerned.
    pub owner: Option<String>,
    /// Groups with admin on the service or the infrastructure concerned, and those of platform admins.
    pub groups: Vec<String>,
}

/// A group's grant, as far as the actor is in that group: where a privilege comes from.
#[derive(Clone, Debug)]
pub struct GrantSource<M> {
    /// The group's name.
    pub group: String,
    /// What was granted.
    pub mask: M,
}

fn platform_standing(actor: &Actor) -> Standing {
    Standing {
        platform_admin: actor.admin,
        create_service: actor.create_service,
        ..Standing::default()
    }
}

impl Store {
    /// The platform, to be admitted to.
    pub fn platform(&self, actor: &Actor) -> Unchecked<Platform> {
        let facts = Facts {
            standing: platform_standing(actor),
            service: None,
            infrastructure: None,
        };
        Unchecked::new(Platform, facts)
    }

    /// The service of a name.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn service(&self, actor: &Actor, name: &str) -> Result<Unchecked<Service>, Error> {
        let query = super::services::select()
            .and_where(Expr::col((services::Entity, services::Column::Name)).eq(name))
            .to_owned();
        let service = self.one_service(query).await?.ok_or(Error::NotFound("service"))?;
        let known = self.known().await;
        let mask = self.service_mask(&known, actor, service.id).await?;
        let mut standing = platform_standing(actor);
        standing.service = mask;
        standing.service_owner = service.owner_id == actor.account_id;
        let facts = Facts {
            standing,
            service: Some((service.id, service.name.to_string())),
            infrastructure: None,
        };
        Ok(Unchecked::new(service, facts))
    }

    /// The infrastructure of a name.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn infrastructure(&self, actor: &Actor, name: &str) -> Result<Unchecked<Infrastructure>, Error> {
        let row = infrastructures::Entity::find()
            .filter(infrastructures::Column::Name.eq(name))
            .one(&self.db)
            .await?
            .ok_or(Error::NotFound("infrastructure"))?;
        let infrastructure = Infrastructure::try_from(row)?;
        let known = self.known().await;
        let mut standing = platform_standing(actor);
        standing.infrastructure = self.infrastructure_mask(&known, actor, infrastructure.id).await?;
        let facts = Facts {
            standing,
            service: None,
            infrastructure: Some((infrastructure.id, infrastructure.name.to_string())),
        };
        Ok(Unchecked::new(infrastructure, facts))
    }

    /// The deployment of a name.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn deployment(&self, actor: &Actor, name: &str) -> Result<Unchecked<Deployment>, Error> {
        let known = self.known().await;
        let found = match known.deployments.get(name) {
            Some(found) => found,
            None => {
                let found = Arc::new(self.deployment_and_owner(name).await?);
                known.deployments.keep(name.to_owned(), Arc::clone(&found), 1);
                found
            }
        };
        let (deployment, owner_id) = (found.0.clone(), found.1);
        let mut standing = platform_standing(actor);
        standing.service = self.service_mask(&known, actor, deployment.service_id).await?;
        standing.service_owner = owner_id == actor.account_id;
        standing.infrastructure = self
            .infrastructure_mask(&known, actor, deployment.infrastructure_id)
            .await?;
        let facts = Facts {
            standing,
            service: Some((deployment.service_id, deployment.service.clone())),
            infrastructure: Some((deployment.infrastructure_id, deployment.infrastructure.clone())),
        };
        Ok(Unchecked::new(deployment, facts))
    }

    /// The place where a deployment is to be made. What the caller may not see is as unknown as what is not there.
    ///
    /// # Errors
    /// One of the two is not there, or the database failed.
    pub async fn site(&self, actor: &Actor, service: &str, infrastructure: &str) -> Result<Unchecked<Site>, Error> {
        let (service, of_service) = self.service(actor, service).await?.into_parts();
        let (infrastructure, of_infrastructure) = self.infrastructure(actor, infrastructure).await?.into_parts();
        let facts = Facts {
            standing: Standing {
                infrastructure: of_infrastructure.standing.infrastructure,
                ..of_service.standing
            },
            service: of_service.service,
            infrastructure: of_infrastructure.infrastructure,
        };
        Ok(Unchecked::new(
            Site {
                service,
                infrastructure,
            },
            facts,
        ))
    }

    /// Who can give what is missing on what the facts are about.
    ///
    /// # Errors
    /// The database failed.
    pub async fn who_can_give(&self, facts: &Facts) -> Result<Ask, Error> {
        let mut ask = Ask::default();
        if let Some((id, _)) = facts.service {
            let owner = services::Entity::find_by_id(id).one(&self.db).await?;
            if let Some(row) = owner {
                ask.owner = accounts::Entity::find_by_id(row.owner_id)
                    .one(&self.db)
                    .await?
                    .map(|account| account.name);
            }
            ask.groups.extend(self.service_admin_groups(id).await?);
        }
        if let Some((id, _)) = facts.infrastructure {
            ask.groups.extend(self.infrastructure_admin_groups(id).await?);
        }
        // Platform admins can always.
        let admins = groups::Entity::find()
            .filter(groups::Column::Admin.eq(true))
            .all(&self.db)
            .await?;
        ask.groups.extend(admins.into_iter().map(|group| group.name));
        ask.groups.sort();
        ask.groups.dedup();
        Ok(ask)
    }

    /// The groups with admin on a service, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn service_admin_groups(&self, id: Uuid) -> Result<Vec<String>, Error> {
        use service_grants::Column;
        let admins = Query::select()
            .column(Column::GroupId)
            .from(service_grants::Entity)
            .and_where(Expr::col(Column::ServiceId).eq(id))
            .and_where(Expr::col(Column::Mask).bit_and(i32::from(ServiceMask::ADMIN)).ne(0))
            .to_owned();
        self.group_names(admins).await
    }

    /// The groups with admin on an infrastructure, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn infrastructure_admin_groups(&self, id: Uuid) -> Result<Vec<String>, Error> {
        use infrastructure_grants::Column;
        let admins = Query::select()
            .column(Column::GroupId)
            .from(infrastructure_grants::Entity)
            .and_where(Expr::col(Column::InfrastructureId).eq(id))
            .and_where(
                Expr::col(Column::Mask)
                    .bit_and(i32::from(InfrastructureMask::ADMIN))
                    .ne(0),
            )
            .to_owned();
        self.group_names(admins).await
    }

    async fn group_names(&self, ids: SelectStatement) -> Result<Vec<String>, Error> {
        let groups = groups::Entity::find()
            .filter(groups::Column::Id.in_subquery(ids))
            .order_by_asc(groups::Column::Name)
            .all(&self.db)
            .await?;
        Ok(groups.into_iter().map(|group| group.name).collect())
    }

    /// Where the actor's privileges on a service come from.
    ///
    /// # Errors
    /// The database failed.
    pub async fn service_sources(&self, actor: &Actor, id: Uuid) -> Result<Vec<GrantSource<ServiceMask>>, Error> {
        let rows = service_grants::Entity::find()
            .filter(service_grants::Column::ServiceId.eq(id))
            .filter(service_grants::Column::GroupId.is_in(actor.group_ids()))
            .limit(1_000)
            .all(&self.db)
            .await?;
        let source = |row: service_grants::Model| GrantSource {
            group: group_name(actor, row.group_id),
            mask: ServiceMask::from_stored(row.mask),
        };
        Ok(rows.into_iter().map(source).collect())
    }

    /// Where the actor's privileges on an infrastructure come from.
    ///
    /// # Errors
    /// The database failed.
    pub async fn infrastructure_sources(
        &self,
        actor: &Actor,
        id: Uuid,
    ) -> Result<Vec<GrantSource<InfrastructureMask>>, Error> {
        let rows = infrastructure_grants::Entity::find()
            .filter(infrastructure_grants::Column::InfrastructureId.eq(id))
            .filter(infrastructure_grants::Column::GroupId.is_in(actor.group_ids()))
            .limit(1_000)
            .all(&self.db)
            .await?;
        let source = |row: infrastructure_grants::Model| GrantSource {
            group: group_name(actor, row.group_id),
            mask: InfrastructureMask::from_stored(row.mask),
        };
        Ok(rows.into_iter().map(source).collect())
    }

    async fn deployment_and_owner(&self, name: &str) -> Result<(Deployment, Uuid), Error> {
        let query = super::deployments::select()
            .and_where(Expr::col((deployments::Entity, deployments::Column::Name)).eq(name))
            .to_owned();
        let row = super::deployments::Row::find_by_statement(self.db.get_database_backend().build(&query))
            .one(&self.db)
            .await?
            .ok_or(Error::NotFound("deployment"))?;
        let owner_id = row.service_owner_id();
        Ok((Deployment::try_from(row)?, owner_id))
    }

    async fn service_mask(&self, known: &Known, actor: &Actor, id: Uuid) -> Result<ServiceMask, Error> {
        if actor.groups.is_empty() {
            return Ok(ServiceMask::default());
        }
        if let Some((_, mask)) = known.services.get(&Granted::on(id, &actor.groups)) {
            return Ok(mask);
        }
        let granted = service_grants::Entity::find()
            .filter(service_grants::Column::ServiceId.eq(id))
            .filter(unindexed(service_grants::Column::GroupId.is_in(actor.group_ids())))
            .all(&self.db)
            .await?;
        let rows = 1 + granted.len();
        let mask = granted.into_iter().fold(ServiceMask::default(), |sum, row| {
            sum | ServiceMask::from_stored(row.mask)
        });
        let groups = Arc::clone(&actor.groups);
        known.services.keep(Granted::on(id, &groups), (groups, mask), rows);
        Ok(mask)
    }

    async fn infrastructure_mask(&self, known: &Known, actor: &Actor, id: Uuid) -> Result<InfrastructureMask, Error> {
        if actor.groups.is_empty() {
            return Ok(InfrastructureMask::default());
        }
        if let Some((_, mask)) = known.infrastructures.get(&Granted::on(id, &actor.groups)) {
            return Ok(mask);
        }
        let granted = infrastructure_grants::Entity::find()
            .filter(infrastructure_grants::Column::InfrastructureId.eq(id))
            .filter(infrastructure_grants::Column::GroupId.is_in(actor.group_ids()))
            .all(&self.db)
            .await?;
        let rows = 1 + granted.len();
        let mask = granted.into_iter().fold(InfrastructureMask::default(), |sum, row| {
            sum | InfrastructureMask::from_stored(row.mask)
        });
        let groups = Arc::clone(&actor.groups);
        known
            .infrastructures
            .keep(Granted::on(id, &groups), (groups, mask), rows);
        Ok(mask)
    }

    async fn one_service(&self, query: SelectStatement) -> Result<Option<Service>, Error> {
        super::services::Row::find_by_statement(self.db.get_database_backend().build(&query))
            .one(&self.db)
            .await?
            .map(Service::try_from)
            .transpose()
    }
}

fn group_name(actor: &Actor, id: Uuid) -> String {
    actor
        .groups
        .iter()
        .find(|group| group.id == id)
        .map(|group| group.name.clone())
        .unwrap_or_default()
}
