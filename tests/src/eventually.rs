//! Waiting for what must come true, with a limit against hanging. No test sleeps and then looks.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: far more than it needs, as machines are shared.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What a look at the world can say.
pub trait Eventually {
    /// What is there once it came true.
    type Found;
    /// What was found, or why not yet.
    ///
    /// # Errors
    /// What is still in the way.
    fn look(self) -> Result<Self::Found, String>;
}

impl Eventually for bool {
    type Found = ();
    fn look(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "not yet".to_owned())
    }
}

impl<T> Eventually for Option<T> {
    type Found = T;
    fn look(self) -> Result<T, String> {
        self.ok_or_else(|| "not there yet".to_owned())
    }
}

impl<T, E: Display> Eventually for Result<T, E> {
    type Found = T;
    fn look(self) -> Result<T, String> {
        self.map_err(|reason| reason.to_string())
    }
}

/// Looks again and again until it is there; panics with the last reason after [`LIMIT`].
#[track_caller]
pub fn eventually<E: Eventually>(what: &str, look: impl Fn() -> E) -> E::Found {
    within(LIMIT, what, look)
}

/// As [`eventually`], with a limit of its own.
#[track_caller]
pub fn within<E: Eventually>(limit: Duration, what: &str, look: impl Fn() -> E) -> E::Found {
    let end = Instant::now() + limit;
    loop {
        match look().look() {
            Ok(found) => return found,
            Err(reason) if Instant::now() > end => panic!("did not come true in {limit:?}: {what}: {reason}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
