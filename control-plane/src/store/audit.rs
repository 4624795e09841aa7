//! Who did what: a row in the same transaction as the deed.

use super::entity::{accounts, audit, groups, infrastructures};
use super::{Error, Facts, Page, PageRequest, Store};
use crate::authn::Actor;
use crate::domain::{AccountKind, Time};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, NotSet, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use serde_json::Value;
use std::collections::HashSet;
use uuid::Uuid;

/// One deed, as it goes into the audit. `before` and `after` hold no secret: they are built from what lists show.
pub(super) struct Deed<'a> {
    pub(super) action: &'a str,
    pub(super) kind: &'static str,
    pub(super) object: &'a str,
    pub(super) service_id: Option<Uuid>,
    pub(super) infrastructure_id: Option<Uuid>,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

impl<'a> Deed<'a> {
    pub(super) fn new(action: &'a str, kind: &'static str, object: &'a str) -> Self {
        Self {
            action,
            kind,
            object,
            service_id: None,
            infrastructure_id: None,
            before: None,
            after: None,
        }
    }

    pub(super) fn on_service(mut self, id: Uuid) -> Self {
        self.service_id = Some(id);
        self
    }

    pub(super) fn on_infrastructure(mut self, id: Uuid) -> Self {
        self.infrastructure_id = Some(id);
        self
    }

    pub(super) fn change(mut self, before: Option<Value>, after: Option<Value>) -> Self {
        self.before = before;
        self.after = after;
        self
    }

    pub(super) async fn record(self, tx: &impl ConnectionTrait, actor: &Actor, at: Time) -> Result<(), Error> {
        insert(tx, actor, at, self, "done").await
    }

    /// Puts on record that it was not allowed.
    pub(super) async fn refuse(self, db: &impl ConnectionTrait, actor: &Actor, at: Time) -> Result<(), Error> {
        insert(db, actor, at, self, "refused").await
    }
}

async fn insert(
    db: &impl ConnectionTrait,
    actor: &Actor,
    at: Time,
    deed: Deed<'_>,
    outcome: &str,
) -> Result<(), Error> {
    audit::ActiveModel {
        id: NotSet,
        at: Set(at.ms()),
        actor: Set(actor.name.clone()),
        actor_kind: Set(kind_name(actor.kind).to_owned()),
        actor_id: Set(Some(actor.account_id)),
        token: Set(actor.token_name().map(str::to_owned)),
        source: Set(actor.source.map(|source| source.to_string())),
        action: Set(deed.action.to_owned()),
        object_kind: Set(deed.kind.to_owned()),
        object: Set(deed.object.to_owned()),
        service_id: Set(deed.service_id),
        infrastructure_id: Set(deed.infrastructure_id),
        before: Set(deed.before.map(|value| value.to_string())),
        after: Set(deed.after.map(|value| value.to_string())),
        outcome: Set(outcome.to_owned()),
    }
    .insert(db)
    .await?;
    Ok(())
}

pub(super) fn kind_name(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::User => "user",
        AccountKind::ServiceAccount => "service-account",
        AccountKind::AdminKey => "admin-key",
    }
}

/// One row of the audit.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// Rising.
    pub id: i64,
    /// When.
    pub at: Time,
    /// Who, by the name they had.
    pub actor: String,
    /// What they are.
    pub actor_kind: String,
    /// With which access token.
    pub token: Option<String>,
    /// From which address.
    pub source: Option<String>,
    /// What they did.
    pub action: String,
    /// To what kind of thing.
    pub object_kind: String,
    /// To which, by the name it had.
    pub object: String,
    /// What it was.
    pub before: Option<Value>,
    /// What it became.
    pub after: Option<Value>,
    /// `done` or `refused`.
    pub outcome: String,
}

/// What to look for in the audit.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// The object's name.
    pub object: Option<String>,
    /// The actor's name.
    pub actor: Option<String>,
    /// Not older.
    pub since: Option<Time>,
}

