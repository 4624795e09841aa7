//! What a server has promised, and whether it keeps it.
//!
//! Pure: what is there is told by whoever looks. A thing is a name (such as a path of the API), and is in a state or is
//! not there. A change moves one thing or several, wholly or not at all; it was acknowledged, refused, or the server was
//! killed over it. The rule a newcomer would break: after a kill the open changes are settled first, by looking; only then
//! is anything compared.

use std::collections::{BTreeMap, BTreeSet};

/// A thing's state as it was promised; `None`: it is not there.
pub type State = Option<String>;

/// What was heard about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was said to be done.
    Acknowledged,
    /// It was said not to be done.
    Refused,
    /// No answer came.
    Unknown,
}

#[derive(Clone, Debug)]
struct Change {
    what: String,
    effects: BTreeMap<String, State>,
}

/// All that was promised to one caller.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    settled: BTreeMap<String, State>,
    open: Vec<Change>,
}

impl Promises {
    /// Notes what was heard about a change and what it would have done.
    pub fn heard(&mut self, what: &str, effects: impl IntoIterator<Item = (String, State)>, outcome: Outcome) {
        let effects: BTreeMap<String, State> = effects.into_iter().collect();
        for thing in effects.keys() {
            assert!(
                self.open.iter().all(|open| !open.effects.contains_key(thing)),
                "{thing} has an open change: settle it first"
            );
            // What was refused is watched, too.
            self.settled.entry(thing.clone()).or_default();
        }
        match outcome {
            Outcome::Acknowledged => self.settled.extend(effects),
            Outcome::Refused => {}
            Outcome::Unknown => self.open.push(Change {
                what: what.to_owned(),
                effects,
            }),
        }
    }

    /// The state that a thing was last known to be in.
    pub fn state(&self, thing: &str) -> Option<&str> {
        self.settled.get(thing)?.as_deref()
    }

    /// The things that are there and that begin so.
    pub fn there<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a str> {
        self.settled
            .iter()
            .filter(move |(thing, state)| state.is_some() && thing.starts_with(start))
            .map(|(thing, _)| thing.as_str())
    }

    /// Every thing that was ever spoken of.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.settled.keys().map(String::as_str)
    }

    /// Looks at what the open changes concern: each must be wholly there or wholly not. Gives what is neither.
    pub fn settle(&mut self, mut look: impl FnMut(&str) -> State) -> Vec<String> {
        let mut broken = Vec::new();
        for change in std::mem::take(&mut self.open) {
            let found: BTreeMap<String, State> = change
                .effects
                .keys()
                .map(|thing| (thing.clone(), look(thing)))
                .collect();
            let before = found
                .iter()
                .all(|(thing, state)| self.settled.get(thing) == Some(state));
            if !before && found != change.effects {
                let before: Vec<_> = found.keys().map(|thing| (thing, &self.settled[thing])).collect();
                broken.push(format!(
                    "half there: {}: it was {before:?}, would be {:?}, is {found:?}",
                    change.what, change.effects
                ));
            }
            self.settled.extend(found);
        }
        broken
    }

    /// Looks at these things, and gives those that are not as was promised.
    pub fn broken<'a>(
        &self,
        things: impl IntoIterator<Item = &'a str>,
        mut look: impl FnMut(&str) -> State,
    ) -> Vec<String> {
        assert!(self.open.is_empty(), "settle what is open first: {:?}", self.open);
        let mut broken = Vec::new();
        for thing in things {
            let (promised, found) = (self.settled.get(thing).cloned().flatten(), look(thing));
            if promised != found {
                broken.push(format!("{thing}: promised was {promised:?}, found is {found:?}"));
            }
        }
        broken
    }

    /// Compares the whole list of what begins so with what was promised: what is missing, and what nobody has heard of.
    pub fn unlike(&self, start: &str, listed: &BTreeSet<String>) -> Vec<String> {
        let promised: BTreeSet<String> = self.there(start).map(str::to_owned).collect();
        let missing = promised
            .difference(listed)
            .map(|thing| format!("{thing}: acknowledged and missing"));
        let strange = listed
            .difference(&promised)
            .map(|thing| format!("{thing}: there, and never acknowledged"));
        missing.chain(strange).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(state: &str) -> State {
        Some(state.to_owned())
    }

    fn effects(all: &[(&str, &str)]) -> Vec<(String, State)> {
        let state = |state: &str| (!state.is_empty()).then(|| state.to_owned());
        all.iter().map(|(thing, to)| ((*thing).to_owned(), state(to))).collect()
    }

    /// What is there, as `thing=state` in one line.
    fn world(text: &str) -> impl Fn(&str) -> State {
        let all: BTreeMap<String, String> = text
            .split_whitespace()
            .map(|part| part.split_once('=').unwrap())
            .map(|(thing, state)| (thing.to_owned(), state.to_owned()))
            .collect();
        move |thing| all.get(thing).cloned()
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_was_refused_must_not() {
        for (outcome, found, broken) in [
            (Outcome::Acknowledged, "a=1", 0),
            (Outcome::Acknowledged, "a=2", 1),
            (Outcome::Acknowledged, "", 1),
            (Outcome::Refused, "", 0),
            (Outcome::Refused, "a=1", 1),
        ] {
            let mut promises = Promises::default();
            promises.heard("make", effects(&[("a", "1")]), outcome);
            let said = promises.broken(["a"], world(found));
            assert_eq!(said.len(), broken, "{outcome:?} {found}: {said:?}");
        }
    }

    #[test]
    fn what_was_open_is_settled_as_a_whole() {
        for (found, broken) in [
            ("a=1 b=1", 0),
            ("a=2", 0),
            // One of two; neither the old nor the new state; gone altogether.
            ("a=2 b=1", 1),
            ("a=1", 1),
            ("a=3 b=1", 1),
            ("", 1),
        ] {
            let mut promises = Promises::default();
            promises.heard("make", effects(&[("a", "1"), ("b", "1")]), Outcome::Acknowledged);
            promises.heard("move", effects(&[("a", "2"), ("b", "")]), Outcome::Unknown);
            let said = promises.settle(world(found));
            assert_eq!(said.len(), broken, "{found}: {said:?}");
            // What was found is the promise from now on.
            assert!(promises.broken(["a", "b"], world(found)).is_empty());
        }
    }

    #[test]
    fn a_list_has_all_that_is_there_and_nothing_else() {
        let mut promises = Promises::default();
        promises.heard(
            "make",
            effects(&[("/s/a", "1"), ("/s/b", "1"), ("/t/c", "1")]),
            Outcome::Acknowledged,
        );
        promises.heard("take away", effects(&[("/s/b", "")]), Outcome::Acknowledged);
        let listed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert!(promises.unlike("/s/", &listed(&["/s/a"])).is_empty());
        assert_eq!(promises.unlike("/s/", &listed(&[])).len(), 1);
        assert_eq!(promises.unlike("/s/", &listed(&["/s/a", "/s/b"])).len(), 1);
        assert_eq!(promises.there("/s/").collect::<Vec<_>>(), ["/s/a"]);
        assert_eq!(promises.state("/t/c"), some("1").as_deref());
    }

    #[test]
    #[should_panic(expected = "settle it first")]
    fn nobody_goes_on_with_what_is_open() {
        let mut promises = Promises::default();
        promises.heard("make", effects(&[("a", "1")]), Outcome::Unknown);
        promises.heard("change", effects(&[("a", "2")]), Outcome::Acknowledged);
    }
}
