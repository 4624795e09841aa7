//! Names that are none, and names that are taken.

use super::table::{Wrong, rest};

pub(super) fn all() -> Vec<Wrong> {
    let mut rows: Vec<Wrong> = [
        ("in capitals", "Iris"),
        ("with an underscore", "my_model"),
        ("with a dot", "my.model"),
        ("that begins with a digit", "1model"),
        ("that begins with a hyphen", "-model"),
        ("that ends with a hyphen", "model-"),
        ("with a blank", "my model"),
        ("with a slash", "my/model"),
        ("with a zero byte", "my\\u0000model"),
        ("with an umlaut", "mödel"),
        ("of an emoji", "🚢"),
        ("that is empty", ""),
        ("of 30 characters", "a23456789012345678901234567890"),
        ("with a line break", "model\\n"),
    ]
    .iter()
    .map(|(what, name)| {
        let body = format!(r#"{{"name":"{name}"}}"#);
        rest(
            &format!("a service's name {what}"),
            "POST /services",
            &body,
            422,
            "/name",
        )
    })
    .collect();
    rows.extend([
        rest(
            "an infrastructure's name in capitals",
            "POST /infrastructures",
            r#"{"name":"Dev","kind":"local","stage":"dev"}"#,
            422,
            "/name",
        ),
        rest(
            "a stage that is none",
            "POST /infrastructures",
            r#"{"name":"x","kind":"local","stage":"Dev Stage"}"#,
            422,
            "/stage",
        ),
        rest(
            "a kind that is none",
            "POST /infrastructures",
            r#"{"name":"x","kind":"cloud","stage":"dev"}"#,
            422,
            "/kind",
        ),
        rest(
            "a deployment's name with a dot",
            "POST /deployments",
            r#"{"name":"a.b","service":"iris","infrastructure":"dev","version":"v1"}"#,
            422,
            "/name",
        ),
        rest(
            "a group's name with a blank",
            "POST /groups",
            r#"{"name":"my group"}"#,
            422,
            "/name",
        ),
        rest(
            "a user's name with a colon",
            "POST /users",
            r#"{"name":"a:b"}"#,
            422,
            "/name",
        ),
        rest(
            "a key's name with a line break",
            "POST /deployments/iris-on-dev/keys",
            r#"{"name":"a\nb"}"#,
            422,
            "/name",
        ),
        rest(
            "a key's name that is too long",
            "POST /deployments/iris-on-dev/keys",
            &format!(r#"{{"name":"{}"}}"#, "x".repeat(101)),
            422,
            "/name",
        ),
        rest(
            "a header that is none",
            "PATCH /deployments/iris-on-dev",
            r#"{"key_header":"x key"}"#,
            422,
            "/key_header",
        ),
        rest(
            "a header that means something else",
            "PATCH /deployments/iris-on-dev",
            r#"{"key_header":"content-length"}"#,
            422,
            "/key_header",
        ),
        rest(
            "a version's name that is a path",
            "GET /services/iris/versions/..%2F..%2Fetc",
            "",
            404,
            "not-found",
        ),
        rest(
            "a service that is there",
            "POST /services",
            r#"{"name":"iris"}"#,
            409,
            "another service has this name",
        ),
        rest(
            "a group that is there",
            "POST /groups",
            r#"{"name":"devops"}"#,
            409,
            "another group has this name",
        ),
        rest(
            "a user that is there",
            "POST /users",
            r#"{"name":"dana"}"#,
            409,
            "another account has this name",
        ),
        rest(
            "an infrastructure that is there",
            "POST /infrastructures",
            r#"{"name":"dev","kind":"local","stage":"dev"}"#,
            409,
            "another infrastructure has this name",
        ),
        rest(
            "a deployment that is there",
            "POST /deployments",
            r#"{"service":"iris","infrastructure":"dev","version":"v1"}"#,
            409,
            "another deployment has this name",
        ),
    ]);
    rows
}
