//! Every route that the API has, taken from its own description: what nobody and a stranger get.
//!
//! The routes are not listed here: one that is added is walked by itself.

use acceptance::{Actor, Answer, Cast, Database, Request, World, json};
use serde_json::Value;

/// What a stranger may do as any user may: `METHOD /path`. They answer for oneself, with an empty list, or about a body
/// that names what is not theirs to see.
const ANY_USER: &[&str] = &[
    "GET /whoami",
    "POST /deployments",
    "GET /can-i",
    "POST /session",
    "DELETE /session",
    "GET /tokens",
    "POST /tokens",
    "DELETE /tokens/{token}",
    "GET /keys",
    "POST /keys",
    "GET /groups",
    "GET /events",
    "GET /audit",
];

struct Route {
    method: String,
    /// As described, below `/api/v1`.
    path: String,
    /// With the names of what is there.
    filled: String,
}

impl Route {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Sent with a body of garbage: it must never be what is answered about first.
    fn send(&self, actor: &Actor) -> Answer {
        let request = actor.request(&self.method, &self.filled);
        match self.method.as_str() {
            "GET" => request.send(),
            _ => request
                .header("content-type", "application/json")
                .body("{garbage")
                .send(),
        }
    }
}

/// The routes of the API, with the parts of their paths filled from what is there.
fn routes(cast: &Cast) -> Vec<Route> {
    let key = cast
        .dana
        .get("/deployments/iris-on-dev/keys")
        .expect(200)
        .string("/items/0/id");
    let service_key = cast.dana.get("/services/iris/keys").expect(200).string("/items/0/id");
    let described = Request::get(format!("{}/openapi.json", cast.world.server.url))
        .send()
        .expect(200);
    let base = described
        .json
        .pointer("/servers/0/url")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut routes = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let whole = format!("{base}{path}");
        let path = whole.strip_prefix("/api/v1").unwrap_or(path);
        let key = if path.starts_with("/services") {
            &service_key
        } else {
            &key
        };
        let filled = path
            .replace("{service}", "iris")
            .replace("{version}", "v1")
            .replace("{infrastructure}", "dev")
            .replace("{deployment}", "iris-on-dev")
            .replace("{group}", "devops")
            .replace("{user}", "dana")
            .replace("{account}", "ci")
            .replace("{token}", "acceptance")
            .replace("{key}", key)
            .replace("{member}", "dana")
            .replace("{n}", "1");
        assert!(!filled.contains('{'), "say here what to fill into {path}");
        for method in methods.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            let (method, path, filled) = (method.to_uppercase(), path.to_owned(), filled.clone());
            routes.push(Route { method, path, filled });
        }
    }
    assert!(routes.len() > 50, "the description is not whole: {}", routes.len());
    routes
}

fn populated() -> Cast {
    let cast = World::with_cast(Database::Sqlite);
    cast.iris();
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1", "enabled": false});
    cast.dana.post("/deployments", body).expect(201);
    cast.dana
        .post("/deployments/iris-on-dev/keys", json!({"name": "first"}))
        .expect(201);
    cast.dana
        .post("/services/iris/keys", json!({"name": "first"}))
        .expect(201);
    cast.admin.post("/service-accounts", json!({"name": "ci"})).expect(201);
    cast
}

#[test]
fn nobody_gets_401_on_every_route() {
    let cast = populated();
    let nobody = cast.world.nobody();
    let forged = Actor::with_token(&nobody.url, "", &format!("castoff_{}", "A".repeat(43)));
    let mut wrong = Vec::new();
    for route in routes(&cast) {
        if route.name() == "POST /session" {
            continue;
        }
        for actor in [&nobody, &forged] {
            let answer = route.send(actor);
            let problem = answer["type"] == "https://castoff.dev/problems/unauthenticated";
            if answer.status != 401 || !problem || answer.header("www-authenticate").is_none() {
                wrong.push(format!("{}: {} {}", route.name(), answer.status, answer.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_stranger_learns_nothing_on_any_route() {
    let cast = populated();
    let mut wrong = Vec::new();
    for route in routes(&cast) {
        let name = route.name();
        let open = ANY_USER.contains(&name.as_str());
        // Their own events never end, and their own session and token are theirs to end.
        if name == "GET /events" || name == "DELETE /session" || name == "DELETE /tokens/{token}" {
            continue;
        }
        let answer = route.send(&cast.sam);
        let closed = matches!(answer.status, 403 | 404);
        let empty = answer.status == 200 && answer["items"] == json!([]);
        let said = answer.text();
        let learns = ["\"v1\"", "data-scientists", "sha256:"]
            .iter()
            .any(|word| said.contains(word));
        if answer.status >= 500 || !(open || closed || empty) || (learns && name != "GET /groups") {
            wrong.push(format!("{name}: {} {said}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whoever may is told what is wrong with the body, with a 4xx and in our form.
#[test]
fn garbage_is_never_a_500() {
    let cast = populated();
    let mut wrong = Vec::new();
    // What takes no body does what it says: not to be done to what the next route needs.
    let destructive = |route: &Route| route.method == "DELETE" || route.path.ends_with("/package");
    for route in routes(&cast)
        .iter()
        .filter(|route| route.method != "GET" && !destructive(route))
    {
        for body in [
            "{garbage",
            "[]",
            "null",
            "7",
            "\"text\"",
            "{\"name\": {}}",
            "{\"\\u0000\": 1}",
            "",
        ] {
            let request = cast.admin.request(&route.method, &route.filled);
            let answer = request.header("content-type", "application/json").body(body).send();
            let problem = answer.header("content-type") == Some("application/problem+json");
            if answer.status >= 500 || (answer.status >= 400 && !problem) {
                wrong.push(format!("{} {body}: {} {}", route.name(), answer.status, answer.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The page with the description needs nothing from elsewhere.
#[test]
fn the_description_can_be_browsed_without_a_cdn() {
    let world = World::start(Database::Sqlite);
    let mut page = Request::get(format!("{}/docs", world.server.url)).send();
    for _ in 0..3 {
        if let Some(to) = page.header("location") {
            let to = to.trim_start_matches('/').to_owned();
            page = Request::get(format!("{}/{to}", world.server.url)).send();
        }
    }
    let page = page.expect(200);
    for elsewhere in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
        assert!(!page.text().contains(elsewhere), "{}", page.text());
    }
}
