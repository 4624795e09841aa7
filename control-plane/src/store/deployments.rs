//! Deployments as they are read.

use super::entity::{configs, deployments, infrastructures, revisions, services};
use super::error::stored;
use super::listing::Listing;
use super::seen::unindexed;
use super::services::parse_word;
use super::{Error, Page, PageRequest, Permit, Store, Visible, json};
use crate::authz::View;
use crate::domain::kubernetes::Make;
use crate::domain::{Deployment, DeploymentName, HeaderName, Kubernetes, Revision, Scale, Time};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

#[derive(FromQueryResult)]
pub(super) struct Row {
    id: Uuid,
    name: String,
    service_id: Uuid,
    infrastructure_id: Uuid,
    enabled: bool,
    access: String,
    key_header: String,
    route: String,
    scale: String,
    limits: String,
    port: Option<i32>,
    problem: Option<String>,
    image: Option<String>,
    moving: bool,
    template: i64,
    balancer: Option<String>,
    kubernetes: Option<String>,
    created_by: String,
    created_at: i64,
    updated_at: i64,
    revision: i64,
    service: String,
    service_owner_id: Uuid,
    infrastructure: String,
    kind: String,
    epoch: Option<i64>,
    version: Option<i64>,
}

impl Row {
    pub(super) fn service_owner_id(&self) -> Uuid {
        self.service_owner_id
    }
}

/// Deployments with the names of what they are made of and the position of their config; the caller adds conditions.
pub(super) fn select() -> SelectStatement {
    use deployments::Column;
    let own = |column| Expr::col((deployments::Entity, column));
    let mut query = Query::select();
    for column in [
        Column::Id,
        Column::Name,
        Column::ServiceId,
        Column::InfrastructureId,
        Column::Enabled,
        Column::Access,
        Column::KeyHeader,
        Column::Route,
        Column::Scale,
        Column::Limits,
        Column::Port,
        Column::Problem,
        Column::Image,
        Column::Moving,
        Column::Template,
        Column::Balancer,
        Column::CreatedBy,
        Column::CreatedAt,
        Column::UpdatedAt,
        Column::Revision,
    ] {
        query.column((deployments::Entity, column));
    }
    query
        .expr_as(Expr::col((services::Entity, services::Column::Name)), "service")
        .expr_as(
            Expr::col((services::Entity, services::Column::OwnerId)),
            "service_owner_id",
        )
        .expr_as(
            Expr::col((infrastructures::Entity, infrastructures::Column::Name)),
            "infrastructure",
        )
        .expr_as(
            Expr::col((infrastructures::Entity, infrastructures::Column::Kind)),
            "kind",
        )
        .expr_as(
            Expr::col((infrastructures::Entity, infrastructures::Column::Kubernetes)),
            "kubernetes",
        )
        .expr_as(Expr::col((configs::Entity, configs::Column::Epoch)), "epoch")
        .expr_as(Expr::col((configs::Entity, configs::Column::Version)), "version")
        .from(deployments::Entity)
        .inner_join(
            services::Entity,
            own(Column::ServiceId).equals((services::Entity, services::Column::Id)),
        )
        .inner_join(
            infrastructures::Entity,
            own(Column::InfrastructureId).equals((infrastructures::Entity, infrastructures::Column::Id)),
        )
        .left_join(
            configs::Entity,
            own(Column::Id).equals((configs::Entity, configs::Column::DeploymentId)),
        )
        .to_owned()
}

impl TryFrom<Row> for Deployment {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        let settings: Option<Kubernetes> = row
            .kubernetes
            .map(|text| json::read(&text, "settings of a cluster"))
            .transpose()?;
        let scale: Scale = json::read(&row.scale, "a scale")?;
        let usual = settings.as_ref().and_then(|settings| settings.autoscaling);
        Ok(Self {
            least: scale.least(usual),
            autoscaling: scale.autoscaling(usual),
            usual_replicas: settings.as_ref().map_or(1, |settings| settings.replicas),
            scale,
            address: settings
                .as_ref()
                .and_then(|settings| settings.address(&row.name, row.balancer.as_deref())),
            balancer: row.balancer,
            named_image: settings.and_then(|settings| settings.image),
            make: row.image.map(|image| make(image, row.template)).transpose()?,
            moving: row.moving,
            id: row.id,
            name: stored(DeploymentName::parse(&row.name), "a deployment's name")?,
            service_id: row.service_id,
            service: row.service,
            infrastructure_id: row.infrastructure_id,
            infrastructure: row.infrastructure,
            kind: parse_word(&row.kind)?,
            enabled: row.enabled,
            access: parse_word(&row.access)?,
            key_header: stored(HeaderName::parse(&row.key_header), "a header's name")?,
            route: json::read(&row.route, "a route")?,
            limits: json::read(&row.limits, "limits")?,
            port: row.port.and_then(|port| u16::try_from(port).ok()),
            problem: row.problem,
            config: (number(row.epoch), number(row.version)),
            created_by: row.created_by,
            created_at: Time::from_ms(row.created_at),
            updated_at: Time::from_ms(row.updated_at),
            revision: row.revision,
        })
    }
}

/// Of what make pods are, as it is stored.
pub(super) fn make(image: String, template: i64) -> Result<Make, Error> {
    let template = u32::try_from(template).map_err(|_| Error::Unreadable("a template"))?;
    Ok(Make { image, template })
}

