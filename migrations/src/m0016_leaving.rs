//! Which control planes are about to end.

use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let added = Table::alter()
            .table("control_planes")
            // The releases that know of none write rows without it, and do not say so.
            .add_column(boolean("leaving").default(false))
            .to_owned();
        manager.alter_table(added).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let dropped = Table::alter().table("control_planes").drop_column("leaving").to_owned();
        manager.alter_table(dropped).await
    }
}
