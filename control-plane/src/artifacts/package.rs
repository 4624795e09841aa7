//! From an upload to its manifest.

use super::onnx::{self, Header};
use super::section::Section;
use super::service_yaml::{self, EndpointYaml, List, ServiceYaml, Whole, Word};
use super::unpack::{self, Files};
use super::{Limits, Refused, Unreadable, shown, test_queries};
use crate::domain::package::{Datatype, Endpoint, EndpointKind, Manifest, PackageFile, TensorSpec};
use crate::domain::{EndpointName, Invalid, ServiceName};
use std::collections::HashSet;
use std::fs::File;
use std::io;

/// Bytes of a manifest as JSON: it is kept in a row and shown whole.
const LARGEST_MANIFEST: usize = 1 << 20;
const LONGEST_WORD: usize = 256;
/// More would keep the first of a batch waiting for the last.
const LARGEST_BATCH: u32 = 1_024;

/// Other things that people upload, by how they begin.
const NO_MODELS: [(usize, &[u8], &str); 8] = [
    (
        0,
        b"version https://git-lfs",
        "is a Git LFS pointer, not the model itself; run `git lfs pull`",
    ),
    (0, b"PK\x05\x06", "is an empty zip archive"),
    (
        257,
        b"ustar",
        "is a tar archive that is not compressed; compress it with gzip",
    ),
    (
        0,
        b"\x89HDF",
        "is an HDF5 file, such as Keras writes, not an ONNX model",
    ),
    (0, b"\x80\x04\x95", "is a Python pickle, not an ONNX model"),
    (0, b"\x28\xb5\x2f\xfd", "is compressed by zstd; use zip or gzip"),
    (4, b"TFL3", "is a TensorFlow Lite model, not an ONNX model"),
    (
        4,
        b"ORTM",
        "is in ONNX Runtime's own format; upload the .onnx that it was made from",
    ),
];

const MINIMAL: &str = "endpoints:\n  - name: NAME\n    model: FILE\n";

/// What an upload serves, and the files that nodes fetch for it.
pub(super) fn inspect(
    upload: &Section,
    service: &ServiceName,
    scratch: impl FnOnce() -> io::Result<File>,
    limits: &Limits,
) -> Result<(Manifest, Vec<Section>), Refused> {
    let head = upload.head(4)?;
    let files = match head.as_slice() {
        b"PK\x03\x04" => unpack::unzip(upload, scratch()?, limits),
        [0x1f, 0x8b, ..] => unpack::untar(upload, scratch()?, limits),
        _ => {
            let header = header(upload).map_err(|error| error.refuse("", "the file"))?;
            let name = EndpointName::parse(service.as_str())?;
            let path = format!("{service}.onnx");
            return Ok((
                manifest(vec![endpoint(name, path, upload, header, Told::default())?])?,
                vec![upload.clone()],
            ));
        }
    };
    let files = files.map_err(|error| error.refuse("", "the package"))?;
    let yaml = service_yaml(&files)?;
    let mut endpoints = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    let mut names = HashSet::new();
    for (index, told) in yaml.endpoints.0.into_iter().enumerate() {
        let (endpoint, needed) =
            described(told, &files).map_err(|error| under(error, &format!("/endpoints/{index}")))?;
        if !names.insert(endpoint.name.clone()) {
            let pointer = format!("/endpoints/{index}/name");
            return Err(Invalid::new(pointer, "is the name of another endpoint, too").into());
        }
        for section in needed {
            if !sections.iter().any(|kept| kept.digest == section.digest) {
                sections.push(section.clone());
            }
        }
        endpoints.push(endpoint);
    }
    if endpoints.is_empty() {
        return Err(Invalid::new("/endpoints", "must have at least one").into());
    }
    Ok((manifest(endpoints)?, sections))
}

fn under(error: Refused, outer: &str) -> Refused {
    match error {
        Refused::Invalid(invalid) => invalid.under(outer).into(),
        other => other,
    }
}

/// The package's `service.yaml`, or what to do about there being none.
fn service_yaml(files: &Files) -> Result<ServiceYaml, Refused> {
    let name = service_yaml::NAME;
    if let Some(file) = files.get(name) {
        if file.size > service_yaml::LARGEST {
            return Err(Invalid::new("", format!("{name} has more than {} bytes", service_yaml::LARGEST)).into());
        }
        let most = usize::try_from(file.size).unwrap_or_default();
        return Ok(service_yaml::parse(&file.head(most)?)?);
    }
    let deeper = format!("/{name}");
    let models: Vec<_> = files.keys().filter(|path| path.ends_with(".onnx")).collect();
    let reason = match (files.keys().find(|path| path.ends_with(&deeper)), models.as_slice()) {
        (Some(path), _) => format!("{name} must be at the root of the package, not at {}", shown(path)),
        (None, []) => format!("the package has no {name} at its root and no .onnx file"),
        (None, [model]) => {
            let minimal = MINIMAL.replace("NAME", "predict").replace("FILE", &shown(model));
            format!(
                "the package has no {name} at its root. Upload {} alone, or add this {name}:\n{minimal}",
                shown(model)
            )
        }
        (None, _) => format!("the package has no {name} at its root, such as:\n{MINIMAL}"),
    };
    Err(Invalid::new("", reason).into())
}

