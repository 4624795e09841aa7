//! The example of a pipeline, run as it stands: its file by its commands, against a real control plane.

use acceptance::castoff::binary;
use acceptance::{Cast, Database, World, models, scratch};
use std::path::Path;
use std::process::Command;

/// Where a runner of the pipeline keeps what is secret; here it is a folder of the test.
const SECRETS: &str = "/run/secrets";
const KEY: &str = "key-of-the-web-shop-made-elsewhere";
const COMMIT: &str = "4f2c1d9";

/// What comes after each `run:` of a workflow.
fn steps(workflow: &str) -> Vec<String> {
    let mut lines = workflow.lines().peekable();
    let mut steps = Vec::new();
    while let Some(line) = lines.next() {
        let Some((before, step)) = line.split_once("- run: ") else {
            continue;
        };
        if step != "|" {
            steps.push(step.to_owned());
            continue;
        }
        let deeper = format!("{}    ", " ".repeat(before.len()));
        let mut block = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(&deeper)) {
            block += line.trim_start();
            block.push('\n');
        }
        steps.push(block);
    }
    steps
}

/// By a service account that may do what the file says and nothing more: planned, applied, and the second time nothing is left.
#[test]
fn the_pipeline_plans_and_applies() {
    let cast = World::with_cast(Database::Sqlite);
    let folder = scratch::subfolder("pipeline");
    let secrets = folder.join("secrets");
    let example = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ci").join(name);
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(SECRETS));
        text.replace(SECRETS, secrets.to_str().unwrap())
    };
    std::fs::write(folder.join("castoff.yaml"), example("castoff.yaml")).unwrap();
    let package = folder.join("models/iris-v2");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(folder.join("models/iris-v1.onnx"), models::read("iris-columns.onnx")).unwrap();
    std::fs::write(package.join("iris.onnx"), models::read("iris-tensor.onnx")).unwrap();
    let manifest = "endpoints:
  - name: iris
    model: iris.onnx
    kind: records
    columns: [sepal_length, sepal_width, petal_length, petal_width]
";
    std::fs::write(package.join("service.yaml"), manifest).unwrap();

    // As docs/cli.md says; the service is not there yet.
    let token = folder.join("token.txt");
    for line in [
        "service-account create ci",
        "group create release --create-service",
        "group add release ci",
        "infra grant dev release deploy",
        "infra grant prod release deploy",
        &format!(
            "service-account token ci github --expires 90d --save {}",
            token.display()
        ),
    ] {
        cast.admin.cli(line.split(' ')).expect(0);
    }
    let token = std::fs::read_to_string(token).unwrap();
    let run = |step: &str| {
        let programs = binary("castoff");
        let path = format!(
            "{}:{}",
            programs.parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        let done = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", step])
            .current_dir(&folder)
            .env("PATH", path)
            .env("CASTOFF_CONFIG", folder.join("no-login.json"))
            .env("CASTOFF_URL", &cast.admin.url)
            .env("CASTOFF_TOKEN", token.trim())
            .env("GITHUB_SHA", COMMIT)
            .env("WEB_SHOP_KEY", KEY)
            .output()
            .unwrap();
        let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert!(done.status.success(), "{step}\n{}\n{}", said[0], said[1]);
        said[0].clone()
    };
    let steps = steps(&example("workflow.yml"));
    let castoff = steps.iter().filter(|step| step.starts_with("castoff ")).count();
    assert_eq!((steps.len(), castoff), (4, 2), "{steps:#?}");
    let said: Vec<String> = steps.iter().map(|step| run(step)).collect();
    assert!(said[1].contains("+ create deployment iris-on-prod"), "{}", said[1]);
    assert!(said[3].contains("done: create deployment iris-on-prod"), "{}", said[3]);
    assert!(!said.concat().contains(KEY));

    serves(&cast);
    let again = run("castoff plan -f castoff.yaml --exit-code");
    assert!(again.starts_with("nothing to do"), "{again}");
}

/// What the file says is so.
fn serves(cast: &Cast) {
    let prod = cast.omar.get("/deployments/iris-on-prod").expect(200);
    assert_eq!(prod["scale"]["replicas"], 3);
    assert_eq!(prod["route"].as_array().map(Vec::len), Some(2), "{}", prod.text());
    let history = cast.omar.list("/deployments/iris-on-prod/revisions");
    assert_eq!(history[0]["note"], COMMIT);
    let key = scratch::subfolder("web-shop").join("key");
    std::fs::write(&key, KEY).unwrap();
    let data = r#"{"features":{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}}"#;
    let query = [
        "query",
        "iris-on-prod",
        "--key-file",
        key.to_str().unwrap(),
        "--data",
        data,
    ];
    cast.omar.cli(query).expect(0);
}
