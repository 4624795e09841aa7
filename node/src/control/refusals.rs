//! What was refused last, and until when that is worth showing.
//!
//! Pure. The rule a newcomer would break: to hear again of what is held ends nothing. A forger who is followed by the
//! control plane would be gone from the status before anybody looked; only a newer config shows that all is well again.

use super::copy::order;
use castoff_wire::proto::nack::Code;
use castoff_wire::proto::{Position, Refusal};

/// The refusals that are not over.
#[derive(Debug, Default)]
pub struct Refusals(Option<Latest>);

#[derive(Debug)]
struct Latest {
    refusal: Refusal,
    refused: Position,
    held: Option<Position>,
}

impl Refusals {
    /// Adds one, made while `held` was held, and says how it is told.
    pub fn add(&mut self, code: Code, refused: Position, reason: String, held: Option<Position>) -> Refusal {
        let before = self.0.as_ref().map_or(0, |latest| latest.refusal.count);
        let refusal = Refusal {
            code: code.into(),
            epoch: refused.epoch,
            version: refused.version,
            count: before.saturating_add(1),
            reason,
        };
        self.0 = Some(Latest {
            refusal: refusal.clone(),
            refused,
            held,
        });
        refusal
    }

    /// A config is in force; whether that ends what was refused.
    pub fn end_with(&mut self, in_force: &Position) -> bool {
        let ends = |latest: &Latest| {
            let newer = latest.held.as_ref().is_none_or(|held| order(in_force, held).is_gt());
            newer || *in_force == latest.refused
        };
        self.0.take_if(|latest| ends(latest)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::signing::at;

    fn add(refusals: &mut Refusals, refused: Position, held: Option<Position>) -> u64 {
        refusals.add(Code::Model, refused, "no".into(), held).count
    }

    #[test]
    fn it_ends_with_a_newer_config_or_with_itself() {
        for (held, in_force, ends) in [
            (Some(at(1, 5)), at(1, 5), false),
            (Some(at(1, 5)), at(1, 4), false),
            (Some(at(1, 5)), at(1, 6), true),
            (Some(at(1, 5)), at(2, 1), true),
            (None, at(1, 1), true),
            // The models of a copy were loaded at last.
            (Some(at(1, 7)), at(1, 7), true),
        ] {
            let mut refusals = Refusals::default();
            add(&mut refusals, at(1, 7), held.clone());
            assert_eq!(refusals.end_with(&in_force), ends, "{held:?} {in_force:?}");
            assert!(!refusals.end_with(&at(9, 9)) || !ends, "it ends once");
        }
    }

    #[test]
    fn those_in_a_row_are_counted_from_one_again() {
        let mut refusals = Refusals::default();
        assert_eq!(add(&mut refusals, at(0, 0), Some(at(1, 5))), 1);
        assert_eq!(add(&mut refusals, at(1, 4), Some(at(1, 5))), 2);
        assert!(refusals.end_with(&at(1, 6)));
        assert_eq!(add(&mut refusals, at(1, 4), Some(at(1, 6))), 1);
    }
}
