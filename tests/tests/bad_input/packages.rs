//! Uploads that are no package.

use super::table::{Wrong, package};
use acceptance::archive::archive;
use acceptance::models;
use acceptance::onnx::{FLOAT, INT64, external, identity, input, output, port};

fn yaml(text: &str, model: &[u8]) -> Vec<u8> {
    archive("zip", &[("service.yaml", text.as_bytes()), ("m.onnx", model)])
}

/// A zip whose directory says that its file is small, when it is not.
fn lying(model: &[u8]) -> Vec<u8> {
    let mut zip = archive("zip", &[("m.onnx", model)]);
    let directory = zip.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    zip[directory + 24..directory + 28].copy_from_slice(&7u32.to_le_bytes());
    zip
}

fn encrypted(model: &[u8]) -> Vec<u8> {
    let mut zip = archive("zip", &[("m.onnx", model)]);
    let directory = zip.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    zip[directory + 8] |= 1;
    zip[6] |= 1;
    zip
}

pub(super) fn all() -> Vec<Wrong> {
    let model = models::read("iris-tensor.onnx");
    let good = |more: &[u8]| identity(input(FLOAT, &[1, 4]), output(FLOAT, &[1, 4]), more);
    let zeros = vec![0; 64 << 20];
    let many: Vec<String> = (0..1_100).map(|n| format!("f{n}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let link = |to: &str| archive("tar.gz", &[("m.onnx", to.as_bytes())]);
    let zip = |name: &str| archive("zip", &[(name, &model)]);
    let aliases = format!("endpoints:\n{}", "  - &a {name: x, model: m.onnx}\n".repeat(65));
    vec![
        package("empty", Vec::new(), 422, "is empty"),
        package("one byte", vec![8], 422, "truncated or damaged"),
        package(
            "text called .onnx",
            b"this is no model at all\n".repeat(20),
            422,
            "is text, not an ONNX model",
        ),
        package("a page of HTML", b"<!doctype html><html></html>".to_vec(), 422, "text"),
        package(
            "a pointer of Git LFS",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec(),
            422,
            "Git LFS pointer",
        ),
        package(
            "a model that is cut in the middle",
            model[..model.len() / 2].to_vec(),
            422,
            "truncated",
        ),
        package(
            "a model without its last byte",
            model[..model.len() - 1].to_vec(),
            422,
            "truncated",
        ),
        package(
            "a model with every byte flipped",
            model.iter().map(|byte| byte ^ 0x5a).collect(),
            422,
            "is not an ONNX model, or damaged",
        ),
        package(
            "a picture",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
            422,
            "is not an ONNX model, or damaged",
        ),
        package(
            "a model without inputs",
            identity(Vec::new(), output(FLOAT, &[1]), &[]),
            422,
            "has no input",
        ),
        package(
            "a model without outputs",
            identity(input(FLOAT, &[1]), Vec::new(), &[]),
            422,
            "has no output",
        ),
        package(
            "a model of an unknown type",
            identity(input(99, &[1]), output(99, &[1]), &[]),
            422,
            "input x",
        ),
        package(
            "a model with an input that overflows",
            identity(input(FLOAT, &[i64::MAX, i64::MAX]), output(FLOAT, &[1]), &[]),
            422,
            "more than 1099511627776 elements",
        ),
        package(
            "external data outside",
            good(&external("../../../etc/passwd")),
            422,
            "external data is not accepted",
        ),
        package(
            "external data by an absolute path",
            good(&external("/etc/passwd")),
            422,
            "external data is not accepted",
        ),
        package(
            "external data beside it",
            archive(
                "zip",
                &[
                    ("service.yaml", b"endpoints: [{name: x, model: m.onnx}]"),
                    ("m.onnx", &good(&external("w.bin"))),
                    ("w.bin", &[0; 16]),
                ],
            ),
            422,
            "external data is not accepted",
        ),
        package(
            "a model with two inputs of one name",
            identity(
                [input(FLOAT, &[1, 4]), port(11, "x", INT64, &[1])].concat(),
                output(FLOAT, &[1, 4]),
                &[],
            ),
            422,
            "two inputs named x",
        ),
        package("a zip of nothing", archive("zip", &[]), 422, "an empty zip archive"),
        package("a zip with ..", zip("../../m.onnx"), 422, "path that is not accepted"),
        package(
            "a zip with .. inside",
            zip("a/../../m.onnx"),
            422,
            "path that is not accepted",
        ),
        package(
            "a zip with an absolute path",
            zip("/tmp/m.onnx"),
            422,
            "path that is not accepted",
        ),
        package(
            "a zip with a backslash",
            zip("..\\m.onnx"),
            422,
            "path that is not accepted",
        ),
        package(
            "a zip with a drive",
            zip("C:\\m.onnx"),
            422,
            "path that is not accepted",
        ),
        package(
            "a zip with a link",
            archive("zip", &[("m.onnx", b"-> /etc/passwd")]),
            422,
            "link",
        ),
        package(
            "a zip with two files of one name",
            archive("zip", &[("m.onnx", &model), ("m.onnx", &model)]),
            422,
            "two files of one name",
        ),
        package(
            "a zip that is cut",
            zip("m.onnx")[..200].to_vec(),
            422,
            "invalid Zip archive",
        ),
        package("a zip that is encrypted", encrypted(&model), 422, "Password required"),
        package(
            "a zip whose directory lies",
            lying(&model),
            422,
            "larger than its declared",
        ),
        package(
            "a zip bomb",
            archive("zip", &[("m.onnx", &zeros)]),
            422,
            "more than 200 times its size",
        ),
        package(
            "a tar bomb",
            archive("tar.gz", &[("m.onnx", &zeros)]),
            422,
            "more than 200 times its size",
        ),
        package("too many files", archive("zip", &many), 422, "1000"),
        package(
            "too many folders in each other",
            zip(&format!("{}m.onnx", "a/".repeat(20))),
            422,
            "a/a",
        ),
        package(
            "a name that is too long",
            zip(&format!("{}.onnx", "x".repeat(300))),
            422,
            "255",
        ),
        package(
            "a tar with ..",
            archive("tar.gz", &[("a/../../m.onnx", &model)]),
            422,
            "path that is not accepted",
        ),
        package("a tar with a symbolic link", link("-> /etc/passwd"), 422, "link"),
        package("a tar with a hard link", link("=> /etc/passwd"), 422, "link"),
        package("a tar with a pipe", link("|| "), 422, "neither a file nor a folder"),
        package("a tar with a device", link("%% "), 422, "neither a file nor a folder"),
        package(
            "a tar that is cut",
            archive("tar.gz", &[("m.onnx", &model)])[..200].to_vec(),
            422,
            "is truncated",
        ),
        package(
            "two models and no service.yaml",
            archive("zip", &[("a.onnx", &model), ("b.onnx", &model)]),
            422,
            "service.yaml",
        ),
        package(
            "a service.yaml that is none",
            yaml("endpoints: [", &model),
            422,
            "service.yaml",
        ),
        package(
            "a service.yaml of no endpoints",
            yaml("endpoints: []", &model),
            422,
            "/endpoints",
        ),
        package("a service.yaml of too many", yaml(&aliases, &model), 422, "/endpoints"),
        package(
            "a service.yaml that is no UTF-8",
            archive("zip", &[("service.yaml", b"endpoints: \xff"), ("m.onnx", &model)]),
            422,
            "UTF-8",
        ),
        package(
            "a service.yaml with an unknown field",
            yaml("endpoints: [{name: x, model: m.onnx, colour: red}]", &model),
            422,
            "colour",
        ),
        package(
            "a service.yaml that points out",
            yaml("endpoints: [{name: x, model: ../m.onnx}]", &model),
            422,
            "/endpoints/0/model",
        ),
        package(
            "a service.yaml that points nowhere",
            yaml("endpoints: [{name: x, model: n.onnx}]", &model),
            422,
            "/endpoints/0/model",
        ),
        package(
            "a service.yaml that points at itself",
            yaml("endpoints: [{name: x, model: service.yaml}]", &model),
            422,
            "/endpoints/0/model",
        ),
        package(
            "two endpoints of one name",
            yaml(
                "endpoints: [{name: x, model: m.onnx}, {name: x, model: m.onnx}]",
                &model,
            ),
            422,
            "/endpoints/1/name",
        ),
        package(
            "an endpoint's name that is none",
            yaml("endpoints: [{name: 'a b', model: m.onnx}]", &model),
            422,
            "/endpoints/0/name",
        ),
        package(
            "declared of a kind that is none",
            yaml("endpoints: [{name: x, model: m.onnx, kind: video}]", &model),
            422,
            "/endpoints/0/kind",
        ),
        package(
            "declared with three columns, being of four",
            yaml(
                "endpoints: [{name: x, model: m.onnx, kind: records, columns: [a, b, c]}]",
                &model,
            ),
            422,
            "/endpoints/0/columns",
        ),
        package(
            "declared with a column twice",
            yaml(
                "endpoints: [{name: x, model: m.onnx, kind: records, columns: [a, b, c, a]}]",
                &model,
            ),
            422,
            "/endpoints/0/columns",
        ),
        package(
            "declared as records, being a picture's tensor",
            yaml(
                "endpoints: [{name: x, model: m.onnx, kind: records}]",
                &identity(input(FLOAT, &[1, 3, 8, 8]), output(FLOAT, &[1, 3, 8, 8]), &[]),
            ),
            422,
            "/endpoints/0/kind",
        ),
        package(
            "declared with two labels, being of three",
            yaml("endpoints: [{name: x, model: m.onnx, labels: [a, b]}]", &model),
            422,
            "/endpoints/0/labels",
        ),
    ]
}
