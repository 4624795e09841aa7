//! This installation: who it is and what it signs with. One row.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub epoch: i64,
    #[sea_orm(column_type = "Blob")]
    pub data_key_wrapped: Vec<u8>,
    #[sea_orm(column_type = "Blob")]
    pub signing_public: Vec<u8>,
    #[sea_orm(column_type = "Blob")]
    pub signing_sealed: Vec<u8>,
    #[sea_orm(column_type = "Text", nullable)]
    pub authority_certificate: Option<String>,
    #[sea_orm(column_type = "Blob", nullable)]
    pub authority_sealed: Option<Vec<u8>>,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
