//! Where nodes fetch the files of their deployment without a control plane.
//!
//! Kept, so that a control plane that comes back, or another, writes the same into a cluster and nothing new; and sealed,
//! since whoever has an address has the file.

use super::entity::package_addresses;
use super::error::stored;
use super::vault::Place;
use super::{Error, Permit, Store, SystemStore, commit};
use crate::authz::View;
use crate::domain::{Deployment, Time};
use castoff_wire::PackageAddresses;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

/// The addresses of a deployment's files, as they were made.
#[derive(Clone, Debug)]
pub struct KeptAddresses {
    /// SHA-256 of what they are for and how they are made.
    pub of: Vec<u8>,
    /// When.
    pub made_at: Time,
    /// The addresses.
    pub addresses: PackageAddresses,
}

/// When addresses that were made then and end then are made anew: after half of their life.
fn due(made_at: i64, expires_at: i64) -> Time {
    Time::from_ms(made_at.saturating_add(expires_at.saturating_sub(made_at) / 2))
}

impl KeptAddresses {
    /// When they are to be made anew.
    pub fn due(&self) -> Time {
        due(self.made_at.ms(), self.addresses.expires_at_ms)
    }
}

fn place(deployment_id: Uuid) -> Place<'static> {
    Place {
        table: "package_addresses",
        row: deployment_id,
        owner: deployment_id,
    }
}

impl Store {
    /// When the addresses end that a deployment's nodes have; none where they have none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn addresses_end(&self, permit: &Permit<View, Deployment>) -> Result<Option<Time>, Error> {
        let end: Option<i64> = package_addresses::Entity::find_by_id(permit.id)
            .select_only()
            .column(package_addresses::Column::ExpiresAt)
            .into_tuple()
            .one(&self.db)
            .await?;
        Ok(end.map(Time::from_ms))
    }
}

impl SystemStore {
    /// The addresses that were made last for a deployment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn addresses(&self, deployment_id: Uuid) -> Result<Option<KeptAddresses>, Error> {
        let store = self.store();
        let row = package_addresses::Entity::find_by_id(deployment_id)
            .one(&store.db)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let text = store.vault.open(&place(deployment_id), &row.sealed)?;
        Ok(Some(KeptAddresses {
            of: row.of,
            made_at: Time::from_ms(row.made_at),
            addresses: stored(PackageAddresses::parse(&text), "addresses of packages")?,
        }))
    }

    /// The deployments whose addresses are to be made anew.
    ///
    /// # Errors
    /// The database failed.
    pub async fn addresses_due(&self) -> Result<Vec<Uuid>, Error> {
        use package_addresses::Column;
        let now = self.now();
        let all: Vec<(Uuid, i64, i64)> = package_addresses::Entity::find()
            .select_only()
            .columns([Column::DeploymentId, Column::MadeAt, Column::ExpiresAt])
            .into_tuple()
            .all(&self.store().db)
            .await?;
        let is_due = |(_, made_at, expires_at): &(Uuid, i64, i64)| due(*made_at, *expires_at) <= now;
        Ok(all.into_iter().filter(is_due).map(|(id, _, _)| id).collect())
    }
}

/// Keeps what was made, in place of what was before; or nothing any more.
pub(super) async fn keep(
    store: &Store,
    tx: DatabaseTransaction,
    deployment_id: Uuid,
    made: Option<&KeptAddresses>,
) -> Result<(), Error> {
    use package_addresses::Column;
    match made {
        None => {
            package_addresses::Entity::delete_many()
                .filter(Column::DeploymentId.eq(deployment_id))
                .exec(&tx)
                .await?;
        }
        Some(made) => {
            let text = stored(serde_json::to_vec(&made.addresses), "addresses of packages")?;
            let row = package_addresses::ActiveModel {
                deployment_id: Set(deployment_id),
                of: Set(made.of.clone()),
                sealed: Set(store.vault.seal(&place(deployment_id), &text)?),
                made_at: Set(made.made_at.ms()),
                expires_at: Set(made.addresses.expires_at_ms),
            };
            let columns = [Column::Of, Column::Sealed, Column::MadeAt, Column::ExpiresAt];
            package_addresses::Entity::insert(row)
                .on_conflict(
                    OnConflict::column(Column::DeploymentId)
                        .update_columns(columns)
                        .to_owned(),
                )
                .exec_without_returning(&tx)
                .await?;
        }
    }
    commit(tx).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_renewed_at_half_of_their_life() {
        assert_eq!(due(100, 300), Time::from_ms(200));
        assert_eq!(due(0, i64::MAX), Time::from_ms(i64::MAX / 2));
    }
}
