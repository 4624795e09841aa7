//! Who called with which key: counts that nodes send, added up on the key.
//!
//! A call counts for the quota of the window that it was made in: nodes say what they counted up to two seconds later, and
//! after an outage much later. The rule a newcomer would break: what is counted of a window that is over must not begin the
//! key's count of this one anew.

use super::quota::with_quotas;
use crate::domain::{Quota, Time};
use crate::store::entity::{api_keys, deployments};
use crate::store::{Error, Store, commit, configs};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, UpdateMany};
use std::collections::HashMap;
use uuid::Uuid;

/// So late a node is believed that its calls were made. A clock that is days behind would count for no quota at all.
const MOST_LATE_MS: i64 = 3_600_000;

/// Calls that a deployment's nodes counted for a key, on one day of UTC.
#[derive(Clone, Debug)]
pub struct MachineKeyUse {
    /// The key.
    pub key_id: Uuid,
    /// The deployment whose node counted: a node cannot count for a key that does not open it.
    pub deployment_id: Uuid,
    /// Since it last said.
    pub calls: u64,
    /// The last of them.
    pub last_used_at: Time,
}

impl Store {
    /// Those of the keys that have a quota.
    pub(in crate::store) async fn count_key_use(&self, uses: &[MachineKeyUse]) -> Result<Vec<Uuid>, Error> {
        let now = self.clock.now();
        let ids: Vec<Uuid> = uses.iter().map(|used| used.key_id).collect();
        let tx = self.begin().await?;
        let quotas = with_quotas(&tx, &ids).await?.into_iter();
        let quotas: HashMap<Uuid, Quota> = quotas.filter_map(|key| Some((key.id, key.quota?))).collect();
        for used in uses {
            let service = Query::select()
                .column(deployments::Column::ServiceId)
                .from(deployments::Entity)
                .and_where(Expr::col(deployments::Column::Id).eq(used.deployment_id))
                .to_owned();
            let last = used.last_used_at.ms();
            let counted = api_keys::Entity::update_many()
                .col_expr(
                    api_keys::Column::Calls,
                    Expr::col(api_keys::Column::Calls).add(configs::to_stored(used.calls)),
                )
                .col_expr(
                    api_keys::Column::LastUsedAt,
                    Expr::case(
                        Expr::col(api_keys::Column::LastUsedAt).gt(last),
                        Expr::col(api_keys::Column::LastUsedAt),
                    )
                    .finally(last)
                    .into(),
                );
            let counted = match quotas.get(&used.key_id).and_then(|quota| window_of(used, *quota, now)) {
                Some(since) => in_window(counted, since, used.calls),
                None => counted,
            };
            counted
                .filter(api_keys::Column::Id.eq(used.key_id))
                .filter(
                    api_keys::Column::DeploymentId
                        .eq(used.deployment_id)
                        .or(api_keys::Column::ServiceId.in_subquery(service)),
                )
                .exec(&tx)
                .await?;
        }
        commit(tx).await?;
        Ok(quotas.into_keys().collect())
    }
}

/// When the window began for which these calls count; none when it is over, as nobody asks what was used of it.
fn window_of(used: &MachineKeyUse, quota: Quota, now: Time) -> Option<Time> {
    let (since, _) = quota.window().around(now);
    let made = used.last_used_at.max(now.after_ms(-MOST_LATE_MS));
    (made >= since).then_some(since)
}

/// Counts in the window that began then, too; calls of another one count no more.
fn in_window(counted: UpdateMany<api_keys::Entity>, since: Time, calls: u64) -> UpdateMany<api_keys::Entity> {
    use api_keys::Column;
    let calls = configs::to_stored(calls);
    let sum = Expr::case(
        Expr::col(Column::QuotaSince).eq(since.ms()),
        Expr::col(Column::QuotaCalls).add(calls),
    );
    counted
        .col_expr(Column::QuotaCalls, sum.finally(calls).into())
        .col_expr(Column::QuotaSince, Expr::value(since.ms()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_count_for_the_window_that_they_were_made_in() {
        let at = |text: &str| Time::parse(text).unwrap();
        for (per, made, now, since) in [
            (
                "month",
                "2026-11-30T23:59:59Z",
                "2026-11-30T23:59:59.900Z",
                Some("2026-11-01T00:00:00Z"),
            ),
            ("month", "2026-11-30T23:59:59Z", "2026-12-01T00:00:01Z", None),
            (
                "month",
                "2026-12-01T00:00:00Z",
                "2026-12-01T00:00:01Z",
                Some("2026-12-01T00:00:00Z"),
            ),
            (
                "month",
                "2026-11-29T23:59:59Z",
                "2026-11-30T00:00:01Z",
                Some("2026-11-01T00:00:00Z"),
            ),
            ("day", "2026-11-29T23:59:59Z", "2026-11-30T00:00:01Z", None),
            (
                "day",
                "2026-11-30T00:00:00Z",
                "2026-11-30T00:00:01Z",
                Some("2026-11-30T00:00:00Z"),
            ),
            // Nobody is believed to be that late.
            ("day", "2026-11-28T12:00:00Z", "2026-11-30T00:59:59Z", None),
            (
                "day",
                "2026-11-28T12:00:00Z",
                "2026-11-30T01:00:00Z",
                Some("2026-11-30T00:00:00Z"),
            ),
            (
                "month",
                "1970-01-01T00:00:00Z",
                "2026-11-30T12:00:00Z",
                Some("2026-11-01T00:00:00Z"),
            ),
        ] {
            let quota: Quota = serde_json::from_value(json!({"requests": 5, "per": per})).unwrap();
            let used = MachineKeyUse {
                key_id: Uuid::from_u128(1),
                deployment_id: Uuid::from_u128(2),
                calls: 3,
                last_used_at: at(made),
            };
            assert_eq!(window_of(&used, quota, at(now)), since.map(at), "{per} {made} {now}");
        }
    }
}
