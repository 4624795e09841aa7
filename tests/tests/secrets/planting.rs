//! Secrets of every kind, each made as people make it, and used as they use it.

use super::BODY;
use super::marker::Marker;
use acceptance::actor::{cookie, session};
use acceptance::node::ByHand;
use acceptance::{Actor, Cast, Deployed, Request, Value, eventually, json};
use castoff_control_plane::{domain::Time, store};
use std::fs;
use uuid::Uuid;

/// Of the URL of a PostgreSQL. It lets everybody in; the password is there to be found.
pub const DATABASE_PASSWORD: &str = "marked-database-password-c41d";
/// Of a user.
const PASSWORD: &str = "marked password & more/7f3a91c2";
/// Of a kubeconfig.
const CLUSTER_TOKEN: &str = "marked-token-of-a-cluster-5bd0";
/// Keys that were made elsewhere.
const IMPORTED: &str = "marked-key-that-was-imported-90ee";
const WEAK: &str = "marked-9f";

pub struct Planted {
    pub markers: Vec<Marker>,
    pub dev: Deployed,
    /// Who reads everything afterwards.
    pub roles: Vec<Actor>,
}

/// A cluster that does not answer, asked again and again by whoever has its token; and a kubeconfig that is refused.
fn cluster(cast: &Cast) {
    let kubeconfig = |user: Value| {
        let file = json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "c", "user": user}],
        });
        file.to_string()
    };
    let infrastructure = |name: &str, user: Value| {
        let body = json!({
            "name": name, "kind": "kubernetes", "stage": "dev",
            "kubernetes": {"namespace": "models"}, "kubeconfig": kubeconfig(user),
        });
        cast.admin.post("/infrastructures", body)
    };
    infrastructure("kube", json!({"token": CLUSTER_TOKEN})).expect(201);
    infrastructure(
        "runs",
        json!({"token": CLUSTER_TOKEN, "exec": {"command": "/bin/true"}}),
    )
    .expect(422);
    let again = json!({"kubeconfig": kubeconfig(json!({"token": CLUSTER_TOKEN}))});
    cast.admin.patch("/infrastructures/kube", again).expect(200);
    acceptance::world::grant(&cast.admin, "infrastructures", "kube", "data-scientists", &["deploy"]);
    let body = json!({"service": "iris", "infrastructure": "kube", "version": "v1"});
    cast.dana.post("/deployments", body).expect(201);
    eventually("the cluster was asked", || {
        let status = cast.dana.get("/deployments/iris-on-kube/status").expect(200);
        status.string("/message").contains("cannot be reached")
    });
    let check = cast.admin.post("/infrastructures/kube/check", json!({})).expect(200);
    assert_eq!(check["works"], false);
}

