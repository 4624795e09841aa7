//! How a running deployment is called: what it says of itself, its limits, which version answers, and what calls cost.

use acceptance::network::{SIDE, cnn, image};
use acceptance::{Answer, Cast, Database, Deployed, Load, Request, World, eventually, json, models};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

const REFUSED: u16 = 401;

/// A model of the tests on dev.
fn deployed(cast: &Cast, name: &str, file: &str) -> Deployed {
    cast.service(name, file);
    let body = json!({"service": name, "infrastructure": "dev", "version": "v1"});
    Deployed::create(&cast.dana, body)
}

fn post(dev: &Deployed, path: &str, body: &serde_json::Value) -> Answer {
    Request::post(format!("{}{path}", dev.url))
        .header("x-api-key", &dev.key)
        .json(body)
        .send()
}

/// K33: the sample names the first key that opens it and that the viewer may see; what it shows can be run.
#[test]
fn k33_the_sample_names_the_first_key_that_the_viewer_may_see() {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let made = cast
        .dana
        .post("/services/iris/keys", json!({"name": "design time"}))
        .expect(201);
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "access": "inherit"});
    cast.dana.post("/deployments", body).expect(201);
    let sample = || cast.dana.get("/deployments/iris-on-dev/sample").expect(200);
    // It inherits, and has none of its own: the service's.
    assert_eq!(sample()["key_hint"], made["masked"]);
    let keys = "/deployments/iris-on-dev/keys";
    let add = |body| cast.dana.post(keys, body).expect(201);
    // Neither one that is for another endpoint, nor one that does not open yet.
    add(json!({"name": "scoped", "endpoints": ["another"]}));
    add(json!({"name": "later", "not_before": "2099-01-01T00:00:00Z"}));
    assert_eq!(sample()["key_hint"], made["masked"]);
    let own = add(json!({"name": "own"}));
    add(json!({"name": "second"}));
    assert_eq!(sample()["key_hint"], own["masked"]);
    cast.dana
        .patch("/deployments/iris-on-dev", json!({"access": "keys"}))
        .expect(200);
    cast.dana
        .post(&format!("{keys}/{}/revoke", own.string("/id")), json!({}))
        .expect_any(&[200, 202]);
    assert_ne!(
        sample()["key_hint"],
        made["masked"],
        "the service's keys do not open it now"
    );
    // The curl runs as it stands, with the key where it says.
    let key = add(json!({"name": "mine"})).string("/key");
    let sample = sample();
    assert!(!sample.text().contains(&key));
    eventually("the sample is answered", || {
        let run = std::process::Command::new("sh")
            .args(["-c", &sample.string("/curl")])
            .env("CASTOFF_KEY", &key)
            .output()
            .unwrap();
        String::from_utf8_lossy(&run.stdout).contains("prediction")
    });
}

