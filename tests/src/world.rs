//! A control plane with its database, and the people of a small company around it.

use crate::actor::Actor;
use crate::castoff::Server;
use crate::pooler::Pooler;
use crate::processes::{self, Process};
use crate::release::Release;
use crate::{deployed::Deployed, eventually, models, postgres, scratch};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The first admin's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// Where a world keeps its rows.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file in the data directory.
    Sqlite,
    /// A database on a server.
    Postgres {
        /// Where; at a pooler, where one stands before it.
        url: String,
        /// The way past that one.
        direct: Option<String>,
    },
}

impl Database {
    /// A new one on the PostgreSQL of this run, if this machine has it.
    pub fn postgres() -> Option<Self> {
        postgres::database().map(Self::at)
    }

    /// The one of this URL on PostgreSQL.
    pub fn at(url: String) -> Self {
        Self::Postgres { url, direct: None }
    }

    /// The same, asked through a pooler.
    pub fn behind(pooler: &Pooler) -> Self {
        Self::Postgres {
            url: pooler.url(),
            direct: Some(pooler.before().to_owned()),
        }
    }

    /// Runs statements in it, past the product; `data` is the data directory of its control plane.
    #[track_caller]
    pub fn state(&self, data: &Path, statements: &str) {
        const RUN: &str = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])";
        match self {
            Self::Postgres { url, direct } => postgres::state(direct.as_ref().unwrap_or(url), statements),
            Self::Sqlite => {
                let mut python = std::process::Command::new("python3");
                let run = python.args(["-c", RUN]).arg(data.join("castoff.db")).arg(statements);
                let run = run.output().expect("Python is there");
                assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            }
        }
    }
}

/// One control plane. Everything that it started ends with it.
#[derive(Debug)]
pub struct World {
    /// The process.
    pub server: Server,
    /// The first admin.
    pub admin: Actor,
    folder: PathBuf,
}

impl World {
    /// A fresh control plane with its first admin.
    #[track_caller]
    pub fn start(database: Database) -> Self {
        Self::start_with(database, &[])
    }

    /// As [`World::start`], with more arguments for `castoff serve`.
    #[track_caller]
    pub fn start_with(database: Database, extra: &[&str]) -> Self {
        Self::start_in(database, extra, &[])
    }

    /// As [`World::start_with`], with more in the environment of `castoff serve`.
    #[track_caller]
    pub fn start_in(database: Database, extra: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_of(Release::This, database, extra, environment)
    }

    /// As [`World::start_in`], of this release.
    #[track_caller]
    pub fn start_of(release: Release, database: Database, extra: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = scratch::subfolder("world");
        let server = Server::start_of(release, &folder, database, PASSWORD, extra, environment);
        let admin = Actor::log_in(&server.url, "admin", PASSWORD);
        Self { server, admin, folder }
    }

    /// A fresh world with the cast.
    #[track_caller]
    pub fn with_cast(database: Database) -> Cast {
        Cast::gather(Self::start(database))
    }

    /// As [`World::with_cast`], with more arguments for `castoff serve`.
    #[track_caller]
    pub fn with_cast_and(database: Database, extra: &[&str]) -> Cast {
        Cast::gather(Self::start_with(database, extra))
    }

    /// A new user, logged in.
    #[track_caller]
    pub fn user(&self, name: &str, groups: &[&str]) -> Actor {
        let password = format!("{name} likes long passwords");
        let admin = &self.admin;
        admin
            .post("/users", json!({"name": name, "password": password}))
            .expect(201);
        for group in groups {
            if admin.get(&format!("/groups/{group}")).status == 404 {
                admin.post("/groups", json!({"name": group})).expect(201);
            }
            admin
                .put(&format!("/groups/{group}/members/{name}"), json!({}))
                .expect_any(&[200, 201, 204]);
        }
        Actor::log_in(&self.server.url, name, &password)
    }

    /// Somebody without any proof.
    pub fn nobody(&self) -> Actor {
        Actor::nobody(&self.server.url)
    }

    /// Every living process of this world but the control plane's.
    pub fn nodes(&self) -> Vec<Process> {
        let mut nodes = processes::of(&self.folder);
        nodes.retain(|process| process.arguments().contains("castoff-node"));
        nodes
    }

