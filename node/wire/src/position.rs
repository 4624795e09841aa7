//! Where a config stands, and what a node does with one that is offered.

use crate::proto::Position;
use std::cmp::Ordering;

/// What to do with an offered config, its signature and deployment being right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is newer, or there is none yet: build it aside, swap, acknowledge.
    Apply,
    /// It is the one in force: acknowledge.
    Have,
    /// It is older than the one in force: refuse.
    Older,
    /// Same epoch and version, other bytes: refuse and ask again.
    Conflict,
}

/// Decides by (epoch, version), then by digest. Source: the ledger rule "lower refused, same and identical fine, same and
/// different an error, higher applied".
pub fn judge(have: Option<&Position>, offered: &Position) -> Judgement {
    let Some(have) = have else { return Judgement::Apply };
    match (offered.epoch, offered.version).cmp(&(have.epoch, have.version)) {
        Ordering::Greater => Judgement::Apply,
        Ordering::Less => Judgement::Older,
        Ordering::Equal if offered.digest == have.digest => Judgement::Have,
        Ordering::Equal => Judgement::Conflict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, version: u64, digest: u8) -> Position {
        Position {
            epoch,
            version,
            digest: vec![digest; 32],
        }
    }

    #[test]
    fn the_four_rules() {
        let have = at(1, 5, 7);
        for (offered, expected) in [
            (at(1, 6, 9), Judgement::Apply),
            (at(2, 1, 9), Judgement::Apply),
            (at(1, 5, 7), Judgement::Have),
            (at(1, 4, 7), Judgement::Older),
            (at(0, 9, 7), Judgement::Older),
            (at(1, 5, 8), Judgement::Conflict),
        ] {
            assert_eq!(judge(Some(&have), &offered), expected, "{offered:?}");
        }
        assert_eq!(judge(None, &have), Judgement::Apply);
    }
}
