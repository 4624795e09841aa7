//! Who is calling: accounts, groups, and what they prove themselves with.

use crate::{create, drop, index, owned_by};
use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 6] = ["installation", "accounts", "groups", "members", "sessions", "tokens"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let installation = Table::create()
            .table("installation")
            .col(uuid("id").primary_key())
            .col(big_integer("epoch"))
            .col(blob("data_key_wrapped"))
            .col(blob("signing_public"))
            .col(blob("signing_sealed"))
            .col(text_null("authority_certificate"))
            .col(blob_null("authority_sealed"))
            .col(big_integer("created_at"))
            .to_owned();
        let accounts = Table::create()
            .table("accounts")
            .col(uuid("id").primary_key())
            .col(string("kind"))
            .col(string_uniq("name"))
            .col(text("display_name"))
            .col(text_null("password_hash"))
            .col(boolean("disabled"))
            .col(big_integer("created_at"))
            .col(big_integer("revision"))
            .to_owned();
        let groups = Table::create()
            .table("groups")
            .col(uuid("id").primary_key())
            .col(string_uniq("name"))
            .col(boolean("create_service"))
            .col(boolean("admin"))
            .col(big_integer("created_at"))
            .col(big_integer("revision"))
            .to_owned();
        let members = Table::create()
            .table("members")
            .col(uuid("group_id"))
            .col(uuid("account_id"))
            .primary_key(Index::create().col("group_id").col("account_id"))
            .foreign_key(&mut owned_by("group_id", "groups", "members"))
            .foreign_key(&mut owned_by("account_id", "accounts", "members"))
            .to_owned();
        let sessions = Table::create()
            .table("sessions")
            .col(uuid("id").primary_key())
            .col(uuid("account_id"))
            .col(blob("hash"))
            .col(big_integer("created_at"))
            .col(big_integer("expires_at"))
            .foreign_key(&mut owned_by("account_id", "accounts", "sessions"))
            .to_owned();
        let tokens = Table::create()
            .table("tokens")
            .col(uuid("id").primary_key())
            .col(uuid("account_id"))
            .col(string("name"))
            .col(blob("hash"))
            .col(string("hint"))
            .col(big_integer("created_at"))
            .col(big_integer_null("expires_at"))
            .col(big_integer_null("last_used_at"))
            .foreign_key(&mut owned_by("account_id", "accounts", "tokens"))
            .to_owned();
        create(manager, vec![installation, accounts, groups, members, sessions, tokens]).await?;
        index(manager, "members_account", "members", &["account_id"], false).await?;
        index(manager, "sessions_hash", "sessions", &["hash"], true).await?;
        index(manager, "tokens_hash", "tokens", &["hash"], true).await?;
        index(manager, "tokens_name", "tokens", &["account_id", "name"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &TABLES).await
    }
}
