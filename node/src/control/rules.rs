//! What to do with a config that was opened: the rules of the push, and nothing else.
//!
//! Pure. The rule a newcomer would break: an offer is measured against the newest config whose *key set* is in force,
//! not against the one whose models are. A key that was revoked while a model loads would come back otherwise.

use super::copy::Opened;
use castoff_wire::proto::nack::Code;
use castoff_wire::{Judgement, Refused, judge};

/// What a node holds.
#[derive(Debug, Default)]
pub struct Held {
    /// The config in force; before that, the one of the durable copy.
    pub config: Option<Opened>,
    /// Whether `config` is loaded and served.
    pub in_force: bool,
    /// A newer one whose models are not loaded. Its key set is in force when `in_force`.
    pub offered: Option<Opened>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is in force: say so.
    Acknowledge,
    /// The models are those in force: swap at once.
    Swap,
    /// Put its key set in force with the models of before, then load.
    TightenAndLoad,
    /// Nothing is in force that could be tightened, or it was tightened before: load.
    Load,
    /// Do not obey it.
    Refuse(Code, &'static str),
}

impl Held {
    /// The newest config that was accepted.
    pub fn newest(&self) -> Option<&Opened> {
        self.offered.as_ref().or(self.config.as_ref())
    }

    /// Whether this is the newest.
    pub fn is_newest(&self, offer: &Opened) -> bool {
        self.newest().is_some_and(|newest| newest.position == offer.position)
    }

    /// What still has to be loaded.
    pub fn wanted(&self) -> Option<&Opened> {
        self.offered
            .as_ref()
            .or(self.config.as_ref().filter(|_| !self.in_force))
    }

    /// Decides about an offer.
    pub fn decide(&self, offer: &Opened) -> Step {
        let tightened = self.in_force;
        match judge(self.newest().map(|newest| &newest.position), &offer.position) {
            Judgement::Older => Step::Refuse(Code::Older, "a newer config is held"),
            Judgement::Conflict => Step::Refuse(Code::Conflict, "another config of this version is held"),
            Judgement::Have if self.wanted().is_none() => Step::Acknowledge,
            Judgement::Have => Step::Load,
            Judgement::Apply if !tightened => Step::Load,
            Judgement::Apply if self.serves_the_same(offer) => Step::Swap,
            Judgement::Apply => Step::TightenAndLoad,
        }
    }

    fn serves_the_same(&self, offer: &Opened) -> bool {
        self.config
            .as_ref()
            .is_some_and(|held| held.config.serving == offer.config.serving)
    }
}

/// How a document that cannot be opened is answered.
pub fn code_of(refused: &Refused) -> Code {
    match refused {
        Refused::BadSignature => Code::BadSignature,
        Refused::Malformed(_) => Code::Malformed,
        Refused::OtherDeployment => Code::OtherDeployment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::signing::Signer;

    fn opened(version: u64, keys: &[&str], model: &str) -> Opened {
        let signer = Signer::new(1);
        let signed = signer.serving(1, version, keys, &[("v1", model.as_bytes())]);
        Opened::open(signed, &signer.trust, signer.deployment).unwrap()
    }

    #[test]
    fn the_rules_with_a_config_in_force() {
        let held = Held {
            config: Some(opened(5, &["a", "b"], "m")),
            in_force: true,
            offered: None,
        };
        assert_eq!(held.decide(&opened(5, &["a", "b"], "m")), Step::Acknowledge);
        assert_eq!(held.decide(&opened(6, &["a"], "m")), Step::Swap);
        assert_eq!(held.decide(&opened(6, &["a"], "n")), Step::TightenAndLoad);
        assert!(matches!(
            held.decide(&opened(4, &["a", "b"], "m")),
            Step::Refuse(Code::Older, _)
        ));
        assert!(matches!(
            held.decide(&opened(5, &["a"], "m")),
            Step::Refuse(Code::Conflict, _)
        ));
    }

    #[test]
    fn while_a_newer_one_loads_its_key_set_is_the_measure() {
        let held = Held {
            config: Some(opened(5, &["a", "b"], "m")),
            in_force: true,
            offered: Some(opened(7, &["a"], "n")),
        };
        assert!(matches!(
            held.decide(&opened(6, &["a", "b"], "m")),
            Step::Refuse(Code::Older, _)
        ));
        assert!(matches!(
            held.decide(&opened(5, &["a", "b"], "m")),
            Step::Refuse(Code::Older, _)
        ));
        assert_eq!(held.decide(&opened(7, &["a"], "n")), Step::Load);
        assert_eq!(held.decide(&opened(8, &["a"], "m")), Step::Swap);
        assert_eq!(held.decide(&opened(8, &[], "n")), Step::TightenAndLoad);
    }

    #[test]
    fn a_copy_that_is_not_in_force_is_loaded_or_outdone() {
        let held = Held {
            config: Some(opened(5, &["a"], "m")),
            in_force: false,
            offered: None,
        };
        assert_eq!(held.decide(&opened(5, &["a"], "m")), Step::Load);
        assert_eq!(held.decide(&opened(6, &[], "m")), Step::Load);
        assert!(matches!(
            held.decide(&opened(4, &["a"], "m")),
            Step::Refuse(Code::Older, _)
        ));
        assert_eq!(Held::default().decide(&opened(1, &["a"], "m")), Step::Load);
    }
}
