//! Every secret where it does not belong: in a path, a query, a header, a field of another type. What is answered, logged,
//! counted and put on record must not hold it.

use acceptance::{Request, Value, json};

/// Sends a secret in all the wrong places of the control plane, with a proof of somebody who may do much.
///
/// Gives what was answered, by what was sent, without the secret.
pub fn of_control_plane(url: &str, proof: &str, secret: &str) -> Vec<(String, String)> {
    let escaped: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let api = |method: &str, path: &str| Request::new(method, format!("{url}/api/v1{path}"));
    let with = |request: Request| request.header("authorization", format!("Bearer {proof}"));
    let mut sent: Vec<(String, Request)> = Vec::new();
    for path in [
        "/services/{}",
        "/services/iris/keys/{}",
        "/services/iris/versions/{}",
        "/deployments/{}",
        "/infrastructures/{}",
        "/users/{}",
        "/groups/{}/members",
        "/service-accounts/{}/tokens/x",
        "/deployments/iris-on-dev/revisions/{}",
        "/{}",
        "/services?cursor={}",
        "/services?limit={}",
        "/services?{}=1",
        "/audit?object={}",
        "/audit?actor={}",
        "/audit?since={}",
        "/can-i?action={}",
        "/can-i?action=see-service&service={}",
        "/deployments/iris-on-dev/logs?tail={}",
        "/deployments/iris-on-dev/logs?node={}",
    ] {
        sent.push((format!("GET {path}"), with(api("GET", &path.replace("{}", &escaped)))));
    }
    for (method, path) in [
        ("DELETE", "/services/{}"),
        ("DELETE", "/tokens/{}"),
        ("DELETE", "/users/{}"),
        ("POST", "/deployments/{}/enable"),
        ("POST", "/services/iris/keys/{}/revoke"),
        ("PUT", "/groups/devops/members/{}"),
        ("DELETE", "/services/iris/grants/{}"),
        ("POST", "/services/iris/keys?wait={}"),
        ("PUT", "/services/iris/versions/{}"),
        ("POST", "/{}"),
    ] {
        let request = with(api(method, &path.replace("{}", &escaped))).header("content-type", "application/json");
        sent.push((format!("{method} {path}"), request.body("{")));
    }
    let bodies: [(&str, &str, Value); 14] = [
        ("POST", "/session", json!({"name": secret, "password": "a wrong one"})),
        ("POST", "/session", json!({"name": "dana", "password": [secret]})),
        (
            "POST",
            "/session",
            json!({"name": "dana", "password": "x", "more": secret}),
        ),
        ("POST", "/users", json!({"name": {"is": secret}, "password": secret})),
        ("POST", "/users", json!({"name": "Not A Name", "password": secret})),
        ("POST", "/services", json!({"name": [secret]})),
        ("POST", "/services", json!({"name": "x", "access": {"key": secret}})),
        ("POST", "/services/iris/keys", json!({"name": "x", "key": [secret]})),
        ("POST", "/services/iris/keys", json!({"name": 7, "key": secret})),
        (
            "POST",
            "/services/iris/keys",
            json!({"name": "x", "key": secret, "not_before": "never"}),
        ),
        (
            "POST",
            "/services/iris/keys",
            json!({"name": "x", "key": format!("{secret}\n")}),
        ),
        ("POST", "/tokens", json!({"name": "x", "expires_at": {"at": secret}})),
        (
            "PUT",
            "/users/dana/password",
            json!({"password": [secret], "current": secret}),
        ),
        (
            "PUT",
            "/users/dana/password",
            json!({"password": "short", "current": secret}),
        ),
    ];
    for (method, path, body) in bodies {
        let place = body.to_string().replace(secret, "…");
        sent.push((format!("{method} {path} {place}"), with(api(method, path)).json(&body)));
        // As the very same, to nobody.
        sent.push((
            format!("{method} {path} {place} by nobody"),
            api(method, path).json(&body),
        ));
    }
    for body in [
        secret.to_owned(),
        format!("{{\"name\": {secret}}}"),
        format!("{{\"name\": \"x\" {secret}"),
    ] {
        let request = with(api("POST", "/services"))
            .header("content-type", "application/json")
            .body(body);
        sent.push(("POST /services, no JSON".to_owned(), request));
    }
    for (name, value) in [
        ("authorization", format!("Basic {secret}")),
        ("authorization", secret.to_owned()),
        ("authorization", format!("Bearer {secret} {secret}")),
        ("authorization", format!("Bearer x{secret}")),
        ("cookie", format!("castoff_session=x{secret}")),
        ("cookie", format!("other={secret}")),
    ] {
        let place = format!("{name}: {}", value.replace(secret, "…"));
        sent.push((
            format!("GET {place}"),
            api("GET", "/whoami").header(name, value.clone()),
        ));
        sent.push((
            format!("POST {place}"),
            api("POST", "/services").header(name, value).json(&json!({"name": "x"})),
        ));
    }
    for name in [
        "if-match",
        "idempotency-key",
        "origin",
        "user-agent",
        "referer",
        "last-event-id",
        "accept",
        "x-api-key",
        "content-type",
    ] {
        let request = with(api("PATCH", "/services/iris")).header(name, secret);
        sent.push((format!("PATCH with {name}"), request.body("[]")));
        let request = with(api("POST", "/services")).header(name, secret);
        sent.push((format!("POST with {name}"), request.body("[]")));
    }
    answers(sent)
}

/// The same for a node: `predict` is where it takes records, `url` where it listens.
pub fn of_node(url: &str, predict: &str, secret: &str) -> Vec<(String, String)> {
    let escaped: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut sent: Vec<(String, Request)> = Vec::new();
    for path in [
        "/{}",
        "/v2/models/{}",
        "/v2/models/{}/infer",
        "/v2/models/iris/versions/{}",
        "/public/api/v1/{}/iris/predict",
        "/v2?key={}",
    ] {
        for method in ["GET", "POST"] {
            let request = Request::new(method, format!("{url}{}", path.replace("{}", &escaped)));
            sent.push((format!("{method} {path}"), request.header("x-api-key", "wrong")));
        }
    }
    for (name, value) in [
        ("x-api-key", format!("x{secret}")),
        ("authorization", format!("Bearer x{secret}")),
        ("authorization", format!("Basic {secret}")),
        ("authorization", secret.to_owned()),
        ("cookie", secret.to_owned()),
        ("user-agent", secret.to_owned()),
        ("content-type", secret.to_owned()),
        ("apikey", format!("x{secret}")),
        ("x-request-id", secret.to_owned()),
    ] {
        sent.push((
            format!("node, {name}"),
            Request::post(predict).header(name, value).body("{}"),
        ));
    }
    for body in [
        json!({"features": secret}),
        json!({"features": {secret: 1}}),
        json!({secret: 1}),
        json!({"features": {"sepal_length": secret}}),
    ] {
        sent.push((
            "node, a field".to_owned(),
            Request::post(predict).header("x-api-key", "wrong").json(&body),
        ));
    }
    answers(sent)
}

/// What was answered: head and body. What a client cannot even send is not sent.
fn answers(sent: Vec<(String, Request)>) -> Vec<(String, String)> {
    sent.into_iter()
        .filter_map(|(what, request)| {
            let answer = request.try_send().ok()?;
            assert!(answer.status < 500, "{what}: {}", answer.text());
            Some((what, format!("{:?}\n{}", answer.headers, answer.text())))
        })
        .collect()
}
