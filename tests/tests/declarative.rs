//! `castoff plan`, `apply` and `export`: files say what there should be.

use acceptance::cli::Cli;
use acceptance::world::{grant, has};
use acceptance::{Actor, Cast, Database, World, eventually, models, on_both_databases, scratch};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a team keeps in its repository.
const IRIS: &str = "
services:
  iris:
    description: Which iris is it
    versions:
      v1: iris.onnx
    grants:
      devops: [read, deploy]
    keys:
      partner: {import: partner.txt}
---
deployments:
  iris-on-dev:
    service: iris
    infrastructure: dev
    version: v1
    limits: {queue: 99}
    keys:
      web-shop: {save: web-shop.key, rate_limit: {requests: 100, seconds: 60}}
";

/// Of Linux: a pipe that nobody reads from is not opened, in place of waiting.
const O_NONBLOCK: i32 = 0o4000;

const PARTNER: &str = "partner-key-that-was-made-elsewhere";

/// A folder with a file of YAML, a package and a key.
fn folder(yaml: &str) -> PathBuf {
    let folder = scratch::subfolder("declared");
    write(&folder, "castoff.yaml", yaml);
    std::fs::write(folder.join("iris.onnx"), models::read("iris-columns.onnx")).unwrap();
    write(&folder, "partner.txt", PARTNER);
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

fn run(by: &Actor, command: &str, folder: &Path, more: &[&str]) -> Cli {
    let file = folder.join("castoff.yaml");
    let arguments = [[command, "-f", file.to_str().unwrap()].as_slice(), more].concat();
    by.cli(arguments)
}

fn apply(by: &Actor, folder: &Path) -> Cli {
    run(by, "apply", folder, &["--yes"])
}

/// Nothing is left to do, and it says so.
#[track_caller]
fn settled(by: &Actor, folder: &Path, more: &[&str]) {
    let more = [more, &["--exit-code"]].concat();
    let out = run(by, "plan", folder, &more).expect(0).out;
    assert!(out.starts_with("nothing to do"), "{out}");
}

on_both_databases! {
    /// Made, called, applied again without a change, changed, and switched off.
    fn applying_twice_changes_nothing_the_second_time(cast: Cast) {
        let folder = folder(IRIS);
        let plan = run(&cast.dana, "plan", &folder, &["--exit-code"]).expect(10);
        assert!(plan.out.contains("+ create deployment iris-on-dev"), "{}", plan.out);
        assert!(cast.dana.list("/services").is_empty(), "a plan does nothing");
        let made = run(&cast.dana, "apply", &folder, &["--yes", "--note", "release 1", "--wait", "60s"]).expect(0);
        assert!(made.out.contains("done: create key web-shop of deployment iris-on-dev"), "{}", made.out);

        let file = folder.join("web-shop.key");
        let key = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let deployment = cast.dana.get("/deployments/iris-on-dev").expect(200);
        assert_eq!(deployment["limits"]["queue"], 99);
        let history = cast.dana.list("/deployments/iris-on-dev/revisions");
        assert_eq!(history[0]["note"], "release 1");
        eventually("the key opens it", || {
            let data = r#"{"features":{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}}"#;
            let called = cast.dana.cli(["query", "iris-on-dev", "--key-file", file.to_str().unwrap(), "--data", data]);
            if called.code == 0 { Ok(()) } else { Err(called.err) }
        });

        // The second time there is nothing, also where a file for a new key is there by now.
        let audit = cast.dana.list("/audit").len();
        let again = apply(&cast.dana, &folder).expect(0);
        assert!(again.out.starts_with("nothing to do"), "{}", again.out);
        settled(&cast.dana, &folder, &["--prune"]);
        assert_eq!(cast.dana.list("/audit").len(), audit);

        let changed = IRIS.replace("queue: 99", "queue: 7").replace("    limits", "    enabled: false\n    limits");
        write(&folder, "castoff.yaml", &changed.replace("[read, deploy]", "[read]"));
        let plan = run(&cast.dana, "plan", &folder, &[]).expect(0).out;
        assert!(plan.contains("limits.queue: 99 → 7") && plan.contains("privileges: read, deploy → read"), "{plan}");
        apply(&cast.dana, &folder).expect(0);
        settled(&cast.dana, &folder, &[]);
        let deployment = cast.dana.get("/deployments/iris-on-dev").expect(200);
        assert_eq!((&deployment["enabled"], &deployment["limits"]["queue"]), (&json!(false), &json!(7)));
        // What no file speaks of stayed as it was.
        assert_eq!(deployment["limits"]["sessions"], 1);
        for said in [made, again] {
            assert!(!said.out.contains(&key) && !said.err.contains(&key) && !said.out.contains(PARTNER));
        }
    }

    /// What somebody changes between the plan and its deeds is theirs: told, and not overwritten.
    fn a_change_in_between_is_a_conflict(cast: Cast) {
        let folder = folder(IRIS);
        apply(&cast.dana, &folder).expect(0);
        // A key that comes through a pipe is read when the server has been read: there the command waits.
        let pipe = folder.join("pipe");
        for (yaml, between, untouched) in [
            (
                "services:\n  iris:\n    description: mine\n    keys:\n      pipe: {import: pipe}\n",
                ("/services/iris", json!({"description": "theirs"})),
                ("/services/iris", "/description", json!("theirs")),
            ),
            (
                "services:\n  iris:\n    keys:\n      pipe: {import: pipe}\n    grants: {devops: [read, write]}\n",
                ("/services/iris/grants/devops", json!({"privileges": ["admin"]})),
                ("/services/iris/grants", "/items/0/privileges", json!(["admin"])),
            ),
            (
                "services:\n  iris:\n    keys:\n      pipe: {import: pipe}\n    grants: {data-scientists: read}\n",
                ("/services/iris/grants/data-scientists", json!({"privileges": ["deploy"]})),
                ("/services/iris/grants", "/items/0/privileges", json!(["deploy"])),
            ),
        ] {
            std::fs::remove_file(&pipe).ok();
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            write(&folder, "castoff.yaml", yaml);
            let applied = std::thread::scope(|scope| {
                let applying = scope.spawn(|| apply(&cast.dana, &folder));
                let mut key = eventually("the command reads the pipe", || {
                    std::fs::OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&pipe)
                });
                let (path, body) = &between;
                match path.contains("grants") {
                    true => cast.dana.put(path, body.clone()).expect(200),
                    false => cast.dana.patch(path, body.clone()).expect(200),
                };
                writeln!(key, "a-key-through-a-pipe-0123").unwrap();
                drop(key);
                applying.join().unwrap()
            });
            let applied = applied.expect(6);
            for said in ["nothing of theirs was overwritten", "castoff plan", "stopped: 0 of 2 steps are done", "create key pipe"] {
                assert!(applied.err.contains(said), "{}", applied.err);
            }
            let (path, at, value) = untouched;
            let now = cast.dana.get(path).expect(200);
            assert_eq!(now.json.pointer(at), Some(&value), "{}", now.text());
            assert!(!has(&cast.dana.list("/services/iris/keys"), "pipe"));
        }
    }

    /// Dana's dev is hers and prod is not: she sees it before anything is done, and nothing is.
    fn a_plan_says_what_is_not_allowed_and_is_not_begun(cast: Cast) {
        let both = format!("{IRIS}\n  iris-on-prod:\n    service: iris\n    infrastructure: prod\n    version: v1\n");
        let folder = folder(&both);
        let refused = run(&cast.dana, "plan", &folder, &[]).expect(4).out;
        let (dev, prod) = refused.split_once("! create deployment iris-on-prod").expect("prod is marked");
        assert!(dev.contains("+ create deployment iris-on-dev"), "{refused}");
        for said in [
            "missing: deploy on infrastructure prod",
            "who can give it: group admins",
            "they type: castoff infra grant prod GROUP deploy",
        ] {
            assert!(prod.contains(said), "{refused}");
        }
        assert!(prod.contains("1 not allowed"), "{refused}");
        let refused = apply(&cast.dana, &folder).expect(4);
        assert!(refused.err.contains("nothing was done"), "{}", refused.err);
        assert!(cast.dana.list("/services").is_empty());
        assert!(!folder.join("web-shop.key").exists());

        // With her own part alone it goes; then prod is omar's, who gets no further than his.
        write(&folder, "castoff.yaml", IRIS);
        apply(&cast.dana, &folder).expect(0);
        write(&folder, "castoff.yaml", &both);
        let steps = run(&cast.dana, "plan", &folder, &["-o", "json"]).expect(4).json();
        assert_eq!(steps["steps"].as_array().unwrap().len(), 1);
        assert_eq!(steps["steps"][0]["verdict"], "not-allowed");
        assert_eq!(steps["steps"][0]["missing"], json!(["deploy on infrastructure prod"]));
        cast.admin.post("/groups", json!({"name": "sre"})).expect(201);
        grant(&cast.admin, "infrastructures", "prod", "sre", &["admin"]);
        let asked = run(&cast.dana, "plan", &folder, &[]).expect(4).out;
        assert!(asked.contains("who can give it: group") && asked.contains("sre"), "{asked}");
        let hers = run(&cast.omar, "plan", &folder, &[]).expect(4).out;
        assert!(hers.contains("! compare grants on service iris") && hers.contains("+ create deployment iris-on-prod"), "{hers}");
        write(&folder, "castoff.yaml", "deployments: {iris-on-prod: {service: iris, infrastructure: prod, version: v1}}");
        apply(&cast.omar, &folder).expect(0);
        // Whoever may not see it is told what is told of what is not there.
        let sam = run(&cast.sam, "plan", &folder, &[]).expect(6).out;
        assert!(sam.contains("there is no service iris, or you may not see it"), "{sam}");
    }

    /// Nothing is deleted unless it is said, what goes is listed first, and only where the files list anything.
    fn only_pruning_takes_away(cast: Cast) {
        let folder = folder(IRIS);
        apply(&cast.dana, &folder).expect(0);
        // What others made, by hand: a grant, a key, a deployment on dev, one on prod, and another service.
        grant(&cast.dana, "services", "iris", "data-scientists", &["write"]);
        cast.dana.post("/deployments/iris-on-dev/keys", json!({"name": "by hand"})).expect(201);
        for (name, by, infrastructure) in [("iris-old", &cast.dana, "dev"), ("iris-prod", &cast.omar, "prod")] {
            let body = json!({"name": name, "service": "iris", "infrastructure": infrastructure, "version": "v1"});
            by.post("/deployments", body).expect(201);
        }
        cast.service("rose", "iris-columns.onnx");
        settled(&cast.dana, &folder, &[]);

        let plan = run(&cast.dana, "plan", &folder, &["--prune"]).expect(0).out;
        for gone in ["key by hand of deployment iris-on-dev", "deployment iris-old, with its keys", "grant of group data-scientists on service iris"] {
            assert!(plan.contains(&format!("- remove {gone}")), "{plan}");
        }
        assert!(!plan.contains("iris-prod") && !plan.contains("rose") && plan.contains("3 to remove"), "{plan}");
        run(&cast.dana, "apply", &folder, &["--prune", "--yes"]).expect(0);
        settled(&cast.dana, &folder, &["--prune"]);
        cast.dana.get("/deployments/iris-old").expect(404);
        cast.dana.get("/deployments/iris-prod").expect(200);
        assert!(!has(&cast.dana.list("/deployments/iris-on-dev/keys"), "by hand"));
        assert!(has(&cast.dana.list("/deployments/iris-on-dev/keys"), "web-shop"));
    }

    /// What is exported is no change where it came from, and the same things on an empty server.
    fn an_export_is_the_same_again_and_elsewhere(cast: Cast) {
        let folder = folder(IRIS);
        apply(&cast.dana, &folder).expect(0);
        cast.dana.upload("iris", "v2", models::read("iris-package.zip")).expect(201);
        let route = json!({"route": [{"version": "v1", "weight": 70}, {"version": "v2", "weight": 30}], "scale": {"replicas": 2}});
        cast.dana.patch("/deployments/iris-on-dev", route).expect(200);
        let body = json!({"name": "old", "expires_at": "2099-01-01T00:00:00Z", "endpoints": ["iris"], "rate_limit": {"requests": 7}, "quota": {"requests": 8, "per": "day"}});
        let made = cast.dana.post("/deployments/iris-on-dev/keys", body).expect(201);
        let revoke = format!("/deployments/iris-on-dev/keys/{}/revoke", made.string("/id"));
        cast.dana.post(&revoke, json!({})).expect_any(&[200, 202]);

        let packages = folder.join("packages");
        let exported = cast.admin.cli(["export", "--packages", packages.to_str().unwrap()]).expect(0).out;
        let key = std::fs::read_to_string(folder.join("web-shop.key")).unwrap();
        for secret in [key.trim(), PARTNER, &made.string("/key")] {
            assert!(!exported.contains(secret), "{exported}");
        }
        write(&folder, "castoff.yaml", &exported);
        settled(&cast.admin, &folder, &["--prune"]);

        // Elsewhere its files are needed, which it says; groups are not in it.
        let other = World::start(Database::Sqlite);
        for group in ["data-scientists", "devops"] {
            other.admin.post("/groups", json!({"name": group})).expect(201);
        }
        let missing = run(&other.admin, "plan", &folder, &[]).expect(6).out;
        assert!(missing.contains("keys/deployments/iris-on-dev/web-shop.txt"), "{missing}");
        for (place, name, key) in [("deployments/iris-on-dev", "web-shop", key.trim()), ("services/iris", "partner", PARTNER)] {
            let place = folder.join("keys").join(place);
            std::fs::create_dir_all(&place).unwrap();
            write(&place, &format!("{name}.txt"), key);
        }
        apply(&other.admin, &folder).expect(0);
        settled(&other.admin, &folder, &["--prune"]);
        let again = other.admin.cli(["export", "--packages", packages.to_str().unwrap(), "-o", "json"]).expect(0).json();
        let mut first = cast.admin.cli(["export", "--packages", packages.to_str().unwrap(), "-o", "json"]).expect(0).json();
        // A revoked key opens nothing, and is not made to be revoked.
        let keys = first["deployments"]["iris-on-dev"]["keys"].as_object_mut().unwrap();
        assert_eq!(keys.remove("old").unwrap()["revoked"], true);
        assert_eq!(again, first);
    }
}