/// K34: a key is the user name of Basic with an empty password, or a bearer, and `curl --user KEY:` sends it so.
#[test]
fn k34_a_key_is_the_user_name_of_basic_with_an_empty_password() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let with = |value: String| {
        let request = Request::post(dev.predict_url()).header("authorization", value);
        request.json(&models::setosa()).send().status
    };
    assert_eq!(with(models::basic(&dev.key)), 200);
    assert_eq!(with(format!("Bearer {}", dev.key)), 200);
    let encoded = |text: String| format!("Basic {}", models::base64(text.as_bytes()));
    assert_eq!(with(encoded(format!("{}:a password", dev.key))), 400);
    assert_eq!(with(encoded(format!(":{}", dev.key))), 400);
    assert_eq!(with(encoded(format!("{}x:", dev.key))), REFUSED);
    let curl = std::process::Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--user", &format!("{}:", dev.key)])
        .args(["--header", "content-type: application/json", "--data"])
        .arg(models::setosa().to_string())
        .arg(dev.predict_url())
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&curl.stdout).into_owned();
    assert!(answer.contains(r#""prediction":"setosa""#), "{answer}");
}

/// F4: with the right key `POST /predict` answers, here of a model whose one input is a text.
#[test]
fn f4_a_right_key_gets_the_answer() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = deployed(&cast, "text", "text.onnx");
    let answer = post(&dev, "/predict", &json!({"text": "thank you, captain"})).expect(200);
    assert!(answer["prediction"].is_string(), "{}", answer.text());
    let url = format!("{}/predict", dev.url);
    let missing = Request::post(&url).json(&json!({"text": "x"})).send().expect(401);
    assert_eq!(missing.text(), r#"{"detail":"Not authenticated"}"#);
    let wrong = Request::post(&url)
        .header("x-api-key", "wrong")
        .json(&json!({"text": "x"}));
    assert_eq!(wrong.send().expect(403).text(), r#"{"detail":"Invalid API key"}"#);
}

/// Each version has its share; whoever names one gets it, and a dispatch key stays with its version.
#[test]
fn two_versions_share_the_calls() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    cast.dana
        .upload("iris", "v4-new.features", models::read("iris-plain.onnx"))
        .expect(201);
    let route = json!([{"version": "v1", "weight": 70}, {"version": "v4-new.features", "weight": 30}]);
    cast.dana
        .patch(&dev.path("?wait=60s"), json!({"route": route}))
        .expect(200);
    let generation = |dispatch: serde_json::Value| {
        let mut body = models::setosa();
        if !dispatch.is_null() {
            body["dispatch"] = dispatch;
        }
        let answer = post(&dev, "/public/api/v1/iris/iris/predict", &body).expect(200);
        assert_eq!(answer["result"]["prediction"], "setosa");
        answer.string("/apiContext/serviceGeneration")
    };
    let mut shares = BTreeMap::new();
    for _ in 0..200 {
        *shares.entry(generation(json!(null))).or_insert(0) += 1;
    }
    assert_eq!(shares.len(), 2, "{shares:?}");
    assert!((25..=95).contains(&shares["v4-new.features"]), "{shares:?}");
    let mut kept = BTreeMap::new();
    for number in 0..20 {
        let key = json!({"dispatchKey": format!("customer-{number}")});
        let first = generation(key.clone());
        assert!((0..3).all(|_| generation(key.clone()) == first));
        kept.insert(first, number);
    }
    assert_eq!(kept.len(), 2, "keys are spread over both");
    for version in ["v1", "v4-new.features"] {
        assert_eq!(generation(json!({"forcedGeneration": version})), version);
        let described = Request::get(format!("{}/v2/models/iris/versions/{version}", dev.url))
            .header("x-api-key", &dev.key)
            .send()
            .expect(200);
        assert_eq!(described["versions"], json!(["v1", "v4-new.features"]));
        let input = |name| json!({"name": name, "shape": [1, 1], "datatype": "FP32", "data": [1]});
        let columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
        let body = json!({"inputs": columns.map(input)});
        let answer = post(&dev, &format!("/v2/models/iris/versions/{version}/infer"), &body).expect(200);
        assert_eq!(answer["model_version"], version);
    }
    let unknown = json!({"features": {}, "dispatch": {"forcedGeneration": "v9"}});
    post(&dev, "/public/api/v1/iris/iris/predict", &unknown).expect(404);
    post(&dev, "/v2/models/iris/versions/v9/infer", &json!({"inputs": []})).expect(404);
}

/// What the deployment's limits say is what its callers get: 413, 429 at once, 504.
#[test]
fn limits_hold_from_end_to_end() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = deployed(&cast, "endless", "endless.onnx");
    let limits = json!({"limits": {"sessions": 1, "queue": 1, "deadline_ms": 1500, "max_body_bytes": 2048}});
    cast.dana.patch(&dev.path("?wait=60s"), limits).expect(200);
    let input = json!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]});
    let infer = || post(&dev, "/v2/models/endless/infer", &input);
    let answers: Vec<Answer> = thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(infer)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    // One runs, one waits, both until the deadline; nobody else is kept waiting.
    assert_eq!((count(504), count(429)), (2, 4), "{answers:?}");
    for answer in &answers {
        assert!(answer["error"].is_string(), "{}", answer.text());
        assert_eq!(answer.status == 429, answer.header("retry-after").is_some());
    }
    let mut large = input.clone();
    large["id"] = json!("x".repeat(4096));
    post(&dev, "/v2/models/endless/infer", &large).expect(413);
    // Back to where it answers within its deadline: it was not hurt.
    assert_eq!(infer().status, 504);
}

