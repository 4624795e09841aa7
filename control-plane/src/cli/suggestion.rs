//! "Did you mean": the names nearest to one that was not found, out of those that the caller may see.
//!
//! Here and not in the server, whose 404 must be the same whatever there is.

use super::client::Client;
use super::failure::{Failure, Refusal};

/// Looking through more names than this takes longer than looking at the list.
const MOST_NAMES: usize = 1_000;

/// Two slips of the fingers: what is farther away is another word.
const MOST_SLIPS: usize = 2;

/// The collections whose things have names, what one of them is called in a body, and the command that lists them.
const NOUNS: [(&str, &str, &str); 6] = [
    ("services", "service", "service list"),
    ("infrastructures", "infrastructure", "infra list"),
    ("deployments", "deployment", "deployment list"),
    ("groups", "group", "group list"),
    ("users", "user", "user list"),
    ("service-accounts", "service account", "service-account list"),
];

/// A name that a call used, and the collection in which it was looked for.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    collection: Vec<&'a str>,
    name: &'a str,
}

/// Adds a hint to a failure that comes from a name that is not there.
pub(super) async fn add(server: &Client, failure: &mut Failure) {
    let Failure::Refused(refusal) = failure else { return };
    if refusal.hint.is_some() {
        return;
    }
    let mut found = Vec::new();
    for named in names(refusal) {
        // A caller who may not list gets no suggestion, and has been told already what is wrong.
        let Ok(items) = server.list(&named.collection, &[], MOST_NAMES).await else {
            continue;
        };
        let there: Vec<&str> = items.iter().filter_map(|item| item.get("name")?.as_str()).collect();
        if let Some(near) = nearest(named.name, &there) {
            found.push(format!("did you mean {near}?"));
        } else if items.len() < MOST_NAMES && !there.contains(&named.name) {
            found.extend(whole_list(&named));
        }
    }
    if !found.is_empty() {
        refusal.hint = Some(found.join("\n"));
    }
}

/// Which of several names in a call is not there, and the command that shows those that are.
fn whole_list(named: &Named<'_>) -> Option<String> {
    let (what, command) = match named.collection.as_slice() {
        // An account may be a program's as well, so that one list does not settle it.
        ["users"] => return None,
        [_, service, "versions"] => ("version", format!("version list {service}")),
        [collection] => {
            let (_, what, command) = NOUNS.iter().find(|(noun, ..)| noun == collection)?;
            (*what, (*command).to_owned())
        }
        _ => return None,
    };
    Some(format!(
        "you see no {what} {}; those you see: castoff {command}",
        named.name
    ))
}

/// The names in a refusal that may be wrong.
fn names(refusal: &Refusal) -> Vec<Named<'_>> {
    match refusal.status {
        404 => in_path(&refusal.path),
        422 => refusal
            .sent_names
            .iter()
            .filter_map(|(pointer, name)| {
                let noun = match pointer.strip_prefix('/')? {
                    "owner" => "user",
                    noun => noun,
                };
                let (collection, ..) = NOUNS.iter().find(|(_, singular, _)| *singular == noun)?;
                Some(Named {
                    collection: vec![collection],
                    name,
                })
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Of `services/flowrs/versions/v1`: flowrs among the services, and v1 among the versions of flowrs.
fn in_path(path: &[String]) -> Vec<Named<'_>> {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let [first, name, rest @ ..] = parts.as_slice() else {
        return Vec::new();
    };
    if !NOUNS.iter().any(|(collection, ..)| collection == first) {
        return Vec::new();
    }
    let mut found = vec![Named {
        collection: vec![*first],
        name,
    }];
    let within = match rest {
        ["versions", version, ..] => Some((vec![*first, *name, "versions"], version)),
        ["grants", group, ..] => Some((vec!["groups"], group)),
        // Members are service accounts, too; only for users is a list asked for.
        ["members", user, ..] => Some((vec!["users"], user)),
        _ => None,
    };
    found.extend(within.map(|(collection, name)| Named { collection, name }));
    found
}

/// The name that is likely meant, unless the very name is there.
fn nearest<'a>(wanted: &str, there: &[&'a str]) -> Option<&'a str> {
    let slips = |name: &&str| strsim::damerau_levenshtein(wanted, name);
    let near = there.iter().copied().min_by_key(|name| slips(name))?;
    // In a name of three letters, two slips make any other.
    let allowed = MOST_SLIPS.min(wanted.chars().count() / 2);
    (1..=allowed).contains(&slips(&near)).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let there = ["flowers", "flow", "iris"];
        for (wanted, near) in [
            ("flowrs", Some("flowers")),
            ("folwers", Some("flowers")),
            ("Iris", Some("iris")),
            ("flowers", None),
            ("houses", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wanted, &there), near, "{wanted}");
        }
        assert_eq!(nearest("iris", &[]), None);
    }

    #[test]
    fn names_are_looked_for_where_they_belong() {
        let path = |path: &str| -> Vec<String> { path.split('/').map(str::to_owned).collect() };
        let parts = path("services/flowers/versions/v2/package");
        let found = in_path(&parts);
        assert_eq!(
            found[0],
            Named {
                collection: vec!["services"],
                name: "flowers"
            }
        );
        assert_eq!(
            found[1],
            Named {
                collection: vec!["services", "flowers", "versions"],
                name: "v2"
            }
        );
        let parts = path("groups/sre/members/danna");
        assert_eq!(in_path(&parts)[1].collection, ["users"]);
        let parts = path("infrastructures/prod/grants/srre");
        let found = in_path(&parts);
        assert_eq!(found[1].collection, ["groups"]);
        assert_eq!(
            whole_list(&found[1]).unwrap(),
            "you see no group srre; those you see: castoff group list"
        );
        assert!(in_path(&path("tokens/a")).is_empty());
        assert!(in_path(&path("services")).is_empty());
    }
}
