//! What it takes to know who is calling and that they may.

use acceptance::{Database, Figure, Report, World, json};
use castoff_control_plane::app::{self, Opened};
use castoff_control_plane::authn::{Secret, SecretKind};
use castoff_control_plane::authz::{self, DecisionTable, View};
use castoff_control_plane::config::{MasterKeyPlace, Place};
use castoff_control_plane::domain::Deployment;
use castoff_control_plane::store::{Permit, Store};
use futures::future::join_all;
use std::sync::Arc;
use std::time::Instant;

/// Requests at once: they share a question to the database, and its round trip is a 500th of each.
const AT_ONCE: usize = 500;
const ROUNDS: usize = 200;

/// On the rows that a control plane has made, which has ended.
pub fn measure(report: &mut Report) {
    let mut cast = World::with_cast(Database::Sqlite);
    cast.iris();
    for number in 1..50 {
        let name = format!("group-{number}");
        cast.admin.post("/groups", json!({"name": name})).expect(201);
        let member = format!("/groups/{name}/members/dana");
        cast.admin.put(&member, json!({})).expect_any(&[200, 201, 204]);
    }
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
    cast.dana.post("/deployments", body).expect(201);
    cast.world.server.stop();
    let place = Place {
        data_dir: cast.world.server.data.clone(),
        database_url_file: None,
        database_direct_url_file: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (together, alone) = runtime.block_on(async {
        let Opened { store, .. } = app::open(&place, &MasterKeyPlace::default()).await.expect("its rows");
        let table = authz::load_builtin().await.expect("the rules");
        let token = cast.dana.token();
        let authorize = || authorize(&store, &table, token);
        // The first ones read, and note that the token was used.
        for _ in 0..10 {
            authorize().await;
        }
        let (mut together, mut alone) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
        for _ in 0..ROUNDS {
            let started = Instant::now();
            join_all((0..AT_ONCE).map(|_| authorize())).await;
            together.push(started.elapsed().as_secs_f64() * 1e6 / AT_ONCE as f64);
            let started = Instant::now();
            authorize().await;
            alone.push(started.elapsed().as_secs_f64() * 1e6);
        }
        (together, alone)
    });
    let what = format!("authorizing a request, {AT_ONCE} sharing the database's round trip");
    report.add(Figure::median(what, "µs", &together).at_most(20.0).goal(5.0));
    report.add(Figure::median(
        "authorizing one alone, round trips included",
        "µs",
        &alone,
    ));
}

async fn authorize(store: &Store, table: &DecisionTable, token: &str) -> Permit<View, Deployment> {
    let secret = Secret::presented(SecretKind::AccessToken, token).expect("a token");
    let actor = store.actor(&secret, SecretKind::AccessToken, None).await;
    let actor = Arc::new(actor.expect("the database answers").expect("she is known"));
    let found = store.deployment(&actor, "iris-on-dev").await.expect("it is there");
    found.admit(table, &actor).expect("she may see it")
}
