//! Who did it, by account: names are used again.

use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Of rows that are older nobody can tell whose they are: they are nobody's own.
        let account = Table::alter()
            .table("audit")
            .add_column(uuid_null("actor_id"))
            .to_owned();
        manager.alter_table(account).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let account = Table::alter().table("audit").drop_column("actor_id").to_owned();
        manager.alter_table(account).await
    }
}
