//! Archives as Python makes them, bad ones too.

use crate::models::base64;
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
