//! Writes what there is as a file for `apply`.
//!
//! Everything that the caller may see is in it, and no secret: keys and kubeconfigs are named as files, which whoever applies
//! it elsewhere puts there.

use super::key_steps::meant;
use super::local::digest;
use super::reader::KEY_SETTINGS;
use super::state::{Part, part};
use crate::cli::Desk;
use crate::cli::failure::Failure;
use crate::cli::table::cell;
use clap::Args;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

/// Stands above what is written.
const HEAD: &str =
    "# Written by `castoff export`. `castoff plan -f` shows what it would change, `castoff apply -f` does it.\n";

/// What is to be written.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  castoff export > castoff.yaml
  castoff export --service iris --packages packages > iris.yaml

No secret is in it. A key is named with a file, as keys/deployments/iris-on-dev/web-shop.txt: put the key there to take it to
another server, or write `save: FILE` in place of `import` to have a new one made. On the server that it came from, and
where keys are there already, no file is needed. Users, groups and owners are not in it.")]
pub struct Export {
    /// This service and its deployments only; may be given several times
    #[arg(long, value_name = "SERVICE")]
    service: Vec<String>,
    /// This infrastructure and its deployments only; may be given several times
    #[arg(long, value_name = "INFRASTRUCTURE")]
    infra: Vec<String>,
    /// A folder for the packages of versions (needs write on their services); else only their digests are written
    #[arg(long, value_name = "FOLDER")]
    packages: Option<PathBuf>,
}

impl Export {
    /// Writes it to standard output.
    pub(in crate::cli) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let whole = self.service.is_empty() && self.infra.is_empty();
        let mut infrastructures = Map::new();
        for found in chosen(desk, "infrastructures", &self.infra, whole).await? {
            let name = cell(&found, "/name");
            infrastructures.insert(name.clone(), infrastructure(desk, &name, &found).await?);
        }
        let mut services = Map::new();
        for found in chosen(desk, "services", &self.service, whole).await? {
            let name = cell(&found, "/name");
            services.insert(name.clone(), self.service(desk, &name, &found).await?);
        }
        let mut deployments = Map::new();
        for found in desk.server.list(&["deployments"], &[], usize::MAX).await? {
            let of = |at: &str, names: &[String]| names.contains(&cell(&found, at));
            if whole || of("/service", &self.service) || of("/infrastructure", &self.infra) {
                let name = cell(&found, "/name");
                deployments.insert(name.clone(), deployment(desk, &name, &found).await?);
            }
        }
        let parts = [
            ("infrastructures", infrastructures),
            ("services", services),
            ("deployments", deployments),
        ];
        let parts = parts.into_iter().filter(|(_, things)| !things.is_empty());
        let document: Map<String, Value> = parts.map(|(name, things)| (name.to_owned(), things.into())).collect();
        if desk.out.json() {
            return desk.out.raw(&document.into());
        }
        let text = serde_yaml_ng::to_string(&document).map_err(|error| Failure::Local(error.to_string()))?;
        desk.out.text(&format!("{HEAD}{text}"))
    }

    async fn service(&self, desk: &Desk, name: &str, found: &Value) -> Result<Value, Failure> {
        let mut service = taken(found, &["description", "access", "key_visibility"]);
        let mut versions = Map::new();
        for version in desk
            .server
            .list(&["services", name, "versions"], &[], usize::MAX)
            .await?
        {
            let called = cell(&version, "/name");
            let mut said = Map::from_iter([("digest".to_owned(), cell(&version, "/digest").into())]);
            if let Some(folder) = &self.packages {
                let path = fetch(desk, [name, &called], &cell(&version, "/digest"), folder).await?;
                said.insert("package".to_owned(), path.display().to_string().into());
            }
            versions.insert(called, said.into());
        }
        put(&mut service, "versions", versions);
        add_grants(desk, "services", name, &mut service).await?;
        add_keys(desk, "services", name, &mut service).await?;
        Ok(service.into())
    }
}

