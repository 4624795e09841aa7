use super::super::onnx::write::*;
use super::super::testing;
use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const IRIS: &str =
    "endpoints:\n  - name: iris\n    model: models/iris.onnx\n    columns: [a, b, c, d]\n    labels: [x, y, z]\n";

fn look(bytes: &[u8]) -> Result<(Manifest, Vec<Section>), Refused> {
    look_within(bytes, &Limits::default())
}

fn look_within(bytes: &[u8], limits: &Limits) -> Result<(Manifest, Vec<Section>), Refused> {
    inspect(
        &testing::section(bytes),
        &ServiceName::parse("flowers").unwrap(),
        tempfile::tempfile,
        limits,
    )
}

fn reason(bytes: &[u8]) -> String {
    refusal(look(bytes)).reason
}

fn refusal<T>(result: Result<T, Refused>) -> Invalid {
    match result {
        Err(Refused::Invalid(invalid)) => invalid,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("was accepted"),
    }
}

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// One entry of a tar with whatever name and type.
fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
    [header.as_bytes(), content, &padding].concat()
}

fn gzipped(tar: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}

fn tarred(entries: &[Vec<u8>]) -> Vec<u8> {
    gzipped(&[entries.concat(), vec![0; 1_024]].concat())
}

#[test]
fn a_lone_model_is_named_as_its_service() {
    let (manifest, files) = look(&by_columns()).unwrap();
    assert_eq!(manifest.opset, 21);
    let endpoint = manifest.endpoint("flowers").unwrap();
    assert_eq!(
        (endpoint.kind, endpoint.file.path.as_str()),
        (EndpointKind::Records, "flowers.onnx")
    );
    assert_eq!(endpoint.file.digest, files[0].digest);
    assert_eq!(look(&classifier(4)).unwrap().0.endpoints[0].kind, EndpointKind::Tensor);
}

#[test]
fn zip_and_tar_give_the_same_manifest() {
    let model = classifier(4);
    let yaml = format!("{IRIS}  - name: raw\n    model: models/iris.onnx\n    kind: tensor\n");
    let zip = zipped(&[
        ("models/", b""),
        ("models/iris.onnx", &model),
        ("service.yaml", yaml.as_bytes()),
        ("README", b""),
    ]);
    let tar = tarred(&[
        entry("./", b'5', b""),
        entry("pax_global_header", b'g', b"30 comment=0123456789abcdef01\n"),
        entry("./service.yaml", b'0', yaml.as_bytes()),
        entry("./models/iris.onnx", b'0', &model),
    ]);
    let (from_zip, files) = look(&zip).unwrap();
    assert_eq!(from_zip, look(&tar).unwrap().0);
    assert_eq!((files.len(), files[0].size), (1, model.len() as u64));
    assert_eq!(files[0].head(1_000).unwrap(), model);
    let iris = from_zip.endpoint("iris").unwrap();
    assert_eq!(
        (iris.kind, iris.columns.len(), iris.labels.len()),
        (EndpointKind::Records, 4, 3)
    );
    assert_eq!(from_zip.endpoint("raw").unwrap().kind, EndpointKind::Tensor);
    assert_eq!(from_zip.files().count(), 1);
    let json = serde_json::to_string(&from_zip).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), from_zip);
}

#[test]
fn service_yaml_is_held_against_the_model() {
    let (one, many) = (classifier(4), by_columns());
    for (yaml, pointer, expected) in [
        (
            "{name: a, model: one, columns: [a, b]}",
            "/endpoints/0/columns",
            "are 2, but input X takes 4",
        ),
        (
            "{name: a, model: many, columns: [a, b]}",
            "/endpoints/0/columns",
            "the model takes 2 inputs",
        ),
        (
            "{name: a, model: one, columns: []}",
            "/endpoints/0/columns",
            "at least one",
        ),
        (
            "{name: a, model: one, columns: [a, b, b, c]}",
            "/endpoints/0/columns/2",
            "twice",
        ),
        (
            "{name: a, model: one, kind: tensor, columns: [a, b, c, d]}",
            "/endpoints/0/columns",
            "are for records",
        ),
        (
            "{name: a, model: one, kind: records}",
            "/endpoints/0/kind",
            "every input is one column",
        ),
        (
            "{name: a, model: one, labels: []}",
            "/endpoints/0/labels",
            "at least one",
        ),
        (
            "{name: a, model: one, labels: [a, b]}",
            "/endpoints/0/labels",
            "are 2, but output probabilities has 3",
        ),
        (
            "{name: a, model: one, labels: [a, '', c]}",
            "/endpoints/0/labels/1",
            "empty",
        ),
        (
            "{name: a, model: one, max_batch_size: 0}",
            "/endpoints/0/max_batch_size",
            "must be 1 to 1024",
        ),
        (
            "{name: a, model: one, max_batch_size: 1025}",
            "/endpoints/0/max_batch_size",
            "must be 1 to 1024",
        ),
        (
            "{name: a, model: one, max_batch_size: -1}",
            "/endpoints/0/max_batch_size",
            "must be 1 to 1024",
        ),
        (
            "{name: a, model: one, max_batch_size: many}",
            "/endpoints/0/max_batch_size",
            "expected a whole number",
        ),
        ("{name: A, model: one}", "/endpoints/0/name", "lower-case"),
        (
            "{name: a, model: none}",
            "/endpoints/0/model",
            "none is not in the package",
        ),
        (
            "{name: a, model: ../one}",
            "/endpoints/0/model",
            "is not in the package",
        ),
        (
            "{name: a, model: service.yaml}",
            "/endpoints/0/model",
            "service.yaml is text",
        ),
        (
            "{name: a, model: one}, {name: a, model: many}",
            "/endpoints/1/name",
            "another endpoint",
        ),
        (
            "{name: a, model: one, kind: image}",
            "/endpoints/0/kind",
            "unknown variant",
        ),
        ("", "/endpoints", "at least one"),
    ] {
        let yaml = format!("endpoints: [{yaml}]");
        let zip = zipped(&[("service.yaml", yaml.as_bytes()), ("one", &one), ("many", &many)]);
        let invalid = refusal(look(&zip));
        assert_eq!(invalid.pointer, pointer, "{yaml}: {invalid}");
        assert!(invalid.reason.contains(expected), "{yaml}: {invalid}");
    }
}

