//! Which of several control planes on one database acts, and what it writes as such.
//!
//! A term is a number that only grows. Whoever holds the lease writes under its term, and every such write looks in its
//! own transaction whether the term is still the newest: one that was overtaken while it slept changes nothing. The rule
//! a newcomer would break: time is the database's here, never that of a control plane.

use super::addresses::{self, KeptAddresses};
use super::clusters::{self, Cluster, Note};
use super::connection::Connection;
use super::entity::deployments;
use super::{Change, Error, LaunchedNode, Store, SystemStore, commit, node_tokens};
use crate::domain::Time;
use crate::domain::kubernetes::{Kubeconfig, Make};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, QueryFilter, QueryResult, Statement,
    Value,
};
use std::time::Duration;
use uuid::Uuid;

/// How long a lease is given for.
pub const LEASE: Duration = Duration::from_secs(3);
/// A control plane that has not said for so long that it lives is none that nodes should be told of.
const LIVING_MS: i64 = 10_000;
/// The database's clock, in milliseconds since 1970.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// A control plane as it makes itself known.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Of this process.
    pub id: Uuid,
    /// Where nodes dial it.
    pub url: String,
    /// The machine and the folder in which its local nodes live.
    pub home: String,
}

/// A control plane that lives, or did a moment ago.
#[derive(Clone, Debug)]
pub struct Living {
    /// As it made itself known.
    pub presence: Presence,
    /// When it said so last, in milliseconds by the database's clock.
    pub said_at: i64,
    /// It is about to end.
    pub leaving: bool,
}

/// Who holds the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// As it called itself.
    pub holder: String,
    /// Of this holder.
    pub term: i64,
}

/// The rows as the control plane that acts may write them.
#[derive(Clone)]
pub struct Acting {
    system: SystemStore,
    /// None where there is one control plane by the nature of its database.
    term: Option<i64>,
}

fn postgres(sql: String, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

fn term_of(row: &QueryResult) -> Result<i64, Error> {
    Ok(row.try_get("", "term")?)
}

impl Connection {
    /// Whether several control planes can work on this database.
    fn is_shared(&self) -> bool {
        self.get_database_backend() == DbBackend::Postgres
    }
}

impl SystemStore {
    /// Whether several control planes can work on this database.
    pub fn is_shared(&self) -> bool {
        self.store().db.is_shared()
    }

    /// Takes the lease if nobody holds it, or goes on holding it: the term, or none when it is another's.
    ///
    /// # Errors
    /// The database failed.
    pub async fn hold_lease(&self, holder: &str, term: Option<i64>) -> Result<Option<i64>, Error> {
        let own = "holder = $1 AND term = $2";
        let sql = format!(
            "UPDATE lease SET holder = $1, term = CASE WHEN {own} THEN term ELSE term + 1 END, until = {NOW} + $3 \
             WHERE name = 'loops' AND ({own} OR until <= {NOW}) RETURNING term"
        );
        let ms = i64::try_from(LEASE.as_millis()).unwrap_or(0);
        let values = [holder.into(), term.unwrap_or(-1).into(), ms.into()];
        let row = self.store().db.query_one_raw(postgres(sql, values)).await?;
        row.as_ref().map(term_of).transpose()
    }

    /// Who holds the lease.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lease(&self) -> Result<Option<Holding>, Error> {
        let sql = "SELECT holder, term FROM lease WHERE name = 'loops'".to_owned();
        let row = self.store().db.query_one_raw(postgres(sql, [])).await?;
        row.map(|row| {
            Ok(Holding {
                holder: row.try_get("", "holder")?,
                term: term_of(&row)?,
            })
        })
        .transpose()
    }

    /// Ends a holder's time: one's own, or that of one whose process is proven to have ended. The others hear of it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_lease(&self, of: &Holding) -> Result<(), Error> {
        let sql = "UPDATE lease SET until = 0 WHERE name = 'loops' AND holder = $1 AND term = $2".to_owned();
        let values = [of.holder.as_str().into(), of.term.into()];
        self.store().db.execute_raw(postgres(sql, values)).await?;
        // Not by way of what is gathered: a control plane that ends would not wait for that.
        self.store().notify([Change::Lease].into()).await
    }

    /// Says that a control plane lives, and whether it is about to end; forgets those that have not said so for long, and gives
    /// all that live.
    ///
    /// # Errors
    /// The database failed.
    pub async fn say_present(&self, presence: &Presence, leaving: bool) -> Result<Vec<Living>, Error> {
        let db = &self.store().db;
        let said = format!(
            "INSERT INTO control_planes (id, url, home, leaving, seen_at) VALUES ($1, $2, $3, $4, {NOW}) \
             ON CONFLICT (id) DO UPDATE SET seen_at = EXCLUDED.seen_at, leaving = EXCLUDED.leaving"
        );
        let values = [
            presence.id.into(),
            presence.url.as_str().into(),
            presence.home.as_str().into(),
            leaving.into(),
        ];
        db.execute_raw(postgres(said, values)).await?;
        let silent = format!("DELETE FROM control_planes WHERE seen_at < {NOW} - {LIVING_MS}");
        db.execute_raw(postgres(silent, [])).await?;
        let all = "SELECT id, url, home, leaving, seen_at FROM control_planes ORDER BY id".to_owned();
        let rows = db.query_all_raw(postgres(all, [])).await?;
        rows.iter()
            .map(|row| {
                Ok(Living {
                    presence: Presence {
                        id: row.try_get("", "id")?,
                        url: row.try_get("", "url")?,
                        home: row.try_get("", "home")?,
                    },
                    said_at: row.try_get("", "seen_at")?,
                    leaving: row.try_get("", "leaving")?,
                })
            })
            .collect()
    }

    /// Says that a control plane leaves.
    ///
    /// # Errors
    /// The database failed.
    pub async fn say_gone(&self, id: Uuid) -> Result<(), Error> {
        let sql = "DELETE FROM control_planes WHERE id = $1".to_owned();
        self.store().db.execute_raw(postgres(sql, [id.into()])).await?;
        Ok(())
    }

    /// The rows as the holder of this term may write them.
    pub fn acting(&self, term: Option<i64>) -> Acting {
        Acting {
            system: self.clone(),
            term,
        }
    }
}

