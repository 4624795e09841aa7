//! Infrastructures.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "infrastructures")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub kind: String,
    pub stage: String,
    #[sea_orm(column_type = "Text")]
    pub description: String,
    pub allow_inherit: bool,
    pub allow_public: bool,
    pub allow_personal: bool,
    #[sea_orm(column_type = "Text", nullable)]
    pub kubernetes: Option<String>,
    #[sea_orm(column_type = "Blob", nullable)]
    pub kubeconfig: Option<Vec<u8>>,
    pub created_at: i64,
    pub updated_at: i64,
    pub revision: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
