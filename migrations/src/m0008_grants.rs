//! Grants are read from their indexes alone, by what they are on and by group: lists ask of many.

use crate::index;
use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The table, what its grants are on, and its indexes: two new ones, and the one that the second of them replaces.
const INDEXES: [(&str, &str, [&str; 3]); 2] = [
    (
        "service_grants",
        "service_id",
        ["service_grants_on", "service_grants_to", "service_grants_group"],
    ),
    (
        "infrastructure_grants",
        "infrastructure_id",
        [
            "infrastructure_grants_on",
            "infrastructure_grants_to",
            "infrastructure_grants_group",
        ],
    ),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, thing, [on, to, group]) in INDEXES {
            index(manager, on, table, &[thing, "group_id", "mask"], false).await?;
            index(manager, to, table, &["group_id", thing, "mask"], false).await?;
            manager
                .drop_index(Index::drop().name(group).table(table).to_owned())
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, _, [on, to, group]) in INDEXES {
            index(manager, group, table, &["group_id"], false).await?;
            for new in [on, to] {
                manager
                    .drop_index(Index::drop().name(new).table(table).to_owned())
                    .await?;
            }
        }
        Ok(())
    }
}
