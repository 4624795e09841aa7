//! Nodes that run or have not been proven ended.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nodes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub deployment_id: Uuid,
    pub launched: bool,
    pub state: String,
    pub pid: Option<i32>,
    pub start_time: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub http_address: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub ops_address: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub release: Option<String>,
    pub acked_epoch: Option<i64>,
    pub acked_version: Option<i64>,
    #[sea_orm(column_type = "Blob", nullable)]
    pub acked_digest: Option<Vec<u8>>,
    pub ready: bool,
    pub stale: bool,
    pub connected: bool,
    #[sea_orm(column_type = "Text", nullable)]
    pub reason: Option<String>,
    pub refused_configs: i64,
    /// The latest refusal, in JSON.
    #[sea_orm(column_type = "Text", nullable)]
    pub refused: Option<String>,
    pub restarts: i64,
    #[sea_orm(column_type = "Text", nullable)]
    pub last_exit: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub exits: String,
    pub last_seen_at: Option<i64>,
    pub heard_by: Option<Uuid>,
    #[sea_orm(column_type = "Blob", nullable)]
    pub token: Option<Vec<u8>>,
    #[sea_orm(column_type = "Text", nullable)]
    pub pod: Option<String>,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
