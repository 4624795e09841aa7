//! Lists of what somebody may see, in pages by name.
//!
//! A page is looked for among the names that come next: each row is asked whether it may be seen, and the query ends when
//! the page is full. Only where that finds too few is everything gathered that may be seen, and put in order. The rule a
//! newcomer would break: the second query begins where the page does, not where the first has ended, since what lies
//! between may have changed meanwhile.

use super::seen::{ADMINS, COMMA, GRANTED, Seen};
use super::{Error, PageRequest, Store};
use sea_orm::sea_query::{Asterisk, Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Iden, Order, QueryResult};

/// The names that are looked through first. One in twenty that may be seen fills a page of 50; to ask of each of 1,000
/// takes a few milliseconds.
const NEAR: u64 = 1_000;

/// A list by name.
pub(super) struct Listing<T> {
    /// Has a column `name`.
    pub(super) table: T,
    /// Selects from the table.
    pub(super) query: SelectStatement,
    /// Whether a row may be seen; none where there are so few that this is not worth asking of each.
    pub(super) one: Option<Expr>,
    /// Whether a row is among all that may be seen.
    pub(super) all: Expr,
}

/// A row of a list, and what is shown beside it.
#[derive(Clone, Debug)]
pub struct Listed<R, M> {
    /// The row.
    pub row: R,
    /// What the actor's groups were granted on it, without what that implies.
    pub mask: M,
    /// The groups with admin on it, by name.
    pub admin_groups: Vec<String>,
}

/// A row as it is read, with what [`Seen`] puts beside it.
pub(super) struct Beside<R> {
    row: R,
    granted: i32,
    admin_groups: Vec<String>,
}

impl<R: FromQueryResult> FromQueryResult for Beside<R> {
    fn from_query_result(result: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let granted: Option<i32> = result.try_get(prefix, GRANTED)?;
        let admins: Option<String> = result.try_get(prefix, ADMINS)?;
        let mut admin_groups: Vec<String> = admins
            .iter()
            .flat_map(|names| names.split(COMMA))
            .map(str::to_owned)
            .collect();
        admin_groups.sort();
        Ok(Self {
            row: R::from_query_result(result, prefix)?,
            granted: granted.unwrap_or_default(),
            admin_groups,
        })
    }
}

impl<R> Beside<R> {
    /// The row as it is given out.
    pub(super) fn listed<T: TryFrom<R, Error = Error>, M>(self, mask: fn(i32) -> M) -> Result<Listed<T, M>, Error> {
        Ok(Listed {
            row: T::try_from(self.row)?,
            mask: mask(self.granted),
            admin_groups: self.admin_groups,
        })
    }
}

/// By name, from where the page begins.
fn in_order(query: &mut SelectStatement, table: impl Iden + Copy, page: &PageRequest) {
    let name = (table, "name");
    query.order_by(name, Order::Asc);
    if let Some(after) = page.after() {
        query.and_where(Expr::col(name).gt(after));
    }
}

impl Store {
    /// The rows of a page, and one more where there is a next.
    pub(super) async fn listed<R: FromQueryResult>(
        &self,
        listing: Listing<impl Iden + Copy>,
        seen: &Seen,
        page: &PageRequest,
    ) -> Result<Vec<R>, Error> {
        let Listing {
            table,
            mut query,
            one,
            all,
        } = listing;
        if seen.is_everything() {
            in_order(&mut query, table, page);
            return self.first(page.fetch(), &query).await;
        }
        if let Some(one) = one {
            let mut near = Query::select();
            near.column(Asterisk).from(table);
            in_order(&mut near, table, page);
            near.limit(NEAR);
            let mut walk = query.clone();
            walk.from_clear().from_subquery(near, table).and_where(one);
            in_order(&mut walk, table, page);
            let rows: Vec<R> = self.first(page.fetch(), &walk).await?;
            if u64::try_from(rows.len()).is_ok_and(|found| found == page.fetch()) {
                return Ok(rows);
            }
        }
        query.and_where(all);
        in_order(&mut query, table, page);
        self.first(page.fetch(), &query).await
    }

    /// So many rows of a query. The number is part of the text: where it is a parameter, PostgreSQL plans the query anew
    /// each time, which takes half as long as the query itself.
    async fn first<R: FromQueryResult>(&self, rows: u64, query: &SelectStatement) -> Result<Vec<R>, Error> {
        let mut statement = self.db.get_database_backend().build(query);
        statement.sql.push_str(&format!(" LIMIT {rows}"));
        Ok(R::find_by_statement(statement).all(&self.db).await?)
    }
}
