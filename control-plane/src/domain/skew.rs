//! How far a clock is from ours, in plain words: pure.
//!
//! Keys expire on nodes by their clocks, and clusters sign and check by theirs. The rule a newcomer would break: what is said is
//! rounded, since it is written down whenever it changes.

use super::Time;

/// Clocks that are set by NTP are never so far apart, whatever a message took.
const MOST_MS: i64 = 60_000;

/// That the clock of somebody, who said that it is `theirs` when it was `ours`, is wrong, and what to do; none when it is not.
/// `who` is as in "the clock of the cluster".
pub fn skew(who: &str, theirs: Time, ours: Time) -> Option<String> {
    let ahead_ms = theirs.ms().saturating_sub(ours.ms());
    if ahead_ms.abs() <= MOST_MS {
        return None;
    }
    let minutes = (ahead_ms.abs() + 30_000) / 60_000;
    let apart = match minutes {
        0..120 => format!("{minutes} min"),
        _ => format!("{} h", (minutes + 30) / 60),
    };
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    Some(format!(
        "the clock of {who} is about {apart} {side} Castoff's: keys expire there at another time, max_staleness counts wrongly, and \
         certificates, tokens and addresses of packages may not hold: have NTP set both"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_is_told_of() {
        let ours = Time::from_ms(1_800_000_000_000);
        for (ahead_ms, says) in [
            (0, None),
            (60_000, None),
            (-60_000, None),
            (60_001, Some("about 1 min ahead of")),
            (-89_000, Some("about 1 min behind")),
            (-91_000, Some("about 2 min behind")),
            (13 * 3_600_000, Some("about 13 h ahead of")),
            (-1_800_000_000_000, Some("h behind")),
        ] {
            let said = skew("the cluster", ours.after_ms(ahead_ms), ours);
            match says {
                None => assert_eq!(said, None, "{ahead_ms}"),
                Some(says) => {
                    let said = said.unwrap();
                    let advised =
                        said.starts_with("the clock of the cluster is") && said.ends_with("have NTP set both");
                    assert!(advised && said.contains(says), "{ahead_ms}: {said}");
                }
            }
        }
    }
}
