//! How far the clock of a cluster is from ours: each of its answers says what time it is there, and nothing more is asked.

use crate::clock::Clock;
use crate::domain::{Time, skew};
use axum::http::{HeaderMap, header};
use std::sync::{Arc, Mutex, PoisonError};

/// What the last answer of a cluster has told of its clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Clocks {
    clock: Clock,
    /// Milliseconds that it is ahead of ours.
    ahead_ms: Arc<Mutex<Option<i64>>>,
}

impl Clocks {
    /// Notes what time it was there when an answer began, which is now. One that does not say so tells nothing.
    pub(super) fn note(&self, answer: &HeaderMap) {
        let date = answer.get(header::DATE).and_then(|date| date.to_str().ok());
        if let Some(theirs) = date.and_then(Time::of_http) {
            let ahead_ms = theirs.ms().saturating_sub(self.clock.now().ms());
            *self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead_ms);
        }
    }

    /// That the two are apart, and what to do; none when they are not, or nothing has been told.
    pub(super) fn said(&self) -> Option<String> {
        let ahead_ms = (*self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner))?;
        let now = self.clock.now();
        skew("the cluster", now.after_ms(ahead_ms), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_tells() {
        let clocks = Clocks::default();
        let answered = |date: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::DATE, date.parse().unwrap());
            clocks.note(&headers);
            clocks.said()
        };
        assert_eq!(clocks.said(), None);
        assert!(answered("Sat, 01 Jan 2000 00:00:00 GMT").is_some_and(|said| said.contains("behind")));
        clocks.note(&HeaderMap::new());
        assert!(answered("yesterday").is_some(), "nothing new was told");
        assert!(answered("Fri, 01 Jan 2100 00:00:00 GMT").is_some_and(|said| said.contains("ahead of")));
    }
}
