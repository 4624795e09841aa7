//! What nodes say of themselves, as it is kept: bounded, and fit to be shown.

use crate::domain::{Refusal, RefusalReason};
use crate::store::{NodeReport, token_id};
use castoff_wire::proto::{self, Hello, nack};

/// A line for people, from a node.
const MOST_REASON: usize = 500;
const MOST_ADDRESS: usize = 255;
/// What a node says about a refusal.
pub(super) fn refusal(said: &proto::Refusal) -> Refusal {
    use nack::Code;
    let reason = match said.code() {
        Code::BadSignature => RefusalReason::BadSignature,
        Code::OtherDeployment => RefusalReason::OtherDeployment,
        Code::Older => RefusalReason::Older,
        Code::Conflict => RefusalReason::Conflict,
        Code::Malformed => RefusalReason::Malformed,
        Code::TooLarge => RefusalReason::TooLarge,
        Code::Package => RefusalReason::Package,
        Code::Model => RefusalReason::Model,
        Code::TestQuery => RefusalReason::TestQuery,
        Code::DamagedCopy => RefusalReason::DamagedCopy,
        Code::Unspecified | Code::Gap => RefusalReason::Other,
    };
    Refusal {
        reason,
        config: Some((said.epoch, said.version)).filter(|config| *config != (0, 0)),
        count: said.count,
        detail: line(&said.reason, MOST_REASON).unwrap_or_default(),
    }
}

/// A reason from a node; none when it is empty.
pub(super) fn reason(text: &str) -> Option<String> {
    line(text, MOST_REASON)
}

/// What a node says is wrong, and what is found beside.
pub(super) fn both(said: Option<&str>, found: Option<&str>) -> Option<String> {
    let said: Vec<&str> = said.into_iter().chain(found).collect();
    Some(said.join("; ")).filter(|said| !said.is_empty())
}

/// A text from a node as one short line; none when it is empty.
fn line(text: &str, most: usize) -> Option<String> {
    let shown = |char: char| if char.is_control() { ' ' } else { char };
    let line: String = text.chars().take(most).map(shown).collect();
    Some(line).filter(|line| !line.trim().is_empty())
}

/// What a node that comes with this token, of which this is the hash, says in its first message.
pub(super) fn introduced(hello: &Hello, token: &[u8]) -> NodeReport {
    NodeReport {
        token: Some(token_id(token)),
        connected: true,
        http_address: line(&hello.http_address, MOST_ADDRESS),
        ops_address: line(&hello.ops_address, MOST_ADDRESS),
        release: line(&hello.release, MOST_ADDRESS),
        ..NodeReport::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_one_short_line() {
        assert_eq!(line("a\nb\u{1b}[31m", 10).unwrap(), "a b [31m");
        assert_eq!(line("  \n", 10), None);
        let pairs = [
            (None, None),
            (Some("a"), None),
            (None, Some("b")),
            (Some("a"), Some("b")),
        ];
        let said = pairs.map(|(said, found)| both(said, found).unwrap_or_default());
        assert_eq!(said, ["", "a", "b", "a; b"]);
        assert_eq!(
            line(&"ä".repeat(600), MOST_REASON).unwrap().chars().count(),
            MOST_REASON
        );
    }
}
