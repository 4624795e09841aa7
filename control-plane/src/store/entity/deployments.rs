//! Deployments.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deployments")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub service_id: Uuid,
    pub infrastructure_id: Uuid,
    pub enabled: bool,
    pub access: String,
    pub key_header: String,
    #[sea_orm(column_type = "Text")]
    pub route: String,
    #[sea_orm(column_type = "Text")]
    pub scale: String,
    #[sea_orm(column_type = "Text")]
    pub limits: String,
    pub port: Option<i32>,
    #[sea_orm(column_type = "Text", nullable)]
    pub problem: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub image: Option<String>,
    pub moving: bool,
    pub template: i64,
    #[sea_orm(column_type = "Text", nullable)]
    pub balancer: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub created_by: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub revision: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
