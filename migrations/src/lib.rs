//! The schema of Castoff's database, step by step.
//!
//! Apart from both programs, so that a schema can be moved without starting one. The same steps run on SQLite and on
//! PostgreSQL. The rule a newcomer would break: a step that has been released is never edited; the next one expands, and
//! a later one contracts, so that the previous release runs against the new schema. How a step that contracts is called
//! stands in `later.rs`.
//!
//! Times are milliseconds since 1970 in 64 bits: both databases keep them exactly.

pub use sea_orm_migration::MigrationStatus;
pub use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::EntityTrait;
use sea_orm_migration::seaql_migrations;

mod later;
mod m0001_accounts;
mod m0002_services;
mod m0003_deployments;
mod m0004_records;
mod m0005_audit_accounts;
mod m0006_refusals;
mod m0007_lease;
mod m0008_grants;
mod m0009_kubernetes;
mod m0010_upgrades;
mod m0011_package_addresses;
mod m0012_rotations;
mod m0013_rate_limits;
mod m0014_quotas;
mod m0015_templates;
mod m0016_leaving;
mod m0017_balancers;
mod m0018_pod_names;

/// Every step, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_accounts::Migration),
            Box::new(m0002_services::Migration),
            Box::new(m0003_deployments::Migration),
            Box::new(m0004_records::Migration),
            Box::new(m0005_audit_accounts::Migration),
            Box::new(m0006_refusals::Migration),
            Box::new(m0007_lease::Migration),
            Box::new(m0008_grants::Migration),
            Box::new(m0009_kubernetes::Migration),
            Box::new(m0010_upgrades::Migration),
            Box::new(m0011_package_addresses::Migration),
            Box::new(m0012_rotations::Migration),
            Box::new(m0013_rate_limits::Migration),
            Box::new(m0014_quotas::Migration),
            Box::new(m0015_templates::Migration),
            Box::new(m0016_leaving::Migration),
            Box::new(m0017_balancers::Migration),
            Box::new(m0018_pod_names::Migration),
        ]
    }

    /// What is applied, but for what later releases have added: the default takes a step that it does not know for a
    /// mistake, and nobody could go back to the previous release.
    async fn get_migration_models<C>(db: &C) -> Result<Vec<seaql_migrations::Model>, DbErr>
    where
        C: ConnectionTrait,
    {
        let mut applied = applied(db).await?;
        let later = later::later(&ours(), applied.iter().map(|step| step.version.clone()));
        applied.retain(|step| !later.contains(&step.version));
        Ok(applied)
    }
}

impl Migrator {
    /// The steps that a later release has applied, in order.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn later(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
        let applied = applied(db).await?.into_iter().map(|step| step.version);
        Ok(later::later(&ours(), applied))
    }

    /// Those among later steps that took away what this release needs.
    pub fn in_the_way(later: &[String]) -> Vec<&str> {
        later::in_the_way(&ours(), later)
    }
}

async fn applied(db: &impl ConnectionTrait) -> Result<Vec<seaql_migrations::Model>, DbErr> {
    Migrator::install(db).await?;
    seaql_migrations::Entity::find().all(db).await
}

fn ours() -> Vec<String> {
    let steps = Migrator::migrations();
    steps.iter().map(|step| step.name().to_owned()).collect()
}

/// Creates the tables in order; `down` drops them in reverse.
async fn create(manager: &SchemaManager<'_>, tables: Vec<TableCreateStatement>) -> Result<(), DbErr> {
    for table in tables {
        manager.create_table(table).await?;
    }
    Ok(())
}

async fn drop(manager: &SchemaManager<'_>, tables: &[&'static str]) -> Result<(), DbErr> {
    for table in tables.iter().rev() {
        manager
            .drop_table(Table::drop().table(*table).if_exists().to_owned())
            .await?;
    }
    Ok(())
}

async fn index(
    manager: &SchemaManager<'_>,
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
    unique: bool,
) -> Result<(), DbErr> {
    let mut index = Index::create().name(name).table(table).to_owned();
    for column in columns {
        index.col(*column);
    }
    if unique {
        index.unique();
    }
    manager.create_index(index).await
}

/// A reference that goes with what it refers to.
fn owned_by(column: &'static str, table: &'static str, own: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(own, column)
        .to(table, "id")
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

/// A reference that keeps what it refers to from being deleted.
fn refers_to(column: &'static str, table: &'static str, own: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(own, column)
        .to(table, "id")
        .on_delete(ForeignKeyAction::Restrict)
        .to_owned()
}
