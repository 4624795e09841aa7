//! What is read, what is refused, and where.

use super::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leg {
    #[allow(dead_code)]
    weight: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct In<'a> {
    #[serde(default)]
    legs: Vec<Leg>,
    #[serde(default)]
    row: Map<String, Value>,
    #[serde(default)]
    maybe: Option<Leg>,
    #[serde(borrow, default)]
    raw: Option<&'a RawValue>,
}

#[test]
fn what_is_wrong_has_its_place() {
    for (text, pointer, said) in [
        (r#"[[]]"#, "", "invalid type: sequence, expected struct In"),
        (r#"{"legs":[{"weight":1},[2]]}"#, "/legs/1", "invalid type: sequence"),
        (r#"{"legs":[{"weight":"x"}]}"#, "/legs/0/weight", "invalid type: string"),
        (r#"{"legs":[{"weight":1,"weight":2}]}"#, "/legs/0/weight", "twice"),
        (r#"{"legs":[],"row":{},"legs":[]}"#, "/legs", "twice"),
        (r#"{"row":{"a":1,"b":2,"\u0061":3}}"#, "/row/a", "is there twice"),
        (
            r#"{"row":{"a":[0,{"b/c":1,"b/c":1}]}}"#,
            "/row/a/1/b~1c",
            "is there twice",
        ),
        (r#"{"maybe":[1]}"#, "/maybe", "invalid type: sequence"),
        (r#"{"lags":1}"#, "/lags", "unknown field"),
        (r#"{"legs":[{}]}"#, "/legs/0", "missing field"),
        (r#"{"row":{"a":1}"#, "", "EOF"),
        (r#"{"row":{}} x"#, "", "trailing"),
    ] {
        let wrong = from_slice::<In<'_>>(text.as_bytes()).unwrap_err();
        assert_eq!(wrong.pointer(), pointer, "{text}: {}", wrong.error);
        assert!(wrong.error.to_string().contains(said), "{text}: {}", wrong.error);
    }
}

#[test]
fn what_is_right_is_read_as_ever() {
    let text = r#"{"legs":[{"weight":7}],"row":{"x":[1,{"y":null}],"\u00e9":"\n"},"maybe":null,"raw":{"a":1,"a":2}}"#;
    let read: In<'_> = from_slice(text.as_bytes()).unwrap();
    assert_eq!(Value::Object(read.row), json!({"x": [1, {"y": null}], "é": "\n"}));
    assert_eq!(read.raw.unwrap().get(), r#"{"a":1,"a":2}"#);
}

#[test]
fn a_name_among_many_may_not_come_twice_either() {
    let many: Vec<String> = (0..100).map(|n| format!("\"n{n}\":{n}")).collect();
    let whole = format!("{{{}}}", many.join(","));
    assert!(from_slice::<Value>(whole.as_bytes()).is_ok());
    let twice = format!("{{{},\"n3\":1}}", many.join(","));
    let wrong = from_slice::<Value>(twice.as_bytes()).unwrap_err();
    assert_eq!(wrong.pointer(), "/n3");
}
