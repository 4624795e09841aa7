//! Keys of services and deployments, hashed.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub service_id: Option<Uuid>,
    pub deployment_id: Option<Uuid>,
    pub name: String,
    pub class: String,
    #[sea_orm(column_type = "Blob")]
    pub hash: Vec<u8>,
    #[sea_orm(column_type = "Blob", nullable)]
    pub sealed: Option<Vec<u8>>,
    pub masked: String,
    pub weak: bool,
    #[sea_orm(column_type = "Text")]
    pub endpoints: String,
    pub created_by_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub created_by: String,
    pub created_at: i64,
    pub not_before: Option<i64>,
    pub expires_at: Option<i64>,
    #[sea_orm(column_type = "Text", nullable)]
    pub rate_limit: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub quota: Option<String>,
    pub quota_since: Option<i64>,
    pub quota_calls: i64,
    pub used_up_until: Option<i64>,
    pub revoked_at: Option<i64>,
    pub last_used_at: Option<i64>,
    pub calls: i64,
    pub revision: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