/// Three times as many callers as may be inside, each of whom asks again at once: whoever is inside gets the right answer,
/// the others are told when to come back, and nobody gets anything else.
#[test]
fn of_too_many_callers_each_is_answered_right_or_sent_away() {
    let cast = World::with_cast(Database::Sqlite);
    cast.dana.post("/services", json!({"name": "cnn"})).expect(201);
    cast.dana.upload("cnn", "v1", cnn(4)).expect(201);
    let limits = json!({"sessions": 1, "queue": 2});
    let body = json!({"service": "cnn", "infrastructure": "dev", "version": "v1", "limits": limits});
    let dev = Deployed::create(&cast.dana, body);
    let node = dev.processes(1);
    let path = "/v2/models/cnn/infer";
    let image = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE], "data": image()}]});
    let right = post(&dev, path, &image).expect(200).text();
    let key = [("x-api-key", dev.key.as_str())];
    let load = Load::post(&dev.url, path, &key, &image.to_string(), &right);
    let offered = load.offer(Duration::ZERO, 9, Duration::from_secs(2));
    assert!(
        !offered.good.took.is_empty() && offered.refused > 0,
        "{} right, {} sent away",
        offered.good.took.len(),
        offered.refused
    );
    // Every place was given back: of as many callers as there are places none is sent away.
    load.run(3, Duration::from_millis(500));
    assert_eq!(dev.processes(1), node, "the same process, still alive");
}

/// From two nodes to one, and to none: no call fails but those that come when nobody listens any more.
#[test]
fn nodes_that_are_taken_away_fail_no_call() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    let scale = |replicas: u32| {
        let body = json!({"scale": {"replicas": replicas}, "limits": {"drain_delay_ms": 500}});
        cast.dana.patch(&dev.path(""), body).expect_any(&[200, 202]);
        dev.processes(replicas as usize);
        let nodes = || cast.world.nodes().len() == replicas as usize;
        eventually("so many processes are left", nodes);
    };
    scale(2);
    let (stop, calls) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    dev.call(&dev.key).expect(200);
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for replicas in [1, 2, 1] {
            scale(replicas);
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(calls.load(Ordering::SeqCst) > 20);
    // Switched off under load: each call is answered, or finds nobody there.
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut answered = 0;
            loop {
                match dev.try_call(&dev.key) {
                    Ok(answer) => answered += u32::from(answer.expect(200).status == 200),
                    Err(reason) => return (answered, reason),
                }
            }
        });
        cast.dana.post(&dev.path("/disable"), json!({})).expect_any(&[200, 202]);
        let (answered, reason) = caller.join().unwrap();
        assert!(
            answered > 0 && reason.contains("ConnectionRefused"),
            "{answered}: {reason}"
        );
    });
}

/// The log of one node, or of all with their ids, the last so many lines.
#[test]
fn logs_are_read_by_node() {
    let cast = World::with_cast(Database::Sqlite);
    let dev = cast.iris_on_dev();
    cast.dana
        .patch(&dev.path(""), json!({"scale": {"replicas": 2}}))
        .expect_any(&[200, 202]);
    dev.processes(2);
    let ids: Vec<String> = dev.nodes().into_iter().map(|node| node.id).collect();
    let logs = |query: &str| cast.dana.get(&dev.path(&format!("/logs{query}")));
    let all = logs("").expect(200);
    for id in &ids {
        assert!(all.text().contains(&format!("==> node {id} <==")), "{}", all.text());
        let one = logs(&format!("?node={id}")).expect(200);
        assert!(
            one.text().contains('{') && !one.text().contains("==>"),
            "{}",
            one.text()
        );
        assert!(all.text().contains(one.text().lines().next().unwrap()));
        assert_eq!(
            logs(&format!("?node={id}&tail=1")).expect(200).text().lines().count(),
            1
        );
    }
    logs("?node=0195a8a5-0000-7000-8000-000000000000").expect(404);
    logs("?node=x").expect_any(&[404, 422]);
    logs("?tail=0").expect(422);
    let printed = cast.dana.cli(["logs", "iris-on-dev"]).expect(0);
    assert!(printed.out.contains(" INFO node started "), "{}", printed.out);
    let printed = cast.dana.cli(["logs", "iris-on-dev", "-o", "json"]).expect(0);
    assert!(printed.out.contains('{'), "{}", printed.out);
}
