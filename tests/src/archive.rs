//! Archives as Python makes them, bad ones too.

use crate::models::base64;
use crate::onnx::{FLOAT, bytes, identity, input, output};
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

const SCRIPT: &str = r#"
import base64, io, json, sys, tarfile, warnings, zipfile
warnings.simplefilter("ignore")
kind, entries = json.load(sys.stdin)
out = io.BytesIO()
if kind == "zip":
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, text in entries:
            data = base64.b64decode(text)
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            if data.startswith(b"-> "):
                data, info.external_attr = data[3:], 0o120777 << 16
            z.writestr(info, data)
else:
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for name, text in entries:
            data = base64.b64decode(text)
            info = tarfile.TarInfo(name)
            kinds = {b"-> ": tarfile.SYMTYPE, b"=> ": tarfile.LNKTYPE, b"|| ": tarfile.FIFOTYPE, b"%% ": tarfile.CHRTYPE}
            if data[:3] in kinds:
                info.type, info.linkname = kinds[data[:3]], data[3:].decode()
                t.addfile(info)
            else:
                info.size = len(data)
                t.addfile(info, io.BytesIO(data))
sys.stdout.buffer.write(out.getvalue())
"#;

/// A `zip` or a `tar.gz` of these names and contents. A content `-> target` makes a symbolic link; in a tar, `=> target`
/// makes a hard link, `|| ` a pipe and `%% ` a device.
#[track_caller]
pub fn archive(kind: &str, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 can be started");
    let entries: Vec<_> = entries
        .iter()
        .map(|(name, bytes)| json!([name, base64(bytes)]))
        .collect();
    let mut input = python.stdin.take().expect("it has one");
    input
        .write_all(json!([kind, entries]).to_string().as_bytes())
        .expect("python3 reads");
    drop(input);
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success());
    output.stdout
}

/// The names of the endpoints of [`labelled`].
pub fn labelled_endpoints() -> Vec<String> {
    (0..64).map(|number| format!("e{number}")).collect()
}

/// A package with 64 endpoints, each with 62 labels of this length: some `64 * 62 * (length + 4)` bytes of a config. The
/// endpoints share a model, or have one each.
#[track_caller]
pub fn labelled(length: usize, own_models: bool) -> Vec<u8> {
    const LABELS: usize = 62;
    let labels: Vec<String> = (0..LABELS).map(|number| format!("{number:0length$}")).collect();
    let dims = [-1, LABELS as i64];
    let model = identity(input(FLOAT, &dims), output(FLOAT, &dims), &[]);
    let mut yaml = "endpoints:\n".to_owned();
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for (number, name) in labelled_endpoints().into_iter().enumerate() {
        let labels = match number {
            0 => format!("&l {labels:?}"),
            _ => "*l".to_owned(),
        };
        let file = if own_models {
            format!("{name}.onnx")
        } else {
            "m.onnx".to_owned()
        };
        yaml.push_str(&format!("- {{name: {name}, model: {file}, labels: {labels}}}\n"));
        if own_models || number == 0 {
            // Its text makes each model another one.
            files.push((file, [model.clone(), bytes(6, name.as_bytes())].concat()));
        }
    }
    let mut entries: Vec<(&str, &[u8])> = vec![("service.yaml", yaml.as_bytes())];
    entries.extend(files.iter().map(|(name, model)| (name.as_str(), model.as_slice())));
    archive("zip", &entries)
}
