//! The walls of the house: which module may use which, and where a library may be named.
//!
//! Read from the sources, since the compiler lets every module of a package use every other. The rule a newcomer would
//! break: a new arrow is a decision about the design; it changes the table here and ARCHITECTURE.md, not only a `use` line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the control plane, and what it may use. Whoever stands further down may use what stands further up.
const CONTROL_PLANE: [(&str, &[&str]); 18] = [
    ("causes", &[]),
    ("domain", &[]),
    ("clock", &["domain"]),
    ("authn", &["clock", "domain"]),
    ("authz", &["authn", "domain"]),
    ("artifacts", &["causes", "clock", "domain"]),
    ("store", &["authn", "authz", "clock", "domain"]),
    ("cli", &["clock", "domain"]),
    ("config", &["domain", "store"]),
    ("telemetry", &["domain", "store"]),
    ("push", &["artifacts", "authn", "clock", "domain", "store"]),
    ("process", &[]),
    ("lease", &["process", "store"]),
    ("launch", &["authn", "clock", "domain", "lease", "process", "store"]),
    ("collector", &["artifacts", "domain", "lease", "store"]),
    (
        "http",
        &[
            "artifacts",
            "authn",
            "authz",
            "causes",
            "clock",
            "domain",
            "launch",
            "push",
            "store",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "artifacts",
            "authn",
            "authz",
            "clock",
            "collector",
            "config",
            "domain",
            "http",
            "launch",
            "lease",
            "push",
            "store",
            "telemetry",
        ],
    ),
    (
        "admin",
        &["app", "authn", "causes", "clock", "config", "domain", "store"],
    ),
];

/// Libraries, and the only places below which they may be named.
const LIBRARIES: [(&str, &[&str]); 8] = [
    ("casbin", &["control-plane/src/authz/policy.rs"]),
    ("sea_orm", &["control-plane/src/store", "migrations/src"]),
    ("sea_orm_migration", &["migrations/src", "control-plane/src/store"]),
    ("kube", &["control-plane/src/launch/kubernetes"]),
    ("k8s_openapi", &["control-plane/src/launch/kubernetes"]),
    ("object_store", &["control-plane/src/artifacts", "tests/src/objects.rs"]),
    ("ort", &["node/src/engine/"]),
    ("reqwest", &["control-plane/src/cli/client.rs", "tests/src/answer.rs"]),
];

/// About 400 is the aim; this is where a file is split.
const MOST_LINES: usize = 450;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every source file below a folder, with its text but without what is said in comments.
fn sources(below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code: Vec<&str> = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .collect();
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, code.join("\n")));
            }
        }
    }
    found.sort();
    found
}

/// What follows each time a path begins with `start`: the rest of the code.
fn paths<'a>(code: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(start).filter_map(move |(at, start)| {
        let (before, rest) = (&code[..at], &code[at + start.len()..]);
        let within = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | ':');
        // A path may itself begin with two colons, after a space.
        let before = before
            .strip_suffix("::")
            .filter(|before| !before.ends_with(within))
            .unwrap_or(before);
        (!before.ends_with(within)).then_some(rest)
    })
}

/// How deep a file's module lies below the root of its package: `authz/mod.rs` one, `authz/table.rs` two.
fn depth(file: &str) -> usize {
    let inside = file.split_once("/src/").map_or(file, |(_, inside)| inside);
    inside
        .trim_end_matches(".rs")
        .trim_end_matches("/mod")
        .split('/')
        .count()
}