/// What `service.yaml` says about one endpoint, beyond its name and model.
#[derive(Default)]
struct Told {
    kind: Option<EndpointKind>,
    columns: Option<Vec<String>>,
    labels: Option<Vec<String>>,
    max_batch_size: Option<i64>,
}

/// An endpoint, and the files that nodes fetch for it.
fn described(told: EndpointYaml, files: &Files) -> Result<(Endpoint, Vec<&Section>), Refused> {
    let name = EndpointName::parse(&told.name.0).map_err(|invalid| invalid.under("/name"))?;
    let path = told.model.0;
    let section = find(files, &path, "/model")?;
    let header = header(section).map_err(|error| error.refuse("/model", &shown(&path)))?;
    let test_queries = told.test_queries;
    let told = Told {
        kind: told.kind,
        columns: words(told.columns, "/columns")?,
        labels: words(told.labels, "/labels")?,
        max_batch_size: told.max_batch_size.map(|Whole(number)| number),
    };
    let mut endpoint = endpoint(name, path, section, header, told)?;
    let mut needed = vec![section];
    if let Some(Word(path)) = test_queries {
        let section = find(files, &path, "/test_queries")?;
        test_queries::check(&path, section, &endpoint)?;
        endpoint.test_queries = Some(package_file(path, section));
        needed.push(section);
    }
    Ok((endpoint, needed))
}

fn find<'a>(files: &'a Files, path: &str, pointer: &str) -> Result<&'a Section, Invalid> {
    let missing = || Invalid::new(pointer, format!("{} is not in the package", shown(path)));
    files.get(path).ok_or_else(missing)
}

fn package_file(path: String, section: &Section) -> PackageFile {
    PackageFile {
        path,
        digest: section.digest,
        size: section.size,
    }
}

/// A list that is not empty, of words that are neither empty nor twice there.
fn words<const MOST: usize>(list: Option<List<Word, MOST>>, pointer: &str) -> Result<Option<Vec<String>>, Invalid> {
    let Some(List(list)) = list else { return Ok(None) };
    if list.is_empty() {
        return Err(Invalid::new(
            pointer,
            "must have at least one name; leave it out when there are none",
        ));
    }
    let mut seen = HashSet::new();
    for (index, Word(word)) in list.iter().enumerate() {
        let reason = match word {
            word if word.is_empty() => "must not be empty",
            word if word.len() > LONGEST_WORD => "must have at most 256 bytes",
            word if word.chars().any(char::is_control) => "must be printable",
            word if !seen.insert(word) => "is there twice",
            _ => continue,
        };
        return Err(Invalid::new(format!("{pointer}/{index}"), reason));
    }
    Ok(Some(list.into_iter().map(|Word(word)| word).collect()))
}

/// A model's header; of what is no model, what it is instead.
fn header(model: &Section) -> Result<Header, Unreadable> {
    let head = model.head(512).map_err(Unreadable::Io)?;
    if head.is_empty() {
        return Err(Unreadable::bad("is empty"));
    }
    let begins = |(at, magic, _): &&(usize, &[u8], &str)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((_, _, what)) = NO_MODELS.iter().find(begins) {
        return Err(Unreadable::bad(*what));
    }
    onnx::read(model).map_err(|error| match error {
        Unreadable::Bad(_) if is_text(&head) => Unreadable::bad("is text, not an ONNX model"),
        other => other,
    })
}

fn is_text(head: &[u8]) -> bool {
    // The head may end within a character.
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => head
            .get(..error.valid_up_to())
            .and_then(|head| str::from_utf8(head).ok())
            .unwrap_or_default(),
        Err(_) => return false,
    };
    text.chars()
        .all(|letter| !letter.is_control() || letter.is_whitespace())
}

fn endpoint(
    name: EndpointName,
    path: String,
    model: &Section,
    header: Header,
    told: Told,
) -> Result<Endpoint, Invalid> {
    let kind = kind(&header.inputs, told.kind, told.columns.as_deref())?;
    if let Some(labels) = &told.labels {
        fit_labels(&header.outputs, labels.len())?;
    }
    let max_batch_size = batches(&header.inputs, &header.outputs, told.max_batch_size.unwrap_or(1))?;
    Ok(Endpoint {
        name,
        kind,
        file: package_file(path, model),
        test_queries: None,
        inputs: header.inputs,
        outputs: header.outputs,
        columns: told.columns.unwrap_or_default(),
        labels: told.labels.unwrap_or_default(),
        max_batch_size,
        opset: header.opset,
        producer: header.producer,
        metadata: header.metadata,
    })
}