/// What deployments used is withdrawn after they have changed or gone; what somebody else's uses is told before anything is done.
#[test]
fn what_an_infrastructure_allows_is_withdrawn_last() {
    let cast = World::with_cast(Database::Sqlite);
    let yaml = "
services: {iris: {versions: {v1: iris.onnx}}}
infrastructures: {dev: {allow: {inherit: true, public: true}}}
deployments:
  iris-on-dev: {service: iris, infrastructure: dev, version: v1, access: public}
  iris-too: {service: iris, infrastructure: dev, version: v1, access: inherit}
";
    let folder = folder(yaml);
    apply(&cast.admin, &folder).expect(0);
    let less = yaml.replace("inherit: true, public: true", "inherit: false, public: false");
    let less = less.replace("access: public", "access: keys");
    write(&folder, "castoff.yaml", &less);
    let kept = run(&cast.admin, "plan", &folder, &[]).expect(6).out;
    assert!(kept.contains("deployment iris-too uses it"), "{kept}");
    let (less, _) = less.split_once("  iris-too").unwrap();
    write(&folder, "castoff.yaml", less);
    let kept = apply(&cast.admin, &folder).expect(6).err;
    assert!(kept.contains("nothing was done"), "{kept}");
    assert_eq!(
        cast.admin.get("/deployments/iris-on-dev").expect(200)["access"],
        "public"
    );

    run(&cast.admin, "apply", &folder, &["--prune", "--yes"]).expect(0);
    settled(&cast.admin, &folder, &["--prune"]);
    let allow = &cast.admin.get("/infrastructures/dev").expect(200)["allow"];
    assert_eq!((&allow["inherit"], &allow["public"]), (&json!(false), &json!(false)));
    write(&folder, "castoff.yaml", yaml);
    apply(&cast.admin, &folder).expect(0);
    settled(&cast.admin, &folder, &[]);
}