#[test]
fn batches_need_a_dimension_for_them() {
    let sized = |yaml: &str, model: &[u8]| {
        let yaml = format!("endpoints: [{{name: a, model: m{yaml}}}]");
        look(&zipped(&[("service.yaml", yaml.as_bytes()), ("m", model)]))
    };
    let asked = ", max_batch_size: 64";
    for (model, yaml, size) in [
        (classifier(4), "", 1),
        (classifier(4), asked, 64),
        // The maps of a ZipMap are one for each row.
        (by_columns(), asked, 64),
        (fixed(), ", max_batch_size: 1", 1),
    ] {
        let (manifest, _) = sized(yaml, &model).unwrap();
        assert_eq!(manifest.endpoints[0].max_batch_size, size, "{yaml}");
    }
    let invalid = refusal(sized(asked, &fixed()));
    assert_eq!(invalid.pointer, "/endpoints/0/max_batch_size");
    let expected = "input X has the shape [1, 4]: export the model with its first dimension variable";
    assert!(invalid.reason.contains(expected), "{invalid}");
    // What is stored of packages from before says nothing of it.
    let (manifest, _) = sized("", &classifier(4)).unwrap();
    let mut stored = serde_json::to_value(&manifest).unwrap();
    let endpoint = stored["endpoints"][0].as_object_mut().unwrap();
    assert_eq!(endpoint.remove("max_batch_size"), Some(1.into()));
    assert_eq!(serde_json::from_value::<Manifest>(stored).unwrap(), manifest);
}

/// A model of one row.
fn fixed() -> Vec<u8> {
    model(&[node("Neg", "", &[]), input("X", 1, &[1, 4]), output("Y", 1, &[1, 4])])
}

#[test]
fn without_a_service_yaml_it_says_what_to_write() {
    let model = classifier(4);
    let said = reason(&zipped(&[("iris.onnx", &model)]));
    assert!(
        said.contains("Upload iris.onnx alone") && said.contains("model: iris.onnx"),
        "{said}"
    );
    assert!(reason(&zipped(&[("a.onnx", &model), ("b.onnx", &model)])).contains("endpoints:"));
    assert!(reason(&zipped(&[("p/service.yaml", b""), ("p/a.onnx", &model)])).contains("not at p/service.yaml"));
    assert!(reason(&zipped(&[("a.txt", b"")])).contains("no .onnx file"));
    let long = vec![b'#'; 65_537];
    assert!(reason(&zipped(&[("service.yaml", &long)])).contains("more than 65536 bytes"));
}

