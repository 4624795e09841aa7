//! By which template the pods of a deployment are made.

use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let added = Table::alter()
            .table("deployments")
            // The first: the releases that know of none make pods by it, and write rows without it.
            .add_column(big_integer("template").default(1))
            .to_owned();
        manager.alter_table(added).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let dropped = Table::alter().table("deployments").drop_column("template").to_owned();
        manager.alter_table(dropped).await
    }
}
