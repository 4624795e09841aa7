//! Rotations of node tokens: which token a node holds, and how far a new one has come.

use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in added() {
            let added = Table::alter().table(table).add_column(column).to_owned();
            manager.alter_table(added).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in added() {
            let name = column.get_column_name();
            let dropped = Table::alter().table(table).drop_column(name).to_owned();
            manager.alter_table(dropped).await?;
        }
        Ok(())
    }
}

fn added() -> [(&'static str, ColumnDef); 3] {
    [
        // The id of the newest token that it has shown or kept.
        ("nodes", blob_null("token")),
        // Those before it end when all nodes have it.
        ("node_tokens", boolean("rotates").default(false).take()),
        // It lies where nodes boot from.
        ("node_tokens", boolean("copied").default(false).take()),
    ]
}
