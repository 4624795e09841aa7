//! What is sent wrong, and what each gets: one list, in files by subject.

use super::{bodies, keys, names, packages, states, tensors, unsent, wire};

/// Whom it is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// The REST API, by the admin.
    Plane,
    /// The node of `iris-on-dev`, whose model takes columns, with its key.
    Columns,
    /// The node of `plain-on-dev`, whose model takes one tensor, with its key.
    Tensors,
}

/// How it is sent.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    /// By a client: `METHOD /path`, headers beside the usual ones, a body. A header named twice replaces the usual one.
    Asked(&'static str, Vec<(&'static str, &'static str)>, Vec<u8>),
    /// As these very bytes.
    Raw(Vec<u8>),
    /// A head, and then so many blanks.
    Flood(&'static str, usize),
    /// A head, and then nothing, without hanging up.
    Begun(String),
    /// A head, and then a byte a second.
    Dripped(String),
}

/// One wrong input.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) name: String,
    pub(super) to: To,
    pub(super) sent: Sent,
    pub(super) status: u16,
    /// What the answer must say: the place, or the reason.
    pub(super) says: &'static str,
}

/// All of them.
pub(super) fn all() -> Vec<Wrong> {
    [
        bodies::all(),
        names::all(),
        states::all(),
        packages::all(),
        tensors::all(),
        keys::all(),
        wire::all(),
        unsent::all(),
    ]
    .concat()
}

fn row(name: &str, to: To, sent: Sent, status: u16, says: &'static str) -> Wrong {
    Wrong {
        name: name.to_owned(),
        to,
        sent,
        status,
        says,
    }
}

/// JSON for the REST API.
pub(super) fn rest(name: &str, ask: &'static str, body: &str, status: u16, says: &'static str) -> Wrong {
    let sent = Sent::Asked(ask, vec![("content-type", "application/json")], body.into());
    row(name, To::Plane, sent, status, says)
}

/// JSON for the REST API, with a header.
pub(super) fn rest_with(
    name: &str,
    ask: &'static str,
    header: (&'static str, &'static str),
    body: &str,
    status: u16,
    says: &'static str,
) -> Wrong {
    let sent = Sent::Asked(ask, vec![("content-type", "application/json"), header], body.into());
    row(name, To::Plane, sent, status, says)
}

/// The same with these bytes as its body.
pub(super) fn with_bytes(mut wrong: Wrong, body: &[u8]) -> Wrong {
    if let Sent::Asked(_, _, bytes) = &mut wrong.sent {
        *bytes = body.to_vec();
    }
    wrong
}

/// A package for a version that is not there.
pub(super) fn package(name: &str, bytes: Vec<u8>, status: u16, says: &'static str) -> Wrong {
    let sent = Sent::Asked(
        "PUT /services/iris/versions/wrong",
        vec![("content-type", "application/octet-stream")],
        bytes,
    );
    row(&format!("package: {name}"), To::Plane, sent, status, says)
}

/// JSON for a node.
pub(super) fn call(name: &str, to: To, ask: &'static str, body: &str, status: u16, says: &'static str) -> Wrong {
    call_with(
        name,
        to,
        ask,
        vec![("content-type", "application/json")],
        body,
        status,
        says,
    )
}

/// A call of a node with these headers.
#[expect(clippy::too_many_arguments, reason = "a row has as many columns")]
pub(super) fn call_with(
    name: &str,
    to: To,
    ask: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: &str,
    status: u16,
    says: &'static str,
) -> Wrong {
    row(name, to, Sent::Asked(ask, headers, body.into()), status, says)
}

/// Bytes on a socket.
pub(super) fn raw(name: &str, to: To, text: &str, status: u16, says: &'static str) -> Wrong {
    row(name, to, Sent::Raw(text.into()), status, says)
}

/// A body that is far too large.
pub(super) fn flood(name: &str, to: To, head: &'static str, bytes: usize, status: u16, says: &'static str) -> Wrong {
    row(name, to, Sent::Flood(head, bytes), status, says)
}

/// A head with this line about its body, of which nothing comes.
pub(super) fn begun(name: &str, to: To, ask: &str, length: &str, status: u16, says: &'static str) -> Wrong {
    row(name, to, Sent::Begun(head(to, ask, length)), status, says)
}

/// A head with this line about its body, which comes a byte a second.
pub(super) fn dripped(name: &str, to: To, ask: &str, length: &str, status: u16, says: &'static str) -> Wrong {
    row(name, to, Sent::Dripped(head(to, ask, length)), status, says)
}

fn head(to: To, ask: &str, length: &str) -> String {
    let proof = if to == To::Plane { "{token}" } else { "{key}" };
    format!(
        "{ask} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {proof}\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
    )
}
