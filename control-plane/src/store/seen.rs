//! What somebody may see, as conditions for a query.
//!
//! Two ways to say the same. All of it, gathered from the grants of their groups: for a query that has to know every row
//! anyway. Or whether they may see this one row: for a query that walks along rows in an order of its own, and ends when
//! its page is full. The rule a newcomer would break: no condition is put together anywhere else, or the two ways part.

use super::entity::{accounts, groups, infrastructure_grants, infrastructures, members, service_grants, services};
use crate::authn::Actor;
use crate::authz::{Action, DecisionTable, InfrastructureMask, ServiceMask};
use sea_orm::sea_query::{DynIden, Expr, ExprTrait, Func, IntoIden, Query, SelectStatement, UnionType};
use uuid::Uuid;

/// What an actor may see.
#[derive(Clone, Debug)]
pub struct Seen {
    everything: bool,
    account_id: Uuid,
    service_bits: ServiceMask,
    infrastructure_bits: InfrastructureMask,
    /// One of these is enough to administer an infrastructure.
    administering_bits: InfrastructureMask,
}

/// The column with all that the actor's groups were granted on a thing; NULL without a grant.
pub(super) const GRANTED: &str = "granted";
/// The column with the names of the groups that have admin on it, in any order; NULL where none has.
pub(super) const ADMINS: &str = "admins";
/// Lies between the names of groups, none of which has it.
pub(super) const COMMA: char = ',';

/// The grants on one kind of thing.
struct Grants {
    table: DynIden,
    /// Of the grant: which thing it is on.
    on: DynIden,
    /// The thing, in the query around.
    thing: Expr,
    /// One of these is enough to see it.
    enough: i32,
    /// With this a group can give more.
    admin: i32,
}

impl Grants {
    fn own(&self, column: impl IntoIden) -> Expr {
        Expr::col((self.table.clone(), column.into_iden()))
    }

    fn mask(&self) -> Expr {
        self.own("mask")
    }

    fn with(&self, bits: i32) -> Expr {
        self.mask().bit_and(bits).ne(0)
    }

    /// Those on the thing of a row.
    fn on_this(&self) -> SelectStatement {
        Query::select()
            .from(self.table.clone())
            .and_where(self.own(self.on.clone()).eq(self.thing.clone()))
            .to_owned()
    }

    /// The names of the groups with admin on the thing of a row, with a [`COMMA`] between them.
    fn admins(&self) -> Expr {
        let name = Query::select()
            .column(groups::Column::Name)
            .from(groups::Entity)
            .and_where(Expr::col((groups::Entity, groups::Column::Id)).eq(self.own("group_id")))
            .to_owned();
        let names = Func::cust("string_agg").args([Expr::from(name), Expr::val(COMMA.to_string())]);
        let mut admins = self.on_this();
        admins.expr(names).and_where(self.with(self.admin));
        Expr::from(admins)
    }
}

impl Seen {
    /// What this actor may see.
    pub fn of(actor: &Actor, table: &DecisionTable) -> Self {
        Self {
            everything: actor.admin,
            account_id: actor.account_id,
            service_bits: table.service_bits(Action::SeeService),
            infrastructure_bits: table.infrastructure_bits(Action::SeeInfrastructure),
            administering_bits: table.infrastructure_bits(Action::AdministerInfrastructure),
        }
    }

    /// Whether the actor may see all there is.
    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    /// The ids of the services that the actor may see.
    pub(super) fn services(&self) -> SelectStatement {
        let mut owned = Query::select();
        owned.column(services::Column::Id).from(services::Entity);
        if !self.everything {
            owned
                .and_where(Expr::col(services::Column::OwnerId).eq(self.account_id))
                .union(UnionType::Distinct, self.granted(&self.on_services()));
        }
        owned
    }

    /// The ids of the accounts that the actor may see: their own, and those of the owners of services that they may see.
    pub(super) fn accounts(&self) -> SelectStatement {
        let mut query = Query::select()
            .column(accounts::Column::Id)
            .from(accounts::Entity)
            .to_owned();
        if !self.everything {
            let owners = Query::select()
                .column(services::Column::OwnerId)
                .from(services::Entity)
                .and_where(Expr::col(services::Column::Id).in_subquery(self.services()))
                .to_owned();
            query.and_where(
                Expr::col(accounts::Column::Id)
                    .eq(self.account_id)
                    .or(Expr::col(accounts::Column::Id).in_subquery(owners)),
            );
        }
        query
    }