#[test]
fn what_is_no_model_is_named() {
    let mut tar = entry("a", b'0', b"");
    tar.extend([0; 1_024]);
    for (bytes, expected) in [
        (&b""[..], "is empty"),
        (b"hello", "is text, not an ONNX model"),
        (b"<!DOCTYPE html><html>\xc3", "is text, not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"PK\x05\x06\0\0", "empty zip"),
        (b"PK\x03\x04\0\0", "the package cannot be unpacked"),
        (b"\x1f\x8b\x08\0\0", "is truncated"),
        (&gzipped(b"hello"), "the package is"),
        (&gzipped(b""), "no tar archive"),
        (&tar, "compress it with gzip"),
    ] {
        let said = reason(bytes);
        assert!(said.contains(expected), "{said} / {expected}");
    }
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let long = "a".repeat(300);
    let deep = "a/".repeat(9) + "a";
    for name in [
        "../a",
        "a/../../b",
        "/etc/passwd",
        "a\\b",
        "a//b",
        "a/./b",
        "C:/a",
        &deep,
        "..",
        "a/..",
        "a\nb",
        &long,
    ] {
        let said = reason(&zipped(&[("service.yaml", b"endpoints: []"), (name, b"x")]));
        assert!(said.contains("path that is not accepted"), "{name}: {said}");
        if name.len() < 100 {
            let said = reason(&tarred(&[entry(name, b'0', b"x")]));
            assert!(said.contains("path that is not accepted"), "{name}: {said}");
        }
    }
    assert!(reason(&zipped(&[("a\0b", b"x")])).contains("not print"));
}

#[test]
fn links_devices_and_doubles_are_refused() {
    for (kind, expected) in [
        (b'1', "a link"),
        (b'2', "a link"),
        (b'3', "neither"),
        (b'6', "neither"),
        (b'S', ""),
    ] {
        let said = reason(&tarred(&[entry("a", kind, b"")]));
        assert!(said.contains(expected), "{said}");
    }
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.add_symlink("service.yaml", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    assert!(reason(&zip.finish().unwrap().into_inner()).contains("a link"));
    assert!(reason(&tarred(&[entry("a", b'0', b"x"), entry("./a", b'0', b"y")])).contains("two files named a"));
    // The writer makes no doubles: rename one in the finished archive.
    let twice = zipped(&[("twice", b"x"), ("other", b"y")]);
    let twice = replaced(&twice, b"other", b"twice");
    assert!(reason(&twice).contains("two files"));
    assert!(reason(&zipped(&[("a", b"x"), ("./a", b"y")])).contains("two files named a"));
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn bombs_are_stopped_while_they_go_off() {
    let zeros = vec![0; 8 << 20];
    let expected = "unpacks to more than";
    assert!(reason(&zipped(&[("a", &zeros)])).contains(expected));
    assert!(reason(&tarred(&[entry("a", b'0', &zeros)])).contains(expected));
    let limits = Limits {
        unpacked: 1_000,
        ..Limits::default()
    };
    let noise: Vec<u8> = (0..2_000_u32)
        .flat_map(|at| castoff_wire::sha256(&[&at.to_le_bytes()]))
        .collect();
    assert!(
        refusal(look_within(&zipped(&[("a", &noise)]), &limits))
            .reason
            .contains(expected)
    );
    assert!(
        refusal(look_within(&tarred(&[entry("a", b'0', &noise)]), &limits))
            .reason
            .contains(expected)
    );
    // A name of a megabyte, which the decoder would gather in memory.
    let name: Vec<u8> = noise
        .iter()
        .cycle()
        .take(1 << 20)
        .map(|byte| byte % 26 + b'a')
        .collect();
    assert!(
        reason(&tarred(&[entry("././@LongLink", b'L', &name), entry("a", b'0', b"")]))
            .contains("headers that are too large")
    );
    let limits = Limits {
        entries: 3,
        ..Limits::default()
    };
    let names = ["a", "b", "c", "d"];
    let zip = zipped(&names.map(|name| (name, &b""[..])));
    assert!(refusal(look_within(&zip, &limits)).reason.contains("more than 3 files"));
    assert!(
        refusal(look_within(&tarred(&names.map(|name| entry(name, b'0', b""))), &limits))
            .reason
            .contains("more than 3 files")
    );
}

#[test]
fn archives_cut_anywhere_are_refused() {
    let model = classifier(4);
    let zip = zipped(&[("models/iris.onnx", &model), ("service.yaml", IRIS.as_bytes())]);
    let tar = tarred(&[
        entry("models/iris.onnx", b'0', &model),
        entry("service.yaml", b'0', IRIS.as_bytes()),
    ]);
    for whole in [zip, tar] {
        assert!(look(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(!reason(&whole[..end]).is_empty());
        }
    }
}

proptest! {
    #[test]
    fn any_damage_is_answered(at in 0usize..2_000, byte in any::<u8>(), zip in any::<bool>()) {
        let model = classifier(4);
        let files = [("models/iris.onnx", &model[..]), ("service.yaml", IRIS.as_bytes())];
        let mut bytes = if zip { zipped(&files) } else { tarred(&files.map(|(name, content)| entry(name, b'0', content))) };
        let at = at % bytes.len();
        bytes[at] = byte;
        let answered = look(&bytes);
        prop_assert!(!matches!(answered, Err(Refused::Io(_))), "{:?}", answered);
    }

    #[test]
    fn any_bytes_are_answered(start in 0usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let magic: [&[u8]; 3] = [b"", b"PK\x03\x04", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"];
        let answered = look(&[magic[start], &bytes].concat());
        prop_assert!(!matches!(answered, Err(Refused::Io(_))), "{:?}", answered);
    }
}
