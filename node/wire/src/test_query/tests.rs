use super::*;

fn refusal(file: &str) -> (String, String) {
    let refused = parse(file.as_bytes()).unwrap_err();
    (refused.pointer, refused.reason)
}

#[test]
fn both_kinds_are_read() {
    let file = r#"[
        {"features": {"a": 5.1, "b": "x"}, "expected": {"prediction": "setosa", "probas": {"setosa": 0.97}}, "tolerance": 0.02},
        {"features": {"a": null}},
        {"inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2.5]]}],
         "expected": {"outputs": [{"name": "y", "data": [3], "shape": [1], "datatype": "FP32"}]}}]"#;
    let queries = parse(file.as_bytes()).unwrap();
    let Asks::Record { features, expected } = &queries[0].asks else {
        panic!("a record")
    };
    assert_eq!((features["a"].get(), features["b"].get()), ("5.1", "\"x\""));
    let expected = expected.as_ref().unwrap();
    assert_eq!(expected.prediction, Some("setosa".into()));
    assert_eq!(expected.probas["setosa"], 0.97);
    assert_eq!((queries[0].tolerance, queries[1].tolerance), (0.02, TOLERANCE));
    assert!(matches!(&queries[1].asks, Asks::Record { expected: None, .. }));
    let Asks::Tensors { inputs, expected } = &queries[2].asks else {
        panic!("tensors")
    };
    assert_eq!(
        serde_json::to_string(inputs).unwrap(),
        r#"[{"name":"X","shape":[1,2],"datatype":"FP32","data":[[1, 2.5]]}]"#
    );
    assert_eq!((expected[0].name.as_str(), expected[0].data.get()), ("y", "[3]"));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (file, pointer, reason) in [
        ("", "", "EOF"),
        ("{}", "", "expected a sequence"),
        ("[]", "", "must have 1 to 64 queries, but has 0"),
        ("[{}]", "/0", "must have features"),
        (r#"[{"features": {}, "inputs": []}]"#, "/0", "not both"),
        (r#"[{"features": {}, "expect": {}}]"#, "/0/expect", "unknown field"),
        (r#"[{"features": {"a": 1, "a": 2}}]"#, "/0/features/a", "twice"),
        (
            r#"[{"features": {}, "expected": {}}]"#,
            "/0/expected",
            "prediction or probas",
        ),
        (
            r#"[{"features": {}, "expected": {"outputs": [{"name": "y", "data": 1}]}}]"#,
            "/0/expected/outputs",
            "are for inputs",
        ),
        (
            r#"[{"inputs": [], "expected": {"prediction": 1}}]"#,
            "/0/expected",
            "for features",
        ),
        (
            r#"[{"inputs": [], "expected": {}}]"#,
            "/0/expected/outputs",
            "at least one",
        ),
        (
            r#"[{"features": {}}, {"inputs": [{"name": "x", "shape": 1}]}]"#,
            "/1/inputs/0/shape",
            "invalid type",
        ),
        (
            r#"[{"features": {}, "expected": {"probas": {"a": "b"}}}]"#,
            "/0/expected/probas/a",
            "invalid type",
        ),
        (r#"[{"features": {}, "tolerance": -1}]"#, "/0/tolerance", "negative"),
        (r#"[{"features": {}, "tolerance": NaN}]"#, "", "expected"),
        (r#"[{"features": {}, "tolerance": 1e999}]"#, "", "out of range"),
    ] {
        let (at, said) = refusal(file);
        assert_eq!(at, pointer, "{file}: {said}");
        assert!(said.contains(reason), "{file}: {said}");
    }
    let many = format!("[{}]", vec![r#"{"features":{}}"#; MOST + 1].join(","));
    assert!(refusal(&many).1.contains("but has 65"));
    let large = " ".repeat(LARGEST as usize + 1);
    assert!(refusal(&large).1.contains("bytes"));
}

#[test]
fn elements_are_counted_however_they_are_nested() {
    for (json, expected) in [
        ("1", Some(1)),
        ("[]", Some(0)),
        (r#"[[1, -2.5], ["a,]", true]]"#, Some(4)),
        ("[1, {}]", None),
        ("[null]", None),
    ] {
        let value: Box<RawValue> = serde_json::from_str(json).unwrap();
        assert_eq!(count(&value), expected, "{json}");
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let deep = format!(
        r#"[{{"features": {{"a": {}1{}}}}}]"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let _ = parse(deep.as_bytes());
    let value = RawValue::from_string(format!("{}1{}", "[".repeat(120), "]".repeat(120))).unwrap();
    assert_eq!(count(&value), Some(1));
}