impl Acting {
    /// The rows without permits, to be read.
    pub fn system(&self) -> &SystemStore {
        &self.system
    }

    fn store(&self) -> &Store {
        self.system.store()
    }

    /// A transaction that is done under this term or not at all. Nobody takes the lease while it lasts.
    async fn begin(&self) -> Result<DatabaseTransaction, Error> {
        let tx = self.store().begin().await?;
        if let Some(term) = self.term {
            let sql = "SELECT term FROM lease WHERE name = 'loops' AND term = $1 FOR SHARE".to_owned();
            let own = tx.query_one_raw(postgres(sql, [term.into()])).await?;
            own.ok_or(Error::Overtaken)?;
        }
        Ok(tx)
    }

    /// Gives a local deployment its port. `false` when another has it.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn assign_port(&self, deployment_id: Uuid, port: u16) -> Result<bool, Error> {
        let tx = self.begin().await?;
        let result = deployments::Entity::update_many()
            .col_expr(deployments::Column::Port, Expr::value(i32::from(port)))
            .filter(deployments::Column::Id.eq(deployment_id))
            .exec(&tx)
            .await
            .map_err(Error::taken("port"));
        match result {
            Ok(changed) => commit(tx).await.map(|()| changed.rows_affected == 1),
            Err(Error::Taken(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Says what the launcher cannot do for a deployment, or that it can again.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn set_problem(&self, deployment_id: Uuid, problem: Option<&str>) -> Result<(), Error> {
        let tx = self.begin().await?;
        deployments::Entity::update_many()
            .col_expr(deployments::Column::Problem, Expr::value(problem.map(str::to_owned)))
            .filter(deployments::Column::Id.eq(deployment_id))
            .exec(&tx)
            .await?;
        commit(tx).await
    }

    /// Says as [`Acting::set_problem`], and which host its balancer has, if any: in one write, as a status tells both.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn set_problem_and_balancer(
        &self,
        deployment_id: Uuid,
        problem: Option<&str>,
        host: Option<&str>,
    ) -> Result<(), Error> {
        let tx = self.begin().await?;
        deployments::Entity::update_many()
            .col_expr(deployments::Column::Problem, Expr::value(problem.map(str::to_owned)))
            .col_expr(deployments::Column::Balancer, Expr::value(host.map(str::to_owned)))
            .filter(deployments::Column::Id.eq(deployment_id))
            .exec(&tx)
            .await?;
        commit(tx).await
    }

    /// Records a node that the launcher starts, started or saw ending.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn save_launched(&self, node: &LaunchedNode, last_exit: Option<&str>) -> Result<(), Error> {
        let tx = self.begin().await?;
        self.store().save_launched(&tx, node, last_exit).await?;
        commit(tx).await?;
        self.store().tell(Change::Node(node.deployment_id));
        Ok(())
    }

    /// Forgets a node whose process is proven to have ended.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn forget_node(&self, id: Uuid) -> Result<(), Error> {
        let tx = self.begin().await?;
        let of = super::nodes::forget(&tx, id).await?;
        commit(tx).await?;
        if let Some(deployment_id) = of {
            self.store().tell(Change::Node(deployment_id));
        }
        Ok(())
    }