/// The things of a kind that are to be written; a name that is given must be there.
async fn chosen(desk: &Desk, kind: &str, names: &[String], whole: bool) -> Result<Vec<Value>, Failure> {
    if whole {
        return desk.server.list(&[kind], &[], usize::MAX).await;
    }
    let mut found = Vec::new();
    for name in names {
        found.push(desk.server.get(&[kind, name], &[]).await?);
    }
    Ok(found)
}

async fn infrastructure(desk: &Desk, name: &str, found: &Value) -> Result<Value, Failure> {
    let mut infrastructure = taken(found, &["kind", "stage", "description", "allow", "kubernetes"]);
    if infrastructure.get("kind") == Some(&json!("kubernetes")) && !infrastructure.contains_key("kubernetes") {
        left_out(desk, "settings", "infrastructures", name);
    }
    let settings = infrastructure.get_mut("kubernetes").and_then(Value::as_object_mut);
    let cluster = settings.and_then(|settings| settings.shift_remove("cluster"));
    if cluster.is_some_and(|cluster| !cluster.is_null()) {
        infrastructure.insert("kubeconfig".to_owned(), json!(format!("kubeconfigs/{name}.yaml")));
    }
    add_grants(desk, "infrastructures", name, &mut infrastructure).await?;
    Ok(infrastructure.into())
}

async fn deployment(desk: &Desk, name: &str, found: &Value) -> Result<Value, Failure> {
    let mut deployment = taken(found, &["service", "infrastructure"]);
    let legs = found
        .get("route")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    match legs {
        [one] => drop(deployment.insert("version".to_owned(), cell(one, "/version").into())),
        legs => {
            let legs: Vec<Value> = legs
                .iter()
                .map(|leg| taken(leg, &["version", "weight"]).into())
                .collect();
            deployment.insert("route".to_owned(), legs.into());
        }
    }
    deployment.extend(taken(found, &["enabled", "access", "key_header", "scale", "limits"]));
    add_keys(desk, "deployments", name, &mut deployment).await?;
    Ok(deployment.into())
}

async fn add_grants(desk: &Desk, kind: &str, name: &str, thing: &mut Map<String, Value>) -> Result<(), Failure> {
    match part(desk, &[kind, name, "grants"]).await? {
        Part::Known(grants) => {
            let grants = grants.iter().map(|grant| {
                let privileges = grant.get("privileges").cloned().unwrap_or_default();
                (cell(grant, "/group"), privileges)
            });
            put(thing, "grants", grants.collect());
        }
        Part::Hidden(_) | Part::Unasked => {
            left_out(desk, "grants", kind, name);
        }
    }
    Ok(())
}

async fn add_keys(desk: &Desk, kind: &str, name: &str, thing: &mut Map<String, Value>) -> Result<(), Failure> {
    let Part::Known(all) = part(desk, &[kind, name, "keys"]).await? else {
        left_out(desk, "keys", kind, name);
        return Ok(());
    };
    let names: BTreeSet<String> = all.iter().map(|key| cell(key, "/name")).collect();
    let mut files = BTreeSet::new();
    let mut keys = Map::new();
    for called in names {
        if let Some(key) = meant(&all, &called) {
            keys.insert(
                called.clone(),
                described(key, &file_of(kind, name, &called, &mut files)),
            );
        }
    }
    put(thing, "keys", keys);
    Ok(())
}

fn left_out(desk: &Desk, what: &str, kind: &str, name: &str) {
    let kind = kind.trim_end_matches('s');
    desk.out.note(&format!(
        "the {what} of {kind} {name} are left out: you may not see them"
    ));
}

/// A key as a file has it, without what is as always.
fn described(key: &Value, file: &str) -> Value {
    let mut said = Map::new();
    if cell(key, "/state") == "revoked" {
        said.insert("revoked".to_owned(), true.into());
    } else {
        said.insert("import".to_owned(), file.into());
    }
    let ordinary = |name: &str, value: &Value| match name {
        "class" => value == "reveal-once",
        "weak" => value == &Value::Bool(false),
        _ => value.is_null() || value.as_array().is_some_and(Vec::is_empty),
    };
    let bounds = taken(key, KEY_SETTINGS);
    said.extend(bounds.into_iter().filter(|(name, value)| !ordinary(name, value)));
    said.into()
}

