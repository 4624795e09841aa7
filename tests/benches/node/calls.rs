//! How fast one node answers.

use acceptance::{Database, Figure, Load, Report, World, json, load, models};
use std::time::Duration;

const FOR: Duration = Duration::from_secs(3);
const CALLERS: [usize; 3] = [1, 8, 64];

/// Two dialects, and what the callers themselves could do at most.
pub fn measure(report: &mut Report) {
    let cast = World::with_cast(Database::Sqlite);
    let deployed = cast.iris_on_dev();
    let nobody = load::noop("{\"result\":{\"prediction\":\"setosa\"}}");
    let expected = models::expected("iris-columns");
    let setosa = models::setosa();
    for (who, url, path, body) in [
        (
            "V2",
            &deployed.url,
            "/v2/models/iris/infer",
            json!({"inputs": expected["inputs"]}),
        ),
        (
            "records",
            &deployed.url,
            "/public/api/v1/iris/iris/predict",
            setosa.clone(),
        ),
        ("a server that does nothing", &nobody, "/", setosa),
    ] {
        let key = [("x-api-key", deployed.key.as_str())];
        let load = Load::post(url, path, &key, &body.to_string(), "setosa");
        for callers in CALLERS {
            let answers = load.run(callers, FOR);
            let what = |of: &str| format!("{who}, {callers} callers, {of}");
            report.add(Figure::of(what("answers"), "/s", answers.rate()));
            report.add(Figure::of(what("p50"), "µs", answers.within(0.5)));
            report.add(Figure::of(what("p99"), "µs", answers.within(0.99)));
        }
    }
}
