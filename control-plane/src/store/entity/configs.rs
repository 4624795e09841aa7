//! The signed config of each deployment.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "configs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub deployment_id: Uuid,
    pub epoch: i64,
    pub version: i64,
    #[sea_orm(column_type = "Blob")]
    pub digest: Vec<u8>,
    #[sea_orm(column_type = "Blob")]
    pub config: Vec<u8>,
    pub key_id: String,
    #[sea_orm(column_type = "Blob")]
    pub signature: Vec<u8>,
    #[sea_orm(column_type = "Text")]
    pub files: String,
    pub created_at: i64,
    pub copied_epoch: Option<i64>,
    pub copied_version: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
