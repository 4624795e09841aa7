//! The store by itself, the same tests on SQLite and on PostgreSQL.
//!
//! Apart from the tests over HTTP, because a race of two transactions is won by a hair, and a process in between hides it.
//! The rule a newcomer would break: rows come from the store's own functions, with permits, and never from SQL.

mod changes;
mod configs;
mod freshness;
mod guards;
mod installation;
mod keys;
mod lease;
mod once;
mod pages;
mod permissions;
mod reports;

use acceptance::{Database, scratch};
use castoff_control_plane::authn::{Actor, PasswordHash, Via};
use castoff_control_plane::authn::{Membership, random_bytes};
use castoff_control_plane::authz::{self, Administer, CreateService, DecisionTable, Deploy, Need, View, Write};
use castoff_control_plane::clock::Clock;
use castoff_control_plane::domain::package::{Digest, Endpoint, EndpointKind, Manifest, PackageFile};
use castoff_control_plane::domain::{
    Access, AccountKind, AccountName, Allowances, Deployment, DeploymentName, EndpointName, GroupName, HeaderName,
    Infrastructure, InfrastructureKind, InfrastructureName, KeyClass, KeyVisibility, Limits, Route, Scale, Service,
    ServiceAccess, ServiceName, Stage, Title, VersionName,
};
use castoff_control_plane::push::Publisher;
use castoff_control_plane::store::{
    self, Error, GroupChange, MasterKey, NewAccount, NewDeployment, NewInfrastructure, NewKey, NewService, NewVersion,
    Permit, Platform, Refusal, Store, Visible,
};
use castoff_wire::proto;
use prost::Message;
use std::sync::Arc;
use uuid::Uuid;

