//! The files that are named with `-f`, within bounds.
//!
//! Everything that is wrong in any of them is told at once, with file, line and place, before the server is asked anything.

use super::desired::Desired;
use super::reader;
use super::yaml::{self, Wrong};
use crate::cli::failure::Failure;
use std::cell::Cell;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Of one file.
const MOST_BYTES: u64 = 1 << 20;

/// In all.
const MOST_FILES: usize = 1_000;

/// Values in all, whatever aliases make of them.
const MOST_VALUES: usize = 500_000;

/// More is not read by anybody.
const MOST_TOLD: usize = 100;

/// A text and where it came from.
struct Source {
    /// As it is called.
    name: String,
    /// What paths in it are relative to.
    folder: PathBuf,
    text: String,
}

/// All that these files ask for; `-` is standard input, a folder all its files of YAML.
pub(super) fn read(paths: &[PathBuf]) -> Result<Desired, Failure> {
    let mut desired = Desired::default();
    let mut told = Vec::new();
    let left = Cell::new(MOST_VALUES);
    for source in sources(paths)? {
        let documents = match yaml::documents(&source.text, &left) {
            Ok(documents) => documents,
            Err(broken) => {
                let line = broken.line.map(|line| format!(":{line}")).unwrap_or_default();
                told.push(format!(
                    "{}{line}, document {}: cannot be read: {}",
                    source.name, broken.document, broken.reason
                ));
                continue;
            }
        };
        for document in documents {
            let mut wrong = document.wrong;
            reader::add(&document.value, &source.folder, &mut desired, &mut wrong);
            let told_here = wrong.iter().take(MOST_TOLD);
            told.extend(told_here.map(|wrong| source.tell(document.number, wrong)));
        }
    }
    if told.is_empty() {
        return Ok(desired);
    }
    let mut lines = vec![match told.len() {
        1 => "1 thing is wrong in these files, so nothing was asked of the server".to_owned(),
        number => format!("{number} things are wrong in these files, so nothing was asked of the server"),
    }];
    let more = told.len().saturating_sub(MOST_TOLD);
    lines.extend(told.into_iter().take(MOST_TOLD));
    lines.extend((more > 0).then(|| format!("and {more} more")));
    Err(Failure::Unacceptable(lines.join("\n")))
}

impl Source {
    fn tell(&self, number: usize, wrong: &Wrong) -> String {
        let line = yaml::line(&self.text, number, &wrong.pointer);
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        let place = match wrong.pointer.as_str() {
            "" => "the whole",
            pointer => pointer,
        };
        format!("{}{line}, document {number}: {place} {}", self.name, wrong.reason)
    }
}

fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            found.push(Source {
                name: "standard input".to_owned(),
                folder: PathBuf::new(),
                text: bounded(std::io::stdin().lock(), path)?,
            });
            continue;
        }
        let kind = std::fs::metadata(path).map_err(|error| Failure::file(path, &error))?;
        let files = if kind.is_dir() {
            within(path)?
        } else {
            vec![path.clone()]
        };
        if found.len().saturating_add(files.len()) > MOST_FILES {
            return Err(Failure::Usage(format!("these are more than {MOST_FILES} files")));
        }
        for file in files {
            let open = std::fs::File::open(&file).map_err(|error| Failure::file(&file, &error))?;
            found.push(Source {
                name: file.display().to_string(),
                folder: file.parent().map(Path::to_path_buf).unwrap_or_default(),
                text: bounded(open, &file)?,
            });
        }
    }
    Ok(found)
}

/// The files of YAML of a folder, by name. What lies deeper may be packages, which have YAML of their own.
fn within(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let here = |error: &std::io::Error| Failure::file(folder, error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| here(&error))? {
        let path = entry.map_err(|error| here(&error))?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
        if yaml && !hidden && path.is_file() {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            return Err(Failure::Usage(format!(
                "{} has more than {MOST_FILES} files",
                folder.display()
            )));
        }
    }
    if files.is_empty() {
        let text = format!("{} has no file that ends in .yaml or .yml", folder.display());
        return Err(Failure::Usage(text));
    }
    files.sort();
    Ok(files)
}