    /// The ids of the infrastructures that the actor may see.
    pub(super) fn infrastructures(&self) -> SelectStatement {
        if self.everything {
            return Query::select()
                .column(infrastructures::Column::Id)
                .from(infrastructures::Entity)
                .to_owned();
        }
        self.granted(&self.on_infrastructures())
    }

    /// The ids of the infrastructures that the actor administers by a grant.
    pub(super) fn administered(&self) -> SelectStatement {
        self.granted(&Grants {
            enough: self.administering_bits.into(),
            ..self.on_infrastructures()
        })
    }

    /// Whether the actor may see the service of a row of the query.
    pub(super) fn this_service(&self) -> Expr {
        Expr::col((services::Entity, services::Column::OwnerId))
            .eq(self.account_id)
            .or(self.is_granted(&self.on_services()))
    }

    /// What is shown beside a service of a list: [`GRANTED`] and [`ADMINS`].
    pub(super) fn beside_this_service(&self, query: &mut SelectStatement) {
        self.beside(&self.on_services(), ServiceMask::bits(), query);
    }

    /// What is shown beside an infrastructure of a list: [`GRANTED`] and [`ADMINS`].
    pub(super) fn beside_this_infrastructure(&self, query: &mut SelectStatement) {
        self.beside(&self.on_infrastructures(), InfrastructureMask::bits(), query);
    }

    fn on_services(&self) -> Grants {
        Grants {
            table: service_grants::Entity.into_iden(),
            on: service_grants::Column::ServiceId.into_iden(),
            thing: Expr::col((services::Entity, services::Column::Id)),
            enough: self.service_bits.into(),
            admin: ServiceMask::ADMIN.into(),
        }
    }

    fn on_infrastructures(&self) -> Grants {
        Grants {
            table: infrastructure_grants::Entity.into_iden(),
            on: infrastructure_grants::Column::InfrastructureId.into_iden(),
            thing: Expr::col((infrastructures::Entity, infrastructures::Column::Id)),
            enough: self.infrastructure_bits.into(),
            admin: InfrastructureMask::ADMIN.into(),
        }
    }

    fn is_of_own_group(&self, grants: &Grants) -> Expr {
        let groups = Query::select()
            .column(members::Column::GroupId)
            .from(members::Entity)
            .and_where(Expr::col(members::Column::AccountId).eq(self.account_id))
            .to_owned();
        grants.own("group_id").in_subquery(groups)
    }

    fn granted(&self, grants: &Grants) -> SelectStatement {
        Query::select()
            .expr(grants.own(grants.on.clone()))
            .from(grants.table.clone())
            .and_where(self.is_of_own_group(grants))
            .and_where(grants.with(grants.enough))
            .to_owned()
    }

    /// The grants to the actor's groups on the thing of a row: to read the few grants on one thing is faster than to look
    /// for each of many groups.
    fn granted_on_this(&self, grants: &Grants) -> SelectStatement {
        grants
            .on_this()
            .and_where(unindexed(self.is_of_own_group(grants)))
            .to_owned()
    }

    /// Not EXISTS: PostgreSQL may answer that by gathering every grant there is.
    fn is_granted(&self, grants: &Grants) -> Expr {
        let mut one = self.granted_on_this(grants);
        one.expr(grants.mask()).and_where(grants.with(grants.enough)).limit(1);
        Expr::from(one).is_not_null()
    }

    /// The mask is put together bit by bit: SQLite cannot aggregate with OR.
    fn beside(&self, grants: &Grants, bits: impl Iterator<Item = i32>, query: &mut SelectStatement) {
        let each = bits.map(|bit| grants.mask().bit_and(bit).max());
        let mut granted = self.granted_on_this(grants);
        granted.expr(each.reduce(ExprTrait::add).unwrap_or_else(|| Expr::val(0)));
        query
            .expr_as(Expr::from(granted), GRANTED)
            .expr_as(grants.admins(), ADMINS);
    }
}

/// The same condition, which neither database goes by an index for: it is asked of the rows that others have found.
pub(super) fn unindexed(condition: Expr) -> Expr {
    condition.is(Expr::custom_keyword("TRUE"))
}
