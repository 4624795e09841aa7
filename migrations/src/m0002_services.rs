//! What is deployed and where: services, their versions, infrastructures, and who was given what on them.

use crate::{create, drop, index, owned_by, refers_to};
use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 5] = [
    "services",
    "versions",
    "infrastructures",
    "service_grants",
    "infrastructure_grants",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let services = Table::create()
            .table("services")
            .col(uuid("id").primary_key())
            .col(string_uniq("name"))
            .col(text("description"))
            .col(uuid("owner_id"))
            .col(string("access"))
            .col(string("key_visibility"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .col(big_integer("revision"))
            .foreign_key(&mut refers_to("owner_id", "accounts", "services"))
            .to_owned();
        let versions = Table::create()
            .table("versions")
            .col(uuid("id").primary_key())
            .col(uuid("service_id"))
            .col(string("name"))
            .col(blob("digest"))
            .col(big_integer("size"))
            .col(text("manifest"))
            .col(text("created_by"))
            .col(big_integer("created_at"))
            .col(big_integer_null("deleted_at"))
            .foreign_key(&mut owned_by("service_id", "services", "versions"))
            .to_owned();
        let infrastructures = Table::create()
            .table("infrastructures")
            .col(uuid("id").primary_key())
            .col(string_uniq("name"))
            .col(string("kind"))
            .col(string("stage"))
            .col(text("description"))
            .col(boolean("allow_inherit"))
            .col(boolean("allow_public"))
            .col(boolean("allow_personal"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .col(big_integer("revision"))
            .to_owned();
        let mut tables = vec![services, versions, infrastructures];
        for (table, column, of) in [
            ("service_grants", "service_id", "services"),
            ("infrastructure_grants", "infrastructure_id", "infrastructures"),
        ] {
            tables.push(
                Table::create()
                    .table(table)
                    .col(uuid(column))
                    .col(uuid("group_id"))
                    .col(integer("mask"))
                    .primary_key(Index::create().col(column).col("group_id"))
                    .foreign_key(&mut owned_by(column, of, table))
                    .foreign_key(&mut owned_by("group_id", "groups", table))
                    .to_owned(),
            );
        }
        create(manager, tables).await?;
        index(manager, "services_owner", "services", &["owner_id"], false).await?;
        index(manager, "versions_name", "versions", &["service_id", "name"], true).await?;
        index(manager, "service_grants_group", "service_grants", &["group_id"], false).await?;
        index(
            manager,
            "infrastructure_grants_group",
            "infrastructure_grants",
            &["group_id"],
            false,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &TABLES).await
    }
}
