//! What names a process: its id and when it started.
//!
//! Apart from what is done with processes. The rule a newcomer would break: a bare id names nobody for long.

/// What names a process until the machine is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`.
    pub start_time: u64,
}

impl Identity {
    /// The process that has this id now.
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|(start_time, _)| Self { pid, start_time })
    }
}

/// Whether the process of this identity runs; a zombie does not.
pub fn lives(identity: Identity) -> bool {
    stat(identity.pid)
        .is_some_and(|(start_time, state)| start_time == identity.start_time && !matches!(state, 'Z' | 'X'))
}

/// Start time and state of a process.
fn stat(pid: u32) -> Option<(u64, char)> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is a name in parentheses that may hold anything, parentheses and blanks too.
fn parse_stat(stat: &str) -> Option<(u64, char)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    // The first field after the name is number 3; the start time is number 22.
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(22 - 4)?.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let fields = (4..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        for name in ["(castoff-node)", "(a) b (c)", "())"] {
            assert_eq!(parse_stat(&format!("7 {name} S {fields}")), Some((22, 'S')), "{name}");
        }
        assert_eq!(parse_stat("7 (x) S 4"), None);
    }
}
