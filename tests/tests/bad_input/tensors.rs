//! Calls of a node whose body is wrong, in each dialect.

use super::table::{To, Wrong, call, call_with, flood, with_bytes};

pub(super) const INFER: &str = "POST /v2/models/plain/infer";
const PREDICT: &str = "POST /public/api/v1/iris/iris/predict";
const MULTI: &str = "POST /public/api/v1/iris/iris/predict-multi";
const SIMPLE: &str = "POST /predict";

/// One input of V2, as its text.
fn tensor(shape: &str, datatype: &str, data: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"input","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}"#)
}

fn v2(name: &str, body: &str, says: &'static str) -> Wrong {
    call(&format!("V2: {name}"), To::Tensors, INFER, body, 400, says)
}

fn records(name: &str, ask: &'static str, body: &str, says: &'static str) -> Wrong {
    call(&format!("records: {name}"), To::Columns, ask, body, 400, says)
}

fn simple(name: &str, to: To, body: &str, says: &'static str) -> Wrong {
    call(&format!("simple: {name}"), to, SIMPLE, body, 422, says)
}

pub(super) fn all() -> Vec<Wrong> {
    let deep = format!("{}1{}", "[".repeat(64), "]".repeat(64));
    let two = r#"{"name":"input","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}"#;
    let flower = r#""sepal_length":1,"sepal_width":1,"petal_length":1"#;
    vec![
        v2("no JSON", "{", "not JSON"),
        v2("nothing", "", "not JSON"),
        v2(
            "an array",
            r#"[["input",[1,4],"FP32",[1,2,3,4]]]"#,
            "invalid type: sequence",
        ),
        v2("no inputs", "{}", "missing field `inputs`"),
        v2("inputs of nothing", r#"{"inputs":[]}"#, "missing input input"),
        v2(
            "an input as an array",
            r#"{"inputs":[["input",[1,4],"FP32",[1,2,3,4]]]}"#,
            "/inputs/0",
        ),
        v2(
            "an unknown input",
            &tensor("[1,4]", "FP32", "[1,2,3,4]").replace("\"input\"", "\"Z\""),
            "no input Z",
        ),
        v2(
            "an input twice",
            &format!(r#"{{"inputs":[{two},{two}]}}"#),
            "input input is given twice",
        ),
        v2(
            "a name twice",
            &format!(r#"{{"inputs":[{two}],"inputs":[{two}]}}"#),
            "/inputs",
        ),
        v2(
            "a name twice inside",
            r#"{"inputs":[{"name":"input","name":"input","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#,
            "/inputs/0/name",
        ),
        v2(
            "another type",
            &tensor("[1,4]", "INT64", "[1,2,3,4]"),
            "input input: datatype is INT64",
        ),
        v2(
            "an unknown type",
            &tensor("[1,4]", "FP128", "[1,2,3,4]"),
            "no datatype FP128",
        ),
        v2(
            "another rank",
            &tensor("[4]", "FP32", "[1,2,3,4]"),
            "input input: shape is [4]",
        ),
        v2(
            "another width",
            &tensor("[1,5]", "FP32", "[1,2,3,4,5]"),
            "input input: shape is [1, 5]",
        ),
        v2(
            "a negative dimension",
            &tensor("[-1,4]", "FP32", "[1,2,3,4]"),
            "negative",
        ),
        v2(
            "a dimension that overflows",
            &tensor("[4611686018427387905,4]", "FP32", "[1,2,3,4]"),
            "input input",
        ),
        v2(
            "a dimension beyond 64 bits",
            &tensor("[99999999999999999999,4]", "FP32", "[1,2,3,4]"),
            "/inputs/0/shape/0",
        ),
        v2(
            "an immense dimension",
            &tensor("[2000000000,4]", "FP32", "[1,2,3,4]"),
            "the data has 4",
        ),
        v2(
            "a fraction of a dimension",
            &tensor("[1.5,4]", "FP32", "[1,2,3,4]"),
            "/inputs/0/shape/0",
        ),
        v2(
            "a shape that is none",
            &tensor("\"1x4\"", "FP32", "[1,2,3,4]"),
            "/inputs/0/shape",
        ),
        v2(
            "too few elements",
            &tensor("[1,4]", "FP32", "[1,2,3]"),
            "the shape holds 4 elements, the data has 3",
        ),
        v2(
            "too many elements",
            &tensor("[1,4]", "FP32", "[1,2,3,4,5]"),
            "the shape holds 4 elements, the data has more",
        ),
        v2(
            "ragged rows",
            &tensor("[2,4]", "FP32", "[[1,2,3,4],[1,2,3]]"),
            "an array at depth 2 has 3 items",
        ),
        v2(
            "a string for a number",
            &tensor("[1,4]", "FP32", "[1,2,\"3\",4]"),
            "element 2 is not a number",
        ),
        v2(
            "null for a number",
            &tensor("[1,4]", "FP32", "[1,null,3,4]"),
            "element 1 is not a number",
        ),
        v2(
            "NaN",
            &tensor("[1,4]", "FP32", "[1,NaN,3,4]"),
            "NaN and infinities are refused, at line 1 column",
        ),
        v2(
            "infinity",
            &tensor("[1,4]", "FP32", "[1,-Infinity,3,4]"),
            "NaN and infinities are refused, at line 1 column",
        ),
        v2(
            "a number too large for its type",
            &tensor("[1,4]", "FP32", "[1,2,3,1e39]"),
            "element 3 is too large",
        ),
        v2(
            "data 64 deep",
            &tensor("[1,4]", "FP32", &deep),
            "nested more deeply than the shape",
        ),
        v2(
            "no data",
            r#"{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32"}]}"#,
            "input input: it has no data",
        ),
        v2("data that is no array", &tensor("[1,4]", "FP32", "7"), "not an array"),
        v2(
            "an unknown output",
            &format!(r#"{{"inputs":[{two}],"outputs":[{{"name":"Z"}}]}}"#),
            "no output Z",
        ),
        v2(
            "a binary answer",
            &format!(r#"{{"inputs":[{two}],"parameters":{{"binary_data_output":true}}}}"#),
            "binary_data_output",
        ),
        call(
            "V2: binary tensors",
            To::Tensors,
            INFER,
            r#"{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}"#,
            400,
            "binary tensors are not taken",
        ),
        call(
            "V2: an unknown model",
            To::Tensors,
            "POST /v2/models/rose/infer",
            "{}",
            404,
            "no model rose",
        ),
        call(
            "V2: an unknown version",
            To::Tensors,
            "POST /v2/models/plain/versions/v9/infer",
            "{}",
            404,
            "no version v9",
        ),
        call(
            "V2: another method",
            To::Tensors,
            "GET /v2/models/plain/infer",
            "",
            405,
            "POST",
        ),
        call_with(
            "V2: a compressed body",
            To::Tensors,
            INFER,
            vec![("content-encoding", "gzip")],
            "x",
            415,
            "without a content encoding",
        ),
        flood(
            "V2: a body of 200 MB, announced",
            To::Tensors,
            "POST /v2/models/plain/infer HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 209715200\r\n\r\n",
            200 << 20,
            413,
            "at most 16777216 bytes",
        ),
        flood(
            "V2: a body of 200 MB, in one chunk",
            To::Tensors,
            "POST /v2/models/plain/infer HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ntransfer-encoding: chunked\r\n\r\nc800000\r\n",
            200 << 20,
            413,
            "at most 16777216 bytes",
        ),
        flood(
            "REST: a body of 200 MB",
            To::Plane,
            "POST /api/v1/services HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 209715200\r\n\r\n",
            200 << 20,
            413,
            "at most 262144 bytes",
        ),
        records("no JSON", PREDICT, "{", "not JSON"),
        records("an array", PREDICT, r#"[{}]"#, "invalid type: sequence"),
        records("no features", PREDICT, "{}", "missing field `features`"),
        records(
            "features that are none",
            PREDICT,
            r#"{"features":[1,2,3,4]}"#,
            "/features",
        ),
        records(
            "a column that is missing",
            PREDICT,
            &format!(r#"{{"features":{{{flower}}}}}"#),
            "/features/petal_width",
        ),
        records(
            "an unknown column",
            PREDICT,
            &format!(r#"{{"features":{{{flower},"petal_width":1,"smell":1}}}}"#),
            "/features/smell",
        ),
        records(
            "a column twice",
            PREDICT,
            &format!(r#"{{"features":{{{flower},"petal_width":1,"sepal_length":2}}}}"#),
            "/features/sepal_length",
        ),
        records(
            "a word for a number",
            PREDICT,
            &format!(r#"{{"features":{{{flower},"petal_width":"wide"}}}}"#),
            "/features/petal_width",
        ),
        records(
            "a list for a number",
            PREDICT,
            &format!(r#"{{"features":{{{flower},"petal_width":[1]}}}}"#),
            "/features/petal_width",
        ),
        records(
            "NaN",
            PREDICT,
            &format!(r#"{{"features":{{{flower},"petal_width":NaN}}}}"#),
            "NaN and infinities are refused",
        ),
        records(
            "an unknown field",
            PREDICT,
            &format!(r#"{{"features":{{{flower},"petal_width":1}},"explain":true}}"#),
            "explain",
        ),
        records(
            "a version that is not there",
            PREDICT,
            &format!(r#"{{"features":{{{flower},"petal_width":1}},"dispatch":{{"forcedGeneration":["v9"]}}}}"#),
            "/dispatch/forcedGeneration",
        ),
        records(
            "a wrong second row",
            MULTI,
            &format!(r#"{{"items":[{{"features":{{{flower},"petal_width":1}}}},{{"features":{{{flower}}}}}]}}"#),
            "/items/1/features/petal_width",
        ),
        records("rows 64 deep", MULTI, &format!(r#"{{"items":{deep}}}"#), "/items/0"),
        call(
            "records: a column twice in a query",
            To::Columns,
            "GET /public/api/v1/iris/iris/predict-simple?sepal_length=1&sepal_length=2",
            "",
            400,
            "/sepal_length",
        ),
        call(
            "records: another service",
            To::Columns,
            "POST /public/api/v1/roses/iris/predict",
            "{}",
            404,
            "no service roses",
        ),
        simple("no JSON", To::Columns, "{", "json_invalid"),
        simple("a number", To::Columns, "7", "neither an object"),
        simple(
            "a column twice",
            To::Columns,
            &format!(r#"{{{flower},"petal_width":1,"petal_width":2}}"#),
            "petal_width",
        ),
        simple(
            "a wrong second row",
            To::Columns,
            &format!(r#"[{{{flower},"petal_width":1}},{{{flower}}}]"#),
            r#"["body",1,"petal_width"]"#,
        ),
        simple("no inputs", To::Tensors, "{}", "missing field `inputs`"),
        simple(
            "an unknown input",
            To::Tensors,
            r#"{"inputs":{"Z":[[1,2,3,4]]}}"#,
            r#"["body","inputs","Z"]"#,
        ),
        simple(
            "an input twice",
            To::Tensors,
            r#"{"inputs":{"input":[[1,2,3,4]],"input":[[1,2,3,4]]}}"#,
            r#"["body","inputs","input"]"#,
        ),
        simple(
            "ragged rows",
            To::Tensors,
            r#"{"inputs":[[1,2,3,4],[1,2,3]]}"#,
            r#"["body","inputs","input"]"#,
        ),
        simple(
            "another width",
            To::Tensors,
            r#"{"inputs":[[1,2,3]]}"#,
            r#"["body","inputs","input"]"#,
        ),
        with_bytes(v2("invalid UTF-8 in a name", "", "not JSON"), b"{\"inp\xc3\x28ts\":[]}"),
        with_bytes(
            v2("invalid UTF-8 in data", "", "not JSON"),
            b"{\"inputs\":[{\"name\":\"input\",\"shape\":[1,4],\"datatype\":\"FP32\",\"data\":[\"\xff\"]}]}",
        ),
        with_bytes(
            records("invalid UTF-8", PREDICT, "", "not JSON"),
            b"{\"features\":{\"sepal_length\":\"\xff\"}}",
        ),
        with_bytes(
            simple("invalid UTF-8", To::Columns, "", "json_invalid"),
            b"{\"sepal_length\":\"\xff\"}",
        ),
    ]
}
