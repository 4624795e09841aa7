//! Bodies that do not come: announced too large, begun and left, or a byte a second.

use super::stage::PATIENCE;
use super::table::{Sent, To, Wrong, begun, dripped};
use super::tensors::INFER;

const SERVICES: &str = "POST /api/v1/services";
const UPLOAD: &str = "PUT /api/v1/services/iris/versions/wrong";
const LOG_IN: &str = "POST /api/v1/session";
/// More than any body may have.
const FIVE_GB: &str = "content-length: 5000000000";
const ENDLESS: &str = "transfer-encoding: chunked";
const SOME: &str = "content-length: 10000";

pub(super) fn all() -> Vec<Wrong> {
    let json = "at most 262144 bytes";
    let mut rows = Vec::new();
    for (name, to, ask, says) in [
        ("REST: JSON", To::Plane, SERVICES, json),
        ("REST: a log-in", To::Plane, LOG_IN, json),
        ("REST: a package", To::Plane, UPLOAD, "larger than 2147483648 bytes"),
        ("node: a call", To::Tensors, INFER, "at most 16777216 bytes"),
    ] {
        let asks_first = format!("{FIVE_GB}\r\nexpect: 100-continue");
        rows.extend([
            begun(&format!("{name} of 5 GB, announced"), to, ask, FIVE_GB, 413, says),
            begun(
                &format!("{name} of 5 GB, asked for first"),
                to,
                ask,
                &asks_first,
                413,
                says,
            ),
        ]);
    }
    let (whole, part) = (
        "the body must come within 4 s",
        "1048576 bytes of it must come every 4 s",
    );
    assert_eq!(PATIENCE, "4");
    let late = "did not arrive before the deadline";
    for (name, to, ask, says) in [
        ("REST: JSON", To::Plane, SERVICES, whole),
        ("REST: a log-in", To::Plane, LOG_IN, whole),
        ("REST: a package", To::Plane, UPLOAD, part),
        ("node: a call", To::Tensors, INFER, late),
    ] {
        rows.extend([
            begun(&format!("{name} of which nothing comes"), to, ask, SOME, 408, says),
            dripped(&format!("{name} that comes a byte a second"), to, ask, SOME, 408, says),
        ]);
    }
    rows.push(dripped(
        "REST: a package that comes a byte a second, of no known size",
        To::Plane,
        UPLOAD,
        ENDLESS,
        408,
        part,
    ));
    rows
}

/// Rows for which is waited as long as the other side does: they go on beside each other.
pub(super) fn takes_its_time(row: &Wrong) -> bool {
    matches!(row.sent, Sent::Begun(_) | Sent::Dripped(_))
}
