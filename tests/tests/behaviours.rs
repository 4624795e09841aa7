//! The behaviours of other systems that this release matches, one line each, and that a test names each line.
//!
//! Letters: K, Dataiku's API node and deployer; F, FastAPI's habit; V, Open Inference Protocol V2. The rule a newcomer
//! would break: a line is proved by what happens, so a test that bears its name can fail when the line does not hold.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The lines that are in scope.
const IN_SCOPE: [(char, RangeInclusive<u32>); 4] = [('k', 6..=34), ('f', 1..=4), ('f', 7..=9), ('v', 1..=9)];

/// Where tests stand.
const SOURCES: [&str; 4] = ["tests/tests", "node/src", "node/wire/src", "control-plane/src"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The names of the functions that are run as tests: by their attribute, or by `on_both_databases!`, which gives a cast.
fn tests(code: &str) -> impl Iterator<Item = &str> {
    let lines = code.lines().map(str::trim);
    let before = std::iter::once("").chain(lines.clone());
    lines.zip(before).filter_map(|(line, before)| {
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        let (name, arguments) = function.split_once('(')?;
        let marked = before.starts_with("#[test]") || before.starts_with("#[tokio::test");
        (marked || arguments.starts_with("cast: Cast)")).then_some(name)
    })
}

#[test]
fn each_line_has_a_test_that_bears_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut named = BTreeSet::new();
    for file in SOURCES.iter().flat_map(|folder| files(&root.join(folder))) {
        let code = fs::read_to_string(file).unwrap();
        named.extend(tests(&code).filter_map(|name| Some(name.split_once('_')?.0.to_owned())));
    }
    let lines = IN_SCOPE
        .into_iter()
        .flat_map(|(letter, numbers)| numbers.map(move |number| format!("{letter}{number}")));
    let missing: Vec<String> = lines.filter(|line| !named.contains(line)).collect();
    assert!(missing.is_empty(), "no test bears the name of {missing:?}");
}

#[test]
fn only_what_is_run_counts_as_a_test() {
    let code = "#[test]\nfn k1_a() {}\nfn k2_b() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn k3_c() {}\n\
                fn k4_d(cast: Cast) {}\n// fn k5_e(cast: Cast)\nfn k6_f(cast: &Cast) {}";
    assert_eq!(tests(code).collect::<Vec<_>>(), ["k1_a", "k3_c", "k4_d"]);
}