/// Whether a model can be called with records as it is: every input is one named column.
pub fn records_possible(inputs: &[TensorSpec]) -> bool {
    let column = |input: &TensorSpec| matches!(input.shape.as_slice(), [-1 | 1] | [_, 1]);
    !inputs.is_empty() && inputs.iter().all(column)
}

/// How an endpoint is called, by what its author and its model say.
fn kind(
    inputs: &[TensorSpec],
    told: Option<EndpointKind>,
    columns: Option<&[String]>,
) -> Result<EndpointKind, Invalid> {
    let Some(columns) = columns else {
        return match (told, records_possible(inputs)) {
            (Some(EndpointKind::Records), false) => Err(Invalid::new(
                "/kind",
                "records need a model whose every input is one column, or columns for a model that takes one tensor",
            )),
            (Some(kind), _) => Ok(kind),
            (None, true) => Ok(EndpointKind::Records),
            (None, false) => Ok(EndpointKind::Tensor),
        };
    };
    let wrong = |reason: String| Err(Invalid::new("/columns", reason));
    if told == Some(EndpointKind::Tensor) {
        return wrong("are for records; leave them out, or say kind: records".to_owned());
    }
    let [input] = inputs else {
        return wrong(format!(
            "name the values of one tensor, but the model takes {} inputs",
            inputs.len()
        ));
    };
    match input.shape.as_slice() {
        [_, -1] => Ok(EndpointKind::Records),
        [_, width] if usize::try_from(*width) == Ok(columns.len()) => Ok(EndpointKind::Records),
        [_, width] => wrong(format!(
            "are {}, but input {} takes {width}",
            columns.len(),
            shown(&input.name)
        )),
        shape => wrong(format!(
            "need an input of rows and columns, but {} has the shape {shape:?}",
            shown(&input.name)
        )),
    }
}

/// Labels name the columns of the probabilities; they are counted when it is plain which output that is.
fn fit_labels(outputs: &[TensorSpec], labels: usize) -> Result<(), Invalid> {
    let width = |output: &TensorSpec| match (output.datatype, output.shape.as_slice()) {
        (Datatype::Fp32 | Datatype::Fp64 | Datatype::Fp16, [_, width]) if *width > 1 => {
            Some((output.name.clone(), *width))
        }
        _ => None,
    };
    let wide: Vec<_> = outputs.iter().filter_map(width).collect();
    match wide.as_slice() {
        [(name, width)] if usize::try_from(*width) != Ok(labels) => Err(Invalid::new(
            "/labels",
            format!("are {labels}, but output {} has {width} columns", shown(name)),
        )),
        _ => Ok(()),
    }
}

/// Rows of one run. They can be put together only where the first dimension is of any size, throughout.
fn batches(inputs: &[TensorSpec], outputs: &[TensorSpec], told: i64) -> Result<u32, Invalid> {
    let wrong = |reason: String| Err(Invalid::new("/max_batch_size", reason));
    let Some(size) = u32::try_from(told)
        .ok()
        .filter(|size| (1..=LARGEST_BATCH).contains(size))
    else {
        return wrong(format!("must be 1 to {LARGEST_BATCH}"));
    };
    if size == 1 {
        return Ok(size);
    }
    let is_open = |spec: &TensorSpec| spec.datatype == Datatype::SequenceOfMap || spec.shape.first() == Some(&-1);
    let named = inputs
        .iter()
        .map(|spec| ("input", spec))
        .chain(outputs.iter().map(|spec| ("output", spec)));
    match named.into_iter().find(|(_, spec)| !is_open(spec)) {
        Some((what, spec)) => wrong(format!(
            "needs a batch dimension, but {what} {} has the shape {:?}: export the model with its first dimension variable",
            shown(&spec.name),
            spec.shape
        )),
        None => Ok(size),
    }
}

fn manifest(endpoints: Vec<Endpoint>) -> Result<Manifest, Refused> {
    let opset = endpoints
        .iter()
        .map(|endpoint| endpoint.opset)
        .max()
        .unwrap_or_default();
    let manifest = Manifest { opset, endpoints };
    let size = serde_json::to_vec(&manifest).map_err(io::Error::from)?.len();
    if size > LARGEST_MANIFEST {
        return Err(Invalid::new("/endpoints", "have too many inputs, outputs and names in all").into());
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests;