impl TryFrom<revisions::Model> for Revision {
    type Error = Error;

    fn try_from(row: revisions::Model) -> Result<Self, Error> {
        Ok(Self {
            n: row.n,
            route: json::read(&row.route, "a route")?,
            scale: json::read(&row.scale, "a scale")?,
            limits: json::read(&row.limits, "limits")?,
            author: row.author,
            note: row.note,
            at: Time::from_ms(row.at),
        })
    }
}

pub(super) async fn names(
    db: &impl ConnectionTrait,
    visible: &Visible<Deployment>,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, String)>, Error> {
    let rows = deployments::Entity::find()
        .filter(deployments::Column::Id.is_in(ids.iter().copied()))
        .filter(deployments::Column::ServiceId.in_subquery(visible.seen().services()))
        .filter(deployments::Column::InfrastructureId.in_subquery(visible.seen().infrastructures()))
        .order_by_asc(deployments::Column::Name)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// Deployments that are in the way of something, by name as far as the caller may know them.
pub(super) async fn in_the_way(
    db: &impl ConnectionTrait,
    visible: &Visible<Deployment>,
    ids: &[Uuid],
) -> Result<String, Error> {
    let names: Vec<String> = names(db, visible, ids)
        .await?
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    Ok(match (names.len(), ids.len()) {
        (0, _) => "a deployment that you may not see".to_owned(),
        (known, all) if known < all => format!("{}, and what you may not see", names.join(", ")),
        _ => names.join(", "),
    })
}

impl Store {
    /// The deployments that may be listed, by name: those of services that may be seen, on infrastructures that may be
    /// seen.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deployments(
        &self,
        visible: &Visible<Deployment>,
        page: &PageRequest,
    ) -> Result<Page<Deployment>, Error> {
        let seen = visible.seen();
        let own = |column| Expr::col((deployments::Entity, column));
        // Infrastructures are few: they are gathered either way.
        let placed = own(deployments::Column::InfrastructureId).in_subquery(seen.infrastructures());
        let listing = Listing {
            table: deployments::Entity,
            query: select(),
            one: Some(seen.this_service().and(unindexed(placed.clone()))),
            all: own(deployments::Column::ServiceId)
                .in_subquery(seen.services())
                .and(placed),
        };
        let rows = self.listed::<Row>(listing, seen, page).await?;
        let rows = rows
            .into_iter()
            .map(Deployment::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(page.cut(rows, |deployment| deployment.name.to_string()))
    }

    /// A deployment's history, the newest first.
    ///
    /// # Errors
    /// The database failed, or the cursor is not one that this list gave.
    pub async fn revisions(
        &self,
        permit: &Permit<View, Deployment>,
        page: &PageRequest,
    ) -> Result<Page<Revision>, Error> {
        let mut query = revisions::Entity::find().filter(revisions::Column::DeploymentId.eq(permit.id));
        if let Some(after) = page.after() {
            let n: i64 = after
                .parse()
                .map_err(|_| crate::domain::Invalid::new("/cursor", "is not one that a list gave"))?;
            query = query.filter(revisions::Column::N.lt(n));
        }
        let rows = query
            .order_by_desc(revisions::Column::N)
            .limit(page.fetch())
            .all(&self.db)
            .await?;
        let rows = rows
            .into_iter()
            .map(Revision::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(page.cut(rows, |revision| revision.n.to_string()))
    }

    /// One entry of a deployment's history.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn revision(&self, permit: &Permit<View, Deployment>, n: i64) -> Result<Revision, Error> {
        let row = revisions::Entity::find_by_id((permit.id, n)).one(&self.db).await?;
        Revision::try_from(row.ok_or(Error::NotFound("revision"))?)
    }

    pub(super) async fn deployment_by_id(&self, id: Uuid) -> Result<Option<Deployment>, Error> {
        let query = select()
            .and_where(Expr::col((deployments::Entity, deployments::Column::Id)).eq(id))
            .to_owned();
        let row = Row::find_by_statement(self.db.get_database_backend().build(&query))
            .one(&self.db)
            .await?;
        row.map(Deployment::try_from).transpose()
    }

    pub(super) async fn all_deployments(&self) -> Result<Vec<Deployment>, Error> {
        let rows = Row::find_by_statement(self.db.get_database_backend().build(&select()))
            .all(&self.db)
            .await?;
        rows.into_iter().map(Deployment::try_from).collect()
    }
}

impl Store {
    /// The names of those deployments that may be seen.
    ///
    /// # Errors
    /// The database failed.
    pub async fn names_of(&self, visible: &Visible<Deployment>, ids: &[Uuid]) -> Result<Vec<(Uuid, String)>, Error> {
        names(&self.db, visible, ids).await
    }

    /// (deployment, epoch, version) of some configs.
    ///
    /// # Errors
    /// The database failed.
    pub async fn config_positions_of(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, u64, u64)>, Error> {
        let rows = configs::Entity::find()
            .filter(configs::Column::DeploymentId.is_in(ids.iter().copied()))
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
            .map(|(id, epoch, version)| {
                Ok((
                    id,
                    super::configs::from_stored(epoch)?,
                    super::configs::from_stored(version)?,
                ))
            })
            .collect()
    }
}
