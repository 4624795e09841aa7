//! How much a key may be used in a day or a month, and what has been used of it.

use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in added() {
            let added = Table::alter().table("api_keys").add_column(column).to_owned();
            manager.alter_table(added).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in added() {
            let name = column.get_column_name();
            let dropped = Table::alter().table("api_keys").drop_column(name).to_owned();
            manager.alter_table(dropped).await?;
        }
        Ok(())
    }
}

fn added() -> [ColumnDef; 4] {
    [
        // As JSON; nothing: none.
        text_null("quota"),
        // Calls in the window that began then.
        big_integer_null("quota_since"),
        big_integer("quota_calls").default(0).take(),
        // The nodes have been told to refuse the key until then.
        big_integer_null("used_up_until"),
    ]
}