pub fn plant(cast: &Cast) -> Planted {
    let dev = cast.iris_on_dev();
    let (admin, dana, url) = (&cast.admin, &cast.dana, cast.world.server.url.as_str());
    let deployment: Uuid = dev.show().string("/id").parse().unwrap();
    let mut markers = vec![
        Marker::new("admin's password", acceptance::world::PASSWORD),
        Marker::new("database password", DATABASE_PASSWORD),
        Marker::new("access token of the admin", admin.token()),
        Marker::new("access token of dana", dana.token()),
        Marker::key("API key", &dev.key, deployment),
    ];
    let mut key = |what, path: &str, body| {
        let text = dana.post(path, body).expect(201).string("/key");
        markers.push(Marker::key(what, &text, deployment));
        text
    };
    let keys = dev.path("/keys?wait=30s");
    let recoverable = key(
        "recoverable API key",
        &keys,
        json!({"name": "recoverable", "class": "recoverable"}),
    );
    key(
        "imported API key",
        &keys,
        json!({"name": "imported", "key": IMPORTED, "class": "recoverable"}),
    );
    key(
        "weak API key",
        &keys,
        json!({"name": "weak", "key": WEAK, "weak": true}),
    );
    let design = key(
        "API key of a service",
        "/services/iris/keys",
        json!({"name": "design", "class": "recoverable"}),
    );
    let rotate = dev.path(&format!("/keys/{}/rotate?wait=30s", dev.key_id("recoverable")));
    key("rotated API key", &rotate, json!({"overlap_seconds": 600}));
    let revealed = dana
        .post(
            &dev.path(&format!("/keys/{}/reveal", dev.key_id("imported"))),
            json!({}),
        )
        .expect(200);
    assert_eq!(revealed["key"], IMPORTED);

    // People and programs.
    admin
        .post("/users", json!({"name": "marked", "password": PASSWORD}))
        .expect(201);
    markers.push(Marker::new("user's password", PASSWORD));
    let made = admin
        .post("/users", json!({"name": "made"}))
        .expect(201)
        .string("/password");
    markers.push(Marker::new("password that was made", &made));
    let cookie = cookie(url, "marked", PASSWORD);
    markers.push(Marker::new("session", cookie.split_once('=').unwrap().1));
    admin.post("/service-accounts", json!({"name": "robot"})).expect(201);
    admin.put("/groups/devops/members/robot", json!({})).expect(204);
    let token = admin
        .post("/service-accounts/robot/tokens", json!({"name": "t"}))
        .expect(201)
        .string("/token");
    markers.push(Marker::new("access token of a service account", &token));
    let robot = Actor::with_token(url, "robot", &token);
    let made = cast
        .world
        .server
        .command()
        .args(["admin-key", "create", "spare"])
        .output()
        .unwrap();
    let made = String::from_utf8_lossy(&made.stdout).into_owned();
    let spare = made
        .split_whitespace()
        .find(|word| word.starts_with("castoff_"))
        .expect("a key of the machine");
    markers.push(Marker::new("admin key", spare));
    let spare = Actor::with_token(url, "spare", spare);

    // Nodes, and what the installation keeps for itself.
    let join = acceptance::edge::deploy(cast, "edge");
    markers.push(Marker::new(
        "node token",
        join["token"].as_str().expect("a join document holds a token"),
    ));
    for file in super::files(&cast.world.server.data)
        .iter()
        .filter(|path| path.ends_with("join.json"))
    {
        let join: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        markers.push(Marker::new(
            "node token of a local node",
            join["token"].as_str().expect("a token"),
        ));
    }
    cluster(cast);
    markers.push(Marker::new("token of a cluster", CLUSTER_TOKEN));
    let master = master_key(cast);
    markers.push(Marker::new("master key", &master));
    markers.extend(sealed(cast, &master));

    // Used rightly, and wrongly.
    for right in [&dev.key, &recoverable, IMPORTED, WEAK] {
        dev.call(right).expect(200);
    }
    dev.call(&design).expect(401);
    session(url, "marked", &format!("{PASSWORD}-wrong")).expect(401);
    session(url, PASSWORD, "typed into the wrong field").expect_any(&[401, 422]);
    let odd = Request::post(dev.predict_url()).header("x-api-key", &dev.key);
    odd.json(&json!({"features": {"sepal_length": BODY}}))
        .send()
        .expect_any(&[400, 422]);
    Request::get(format!("{}?api_key={IMPORTED}", dev.predict_url())).send();
    // A node with a token that is no node's: it says so, and not what it tried.
    let mut wrong = join.clone();
    wrong["token"] = json!(dana.token());
    let node = ByHand::start_in(
        &cast.world.folder().join("by-hand"),
        &wrong,
        &[("CASTOFF_LOG", "debug".to_owned())],
    );
    eventually("the node is refused", || {
        node.logged().contains("WARN") || node.logged().contains("ERROR")
    });
    drop(node);
    fs::remove_file(cast.world.folder().join("by-hand/join.json")).ok();
    let nobody = cast.world.nobody();
    let roles = vec![
        admin.clone(),
        cast.omar.clone(),
        dana.clone(),
        cast.sam.clone(),
        robot,
        spare,
        nobody,
    ];
    Planted { markers, dev, roles }
}

/// As it was brought, or made.
fn master_key(cast: &Cast) -> String {
    let data = &cast.world.server.data;
    let text =
        fs::read_to_string(data.join("master.key")).or_else(|_| fs::read_to_string(data.with_file_name("master.key")));
    text.expect("a master key").trim().to_owned()
}

/// What the master key opens in the embedded database: the signing key, and that of the authority of the nodes' port.
fn sealed(cast: &Cast, master: &str) -> Vec<Marker> {
    let data = &cast.world.server.data;
    if !data.join("castoff.db").exists() {
        return Vec::new();
    }
    let byte = |at: usize| u8::from_str_radix(&master[2 * at..2 * at + 2], 16).expect("hexadecimal digits");
    let master = store::MasterKey::new(std::array::from_fn(byte));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let installation = runtime.block_on(async {
        let db = store::connect(&store::sqlite_url(data), false).await.unwrap();
        store::prepare(&db, &master, Time::from_ms(0))
            .await
            .unwrap()
            .expect("it is this master key")
    });
    let mut found = vec![Marker::of_bytes("signing key", &installation.signing_seed)];
    if let Some((_, key)) = installation.authority {
        let line = key.lines().nth(1).expect("a key in PEM").to_owned();
        found.push(Marker::new("authority's key", &line));
    }
    found
}
