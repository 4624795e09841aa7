//! The lines of `builtin.csv`, each checked: casbin silently drops what it does not know.
//!
//! Apart from casbin, which decides by them. The rule a newcomer would break: a privilege on one half never opens the other
//! half, whoever wrote the rules; only a platform admin has both by one privilege.

use super::action::{Action, Half};
use super::privilege::{Role, Roles};
use std::collections::HashSet;

/// One rule, and the line that it stands on.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) line: usize,
    pub(super) kind: RuleKind,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RuleKind {
    /// Whoever holds the first has the second.
    Implies(Role, Role),
    /// An action that needs one privilege.
    Single(Role, Action),
    /// An action that needs one on the service and one on the infrastructure.
    Both(Role, Role, Action),
}

impl RuleKind {
    /// Its columns, without the first.
    pub(super) fn columns(self) -> Vec<&'static str> {
        match self {
            Self::Implies(held, has) => vec![held.name(), has.name()],
            Self::Single(need, action) => vec![need.name(), action.name()],
            Self::Both(service, infrastructure, action) => vec![service.name(), infrastructure.name(), action.name()],
        }
    }

    /// Its first column.
    pub(super) fn ptype(self) -> &'static str {
        match self {
            Self::Implies(..) => "g",
            Self::Single(..) => "p",
            Self::Both(..) => "p2",
        }
    }

    /// The privileges that open an action, when it says so of this action.
    pub(super) fn opens(self, action: Action) -> Option<Vec<Role>> {
        match self {
            Self::Single(need, of) if of == action => Some(vec![need]),
            Self::Both(service, infrastructure, of) if of == action => Some(vec![service, infrastructure]),
            _ => None,
        }
    }
}

/// A policy file has some thirty lines; a thousand are a mistake.
const MOST_LINES: usize = 1_000;

/// Reads every line. An error names its line.
pub(super) fn parse(text: &str) -> Result<Vec<Rule>, (usize, String)> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut seen = HashSet::new();
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        if number > MOST_LINES {
            return Err((number, format!("is line {number}; a policy has at most {MOST_LINES}")));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let kind = rule(&fields).map_err(|reason| (number, reason))?;
        if !seen.insert(kind) {
            return Err((number, "stands there already".to_owned()));
        }
        rules.push(Rule { line: number, kind });
    }
    for action in Action::ALL {
        if !rules.iter().any(|rule| rule.kind.opens(action).is_some()) {
            let last = text.lines().count().max(1);
            return Err((last, format!("no rule says who may {}", action.name())));
        }
    }
    no_circle(&rules)?;
    Ok(rules)
}

fn rule(fields: &[&str]) -> Result<RuleKind, String> {
    let role = |name: &str| Role::parse(name).ok_or_else(|| format!("{name:?} is not a privilege"));
    let action = |name: &str| Action::parse(name).ok_or_else(|| format!("{name:?} is not an action"));
    match fields {
        ["g", held, has] => {
            let (held, has) = (role(held)?, role(has)?);
            if held.half() != has.half() && held != Role::PlatformAdmin {
                let (from, to) = (held.half().name(), has.half().name());
                return Err(format!("a privilege on the {from} cannot hold one on the {to}"));
            }
            Ok(RuleKind::Implies(held, has))
        }
        ["p", need, of] => {
            let (need, of) = (role(need)?, action(of)?);
            match of.halves() {
                [half] if need.half() == *half => Ok(RuleKind::Single(need, of)),
                [half] => Err(format!("{} takes {} privileges only", of.name(), half.name())),
                _ => Err(format!("{} needs a privilege on both halves: use p2", of.name())),
            }
        }
        ["p2", service, infrastructure, of] => {
            let (service, infrastructure, of) = (role(service)?, role(infrastructure)?, action(of)?);
            if !of.is_conjunction() {
                return Err(format!("{} needs one privilege: use p", of.name()));
            }
            if service.half() != Half::Service || infrastructure.half() != Half::Infrastructure {
                return Err("p2 takes a service privilege, then an infrastructure privilege".to_owned());
            }
            Ok(RuleKind::Both(service, infrastructure, of))
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
    // The line that closes it: the first that leads back over the lines before it.
    for (place, rule) in rules.iter().enumerate() {
        let before = rules.get(..place).unwrap_or_default();
        if let RuleKind::Implies(holder, has) = rule.kind
            && closure(before, Roles::of(&[has])).has(holder)
        {
            return Err((
                rule.line,
                format!("closes a circle: {} would hold itself", holder.name()),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../policies/builtin.csv");

    #[test]
    fn a_bad_line_is_named() {
        assert!(parse(GOOD).is_ok());
        for (line, reason) in [
            ("q, service:read, see-service", "must begin with"),
            ("p3, service:read, see-service", "must begin with"),
            ("nonsense", "must begin with"),
            (",,", "must begin with"),
            ("p, service:raed, see-service", "not a privilege"),
            ("p, , see-service", "not a privilege"),
            ("p, service:read, see-servce", "not an action"),
            ("p, service:read,", "not an action"),
            ("p, service:read, see-service # why", "not an action"),
            ("p, service:read", "columns"),
            ("p, service:read, see-service, deny", "columns"),
            ("g, service:read", "columns"),
            ("p2, service:read, see-service", "columns"),
            ("p, service:read,see-service", "already"),
            ("p, service:read, see-deployment", "use p2"),
            (
                "p, service:read, see-infrastructure",
                "takes infrastructure privileges only",
            ),
            (
                "p, platform:create-service, see-service",
                "takes service privileges only",
            ),
            ("p2, service:read, infrastructure:view, see-service", "use p"),
            ("p2, infrastructure:view, service:read, see-deployment", "then a"),
            ("p2, platform:admin, platform:admin, see-deployment", "then a"),
            ("g, service:admin, infrastructure:view", "cannot hold"),
            ("g, platform:create-service, service:read", "cannot hold"),
            ("g, service:owner, platform:admin", "cannot hold"),
            ("g, service:read, service:read", "circle"),
            ("g, service:read, service:owner", "circle"),
        ] {
            let (number, why) = parse(&format!("{GOOD}{line}\n")).unwrap_err();
            assert!(why.contains(reason), "{line}: {why}");
            assert_eq!(number, GOOD.lines().count() + 1, "{line}");
        }
    }

    #[test]
    fn every_action_needs_a_rule() {
        assert!(parse("").unwrap_err().1.contains("no rule says"));
        for action in Action::ALL {
            let rest: Vec<_> = GOOD
                .lines()
                .filter(|line| !line.ends_with(&format!(", {}", action.name())))
                .collect();
            let why = parse(&rest.join("\n")).unwrap_err().1;
            assert_eq!(why, format!("no rule says who may {}", action.name()));
        }
    }
}
