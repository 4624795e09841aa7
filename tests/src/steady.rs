//! A steady load of one deployment: so many callers that keep their connections, so many calls a second, none repeated.

use crate::kept::Kept;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A test that hangs must not call for ever: ten minutes at 200 a second.
const MOST_CALLS: u64 = 120_000;

/// The load, while it lasts.
#[derive(Debug)]
pub struct Steady {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    calls: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Steady {
    /// Begins: `callers` callers make `rate` calls a second together, or as many as the machine has time for.
    pub fn begin(url: &str, key: &str, callers: u32, rate: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let period = Duration::from_secs(1) * callers / rate;
        let callers = (0..callers).map(|_| {
            let (caller, shared) = (Kept::caller(url, key), Arc::clone(&shared));
            std::thread::spawn(move || shared.call(caller, period))
        });
        Self {
            callers: callers.collect(),
            shared,
        }
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// What has failed so far.
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().expect("nobody panics with it").clone()
    }

    /// Ends it: how many calls there were, and what failed.
    pub fn end(mut self) -> (u64, Vec<String>) {
        self.stop();
        (self.calls(), self.failures())
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for caller in self.callers.drain(..) {
            caller.join().expect("a caller ends");
        }
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn call(&self, mut caller: Kept, period: Duration) {
        let begun = Instant::now();
        let mut next = begun;
        while !self.stop.load(Ordering::SeqCst) && self.calls.fetch_add(1, Ordering::SeqCst) < MOST_CALLS {
            let failure = match caller.call() {
                Ok(200) => None,
                Ok(status) => Some(format!("status {status}")),
                Err(error) => Some(error.to_string()),
            };
            if let Some(failure) = failure {
                let failure = format!("{:.1} s: {failure}", begun.elapsed().as_secs_f64());
                self.failures.lock().expect("nobody panics with it").push(failure);
            }
            // What there was no time for is not made up for.
            next = (next + period).max(Instant::now());
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}
