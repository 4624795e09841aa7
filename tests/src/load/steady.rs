//! A caller at a steady pace on a connection that is kept, who forgives nothing: what is not a right answer is told.
//!
//! Apart from callers that measure, whom a failure ends: here failures are what is looked for. The rule a newcomer would
//! break: nothing is asked a second time. A connection is left when its last answer said so, or when it was closed while it
//! rested, as pools of connections do: on a machine that gives a caller no time, it rests longer than it is waited for.

use super::Load;
use super::caller::{Caller, Said};
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A test that hangs must not call for ever.
const LONGEST: Duration = Duration::from_secs(600);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Steady {
    /// Right answers.
    pub answers: usize,
    /// What came instead, and when, from the start.
    pub failures: Vec<String>,
    /// Connections that were left as their last answer said.
    pub connections: usize,
    /// The answer that took longest.
    pub slowest: Duration,
}

impl Steady {
    fn hear(&mut self, outcome: io::Result<(Duration, bool)>, at: Duration) {
        match outcome {
            Ok((took, closes)) => {
                self.answers += 1;
                self.slowest = self.slowest.max(took);
                self.connections += usize::from(closes);
            }
            Err(error) => self.failures.push(format!("after {at:?}: {error}")),
        }
    }
}

/// Several such callers, while they go on. They end with their owner.
#[derive(Debug)]
pub struct Callers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    so_far: Mutex<Steady>,
}

impl Callers {
    /// What has come of it so far.
    pub fn so_far(&self) -> Steady {
        self.shared.so_far.lock().expect("nobody panics with it").clone()
    }

    /// Ends it: what came of it.
    pub fn end(mut self) -> Steady {
        self.stop();
        self.so_far()
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a caller ends");
        }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        // Whoever panics does not wait for them.
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Load {
    /// Asks once per interval until told to stop; who is late asks at once until that is made up for.
    pub fn steadily(&self, interval: Duration, stop: &AtomicBool) -> Steady {
        let mut steady = Steady::default();
        self.paced(interval, stop, |outcome, at| steady.hear(outcome, at));
        steady
    }

    /// Begins: so many callers ask so often a second together, over all of the time; less only where the machine has no time for
    /// it.
    pub fn begin(&self, callers: u32, rate: u32) -> Callers {
        let shared = Arc::new(Shared::default());
        let interval = Duration::from_secs(1) * callers / rate;
        let threads = (0..callers).map(|_| {
            let (load, shared) = (self.clone(), Arc::clone(&shared));
            std::thread::spawn(move || {
                load.paced(interval, &shared.stop, |outcome, at| {
                    shared.so_far.lock().expect("nobody panics with it").hear(outcome, at);
                });
            })
        });
        Callers {
            threads: threads.collect(),
            shared,
        }
    }

    fn paced(
        &self,
        interval: Duration,
        stop: &AtomicBool,
        mut hear: impl FnMut(io::Result<(Duration, bool)>, Duration),
    ) {
        let (mut kept, started) = (None, Instant::now());
        let mut due = started;
        while !stop.load(Ordering::SeqCst) && started.elapsed() < LONGEST {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // What there was no time for is made up for.
            due += interval;
            let outcome = self.once(&mut kept);
            hear(outcome.map(|took| (took, kept.is_none())), started.elapsed());
        }
    }

    fn once(&self, kept: &mut Option<Caller>) -> io::Result<Duration> {
        let mut caller = match kept.take().filter(|kept| is_open(kept.stream())) {
            Some(caller) => caller,
            None => Caller::connect(self.address)?,
        };
        caller.ask(&self.request)?;
        let answered = loop {
            if let Some(answered) = caller.whole(&self.holds)? {
                break answered;
            }
        };
        if answered.said != Said::Right {
            return Err(io::Error::other(caller.shown(&self.holds)));
        }
        *kept = (!answered.closes).then_some(caller);
        Ok(answered.took)
    }
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let looked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).expect("a socket");
    matches!(looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::super::{noop, noop::answering};
    use super::*;

    fn briefly(load: &Load) -> Steady {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let calls = scope.spawn(|| load.steadily(Duration::from_millis(1), &stop));
            std::thread::sleep(Duration::from_millis(50));
            stop.store(true, Ordering::SeqCst);
            calls.join().expect("it ends")
        })
    }

    #[test]
    fn right_answers_come_on_one_connection() {
        let steady = briefly(&Load::get(&noop("{}"), "/", &[], "{}"));
        assert!(steady.answers > 1 && steady.connections == 0, "{steady:?}");
        assert!(steady.failures.is_empty(), "{steady:?}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let refusal = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let steady = briefly(&Load::get(&answering(refusal), "/", &[], "{}"));
        assert!(steady.answers == 0 && steady.failures[0].contains("503"), "{steady:?}");
    }

    #[test]
    fn a_connection_is_left_when_its_answer_says_so() {
        let last = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        let steady = briefly(&Load::get(&answering(last), "/", &[], "{}"));
        assert!(steady.connections == steady.answers && steady.answers > 0, "{steady:?}");
    }
}
