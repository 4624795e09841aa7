//! Looks at the world after a kill, by the API and by what the kernel and the disk say.

use acceptance::castoff::Sha256;
use acceptance::promises::State;
use acceptance::{Actor, Answer, Cast, Deployed, Request, eventually};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the API shows, each list being asked for once.
pub struct Look<'a> {
    admin: &'a Actor,
    lists: BTreeMap<String, Vec<Value>>,
}

impl<'a> Look<'a> {
    /// A fresh look.
    pub fn new(admin: &'a Actor) -> Self {
        Self {
            admin,
            lists: BTreeMap::new(),
        }
    }

    /// The state of a thing, in the words of the promises.
    pub fn at(&mut self, thing: &str) -> State {
        if let Some((ring, name)) = thing.split_once('#') {
            let states = self.of(ring, |key| key["name"] == name, |key| key["state"].as_str());
            return (!states.is_empty()).then(|| states.join(" and "));
        }
        if let Some((grants, group)) = thing.rsplit_once("/grants/") {
            let grants = format!("{grants}/grants");
            let given = self.list(&grants).iter().find(|grant| grant["group"] == group)?;
            let given = given["privileges"].as_array()?.iter().filter_map(Value::as_str);
            return Some(given.collect::<Vec<_>>().join(" "));
        }
        if let Some((group, user)) = thing.rsplit_once("/members/") {
            let members = self.of(
                &format!("{group}/members"),
                |member| member["name"] == user,
                |_| Some("member"),
            );
            return (!members.is_empty()).then(|| members.join(" and "));
        }
        let answer = self.admin.get(thing);
        if answer.status == 404 {
            return None;
        }
        let answer = answer.expect(200);
        Some(if thing.contains("/versions/") {
            let package = self.admin.get(&format!("{thing}/package")).expect(200);
            let (said, is) = (answer.string("/digest"), Sha256::of(&package.body).to_string());
            assert_eq!(said, is, "{thing}: the bytes are not those that were uploaded");
            is
        } else if thing.starts_with("/users/") {
            if answer["disabled"] == true { "off" } else { "on" }.to_owned()
        } else if thing.starts_with("/groups/") {
            "group".to_owned()
        } else if thing.starts_with("/deployments/") {
            format!(
                "{} on {}",
                answer.string("/route/0/version"),
                answer["scale"]["replicas"]
            )
        } else {
            answer.string("/description")
        })
    }

    fn of<'v>(
        &'v mut self,
        list: &str,
        fits: impl Fn(&Value) -> bool,
        show: impl Fn(&'v Value) -> Option<&'v str>,
    ) -> Vec<&'v str> {
        self.list(list)
            .iter()
            .filter(|item| fits(item))
            .filter_map(show)
            .collect()
    }

    /// The items of a list; none where what it belongs to is not there.
    pub fn list(&mut self, path: &str) -> &[Value] {
        let admin = self.admin;
        self.lists
            .entry(path.to_owned())
            .or_insert_with(|| match admin.get(path).status {
                404 => Vec::new(),
                _ => admin.list(path),
            })
    }

    /// The things of a list whose names begin so.
    pub fn named(&mut self, path: &str, joint: char, mark: &str) -> BTreeSet<String> {
        let names = self.list(path).iter().filter_map(|item| item["name"].as_str());
        let names = names.filter(|name| name.starts_with(mark));
        names.map(|name| format!("{path}{joint}{name}")).collect()
    }
}

/// Waits until rows, processes and folders of the nodes are the same: none is doubled, none orphaned.
#[track_caller]
pub fn nodes_are_one_to_one(cast: &Cast, dev: &Deployed, replicas: usize) {
    eventually("rows, processes and folders of the nodes agree", || {
        one_to_one(cast, dev, replicas).map(drop)
    });
}

/// The status, if they are the same.
fn one_to_one(cast: &Cast, dev: &Deployed, replicas: usize) -> Result<Answer, String> {
    let status = cast.admin.get(&dev.path("/status")).expect(200);
    let rows = status["nodes"].as_array().ok_or("no nodes")?;
    let listed: BTreeSet<u64> = rows.iter().filter_map(|node| node["pid"].as_u64()).collect();
    let running: BTreeSet<u64> = cast
        .world
        .nodes()
        .iter()
        .map(|process| u64::from(process.pid))
        .collect();
    let said = || format!("{running:?} run: {}", status.text());
    if rows.len() != replicas || listed != running || listed.len() != replicas {
        return Err(said());
    }
    let ids: BTreeSet<String> = rows
        .iter()
        .filter_map(|node| node["id"].as_str())
        .map(str::to_owned)
        .collect();
    let folders = std::fs::read_dir(cast.world.server.data.join("nodes")).map_err(|error| error.to_string())?;
    let folders = folders.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let folders: BTreeSet<String> = folders
        .filter(|name| name.len() == 36 || name.starts_with(".gone"))
        .collect();
    if folders != ids {
        return Err(format!("folders {folders:?}: {}", status.text()));
    }
    Ok(status)
}

/// Waits until they are, and every node holds the config that is stored.
#[track_caller]
pub fn nodes_agree(cast: &Cast, dev: &Deployed, replicas: usize) {
    eventually("every node holds what is stored", || {
        let status = one_to_one(cast, dev, replicas)?;
        let version = status["config"]["version"].as_u64().ok_or("no version")?;
        let said = || status.text();
        for node in status["nodes"].as_array().ok_or("no nodes")? {
            let address = node["ops_address"].as_str().ok_or_else(said)?;
            let metrics = Request::get(format!("http://{address}/metrics")).try_send()?.text();
            let held = metrics
                .lines()
                .find_map(|line| line.strip_prefix("castoff_node_config_version "));
            if held != Some(version.to_string().as_str()) || node["acked"]["version"] != version {
                return Err(format!("{held:?} is held, {}", said()));
            }
        }
        Ok(())
    });
}

/// The files of packages below the control plane's folder, and how many of them are unfinished.
pub fn package_files(cast: &Cast) -> (BTreeSet<String>, usize) {
    let (mut whole, mut unfinished) = (BTreeSet::new(), 0);
    let mut folders = vec![cast.world.server.data.join("packages")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of packages") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                whole.insert(format!("sha256:{name}"));
            } else {
                unfinished += 1;
            }
        }
    }
    (whole, unfinished)
}

/// Makes everything below a folder look as old as the last century.
pub fn age(folder: &std::path::Path) {
    let status = std::process::Command::new("find")
        .arg(folder)
        .args(["-exec", "touch", "-d", "1999-12-31", "{}", "+"])
        .status()
        .expect("find can be started");
    assert!(status.success());
}
