//! "Did you mean": the names nearest to one that was not found, out of those that the caller may see.
//!
//! Here and not in the server, whose 404 must be the same whatever there is.

use super::client::Client;
use super::failure::{Failure, Refusal};

/// Looking through more names than this takes longer than looking at the list.
const MOST_NAMES: usize = 1_000;

/// Two slips of the fingers: what is farther away is another word.
const MOST_SLIPS: usize = 2;

/// The collections whose things have names, and what one of them is called in a body.
const NOUNS: [(&str, &str); 4] = [
    ("services", "service"),
    ("infrastructures", "infrastructure"),
    ("deployments", "deployment"),
    ("groups", "group"),
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
        }
    }
    if !found.is_empty() {
        refusal.hint = Some(found.join(" "));
    }
}

/// The names in a refusal that may be wrong.
fn names(refusal: &Refusal) -> Vec<Named<'_>> {
    match refusal.status {
        404 => in_path(&refusal.path),
        422 => refusal
            .sent_names
            .iter()
            .filter_map(|(pointer, name)| {
                let noun = pointer.strip_prefix('/')?;
                let (collection, _) = NOUNS.iter().find(|(_, singular)| *singular == noun)?;
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
    if !NOUNS.iter().any(|(collection, _)| collection == first) {
        return Vec::new();
    }
    let mut found = vec![Named {
        collection: vec![*first],
        name,
    }];
    if let ["versions", version, ..] = rest {
        found.push(Named {
            collection: vec![*first, *name, "versions"],
            name: version,
        });
    }
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
        assert!(in_path(&path("tokens/a")).is_empty());
        assert!(in_path(&path("services")).is_empty());
    }
}
