//! Infrastructures of kind kubernetes: what they are told, what opens their cluster, and what is still to be taken away
//! there.

use crate::{create, drop, refers_to};
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
        // A deployment is gone from its table before its objects are gone from their cluster.
        let leftovers = Table::create()
            .table("leftovers")
            .col(uuid("deployment_id").primary_key())
            .col(uuid("infrastructure_id"))
            .col(string("name"))
            .col(big_integer("since"))
            .foreign_key(&mut refers_to("infrastructure_id", "infrastructures", "leftovers"))
            .to_owned();
        create(manager, vec![leftovers]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["leftovers"]).await?;
        for (table, column) in added() {
            let name = column.get_column_name();
            let dropped = Table::alter().table(table).drop_column(name).to_owned();
            manager.alter_table(dropped).await?;
        }
        Ok(())
    }
}

fn added() -> [(&'static str, ColumnDef); 5] {
    [
        ("infrastructures", text_null("kubernetes")),
        // Sealed.
        ("infrastructures", blob_null("kubeconfig")),
        // What its pods run, from when they were first made until somebody says otherwise.
        ("deployments", text_null("image")),
        // The config that lies where its nodes boot from.
        ("configs", big_integer_null("copied_epoch")),
        ("configs", big_integer_null("copied_version")),
    ]
}
