//! The lines of `model.conf`, each checked: casbin passes over sections and keys that it does not know, and an effect that
//! it does not know denies everything.
//!
//! Apart from the rules, which are another language. The rule a newcomer would break: only the two matchers may differ from
//! ours; the table is filled by asking in exactly these columns, and there are no deny rules.

const NO_VALUE: &str = "";

/// Each key that a model has, its section, and what it has to be. A matcher may be anything but empty.
const KEYS: [(&str, &str, &str); 9] = [
    ("request_definition", "r", "privilege, action"),
    ("request_definition", "r2", "service, infrastructure, action"),
    ("policy_definition", "p", "privilege, action"),
    ("policy_definition", "p2", "service, infrastructure, action"),
    ("role_definition", "g", "_, _"),
    // Casbin knows an effect by its text, which says p in the second section, too.
    ("policy_effect", "e", ALLOW_ONLY),
    ("policy_effect", "e2", ALLOW_ONLY),
    ("matchers", "m", NO_VALUE),
    ("matchers", "m2", NO_VALUE),
];

const ALLOW_ONLY: &str = "some(where (p.eft == allow))";

/// Checks every line.
pub(super) fn check(text: &str) -> Result<(), (usize, String)> {
    let mut section = "";
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let at = |reason: String| (place + 1, reason);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if !KEYS.iter().any(|(known, ..)| *known == name) {
                return Err(at(format!("[{name}] is not a section")));
            }
            section = name;
            continue;
        }
        let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            return Err(at("is not a section, and not a key and its value".to_owned()));
        };
        let Some((.., expected)) = KEYS.iter().find(|(of, known, _)| *of == section && *known == key) else {
            return Err(at(format!("{key:?} is not a key of [{section}]")));
        };
        if seen.contains(&(section, key)) {
            return Err(at(format!("{key} stands there already")));
        }
        seen.push((section, key));
        if *expected == NO_VALUE {
            matcher(value).map_err(at)?;
        } else if value != *expected {
            return Err(at(format!("{key} must be {expected:?}")));
        }
    }
    let absent = KEYS.iter().find(|(section, key, _)| !seen.contains(&(section, key)));
    absent.map_or(Ok(()), |(section, key, _)| {
        Err((text.lines().count().max(1), format!("[{section}] has no {key}")))
    })
}

fn matcher(value: &str) -> Result<(), String> {
    if value.is_empty() || value.starts_with('#') {
        return Err("a matcher cannot be empty".to_owned());
    }
    if value.ends_with('\\') {
        return Err("a matcher stands on one line".to_owned());
    }
    if value.contains("eval") {
        return Err("a matcher cannot use eval".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named() {
        let good = include_str!("../../../policies/model.conf");
        assert_eq!(check(good), Ok(()));
        for (from, to, reason) in [
            ("[matchers]", "[matcher]", "not a section"),
            ("[matchers]", "", "not a key of [policy_effect]"),
            ("g = _, _", "g = _, _, _", "must be"),
            ("g = _, _", "g", "not a key and its value"),
            (
                "r2 = service, infrastructure, action",
                "r2 = service, action",
                "must be",
            ),
            (
                "e = some(where (p.eft == allow))",
                "e = !some(where (p.eft == deny))",
                "must be",
            ),
            (
                "e2 = some(where (p.eft == allow))",
                "e2 = some(where (p2.eft == allow))",
                "must be",
            ),
            ("e2 = some(where (p.eft == allow))", "", "has no e2"),
            ("m = ", "m = eval(p.rule) && ", "eval"),
            ("m = ", "m = #", "empty"),
            ("m2 = ", "m = true\nm2 = ", "already"),
            ("m2 = ", "m2 = true && \\\n", "one line"),
        ] {
            assert!(good.contains(from), "{from}");
            let bad = good.replacen(from, to, 1);
            let (line, why) = check(&bad).unwrap_err();
            assert!(why.contains(reason), "{to}: {why}");
            assert!((1..=bad.lines().count()).contains(&line));
        }
        assert_eq!(check("").unwrap_err().0, 1);
    }
}
