//! Calls of a node without the key that opens it, and of the REST API without a token.

use super::table::{To, Wrong, call_with};

const INFER: &str = "POST /v2/models/plain/infer";
const PREDICT: &str = "POST /public/api/v1/iris/iris/predict";

fn v2(name: &str, headers: Vec<(&'static str, &'static str)>, status: u16, says: &'static str) -> Wrong {
    call_with(&format!("V2: {name}"), To::Tensors, INFER, headers, "{}", status, says)
}

pub(super) fn all() -> Vec<Wrong> {
    let none = ("authorization", "");
    vec![
        v2("no key", vec![none], 401, "an API key is needed"),
        v2(
            "a key of nobody",
            vec![("authorization", "Bearer {unknown}")],
            401,
            "the API key is not valid",
        ),
        v2(
            "a key with a typo",
            vec![("authorization", "Bearer {typo}")],
            401,
            "the API key is not valid",
        ),
        v2(
            "a key of another deployment",
            vec![("authorization", "Bearer {other}")],
            401,
            "the API key is not valid",
        ),
        v2(
            "an expired key",
            vec![("authorization", "Bearer {expired}")],
            401,
            "the API key is not valid",
        ),
        v2(
            "a revoked key",
            vec![("authorization", "Bearer {revoked}")],
            401,
            "the API key is not valid",
        ),
        v2(
            "a key whose time has not come",
            vec![("authorization", "Bearer {early}")],
            401,
            "the API key is not valid",
        ),
        v2(
            "an access token for a key",
            vec![("authorization", "Bearer {token}")],
            401,
            "the API key is not valid",
        ),
        v2(
            "a key of 10,000 letters",
            vec![("authorization", "Bearer {long}")],
            401,
            "the API key is not valid",
        ),
        v2("two keys", vec![("x-api-key", "{key}")], 400, "more than one API key"),
        v2(
            "two equal headers",
            vec![none, ("x-api-key", "{key}"), ("X-Api-Key", "{key}")],
            400,
            "more than one API key",
        ),
        v2(
            "a password beside the key",
            vec![("authorization", "Basic {basic-password}")],
            400,
            "the password is empty",
        ),
        v2(
            "a Basic that is none",
            vec![("authorization", "Basic %%%")],
            401,
            "the API key is not valid",
        ),
        v2(
            "another scheme",
            vec![("authorization", "Digest {key}")],
            401,
            "an API key is needed",
        ),
        call_with(
            "V2: the key in the URL",
            To::Tensors,
            "POST /v2/models/plain/infer?api_key={key}",
            vec![none],
            "{}",
            400,
            "URL",
        ),
        call_with(
            "V2: a key as any parameter",
            To::Tensors,
            "POST /v2/models/plain/infer?x={key}",
            vec![],
            "{}",
            400,
            "URL",
        ),
        call_with(
            "V2: a key in the path",
            To::Tensors,
            "GET /v2/models/{key}",
            vec![],
            "",
            400,
            "URL",
        ),
        call_with(
            "records: no key",
            To::Columns,
            PREDICT,
            vec![none],
            "{}",
            401,
            "an API key is needed",
        ),
        call_with(
            "records: a key of another deployment",
            To::Columns,
            PREDICT,
            vec![("authorization", "Bearer {key}")],
            "{}",
            401,
            "the API key is not valid",
        ),
        call_with(
            "simple: no key",
            To::Columns,
            "POST /predict",
            vec![none],
            "{}",
            401,
            "Not authenticated",
        ),
        call_with(
            "simple: a wrong key",
            To::Columns,
            "POST /predict",
            vec![none, ("x-api-key", "{unknown}")],
            "{}",
            403,
            "Invalid API key",
        ),
        call_with(
            "nothing there, and no key",
            To::Columns,
            "GET /etc/passwd",
            vec![none],
            "",
            401,
            "Not authenticated",
        ),
        call_with(
            "REST: no token",
            To::Plane,
            "GET /services",
            vec![none],
            "",
            401,
            "unauthenticated",
        ),
        call_with(
            "REST: a token of nobody",
            To::Plane,
            "GET /services",
            vec![(
                "authorization",
                "Bearer castoff_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            )],
            "",
            401,
            "unauthenticated",
        ),
        call_with(
            "REST: a key for a token",
            To::Plane,
            "GET /services",
            vec![("authorization", "Bearer {key}")],
            "",
            401,
            "unauthenticated",
        ),
        call_with(
            "REST: a token in the URL",
            To::Plane,
            "GET /services?token={token}",
            vec![none],
            "",
            401,
            "unauthenticated",
        ),
        call_with(
            "REST: a wrong password",
            To::Plane,
            "POST /session",
            vec![none, ("content-type", "application/json")],
            r#"{"name":"sam","password":"not the right one"}"#,
            401,
            "unauthenticated",
        ),
    ]
}