impl Store {
    /// The audit, the newest first, of what the actor may see now: everything for a platform admin; for others the deeds
    /// on services and infrastructures that they may see, and their own on neither. Their own by account, not by name:
    /// who comes later under a name has done nothing yet.
    ///
    /// # Errors
    /// The database failed, or the cursor is not a number.
    pub async fn audit(
        &self,
        actor: &Actor,
        seen: &super::Seen,
        filter: AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditRow>, Error> {
        let mut query = audit::Entity::find();
        if let Some(after) = page.after() {
            let id: i64 = after
                .parse()
                .map_err(|_| crate::domain::Invalid::new("/cursor", "is not one that a list gave"))?;
            query = query.filter(audit::Column::Id.lt(id));
        }
        if !actor.admin {
            let on_service = audit::Column::ServiceId
                .is_null()
                .or(audit::Column::ServiceId.in_subquery(seen.services()));
            let on_infrastructure = audit::Column::InfrastructureId
                .is_null()
                .or(audit::Column::InfrastructureId.in_subquery(seen.infrastructures()));
            let placed = audit::Column::ServiceId
                .is_not_null()
                .or(audit::Column::InfrastructureId.is_not_null());
            let own = audit::Column::ActorId.eq(actor.account_id);
            // A row of one's own on a thing says what the thing is now called and was, so sight of it is asked again.
            query = query.filter(
                Condition::all()
                    .add(on_service)
                    .add(on_infrastructure)
                    .add(placed.or(own)),
            );
        }
        if let Some(object) = filter.object {
            query = query.filter(audit::Column::Object.eq(object));
        }
        if let Some(name) = filter.actor {
            query = query.filter(audit::Column::Actor.eq(name));
        }
        if let Some(since) = filter.since {
            query = query.filter(Expr::col(audit::Column::At).gte(since.ms()));
        }
        let rows = query
            .order_by_desc(audit::Column::Id)
            .limit(page.fetch())
            .all(&self.db)
            .await?;
        let withheld = self.withheld(seen, &rows).await?;
        let told = |row: audit::Model| {
            let withheld = row.infrastructure_id.is_some_and(|id| withheld.contains(&id));
            let row = AuditRow::from(row);
            if withheld { row.without_settings() } else { row }
        };
        Ok(page.cut(rows, |row| row.id.to_string()).map(told))
    }

    /// Of the infrastructures in these rows those whose settings the actor may not know.
    async fn withheld(&self, seen: &super::Seen, rows: &[audit::Model]) -> Result<HashSet<Uuid>, Error> {
        let named = rows.iter().filter(|row| row.object_kind == "infrastructure");
        let mut withheld: HashSet<Uuid> = named.filter_map(|row| row.infrastructure_id).collect();
        if seen.is_everything() || withheld.is_empty() {
            return Ok(HashSet::new());
        }
        let administered: Vec<Uuid> = infrastructures::Entity::find()
            .select_only()
            .column(infrastructures::Column::Id)
            .filter(infrastructures::Column::Id.is_in(withheld.iter().copied()))
            .filter(infrastructures::Column::Id.in_subquery(seen.administered()))
            .into_tuple()
            .all(&self.db)
            .await?;
        withheld.retain(|id| !administered.contains(id));
        Ok(withheld)
    }

    /// Puts on record what was not allowed; `facts` say on which service and infrastructure.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_refusal(
        &self,
        actor: &Actor,
        action: &str,
        kind: &'static str,
        object: &str,
        facts: &Facts,
    ) -> Result<(), Error> {
        let id = |half: &Option<(Uuid, String)>| half.as_ref().map(|(id, _)| *id);
        let found = facts.service.is_some() || facts.infrastructure.is_some();
        // Where nothing was found by it, it may be a secret that was pasted into the wrong place.
        let object = if found || self.is_named(object).await? {
            object
        } else {
            ""
        };
        let deed = Deed {
            service_id: id(&facts.service),
            infrastructure_id: id(&facts.infrastructure),
            ..Deed::new(action, kind, object)
        };
        deed.refuse(&self.db, actor, self.clock.now()).await
    }
}

impl Store {
    /// Whether an account or a group has this name.
    async fn is_named(&self, name: &str) -> Result<bool, Error> {
        let accounts = accounts::Entity::find().filter(accounts::Column::Name.eq(name));
        let groups = groups::Entity::find().filter(groups::Column::Name.eq(name));
        Ok(accounts.count(&self.db).await? + groups.count(&self.db).await? > 0)
    }
}

impl AuditRow {
    /// For those who may see an infrastructure and do not administer it.
    fn without_settings(mut self) -> Self {
        for side in [&mut self.before, &mut self.after] {
            if let Some(members) = side.as_mut().and_then(Value::as_object_mut) {
                members.retain(|name, _| !matches!(name.as_str(), "kubernetes" | "kubeconfig" | "image"));
            }
        }
        self
    }
}

impl From<audit::Model> for AuditRow {
    fn from(row: audit::Model) -> Self {
        let value = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        Self {
            id: row.id,
            at: Time::from_ms(row.at),
            actor: row.actor,
            actor_kind: row.actor_kind,
            token: row.token,
            source: row.source,
            action: row.action,
            object_kind: row.object_kind,
            object: row.object,
            before: value(row.before),
            after: value(row.after),
            outcome: row.outcome,
        }
    }
}
