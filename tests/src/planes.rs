//! Several control planes on one PostgreSQL, and nodes that know all of them.

use crate::answer::Request;
use crate::castoff::Server;
use crate::edge::Edge;
use crate::node::ByHand;
use crate::world::{Database, PASSWORD, World};
use crate::{Actor, eventually, scratch};

/// Iris on `edge`, and several control planes that answer for it.
#[derive(Debug)]
pub struct Planes {
    /// The people, and the first control plane.
    pub edge: Edge,
    /// The others.
    others: Vec<Server>,
    /// The URL of their database.
    pub database: String,
}

impl Planes {
    /// So many of them, where this machine has PostgreSQL.
    #[track_caller]
    pub fn start(count: usize) -> Option<Self> {
        Some(Self::start_on(&Database::postgres()?, count))
    }

    /// So many of them on this database.
    #[track_caller]
    pub fn start_on(database: &Database, count: usize) -> Self {
        let Database::Postgres { url, direct } = database else {
            panic!("several need PostgreSQL")
        };
        let edge = Edge::of(World::with_cast(database.clone()));
        let shared = edge.cast.world.server.data.to_str().expect("a path");
        let key = edge.cast.world.server.data.with_file_name("master.key");
        let another = || {
            let folder = scratch::subfolder("replica");
            std::fs::copy(&key, folder.join("master.key")).expect("the master key");
            Server::start(&folder, database.clone(), PASSWORD, &["--shared-dir", shared])
        };
        Self {
            others: (1..count).map(|_| another()).collect(),
            edge,
            database: direct.as_ref().unwrap_or(url).clone(),
        }
    }

    /// One of them; the first is 0.
    pub fn get(&self, number: usize) -> &Server {
        match number.checked_sub(1) {
            None => &self.edge.cast.world.server,
            Some(other) => &self.others[other],
        }
    }

    /// One of them, to be ended and started.
    pub fn get_mut(&mut self, number: usize) -> &mut Server {
        match number.checked_sub(1) {
            None => &mut self.edge.cast.world.server,
            Some(other) => &mut self.others[other],
        }
    }

    /// Dana, calling one of them.
    pub fn dana_at(&self, number: usize) -> Actor {
        let dana = &self.edge.cast.dana;
        Actor::with_token(&self.get(number).url, "dana", dana.token())
    }

    /// How many nodes are on the line with one of them, by its own count.
    #[track_caller]
    pub fn streams(&self, number: usize) -> u64 {
        let metrics = Request::get(format!("{}/metrics", self.get(number).ops)).send();
        let metrics = metrics.expect(200).text();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("castoff_push_streams "));
        line.map_or(0, |count| count.parse().expect("a count"))
    }

    /// A node that is on the line with the first, serves, and has been told where all of them are.
    #[track_caller]
    pub fn node(&self) -> ByHand {
        let node = self.edge.node(&format!("http://{}", self.get(0).node));
        self.edge.up_to_date(&node);
        self.knows_all(&node);
        node
    }

    /// Waits until a node has been told where all of them are.
    #[track_caller]
    pub fn knows_all(&self, node: &ByHand) {
        let told = node.folder().join("copy/control-planes");
        eventually("the node knows all control planes", || {
            let known = std::fs::read_to_string(&told).unwrap_or_default();
            let all = (0..=self.others.len()).all(|number| known.contains(&self.get(number).node));
            all.then_some(()).ok_or(known)
        });
    }
}