    /// A folder for what a test makes itself.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.kill();
        // Nodes outlive their control plane, and this is right; here they end.
        let end = std::time::Instant::now() + eventually::LIMIT;
        loop {
            let left = processes::of(&self.folder);
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|process| process.kill());
            if std::time::Instant::now() > end {
                let left: Vec<String> = left.into_iter().map(Process::arguments).collect();
                assert!(std::thread::panicking(), "left behind: {left:#?}");
                break;
            }
            std::thread::yield_now();
        }
        if std::thread::panicking() {
            eprintln!("--- the end of the control plane's log\n{}", self.server.tail());
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// The company: dana is a data scientist, omar runs production, sam belongs to nobody.
#[derive(Debug)]
pub struct Cast {
    /// Platform admin.
    pub admin: Actor,
    /// Group `data-scientists`: deploys on dev, views prod, may create services.
    pub dana: Actor,
    /// Group `devops`: deploys on dev and prod.
    pub omar: Actor,
    /// No group at all.
    pub sam: Actor,
    /// The control plane. Last: it ends after its callers.
    pub world: World,
}

impl Cast {
    /// In a world that was started by itself.
    #[track_caller]
    pub fn gather(world: World) -> Self {
        let admin = world.admin.clone();
        admin
            .post("/groups", json!({"name": "data-scientists", "create_service": true}))
            .expect(201);
        admin.post("/groups", json!({"name": "devops"})).expect(201);
        let dana = world.user("dana", &["data-scientists"]);
        let omar = world.user("omar", &["devops"]);
        let sam = world.user("sam", &[]);
        for name in ["dev", "prod"] {
            let body = json!({"name": name, "kind": "local", "stage": name});
            admin.post("/infrastructures", body).expect(201);
        }
        for (infrastructure, group, privilege) in [
            ("dev", "data-scientists", "deploy"),
            ("prod", "data-scientists", "view"),
            ("dev", "devops", "deploy"),
            ("prod", "devops", "deploy"),
        ] {
            grant(&admin, "infrastructures", infrastructure, group, &[privilege]);
        }
        Self {
            admin,
            dana,
            omar,
            sam,
            world,
        }
    }

    /// Dana's service `iris` with version `v1`, which devops may read and deploy.
    #[track_caller]
    pub fn iris(&self) {
        self.service("iris", "iris-columns.onnx");
    }

    /// A service of dana's with a version `v1`, which devops may read and deploy.
    #[track_caller]
    pub fn service(&self, name: &str, model: &str) {
        self.dana.post("/services", json!({"name": name})).expect(201);
        grant(&self.dana, "services", name, "devops", &["read", "deploy"]);
        self.dana.upload(name, "v1", models::read(model)).expect(201);
    }

    /// Iris on dev, deployed by dana, running, with a key of hers.
    #[track_caller]
    pub fn iris_on_dev(&self) -> Deployed {
        self.iris();
        Deployed::create(
            &self.dana,
            json!({"service": "iris", "infrastructure": "dev", "version": "v1"}),
        )
    }
}

/// Gives a group privileges on a thing.
#[track_caller]
pub fn grant(by: &Actor, nouns: &str, name: &str, group: &str, privileges: &[&str]) {
    by.put(
        &format!("/{nouns}/{name}/grants/{group}"),
        json!({"privileges": privileges}),
    )
    .expect_any(&[200, 201, 204]);
}

/// A kubeconfig of a cluster that does not answer.
pub fn cluster_away() -> String {
    json!({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "c", "user": {"token": "t"}}],
    })
    .to_string()
}

/// Whether a list of JSON has an item of this name.
pub fn has(items: &[Value], name: &str) -> bool {
    items.iter().any(|item| item["name"] == name)
}

/// The time so many seconds from now, as the API writes it.
pub fn in_seconds(seconds: u64) -> String {
    let now = std::process::Command::new("date")
        .args(["-u", "-d", &format!("+{seconds} seconds"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .expect("date tells the time");
    String::from_utf8(now.stdout)
        .expect("date tells the time")
        .trim()
        .to_owned()
}