/// Files that are wrong are refused as a whole, before anybody is asked: here nobody is there to ask.
#[test]
fn wrong_files_are_refused_before_the_server_is_asked() {
    let cast = World::with_cast(Database::Sqlite);
    let nowhere = Actor::nobody("http://127.0.0.1:1");
    let folder = folder("services:\n  iris: {acess: keys}\n  Rose: {}\nmodels: {}\n");
    for command in ["plan", "apply"] {
        let refused = run(&nowhere, command, &folder, &[]).expect(7).err;
        for said in [
            "castoff.yaml:2, document 1: /services/iris/acess is unknown",
            "/services/Rose",
            "castoff.yaml:4",
            "3 things are wrong",
        ] {
            assert!(refused.contains(said), "{refused}");
        }
    }
    let minted = format!("cst_{}", "a".repeat(49));
    write(
        &folder,
        "castoff.yaml",
        &format!("services: {{iris: {{keys: {{shop: {minted}}}}}}}"),
    );
    let refused = run(&nowhere, "apply", &folder, &[]).expect(7).err;
    assert!(
        refused.contains("save: FILE") && !refused.contains(&minted),
        "{refused}"
    );

    // Without a terminal nobody can be asked.
    write(&folder, "castoff.yaml", IRIS);
    let unasked = run(&cast.dana, "apply", &folder, &[]).expect(2).err;
    assert!(unasked.contains("--yes"), "{unasked}");
    assert!(cast.dana.list("/services").is_empty());
}