fn bounded(from: impl Read, path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    from.take(MOST_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::file(path, &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_BYTES) {
        return Err(Failure::Local(format!("{}: is larger than 1 MiB", path.display())));
    }
    String::from_utf8(bytes).map_err(|_| Failure::Local(format!("{}: is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::declare::desired::Source as KeySource;

    fn lines(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, text).unwrap();
        let failure = read(std::slice::from_ref(&file)).unwrap_err();
        assert_eq!(failure.code(), 7);
        let shown = file.display().to_string();
        failure
            .lines()
            .into_iter()
            .skip(1)
            .map(|line| line.replace(&shown, "a.yaml"))
            .collect()
    }

    #[test]
    fn files_become_what_they_ask_for() {
        let folder = tempfile::tempdir().unwrap();
        let one = "services:\n  iris:\n    access: keys\n    versions: {v1: iris.onnx, 2.0: {digest: sha256:XX}}\n    grants: {devops: [read, deploy], ds: read}\n"
            .replace("XX", &"ab".repeat(32));
        let two = "deployments:\n  iris-on-dev:\n    service: iris\n    infrastructure: dev\n    version: v1\n    scale: {replicas: 2}\n    keys:\n      shop: {import: /run/shop}\n      app: {save: app.txt, endpoints: [iris]}\n---\ninfrastructures:\n  dev:\n";
        std::fs::write(folder.path().join("one.yaml"), one).unwrap();
        std::fs::write(folder.path().join("two.yml"), two).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "{").unwrap();
        let desired = read(&[folder.path().to_owned()]).unwrap();
        let iris = &desired.services["iris"];
        assert_eq!(iris.versions["v1"].package, Some(folder.path().join("iris.onnx")));
        assert_eq!(iris.versions["2.0"].digest, Some(format!("sha256:{}", "ab".repeat(32))));
        assert_eq!(iris.grants.as_ref().unwrap()["ds"], ["read"]);
        assert!(iris.keys.is_none() && desired.infrastructures["dev"].settings.is_empty());
        let deployment = &desired.deployments["iris-on-dev"];
        assert_eq!(deployment.route, Some(vec![("v1".to_owned(), 100)]));
        assert_eq!(deployment.settings.keys().collect::<Vec<_>>(), ["scale"]);
        let keys = deployment.keys.as_ref().unwrap();
        assert_eq!(keys["shop"].source, Some(KeySource::Import("/run/shop".into())));
        assert_eq!(keys["app"].source, Some(KeySource::Save(folder.path().join("app.txt"))));
    }

    #[test]
    fn the_example_is_one() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ci/castoff.yaml");
        let desired = read(&[example]).unwrap();
        assert_eq!((desired.services.len(), desired.deployments.len()), (1, 2));
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        let text = "services:\n  Iris: {acess: keys}\n  rose:\n    grants: {ds: [reed]}\n    versions: {v1: 3}\n---\nmodels: {}\n---\n\
                    services: {rose: {}}\ndeployments:\n  d:\n    service: rose\n    version: v1\n    route: [{version: a, weight: 60}]\n    scale: {replicas: many}\n";
        assert_eq!(
            lines(text),
            [
                "  a.yaml:2, document 1: /services/Iris is no such name: it must be lower-case letters, digits and hyphens, a letter first, no hyphen last (RFC 1035)",
                "  a.yaml:2, document 1: /services/Iris/acess is unknown; known here: description, access, key_visibility, versions, grants, keys",
                "  a.yaml:4, document 1: /services/rose/grants/ds/0 must be read, write, deploy or admin",
                "  a.yaml:5, document 1: /services/rose/versions/v1 must be names with values, and is a number (in quotes it is text)",
                "  a.yaml:7, document 2: /models is unknown; known here: infrastructures, services, deployments",
                "  a.yaml:9, document 3: /services/rose is named in another document already",
                "  a.yaml:14, document 3: /deployments/d/route is said twice: give version or route",
                "  a.yaml:14, document 3: /deployments/d/route has weights that sum to 60, and must sum to 100",
                "  a.yaml:15, document 3: /deployments/d/scale/replicas must be a whole number, and is text",
                "  a.yaml:12, document 3: /deployments/d must have infrastructure",
            ]
        );
    }

    #[test]
    fn no_secret_is_taken_and_none_is_shown() {
        let minted = castoff_wire::key::mint(&[7; 32]);
        for text in [
            format!("services: {{iris: {{keys: {{shop: {minted}}}}}}}"),
            format!("services: {{iris: {{keys: {{shop: {{import: {minted}}}}}}}}}"),
            format!("services: {{iris: {{keys: {{{minted}: {{}}}}}}}}"),
            format!("services: {{iris: {{description: the key is {minted}}}}}"),
            "services: {iris: {keys: {shop: hunter2hunter2}}}".to_owned(),
            "services: {iris: {keys: {shop: {key: hunter2hunter2}}}}".to_owned(),
            "infrastructures: {dev: {kubeconfig: \"apiVersion: v1\\nusers: hunter2hunter2\\n\"}}".to_owned(),
        ] {
            let told = lines(&text).join("\n");
            assert!(told.contains("belong here"), "{told}");
            assert!(!told.contains(&minted) && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_told_beside_the_rest() {
        assert!(lines("a: [")[0].starts_with("  a.yaml"), "{:?}", lines("a: ["));
        assert_eq!(
            lines("- a")[0],
            "  a.yaml:1, document 1: the whole must be names with values, and is a list"
        );
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&[folder.path().to_owned()]).unwrap_err().code(), 2);
        let large = folder.path().join("large.yaml");
        std::fs::write(&large, " ".repeat((1 << 20) + 1)).unwrap();
        assert_eq!(read(&[large]).unwrap_err().code(), 1);
    }
}
