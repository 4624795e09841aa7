//! Several control planes on one database: which of them acts, and which of them live.

use crate::{create, drop};
use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 2] = ["lease", "control_planes"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // `until` and `seen_at` are times of the database's own clock.
        let lease = Table::create()
            .table("lease")
            .col(string("name").primary_key())
            .col(text("holder"))
            .col(big_integer("term"))
            .col(big_integer("until"))
            .to_owned();
        let control_planes = Table::create()
            .table("control_planes")
            .col(uuid("id").primary_key())
            .col(text("url"))
            .col(text("home"))
            .col(big_integer("seen_at"))
            .to_owned();
        create(manager, vec![lease, control_planes]).await?;
        let lease = Query::insert()
            .into_table("lease")
            .columns(["name", "holder", "term", "until"])
            .values_panic(["loops".into(), "".into(), 0.into(), 0.into()])
            .to_owned();
        manager.execute(lease).await?;
        // Whose word on a node counts: of the control plane that heard it last.
        let heard_by = Table::alter()
            .table("nodes")
            .add_column(uuid_null("heard_by"))
            .to_owned();
        manager.alter_table(heard_by).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let heard_by = Table::alter().table("nodes").drop_column("heard_by").to_owned();
        manager.alter_table(heard_by).await?;
        drop(manager, &TABLES).await
    }
}