    /// Forgets static nodes that have been silent for a day.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn forget_silent_nodes(&self) -> Result<(), Error> {
        let tx = self.begin().await?;
        self.store().forget_silent_nodes(&tx).await?;
        commit(tx).await
    }

    /// Says of what make the pods of a deployment are from now on.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn pin_make(&self, deployment_id: Uuid, make: &Make) -> Result<(), Error> {
        clusters::note(self.store(), self.begin().await?, deployment_id, Note::Make(make)).await
    }

    /// Says that all pods of a deployment run what it was moved to.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn note_moved(&self, deployment_id: Uuid) -> Result<(), Error> {
        clusters::note(self.store(), self.begin().await?, deployment_id, Note::Moved).await
    }

    /// Keeps a kubeconfig with a new token, unless somebody has given another one meanwhile.
    ///
    /// # Errors
    /// Somebody has, the database failed, or another acts now.
    pub async fn keep_kubeconfig(&self, cluster: &Cluster, kubeconfig: &Kubeconfig) -> Result<(), Error> {
        clusters::keep_kubeconfig(self.store(), self.begin().await?, cluster, kubeconfig).await
    }

    /// Says which config lies where a deployment's nodes boot from.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn note_copy(&self, deployment_id: Uuid, config: (u64, u64)) -> Result<(), Error> {
        clusters::note(self.store(), self.begin().await?, deployment_id, Note::Copied(config)).await
    }

    /// Says that a node token of this hash lies where its nodes boot from.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn note_token_copied(&self, hash: &[u8]) -> Result<(), Error> {
        node_tokens::note_copied(self.begin().await?, hash).await
    }

    /// Lets the tokens of a deployment before this one end by and by; when.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn end_tokens_before(&self, deployment_id: Uuid, newest: Uuid) -> Result<Time, Error> {
        node_tokens::end_before(self.store(), self.begin().await?, deployment_id, newest).await
    }

    /// Keeps the addresses of a deployment's files, or that it has none.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn keep_addresses(&self, deployment_id: Uuid, made: Option<&KeptAddresses>) -> Result<(), Error> {
        addresses::keep(self.store(), self.begin().await?, deployment_id, made).await
    }

    /// Says that nothing is left of a deleted deployment on its infrastructure. Of another it says nothing.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn settle(&self, deployment_id: Uuid, infrastructure_id: Uuid) -> Result<(), Error> {
        clusters::note(
            self.store(),
            self.begin().await?,
            deployment_id,
            Note::Settled(infrastructure_id),
        )
        .await
    }

    /// Forgets all nodes of a deployment but these pods, by id and name: the others are proven to have ended.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn keep_pods(&self, deployment_id: Uuid, pods: &[(Uuid, String)]) -> Result<(), Error> {
        clusters::note(self.store(), self.begin().await?, deployment_id, Note::Pods(pods)).await
    }

    /// Notes something that happened to a deployment.
    ///
    /// # Errors
    /// The database failed, or another acts now.
    pub async fn note_event(&self, deployment_id: Uuid, kind: &str, message: &str) -> Result<(), Error> {
        self.store()
            .note_event(self.begin().await?, deployment_id, kind, message)
            .await
    }
}
