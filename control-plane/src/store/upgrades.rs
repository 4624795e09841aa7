//! Moving the deployments of a cluster to another make of pods (another image, another template), a few at a time.
//!
//! Apart from what brings it about, which is the launcher. The rule a newcomer would break: a deployment that is moved keeps
//! its place among the few until all its pods are what it was moved to, so that a make that does not work stops there.

use super::audit::Deed;
use super::deployments::names;
use super::entity::deployments;
use super::{Change, Error, Permit, Store, SystemStore, Visible, commit, configs};
use crate::authz::Administer;
use crate::domain::kubernetes::Make;
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
    /// Those that are not told to be of the make yet.
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
    image: String,
    template: i64,
    moving: bool,
    problem: Option<String>,
}

impl Pinned {
    /// Switched off it has no pods to wait for.
    fn takes_a_place(&self) -> bool {
        self.moving && self.enabled
    }

    /// Also one that a later release has moved on: what this one does not make, it can move back.
    fn is_behind(&self, make: &Make) -> bool {
        self.image != make.image || self.template != i64::from(make.template)
    }
}

/// Those that are told next, so that no more than so many move: pure. Those without pods wait for nobody.
fn next(pinned: &[Pinned], make: &Make, at_once: usize) -> Vec<Uuid> {
    let taken = pinned.iter().filter(|one| one.takes_a_place()).count();
    let mut free = at_once.saturating_sub(taken);
    let mut told = Vec::new();
    for one in pinned.iter().filter(|one| at_once > 0 && one.is_behind(make)) {
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
    /// Tells the next deployments of an infrastructure to be of this make, so that at most so many are moved at a time, and
    /// says how far all have come. With none at a time nothing is told.
    ///
    /// # Errors
    /// The database failed.
    pub async fn upgrade(
        &self,
        permit: &Permit<Administer, Infrastructure>,
        visible: &Visible<Deployment>,
        make: &Make,
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
                Column::Template,
                Column::Moving,
                Column::Problem,
            ])
            .filter(Column::InfrastructureId.eq(permit.id))
            .filter(Column::Image.is_not_null())
            .order_by_asc(Column::Name)
            .into_model()
            .all(&tx)
            .await?;
        let told = next(&pinned, make, at_once);
        if !told.is_empty() {
            deployments::Entity::update_many()
                .col_expr(Column::Image, Expr::value(make.image.as_str()))
                .col_expr(Column::Template, Expr::value(i64::from(make.template)))
                .col_expr(Column::Moving, Expr::value(true))
                // What hindered it hindered another make.
                .col_expr(Column::Problem, Expr::value(None::<String>))
                .filter(Column::Id.is_in(told.iter().copied()))
                .exec(&tx)
                .await?;
            Deed::new("upgrade-infrastructure", "infrastructure", permit.name.as_str())
                .on_infrastructure(permit.id)
                .change(
                    None,
                    Some(json!({
                        "image": make.image, "template": make.template,
                        "deployments": told.len(), "max_parallel": at_once,
                    })),
                )
                .record(&tx, permit.actor(), self.clock.now())
                .await?;
        }
        for one in pinned.iter_mut().filter(|one| told.contains(&one.id)) {
            (one.image, one.template) = (make.image.clone(), i64::from(make.template));
            (one.moving, one.problem) = (true, None);
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
            behind: pinned.iter().filter(|one| one.is_behind(make)).count(),
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
            image: image.to_owned(),
            template: 2,
            moving,
            problem: None,
        }
    }

    fn make(image: &str, template: u32) -> Make {
        let image = image.to_owned();
        Make { image, template }
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
            assert_eq!(next(&all, &make("new", 2), at_once), told, "{at_once}");
        }
    }

    /// By what they are made counts as much as what they run, whichever of both a release began with.
    #[test]
    fn image_and_template_are_moved_together() {
        let of = |image: &str, template: i64| Pinned {
            template,
            ..pinned(1, image, true, false)
        };
        for (of, is_behind) in [
            (of("new", 2), false),
            (of("new", 1), true),
            (of("old", 2), true),
            (of("old", 1), true),
            // By a later release, which was taken back.
            (of("new", 3), true),
        ] {
            assert_eq!(of.is_behind(&make("new", 2)), is_behind, "{of:?}");
        }
        let back = of("new", 2);
        assert_eq!(next(&[back], &make("new", 1), 1), [Uuid::from_u128(1)], "to one before");
    }
}
