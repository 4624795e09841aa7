//! Moving the deployments of a cluster to another image, a few at a time.
//!
//! Apart from what brings it about, which is the launcher. The rule a newcomer would break: a deployment that is moved keeps
//! its place among the few until all its pods run what it was moved to, so that an image that does not work stops there.

use super::audit::Deed;
use super::deployments::names;
use super::entity::deployments;
use super::{Change, Error, Permit, Store, SystemStore, Visible, commit, configs};
use crate::authz::Administer;
use crate::domain::{Deployment, Infrastructure};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;
use uuid::Uuid;

/// How far the deployments of an infrastructure have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// All that run pods, or did.
    pub deployments: usize,
    /// Those that are not told to run the image yet.
    pub behind: usize,
    /// Those whose pods are being replaced.
    pub moving: usize,
    /// What hinders them, by name as far as the caller may know them.
    pub hindered: Vec<(String, String)>,
}

#[derive(Clone, Debug, FromQueryResult)]
struct Pinned {
    id: Uuid,
    enabled: bool,
    image: Option<String>,
    moving: bool,
    problem: Option<String>,
}

impl Pinned {
    /// Switched off it has no pods to wait for.
    fn takes_a_place(&self) -> bool {
        self.moving && self.enabled
    }

    fn is_behind(&self, image: &str) -> bool {
        self.image.as_deref().is_some_and(|own| own != image)
    }
}

/// Those that are told next, so that no more than so many move: pure. Those without pods wait for nobody.
fn next(pinned: &[Pinned], image: &str, at_once: usize) -> Vec<Uuid> {
    let taken = pinned.iter().filter(|one| one.takes_a_place()).count();
    let mut free = at_once.saturating_sub(taken);
    let mut told = Vec::new();
    for one in pinned.iter().filter(|one| at_once > 0 && one.is_behind(image)) {
        // One that moves already has its place.
        if one.enabled && !one.moving {
            if free == 0 {
                continue;
            }
            free -= 1;
        }
        told.push(one.id);
    }
    told
}

impl Store {
    /// Tells the next deployments of an infrastructure to run this image, so that at most so many are moved at a time, and
    /// says how far all have come. With none at a time nothing is told.
    ///
    /// # Errors
    /// The database failed.
    pub async fn upgrade(
        &self,
        permit: &Permit<Administer, Infrastructure>,
        visible: &Visible<Deployment>,
        image: &str,
        at_once: usize,
    ) -> Result<Upgrade, Error> {
        use deployments::Column;
        let tx = self.begin().await?;
        configs::lock_infrastructure(&tx, permit.id).await?;
        let mut pinned: Vec<Pinned> = deployments::Entity::find()
            .select_only()
            .columns([
                Column::Id,
                Column::Enabled,
                Column::Image,
                Column::Moving,
                Column::Problem,
            ])
            .filter(Column::InfrastructureId.eq(permit.id))
            .filter(Column::Image.is_not_null())
            .order_by_asc(Column::Name)
            .into_model()
            .all(&tx)
            .await?;
        let told = next(&pinned, image, at_once);
        if !told.is_empty() {
            deployments::Entity::update_many()
                .col_expr(Column::Image, Expr::value(image))
                .col_expr(Column::Moving, Expr::value(true))
                // What hindered it hindered another image.
                .col_expr(Column::Problem, Expr::value(None::<String>))
                .filter(Column::Id.is_in(told.iter().copied()))
                .exec(&tx)
                .await?;
            Deed::new("upgrade-infrastructure", "infrastructure", permit.name.as_str())
                .on_infrastructure(permit.id)
                .change(
                    None,
                    Some(json!({"image": image, "deployments": told.len(), "max_parallel": at_once})),
                )
                .record(&tx, permit.actor(), self.clock.now())
                .await?;
        }
        for one in pinned.iter_mut().filter(|one| told.contains(&one.id)) {
            (one.image, one.moving, one.problem) = (Some(image.to_owned()), true, None);
        }
        let moving: Vec<&Pinned> = pinned.iter().filter(|one| one.takes_a_place()).collect();
        let ids: Vec<Uuid> = moving.iter().map(|one| one.id).collect();
        let known = names(&tx, visible, &ids).await?;
        let hindered = known.into_iter().filter_map(|(id, name)| {
            let one = moving.iter().find(|one| one.id == id)?;
            Some((name, one.problem.clone()?))
        });
        let upgrade = Upgrade {
            deployments: pinned.len(),
            behind: pinned.iter().filter(|one| one.is_behind(image)).count(),
            moving: moving.len(),
            hindered: hindered.collect(),
        };
        commit(tx).await?;
        for id in told {
            self.tell(Change::Deployment(id));
        }
        Ok(upgrade)
    }
}

impl SystemStore {
    /// The deployments that are being moved.
    ///
    /// # Errors
    /// The database failed.
    pub async fn moving(&self) -> Result<Vec<Uuid>, Error> {
        let ids = deployments::Entity::find()
            .select_only()
            .column(deployments::Column::Id)
            .filter(deployments::Column::Moving.eq(true))
            .into_tuple()
            .all(&self.store().db)
            .await?;
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(id: u128, image: &str, enabled: bool, moving: bool) -> Pinned {
        Pinned {
            id: Uuid::from_u128(id),
            enabled,
            image: Some(image.to_owned()),
            moving,
            problem: None,
        }
    }

    #[test]
    fn so_many_move_at_a_time_and_no_more() {
        let all = [
            pinned(1, "new", true, true),
            pinned(2, "old", true, false),
            pinned(3, "old", false, false),
            pinned(4, "new", true, false),
            pinned(5, "old", true, false),
            pinned(6, "old", true, true),
            pinned(7, "old", true, false),
        ];
        for (at_once, told) in [
            (0, vec![]),
            // Two move already: one of them to something else, which it is told; what is off takes no place.
            (1, vec![3, 6]),
            (2, vec![3, 6]),
            (3, vec![2, 3, 6]),
            (50, vec![2, 3, 5, 6, 7]),
        ] {
            let told: Vec<Uuid> = told.into_iter().map(Uuid::from_u128).collect();
            assert_eq!(next(&all, "new", at_once), told, "{at_once}");
        }
    }
}