/// A file for a key: its name without what means something in a path, and never one that another key has.
fn file_of(kind: &str, name: &str, key: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let safe: String = key
        .chars()
        .map(|letter| if plain(letter) { letter } else { '_' })
        .collect();
    let mut file = safe.clone();
    let mut number = 2_u32;
    while !taken.insert(file.clone()) {
        file = format!("{safe}-{number}");
        number = number.saturating_add(1);
    }
    format!("keys/{kind}/{name}/{file}.txt")
}

/// These members of something, as they are.
fn taken(found: &Value, names: &[&str]) -> Map<String, Value> {
    let members = names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), found.get(*name)?.clone())));
    members.collect()
}

fn put(thing: &mut Map<String, Value>, name: &str, list: Map<String, Value>) {
    if !list.is_empty() {
        thing.insert(name.to_owned(), list.into());
    }
}

/// Keeps a version's package in a folder, unless it is there; gives its path.
async fn fetch(desk: &Desk, [service, version]: [&str; 2], wanted: &str, folder: &Path) -> Result<PathBuf, Failure> {
    let folder = folder.join(service);
    std::fs::create_dir_all(&folder).map_err(|error| Failure::file(&folder, &error))?;
    let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(|error| Failure::file(&folder, &error))?;
    let path = ["services", service, "versions", version, "package"];
    desk.server.download(&path, &mut file).await?;
    let kind = kind(file.as_file_mut()).map_err(|error| Failure::file(&folder, &error))?;
    let place = folder.join(format!("{version}.{kind}"));
    let rewound = file.rewind().and_then(|()| digest(&mut file));
    let came = rewound.map_err(|error| Failure::file(&place, &error))?;
    if came.digest != wanted {
        return Err(Failure::Unreachable(format!(
            "the package of {service} {version} did not come whole"
        )));
    }
    match File::open(&place).and_then(|mut there| digest(&mut there)) {
        Ok(there) if there.digest == wanted => return Ok(place),
        Ok(_) => {
            let text = format!(
                "{} is there with other content, and is not overwritten",
                place.display()
            );
            return Err(Failure::Local(text));
        }
        Err(_) => {}
    }
    file.persist_noclobber(&place)
        .map_err(|error| Failure::file(&place, &error.error))?;
    Ok(place)
}

/// How a file of this content ends.
fn kind(file: &mut File) -> std::io::Result<&'static str> {
    let mut head = Vec::new();
    file.rewind()?;
    file.take(4).read_to_end(&mut head)?;
    Ok(match head.as_slice() {
        [b'P', b'K', ..] => "zip",
        [0x1f, 0x8b, ..] => "tar.gz",
        _ => "onnx",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_files_of_their_own_inside_the_folder() {
        let mut files = BTreeSet::new();
        let mut of = |key: &str| file_of("services", "iris", key, &mut files);
        assert_eq!(of("web shop"), "keys/services/iris/web_shop.txt");
        assert_eq!(of("web/shop"), "keys/services/iris/web_shop-2.txt");
        assert_eq!(of("../../x"), "keys/services/iris/.._.._x.txt");
    }

    #[test]
    fn a_key_is_described_without_what_is_as_always() {
        let key = json!({"id": "1", "name": "shop", "class": "reveal-once", "masked": "cst_abcd…wxyz", "weak": false,
            "state": "active", "not_before": null, "expires_at": "2027-01-31T12:00:00.000Z", "endpoints": [], "rate_limit": null, "quota": null, "quota_used": null});
        assert_eq!(
            described(&key, "f"),
            json!({"import": "f", "expires_at": "2027-01-31T12:00:00.000Z"})
        );
        let limit = json!({"requests": 5, "seconds": 60, "burst": 5});
        let key = json!({"class": "recoverable", "weak": true, "state": "revoked", "endpoints": ["iris"], "rate_limit": limit});
        assert_eq!(
            described(&key, "f"),
            json!({"revoked": true, "class": "recoverable", "weak": true, "endpoints": ["iris"], "rate_limit": limit})
        );
    }
}
