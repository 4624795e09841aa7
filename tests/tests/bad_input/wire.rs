//! What is no HTTP, or HTTP that two programs read differently. Much of it the HTTP library refuses by itself, with a
//! bare 400; that is enough where it never reaches us.

use super::table::{To, Wrong, raw};

/// A POST to each side with these lines in its head, and this body.
fn both(name: &str, lines: &str, body: &str, status: u16, says: &'static str) -> [Wrong; 2] {
    let rest = format!(
        "POST /api/v1/services HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {{token}}\r\ncontent-type: application/json\r\n{lines}\r\n\r\n{body}"
    );
    let node = format!(
        "POST /v2/models/plain/infer HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {{key}}\r\n{lines}\r\n\r\n{body}"
    );
    [
        raw(&format!("REST: {name}"), To::Plane, &rest, status, says),
        raw(&format!("node: {name}"), To::Tensors, &node, status, says),
    ]
}

pub(super) fn all() -> Vec<Wrong> {
    let service = r#"{"name":"x"}"#;
    let long = format!("x-long: {}", "x".repeat(1 << 20));
    let many: Vec<String> = (0..2_000).map(|n| format!("x-{n}: 1")).collect();
    let mut rows: Vec<Wrong> = [
        both(
            "two lengths that differ",
            "content-length: 12\r\ncontent-length: 3",
            service,
            400,
            "",
        ),
        both("two lengths in one header", "content-length: 12, 3", service, 400, ""),
        both("a negative length", "content-length: -1", service, 400, ""),
        both("a length with a plus", "content-length: +12", service, 400, ""),
        both(
            "a length beyond 64 bits",
            "content-length: 99999999999999999999",
            service,
            400,
            "",
        ),
        both("a length that is none", "content-length: twelve", service, 400, ""),
        both(
            "an encoding that is unknown",
            "transfer-encoding: snappy",
            service,
            400,
            "",
        ),
        both(
            "chunked, but not at the end",
            "transfer-encoding: chunked, identity",
            service,
            400,
            "",
        ),
        both(
            "a chunk whose size is none",
            "transfer-encoding: chunked",
            "zz\r\n",
            400,
            "",
        ),
        both(
            "a chunk whose size overflows",
            "transfer-encoding: chunked",
            "fffffffffffffffff\r\n",
            400,
            "",
        ),
        both(
            "a chunk that is cut",
            "transfer-encoding: chunked",
            "ff\r\n{",
            400,
            "cut",
        ),
        both("a body that is cut", "content-length: 100", "{", 400, "cut"),
        both(
            "a header that is folded",
            "x-folded: a\r\n b\r\ncontent-length: 12",
            service,
            400,
            "",
        ),
        both("a blank before the colon", "content-length : 12", service, 400, ""),
        both("a header without a colon", "x-nothing", service, 400, ""),
        both("a zero byte in a header", "x-zero: a\0b", service, 400, ""),
        both("a header of a megabyte", &long, service, 431, ""),
        both("2,000 headers", &many.join("\r\n"), service, 431, ""),
    ]
    .into_iter()
    .flatten()
    .collect();
    for (to, side) in [(To::Plane, "REST"), (To::Tensors, "node")] {
        rows.extend([
            raw(&format!("{side}: no HTTP"), to, "hello\r\n\r\n", 400, ""),
            raw(
                &format!("{side}: TLS where there is none"),
                to,
                "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\r\n\r\n",
                400,
                "",
            ),
            raw(
                &format!("{side}: an unknown version"),
                to,
                "GET / HTTP/9.9\r\nhost: x\r\n\r\n",
                400,
                "",
            ),
            raw(
                &format!("{side}: a path of 100,000 letters"),
                to,
                &format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(100_000)),
                414,
                "",
            ),
        ]);
    }
    rows
}
