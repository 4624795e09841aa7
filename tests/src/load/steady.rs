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
use std::time::{Duration, Instant};

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

impl Load {
    /// Asks once per interval until told to stop.
    pub fn steadily(&self, interval: Duration, stop: &AtomicBool) -> Steady {
        let (mut steady, mut kept, started) = (Steady::default(), None, Instant::now());
        let mut due = started;
        while !stop.load(Ordering::SeqCst) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due = (due + interval).max(Instant::now());
            match self.once(&mut kept) {
                Ok(took) => {
                    steady.answers += 1;
                    steady.slowest = steady.slowest.max(took);
                    steady.connections += usize::from(kept.is_none());
                }
                Err(error) => {
                    kept = None;
                    steady.failures.push(format!("after {:?}: {error}", started.elapsed()));
                }
            }
        }
        steady
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