/// A test that runs on SQLite and on PostgreSQL, each time on fresh rows.
macro_rules! on_both_databases {
    ($($(#[$about:meta])* async fn $name:ident($rows:ident: $type:ty) $body:block)*) => { $(
        $(#[$about])*
        mod $name {
            use super::*;

            async fn play($rows: $type) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn on_sqlite() {
                play(Rows::open(&Database::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn on_postgresql() {
                if let Some(database) = Database::postgres() {
                    play(Rows::open(&database).await).await;
                }
            }
        }
    )* };
}
pub(crate) use on_both_databases;

/// Functions of a database that are tests on SQLite and on PostgreSQL: they open what they need by themselves.
macro_rules! on_each_database {
    ($($name:ident)*) => { $(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn on_sqlite() {
                super::$name(&Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn on_postgresql() {
                if let Some(database) = Database::postgres() {
                    super::$name(&database).await;
                }
            }
        }
    )* };
}
pub(crate) use on_each_database;

/// The rows of a fresh installation, and its first admin.
struct Rows {
    store: Store,
    table: Arc<DecisionTable>,
    root: Arc<Actor>,
}

/// Where a test's rows lie.
fn url(database: &Database) -> String {
    match database {
        Database::Sqlite => store::sqlite_url(&scratch::subfolder("store")),
        Database::Postgres { url, .. } => url.clone(),
    }
}

/// The store at an address, sealed with this master key; none when it was sealed with another.
async fn open(url: &str, master: &MasterKey) -> Option<Store> {
    let db = store::connect(url, false).await.unwrap();
    let clock = Clock::default();
    let installation = store::prepare(&db, master, clock.now()).await.unwrap()?;
    let publisher = Arc::new(Publisher::new(&installation).unwrap());
    Some(Store::new(db, clock, Arc::clone(&installation.vault), publisher))
}

fn title(text: &str) -> Title {
    Title::parse(text).unwrap()
}

fn new_key(name: &str) -> NewKey {
    NewKey {
        name: title(name),
        class: KeyClass::RevealOnce,
        imported: None,
        endpoints: Vec::new(),
        not_before: None,
        expires_at: None,
        rate_limit: None,
        quota: None,
    }
}

fn new_service(name: &str) -> NewService {
    NewService {
        name: ServiceName::parse(name).unwrap(),
        description: String::new(),
        access: ServiceAccess::Keys,
        key_visibility: KeyVisibility::Owner,
    }
}

fn new_deployment(name: &str, access: Access) -> NewDeployment {
    NewDeployment {
        name: DeploymentName::parse(name).unwrap(),
        route: Route::only(VersionName::parse("v1").unwrap()),
        enabled: true,
        access,
        key_header: HeaderName::parse("x-api-key").unwrap(),
        scale: Scale::default(),
        limits: Limits::default(),
        note: String::new(),
    }
}

fn new_version(name: &str, digest: [u8; 32]) -> NewVersion {
    let endpoint = Endpoint {
        name: EndpointName::parse("default").unwrap(),
        kind: EndpointKind::Tensor,
        file: PackageFile {
            path: "model.onnx".to_owned(),
            digest: Digest::new(digest),
            size: 1,
        },
        test_queries: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        columns: Vec::new(),
        labels: Vec::new(),
        max_batch_size: 1,
        opset: 17,
        producer: String::new(),
        metadata: Default::default(),
    };
    NewVersion {
        name: VersionName::parse(name).unwrap(),
        digest: Digest::new(digest),
        size: 1,
        manifest: Manifest {
            opset: 17,
            endpoints: vec![endpoint],
        },
    }
}

impl Rows {
    async fn open(database: &Database) -> Self {
        Self::open_at(&url(database), &MasterKey::mint().unwrap()).await
    }

    /// As [`Rows::open`], and a second control plane's store of the same rows.
    async fn open_twice(database: &Database) -> (Self, Store) {
        let (url, master) = (url(database), MasterKey::mint().unwrap());
        let rows = Self::open_at(&url, &master).await;
        (rows, open(&url, &master).await.unwrap())
    }

    async fn open_at(url: &str, master: &MasterKey) -> Self {
        store::migrate_up(url).await.unwrap();
        let store = open(url, master).await.unwrap();
        let table = Arc::new(authz::load_builtin().await.unwrap());
        let name = AccountName::parse("root").unwrap();
        let password = PasswordHash::from_stored("no password fits".to_owned());
        assert!(store.system().claim(name, password).await.unwrap());
        let mut root = Actor::machine();
        let platform = store.platform(&root).admit(&table, &Arc::new(root.clone())).unwrap();
        let account = store.account(&platform, AccountKind::User, "root").await.unwrap();
        root.account_id = account.id;
        root.name = "root".to_owned();
        root.kind = AccountKind::User;
        Self {
            store,
            table,
            root: Arc::new(root),
        }
    }

    /// What root sees: all there is.
    fn sight<R>(&self) -> Visible<R> {
        Visible::of(&self.root, &self.table)
    }

    fn platform<P: Need<Platform>>(&self) -> Permit<P, Platform> {
        self.store.platform(&self.root).admit(&self.table, &self.root).unwrap()
    }

    /// A new user in these groups, which are made when they are not there.
    async fn user(&self, name: &str, groups: &[&str]) -> Arc<Actor> {
        let platform = self.platform::<Administer>();
        let new = NewAccount {
            kind: AccountKind::User,
            name: AccountName::parse(name).unwrap(),
            display_name: String::new(),
            password: None,
        };
        self.store.create_account(&platform, new).await.unwrap();
        let account = self.store.account(&platform, AccountKind::User, name).await.unwrap();
        let mut memberships = Vec::new();
        for group in groups {
            let parsed = GroupName::parse(group).unwrap();
            match self
                .store
                .create_group(&platform, &parsed, GroupChange::default())
                .await
            {
                Ok(()) | Err(Error::Taken(_)) => {}
                Err(error) => panic!("{error}"),
            }
            let group = self.store.group(&self.root, group).await.unwrap();
            self.store.set_member(&platform, &group, name, true).await.unwrap();
            memberships.push(Membership {
                id: group.id,
                name: group.name.to_string(),
            });
        }
        Arc::new(Actor {
            account_id: account.id,
            name: name.to_owned(),
            kind: AccountKind::User,
            groups: memberships.into(),
            admin: false,
            create_service: false,
            via: Via::Session(Uuid::nil()),
            source: None,
        })
    }

    /// A new service of root's, with a version `v1`.
    async fn service(&self, name: &str) -> Uuid {
        let new = new_service(name);
        let id = self
            .store
            .create_service(&self.platform::<CreateService>(), new)
            .await
            .unwrap();
        let permit = self.on_service::<Write>(&self.root, name).await.unwrap();
        let bytes = random_bytes().unwrap();
        self.store.add_version(&permit, new_version("v1", bytes)).await.unwrap();
        id
    }

    /// A new infrastructure that allows everything.
    async fn infrastructure(&self, name: &str) -> Uuid {
        let stage = Stage::parse("dev").unwrap();
        let new = NewInfrastructure {
            name: InfrastructureName::parse(name).unwrap(),
            kind: InfrastructureKind::Static,
            description: String::new(),
            allow: Allowances::of_stage(&stage),
            kubernetes: None,
            kubeconfig: None,
            stage,
        };
        self.store
            .create_infrastructure(&self.platform::<Administer>(), new)
            .await
            .unwrap()
    }

    /// A new deployment of `v1` by root.
    async fn deployment(&self, service: &str, infrastructure: &str, access: Access) -> Uuid {
        let site = self.store.site(&self.root, service, infrastructure).await.unwrap();
        let site = site.admit::<Deploy>(&self.table, &self.root).unwrap();
        let new = new_deployment(&format!("{service}-on-{infrastructure}"), access);
        self.store.create_deployment(&site, new).await.unwrap()
    }

    async fn on_service<P: Need<Service>>(
        &self,
        actor: &Arc<Actor>,
        name: &str,
    ) -> Result<Permit<P, Service>, Refusal> {
        let found = self.store.service(actor, name).await.unwrap();
        found.admit(&self.table, actor)
    }

    async fn on_infrastructure<P: Need<Infrastructure>>(
        &self,
        actor: &Arc<Actor>,
        name: &str,
    ) -> Result<Permit<P, Infrastructure>, Refusal> {
        let found = self.store.infrastructure(actor, name).await.unwrap();
        found.admit(&self.table, actor)
    }

    async fn on_deployment<P: Need<Deployment>>(
        &self,
        actor: &Arc<Actor>,
        name: &str,
    ) -> Result<Permit<P, Deployment>, Refusal> {
        let found = self.store.deployment(actor, name).await.unwrap();
        found.admit(&self.table, actor)
    }

    /// Root's permit to administer a service.
    async fn my_service(&self, name: &str) -> Permit<Administer, Service> {
        self.on_service(&self.root, name).await.unwrap()
    }

    /// Root's permit to change a deployment.
    async fn my_deployment(&self, name: &str) -> Permit<Deploy, Deployment> {
        self.on_deployment(&self.root, name).await.unwrap()
    }

    /// Root's permit to see a deployment.
    async fn seen(&self, name: &str) -> Permit<View, Deployment> {
        self.on_deployment(&self.root, name).await.unwrap()
    }

    /// The version of a deployment's config.
    async fn version(&self, deployment: Uuid) -> u64 {
        self.store.system().config(deployment).await.unwrap().unwrap().version
    }

    /// A deployment's config as nodes read it.
    async fn config(&self, deployment: Uuid) -> proto::Config {
        let stored = self.store.system().config(deployment).await.unwrap().unwrap();
        assert_eq!(stored.digest, castoff_wire::sha256(&[&stored.config]));
        let config = proto::Config::decode(stored.config.as_slice()).unwrap();
        assert_eq!((config.epoch, config.version), (stored.epoch, stored.version));
        config
    }

    /// The ids of the keys that open a deployment, in order.
    async fn opening(&self, deployment: Uuid) -> Vec<Uuid> {
        let access = self.config(deployment).await.access.unwrap();
        let mut ids: Vec<Uuid> = access
            .keys
            .iter()
            .map(|key| Uuid::from_slice(&key.id).unwrap())
            .collect();
        ids.sort();
        ids
    }
}
