//! Where nodes can fetch the files of their deployment without a control plane: addresses in an object store, sealed.

use crate::{create, drop, owned_by};
use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let addresses = Table::create()
            .table("package_addresses")
            .col(uuid("deployment_id").primary_key())
            // SHA-256 of what they are for and how they are made.
            .col(blob("of"))
            .col(blob("sealed"))
            .col(big_integer("made_at"))
            .col(big_integer("expires_at"))
            .foreign_key(&mut owned_by("deployment_id", "deployments", "package_addresses"))
            .to_owned();
        create(manager, vec![addresses]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["package_addresses"]).await
    }
}
