//! The lines of a policy file, each checked: casbin silently drops what it does not know.

use super::action::Action;
use super::privilege::{Role, Roles};
use std::collections::HashSet;

/// One rule, and the line that it stands on.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) kind: RuleKind,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuleKind {
    /// Whoever holds the first has the second.
    Implies(Role, Role),
    /// A deed that needs one privilege.
    Single(Role, Action),
    /// A deed that needs one on the service and one on the infrastructure.
    Both(Role, Role, Action),
}

/// A policy file has some thirty lines; a thousand are a mistake.
const MOST_LINES: usize = 1_000;

/// Reads every line.
pub(super) fn parse(text: &str) -> Result<Vec<Rule>, (usize, String)> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut seen = HashSet::new();
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        if number > MOST_LINES {
            return Err((number, format!("has more than {MOST_LINES} lines")));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let kind = rule(&fields).map_err(|reason| (number, reason))?;
        let text = fields.join(", ");
        if !seen.insert(text.clone()) {
            return Err((number, "stands there already".to_owned()));
        }
        rules.push(Rule {
            line: number,
            text,
            kind,
        });
    }
    for action in Action::ALL {
        let has_rule = rules.iter().any(|rule| match rule.kind {
            RuleKind::Implies(..) => false,
            RuleKind::Single(_, of) | RuleKind::Both(_, _, of) => of == action,
        });
        if !has_rule {
            return Err((text.lines().count(), format!("no rule says who may {}", action.name())));
        }
    }
    no_circle(&rules)?;
    Ok(rules)
}

fn rule(fields: &[&str]) -> Result<RuleKind, String> {
    let role = |name: &str| Role::parse(name).ok_or_else(|| format!("{name:?} is not a privilege"));
    let action = |name: &str| Action::parse(name).ok_or_else(|| format!("{name:?} is not an action"));
    match fields {
        ["g", held, has] => Ok(RuleKind::Implies(role(held)?, role(has)?)),
        ["p", privilege, deed] => {
            let deed = action(deed)?;
            if deed.is_conjunction() {
                return Err(format!("{} needs a privilege on both halves: use p2", deed.name()));
            }
            Ok(RuleKind::Single(role(privilege)?, deed))
        }
        ["p2", service, infrastructure, deed] => {
            let deed = action(deed)?;
            if !deed.is_conjunction() {
                return Err(format!("{} needs one privilege: use p", deed.name()));
            }
            let (service, infrastructure) = (role(service)?, role(infrastructure)?);
            if !service.name().starts_with("service:") || !infrastructure.name().starts_with("infrastructure:") {
                return Err("p2 takes a privilege on a service, then one on an infrastructure".to_owned());
            }
            Ok(RuleKind::Both(service, infrastructure, deed))
        }
        ["g" | "p" | "p2", ..] => Err("has too few or too many columns".to_owned()),
        _ => Err("is not a rule: it must begin with g, p or p2".to_owned()),
    }
}

/// Everything that whoever holds some roles has.
pub(super) fn closure(rules: &[Rule], held: Roles) -> Roles {
    let mut all = held;
    loop {
        let before = all;
        for rule in rules {
            if let RuleKind::Implies(holder, has) = rule.kind
                && all.has(holder)
            {
                all = Roles(all.0 | has.bit());
            }
        }
        if all == before {
            return all;
        }
    }
}

fn no_circle(rules: &[Rule]) -> Result<(), (usize, String)> {
    for rule in rules {
        if let RuleKind::Implies(holder, has) = rule.kind
            && closure(rules, Roles::of(&[has])).has(holder)
        {
            return Err((
                rule.line,
                format!("closes a circle: {} would have itself", holder.name()),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named() {
        let good = include_str!("../../../policies/builtin.csv");
        assert!(parse(good).is_ok());
        for (line, reason) in [
            ("q, service:read, see-service", "must begin with"),
            ("p, service:raed, see-service", "not a privilege"),
            ("p, service:read, see-servce", "not an action"),
            ("p, service:read", "columns"),
            ("p, service:read, see-service", "already"),
            ("p2, service:read, see-service", "columns"),
            ("p, service:read, see-deployment", "use p2"),
            ("p2, service:read, infrastructure:view, see-service", "use p"),
            ("p2, infrastructure:view, service:read, see-deployment", "then one on"),
            ("g, service:read, service:owner", "circle"),
        ] {
            let (number, why) = parse(&format!("{good}{line}\n")).unwrap_err();
            assert!(why.contains(reason), "{line}: {why}");
            assert!(number >= 1 && number <= good.lines().count() + 1);
        }
        assert!(parse("").unwrap_err().1.contains("no rule says"));
    }
}
