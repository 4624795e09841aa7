//! What runs: deployments, their history, the keys that open them, the configs pushed, and the nodes that obey.

use crate::{create, drop, index, owned_by, refers_to};
use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 6] = [
    "deployments",
    "revisions",
    "api_keys",
    "configs",
    "node_tokens",
    "nodes",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let deployments = Table::create()
            .table("deployments")
            .col(uuid("id").primary_key())
            .col(string_uniq("name"))
            .col(uuid("service_id"))
            .col(uuid("infrastructure_id"))
            .col(boolean("enabled"))
            .col(string("access"))
            .col(string("key_header"))
            .col(text("route"))
            .col(text("scale"))
            .col(text("limits"))
            .col(integer_null("port"))
            .col(text_null("problem"))
            .col(text("created_by"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .col(big_integer("revision"))
            .foreign_key(&mut refers_to("service_id", "services", "deployments"))
            .foreign_key(&mut refers_to("infrastructure_id", "infrastructures", "deployments"))
            .to_owned();
        let revisions = Table::create()
            .table("revisions")
            .col(uuid("deployment_id"))
            .col(big_integer("n"))
            .col(text("route"))
            .col(text("scale"))
            .col(text("limits"))
            .col(text("author"))
            .col(text("note"))
            .col(big_integer("at"))
            .primary_key(Index::create().col("deployment_id").col("n"))
            .foreign_key(&mut owned_by("deployment_id", "deployments", "revisions"))
            .to_owned();
        let keys = Table::create()
            .table("api_keys")
            .col(uuid("id").primary_key())
            .col(uuid_null("service_id"))
            .col(uuid_null("deployment_id"))
            .col(string("name"))
            .col(string("class"))
            .col(blob("hash"))
            .col(blob_null("sealed"))
            .col(string("masked"))
            .col(boolean("weak"))
            .col(text("endpoints"))
            .col(uuid("created_by_id"))
            .col(text("created_by"))
            .col(big_integer("created_at"))
            .col(big_integer_null("not_before"))
            .col(big_integer_null("expires_at"))
            .col(big_integer_null("revoked_at"))
            .col(big_integer_null("last_used_at"))
            .col(big_integer("calls"))
            .col(big_integer("revision"))
            .foreign_key(&mut owned_by("service_id", "services", "api_keys"))
            .foreign_key(&mut owned_by("deployment_id", "deployments", "api_keys"))
            .to_owned();
        let configs = Table::create()
            .table("configs")
            .col(uuid("deployment_id").primary_key())
            .col(big_integer("epoch"))
            .col(big_integer("version"))
            .col(blob("digest"))
            .col(blob("config"))
            .col(string("key_id"))
            .col(blob("signature"))
            .col(text("files"))
            .col(big_integer("created_at"))
            .foreign_key(&mut owned_by("deployment_id", "deployments", "configs"))
            .to_owned();
        let node_tokens = Table::create()
            .table("node_tokens")
            .col(uuid("id").primary_key())
            .col(uuid("deployment_id"))
            .col(blob("hash"))
            .col(blob_null("sealed"))
            .col(big_integer("created_at"))
            .col(big_integer_null("expires_at"))
            .foreign_key(&mut owned_by("deployment_id", "deployments", "node_tokens"))
            .to_owned();
        // No reference to deployments: a node is remembered until its process has been proven ended.
        let nodes = Table::create()
            .table("nodes")
            .col(uuid("id").primary_key())
            .col(uuid("deployment_id"))
            .col(boolean("launched"))
            .col(string("state"))
            .col(integer_null("pid"))
            .col(big_integer_null("start_time"))
            .col(text_null("http_address"))
            .col(text_null("ops_address"))
            .col(text_null("release"))
            .col(big_integer_null("acked_epoch"))
            .col(big_integer_null("acked_version"))
            .col(blob_null("acked_digest"))
            .col(boolean("ready"))
            .col(boolean("stale"))
            .col(boolean("connected"))
            .col(text_null("reason"))
            .col(big_integer("refused_configs"))
            .col(big_integer("restarts"))
            .col(text_null("last_exit"))
            .col(text("exits"))
            .col(big_integer_null("last_seen_at"))
            .col(big_integer("created_at"))
            .to_owned();
        create(manager, vec![deployments, revisions, keys, configs, node_tokens, nodes]).await?;
        index(manager, "deployments_service", "deployments", &["service_id"], false).await?;
        index(
            manager,
            "deployments_infrastructure",
            "deployments",
            &["infrastructure_id"],
            false,
        )
        .await?;
        index(manager, "deployments_port", "deployments", &["port"], true).await?;
        index(manager, "api_keys_service", "api_keys", &["service_id", "hash"], true).await?;
        index(
            manager,
            "api_keys_deployment",
            "api_keys",
            &["deployment_id", "hash"],
            true,
        )
        .await?;
        index(manager, "node_tokens_hash", "node_tokens", &["hash"], true).await?;
        index(manager, "nodes_deployment", "nodes", &["deployment_id"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &TABLES).await
    }
}
