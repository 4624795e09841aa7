//! What may be uploaded, what is refused and why, and that a version never changes.

use acceptance::archive::archive;
use acceptance::{Cast, Database, World, eventually, json, models};
use std::process::Command;

fn with_service() -> Cast {
    let cast = World::with_cast(Database::Sqlite);
    cast.dana.post("/services", json!({"name": "iris"})).expect(201);
    cast
}

#[test]
fn what_is_no_package_is_refused_with_a_reason() {
    let cast = with_service();
    let model = models::read("iris-tensor.onnx");
    let flipped: Vec<u8> = model.iter().map(|byte| byte ^ 0x5a).collect();
    let manifest = b"endpoints:\n  - name: iris\n    model: ../outside.onnx\n" as &[u8];
    let bomb = vec![0; 64 << 20];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("text", b"this is no model at all".to_vec()),
        ("cut", model[..model.len() / 2].to_vec()),
        ("flipped", flipped),
        ("html", b"<!doctype html><html></html>".to_vec()),
        ("zip-without-anything", archive("zip", &[])),
        ("zip-with-dots", archive("zip", &[("../../model.onnx", &model)])),
        ("zip-absolute", archive("zip", &[("/tmp/model.onnx", &model)])),
        ("tar-with-dots", archive("tar.gz", &[("a/../../model.onnx", &model)])),
        ("tar-with-link", archive("tar.gz", &[("model.onnx", b"-> /etc/passwd")])),
        (
            "manifest-points-out",
            archive("zip", &[("service.yaml", manifest), ("model.onnx", &model)]),
        ),
        (
            "manifest-broken",
            archive("zip", &[("service.yaml", b"endpoints: ["), ("model.onnx", &model)]),
        ),
        ("bomb", archive("zip", &[("model.onnx", &bomb)])),
        ("half-a-zip", archive("zip", &[("model.onnx", &model)])[..200].to_vec()),
    ];
    let mut wrong = Vec::new();
    for (name, bytes) in cases {
        let answer = cast.dana.upload("iris", name, bytes);
        let reason = answer["detail"].as_str().unwrap_or_default();
        if !matches!(answer.status, 400 | 413 | 422) || reason.len() < 10 {
            wrong.push(format!("{name}: {} {}", answer.status, answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(cast.dana.list("/services/iris/versions").is_empty());
    // Nothing of them is kept.
    let kept = std::fs::read_dir(cast.world.server.data.join("packages"))
        .into_iter()
        .flatten();
    let kept: Vec<_> = kept.filter_map(Result::ok).map(|entry| entry.path()).collect();
    let files = kept.iter().filter(|path| path.is_file()).count();
    assert_eq!(files, 0, "{kept:?}");
}

#[test]
fn a_version_never_changes() {
    let cast = with_service();
    let model = models::read("iris-tensor.onnx");
    let made = cast.dana.upload("iris", "v1", model.clone()).expect(201);
    assert_eq!(made.header("location"), Some("/api/v1/services/iris/versions/v1"));
    let digest = made.string("/digest");
    assert!(digest.starts_with("sha256:") && digest.len() == 7 + 64);
    assert_eq!(
        cast.dana.upload("iris", "v1", model.clone()).expect(200)["digest"],
        digest.as_str()
    );
    cast.dana
        .upload("iris", "v1", models::read("iris-zipmap.onnx"))
        .expect(409);
    assert_eq!(
        cast.dana.get("/services/iris/versions/v1").expect(200)["digest"],
        digest.as_str()
    );
    let package = cast.dana.get("/services/iris/versions/v1/package").expect(200);
    assert_eq!(package.body, model, "what comes back is what went in");
    // The same bytes under another name are another version.
    cast.dana.upload("iris", "v1-again", model).expect(201);
    for name in ["a%2Fb", "..", "a%20b", &"x".repeat(65)] {
        let answer = cast.dana.upload("iris", name, models::read("iris-tensor.onnx"));
        assert!(matches!(answer.status, 404 | 422), "{name}: {}", answer.status);
    }
}

#[test]
fn the_header_of_the_model_is_read_at_upload() {
    let cast = with_service();
    let columns = cast
        .dana
        .upload("iris", "columns", models::read("iris-columns.onnx"))
        .expect(201);
    let endpoint = &columns["endpoints"][0];
    assert_eq!(endpoint["kind"], "records", "{}", columns.text());
    assert_eq!(endpoint["inputs"].as_array().map(Vec::len), Some(4));
    let tensor = cast
        .dana
        .upload("iris", "tensor", models::read("iris-tensor.onnx"))
        .expect(201);
    let endpoint = &tensor["endpoints"][0];
    assert_eq!(endpoint["kind"], "tensor", "{}", tensor.text());
    assert_eq!(endpoint["inputs"][0]["datatype"], "FP32");
    assert_eq!(endpoint["inputs"][0]["shape"], json!([-1, 4]));
    assert!(tensor["opset"].as_u64().is_some_and(|opset| opset > 8));
}

#[test]
fn a_package_with_a_manifest_names_its_endpoints() {
    let cast = with_service();
    let model = models::read("iris-tensor.onnx");
    let manifest = b"endpoints:
  - name: flowers
    model: models/iris.onnx
    kind: records
    columns: [sepal_length, sepal_width, petal_length, petal_width]
  - name: raw
    model: models/iris.onnx
    kind: tensor
" as &[u8];
    for (version, kind) in [("zip", "zip"), ("tar", "tar.gz")] {
        let package = archive(kind, &[("service.yaml", manifest), ("models/iris.onnx", &model)]);
        let made = cast.dana.upload("iris", version, package).expect(201);
        let names: Vec<_> = made["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|end| &end["name"])
            .collect();
        assert_eq!(names, ["flowers", "raw"]);
    }
}

/// The command line sends the same bytes.
#[test]
fn the_command_line_uploads_the_same_bytes() {
    let cast = with_service();
    let path = models::folder().join("iris-columns.onnx");
    cast.dana
        .cli(["version", "push", "iris", "v1", path.to_str().unwrap()])
        .expect(0);
    let package = cast.dana.get("/services/iris/versions/v1/package").expect(200);
    assert_eq!(package.body, models::read("iris-columns.onnx"));
    // In conflict with what is there.
    let other = models::folder().join("iris-tensor.onnx");
    cast.dana
        .cli(["version", "push", "iris", "v1", other.to_str().unwrap()])
        .expect(6);
    let text = models::folder().join("expected");
    assert_ne!(
        cast.dana
            .cli(["version", "push", "iris", "v2", text.to_str().unwrap()])
            .code,
        0
    );
}

/// Files that no version names go when they are old; a version's files, and what came just now, stay.
#[test]
fn files_of_no_version_are_collected() {
    let mut cast = with_service();
    for (version, model) in [
        ("v1", "iris-columns.onnx"),
        ("v2", "iris-tensor.onnx"),
        ("v3", "digits.onnx"),
    ] {
        cast.dana.upload("iris", version, models::read(model)).expect(201);
    }
    for version in ["v2", "v3"] {
        cast.dana
            .delete(&format!("/services/iris/versions/{version}"))
            .expect(204);
    }
    let file = |model: &str| {
        let sum = Command::new("sha256sum")
            .arg(models::folder().join(model))
            .output()
            .unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        let hex = sum.split(' ').next().unwrap();
        cast.world
            .server
            .data
            .join(format!("packages/sha256/{}/{hex}", &hex[..2]))
    };
    let (named, old, young) = (file("iris-columns.onnx"), file("iris-tensor.onnx"), file("digits.onnx"));
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3_600);
    for path in [&named, &old] {
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(then).unwrap();
    }
    // It looks when it starts.
    cast.world.server.stop();
    cast.world.server.launch();
    eventually("the old file is gone", || !old.exists());
    assert!(named.exists() && young.exists());
    let package = cast.dana.get("/services/iris/versions/v1/package").expect(200);
    assert_eq!(package.body, models::read("iris-columns.onnx"));
    // The bytes may come again, as another version.
    cast.dana
        .upload("iris", "v4", models::read("iris-tensor.onnx"))
        .expect(201);
    assert!(old.exists());
}
