//! What happened: the audit trail, events, and answers to be given again to a repeated creation.

use crate::{create, drop, index, owned_by};
use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 3] = ["audit", "events", "idempotency"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Names beside ids: a row must still say what happened when its object is gone.
        let audit = Table::create()
            .table("audit")
            .col(big_pk_auto("id"))
            .col(big_integer("at"))
            .col(text("actor"))
            .col(string("actor_kind"))
            .col(text_null("token"))
            .col(text_null("source"))
            .col(string("action"))
            .col(string("object_kind"))
            .col(text("object"))
            .col(uuid_null("service_id"))
            .col(uuid_null("infrastructure_id"))
            .col(text_null("before"))
            .col(text_null("after"))
            .col(string("outcome"))
            .to_owned();
        let events = Table::create()
            .table("events")
            .col(big_pk_auto("id"))
            .col(big_integer("at"))
            .col(uuid("deployment_id"))
            .col(text("deployment"))
            .col(uuid("service_id"))
            .col(uuid("infrastructure_id"))
            .col(string("kind"))
            .col(text("message"))
            .to_owned();
        let idempotency = Table::create()
            .table("idempotency")
            .col(uuid("account_id"))
            .col(string("key"))
            .col(blob("request"))
            .col(integer("status"))
            .col(text("headers"))
            .col(text("body"))
            .col(big_integer("created_at"))
            .primary_key(Index::create().col("account_id").col("key"))
            .foreign_key(&mut owned_by("account_id", "accounts", "idempotency"))
            .to_owned();
        create(manager, vec![audit, events, idempotency]).await?;
        index(manager, "audit_service", "audit", &["service_id"], false).await?;
        index(manager, "audit_infrastructure", "audit", &["infrastructure_id"], false).await?;
        index(manager, "events_deployment", "events", &["deployment_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &TABLES).await
    }
}