/// The modules that stand after `crate::`, alone or in braces, and after as many `super::` as lead to the root.
fn used<'a>(file: &str, code: &'a str) -> BTreeSet<&'a str> {
    let mut used = BTreeSet::new();
    let around = paths(code, "super::").filter_map(|mut rest| {
        let mut up = 1;
        while let Some(further) = rest.strip_prefix("super::") {
            (rest, up) = (further, up + 1);
        }
        (up >= depth(file)).then_some(rest)
    });
    for rest in paths(code, "crate::").chain(around) {
        match rest.strip_prefix('{') {
            None => used.extend(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut first = true;
                for (at, letter) in list.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => first = true,
                        _ if first && !letter.is_whitespace() => {
                            used.extend(word(&list[at..]));
                            first = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    used
}

/// The name of a module that a path begins with; types begin with a capital.
fn word(path: &str) -> Option<&str> {
    let end = path.find(|letter: char| !(letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'));
    Some(&path[..end.unwrap_or(path.len())]).filter(|word| !word.is_empty())
}

#[test]
fn the_modules_of_the_control_plane_use_what_they_may() {
    let mut wrong = Vec::new();
    let mut known = BTreeSet::from(["lib", "main"]);
    for (module, _) in CONTROL_PLANE {
        known.insert(module);
    }
    for (file, code) in sources("control-plane/src") {
        let module = file
            .trim_start_matches("control-plane/src/")
            .split(['/', '.'])
            .next()
            .unwrap();
        if !known.contains(module) {
            wrong.push(format!("{file}: the module {module} has no place in the table"));
        }
        let Some((_, may)) = CONTROL_PLANE.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        for other in used(&file, &code) {
            if other != module && known.contains(other) && !may.contains(&other) {
                wrong.push(format!("{file}: {module} may not use {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_node_keeps_calls_and_control_apart() {
    let mut wrong = Vec::new();
    for (below, may_not) in [
        ("node/src/engine", ["control", "predict", "serving", "state"].as_slice()),
        ("node/src/predict", ["control"].as_slice()),
    ] {
        for (file, code) in sources(below) {
            let used = used(&file, &code);
            wrong.extend(
                may_not
                    .iter()
                    .filter(|other| used.contains(*other))
                    .map(|other| format!("{file} uses {other}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn libraries_are_named_where_they_belong() {
    let mut wrong = Vec::new();
    let folders = [
        "control-plane/src",
        "migrations/src",
        "node/src",
        "node/wire/src",
        "tests/src",
    ];
    for (file, code) in folders.iter().flat_map(|folder| sources(folder)) {
        for (library, places) in LIBRARIES {
            let names = ["::", ";", " as "].map(|end| format!("{library}{end}"));
            let named = names.iter().any(|name| paths(&code, name).next().is_some());
            if named && !places.iter().any(|place| file.starts_with(place)) {
                wrong.push(format!(
                    "{file} names {library}, which only {} may",
                    places.join(" and ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn packages_depend_one_way() {
    let depends = |package: &str, on: &str| {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        manifest.lines().any(|line| line.starts_with(on))
    };
    for (package, on) in [
        ("node", "castoff-control-plane"),
        ("node", "castoff-migrations"),
        ("node/wire", "castoff-node"),
        ("node/wire", "castoff-control-plane"),
        ("control-plane", "castoff-node"),
        ("migrations", "castoff-"),
        ("listen", "castoff-node"),
        ("listen", "castoff-control-plane"),
        ("node/wire", "castoff-listen"),
    ] {
        assert!(!depends(package, on), "{package} depends on {on}");
    }
    assert!(depends("node", "castoff-wire") && depends("control-plane", "castoff-wire"));
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let table = "control-plane/src/authz/table.rs";
    for (file, code, expected) in [
        (table, "use crate::store::Store;", vec!["store"]),
        (
            table,
            "use crate::{store, push::{a, b}, http::{self}};",
            vec!["http", "push", "store"],
        ),
        (table, "fn f(s: &crate::store::Store) {}", vec!["store"]),
        (table, "use super::super::store::Store;", vec!["store"]),
        (
            "control-plane/src/authz/mod.rs",
            "use super::store::Store;",
            vec!["store"],
        ),
        (
            table,
            "use super::rules; pub(crate) struct A; castoff_wire::crate::x()",
            vec![],
        ),
    ] {
        assert_eq!(used(file, code).into_iter().collect::<Vec<_>>(), expected, "{code}");
    }
    for (code, named) in [
        ("use ort::Session;", true),
        ("fn f() -> ort::Result<()>", true),
        ("fn f(s: ::ort::Session)", true),
        ("use ::ort::{a, b};", true),
        ("super::ort::run(); report::x(); support::x()", false),
    ] {
        assert_eq!(paths(code, "ort::").next().is_some(), named, "{code}");
    }
}

#[test]
fn files_are_of_a_length_that_can_be_read() {
    let mut long = Vec::new();
    for folder in ["control-plane", "migrations", "node", "tests"] {
        for (file, _) in sources(folder) {
            let lines = fs::read_to_string(root().join(&file)).unwrap().lines().count();
            if lines > MOST_LINES {
                long.push(format!("{file}: {lines} lines, at most {MOST_LINES}"));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

/// A file that no `mod` declares is never compiled, and its tests never run.
#[test]
fn every_file_is_compiled() {
    let folders = [
        "control-plane/src",
        "migrations/src",
        "node/src",
        "node/wire/src",
        "tests/src",
        "tests/tests",
    ];
    let sources: Vec<_> = folders.iter().flat_map(|folder| sources(folder)).collect();
    let mut wrong = Vec::new();
    for (file, _) in &sources {
        let (folder, name) = file
            .trim_end_matches(".rs")
            .trim_end_matches("/mod")
            .rsplit_once('/')
            .unwrap();
        if ["main", "lib"].contains(&name) {
            continue;
        }
        let parents = ["mod.rs", "lib.rs", "main.rs"].map(|parent| format!("{folder}/{parent}"));
        let beside = format!("{folder}.rs");
        let mut of = sources
            .iter()
            .filter(|(parent, _)| parents.contains(parent) || *parent == beside);
        if !of.any(|(_, code)| code.contains(&format!("mod {name};"))) {
            wrong.push(format!("{file}: no mod declares it"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