/// A failure in the middle: what was done stays, what was not is said, and the same command goes on.
#[test]
fn the_same_command_goes_on_after_a_failure() {
    let cast = World::with_cast(Database::Sqlite);
    let yaml = "
services:
  iris:
    versions: {v1: iris.onnx}
deployments:
  iris-on-dev: {service: iris, infrastructure: dev, version: v1, key_header: Wrong-Case}
";
    let folder = folder(yaml);
    let stopped = apply(&cast.dana, &folder).expect(7);
    for said in [
        "stopped: 2 of 3 steps are done",
        "create deployment iris-on-dev",
        "/key_header",
    ] {
        assert!(stopped.err.contains(said), "{}", stopped.err);
    }
    cast.dana.get("/services/iris/versions/v1").expect(200);
    write(&folder, "castoff.yaml", &yaml.replace("Wrong-Case", "x-iris-key"));
    let rest = apply(&cast.dana, &folder).expect(0).out;
    assert!(rest.contains("plan: 1 to create"), "{rest}");
    settled(&cast.dana, &folder, &[]);
}

/// A platform admin declares an infrastructure; its kubeconfig is a file, which is needed only to make it.
#[test]
fn infrastructures_are_declared_too() {
    let cast = World::with_cast(Database::Sqlite);
    let kubeconfig = json!({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "c", "user": {"token": "a-token-of-a-cluster-that-is-secret"}}],
    });
    let folder = folder(
        "
infrastructures:
  kube:
    kind: kubernetes
    stage: test
    kubeconfig: kube.yaml
    grants: {data-scientists: deploy}
    kubernetes:
      namespace: models
      resources: {cpu: 500m, memory: 1024Mi}
      autoscaling: {min: 1, max: 3, cpu_percent: 70}
      placement:
        tolerations: [{key: gpu, effect: no-schedule}]
        spread: [{topology_key: topology.kubernetes.io/zone}]
      exposure: {kind: ingress, host: '{deployment}.models.example.com'}
      egress: [{cidr: 10.0.0.0/8, port: 443}]
",
    );
    let missing = run(&cast.admin, "plan", &folder, &[]).expect(6).out;
    assert!(missing.contains("kube.yaml"), "{missing}");
    write(&folder, "kube.yaml", &kubeconfig.to_string());
    run(&cast.dana, "plan", &folder, &[]).expect(4);
    let made = apply(&cast.admin, &folder).expect(0);
    assert!(!made.out.contains("that-is-secret"), "{}", made.out);
    std::fs::remove_file(folder.join("kube.yaml")).unwrap();
    settled(&cast.admin, &folder, &["--prune"]);

    let exported = cast.admin.cli(["export", "--infra", "kube"]).expect(0).out;
    assert!(exported.contains("kubeconfig: kubeconfigs/kube.yaml"), "{exported}");
    write(&folder, "castoff.yaml", &exported);
    settled(&cast.admin, &folder, &["--prune"]);

    let other = "infrastructures: {kube: {kubernetes: {exposure: {kind: load-balancer}, autoscaling: null, resources: {cpu_limit: null}}}}";
    write(&folder, "castoff.yaml", other);
    apply(&cast.admin, &folder).expect(0);
    let now = cast.admin.get("/infrastructures/kube").expect(200);
    assert_eq!(now["kubernetes"]["exposure"]["kind"], "load-balancer");
    assert_eq!(now["kubernetes"]["autoscaling"], Value::Null);
    assert_eq!(now["kubernetes"]["resources"]["cpu_limit"], Value::Null);
    settled(&cast.admin, &folder, &[]);
}
