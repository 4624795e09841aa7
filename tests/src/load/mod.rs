//! Load: callers that keep their connections, and each wait for an answer before they ask again; or more than is taken.
//!
//! One thread for all of them, so that the cores are left to what is measured. The rule a newcomer would break: an answer
//! counts when it is whole, is a 200 and holds what it should; a fast refusal is no result.

mod caller;
mod noop;
mod offered;
mod steady;

pub use noop::noop;
pub use offered::Offered;
pub use steady::{Callers, Steady};

use crate::edge::Key;
use crate::figure::quantile;
use crate::models;
use caller::Caller;
use rustix::event::epoll;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// One request that is sent again and again.
#[derive(Clone, Debug)]
pub struct Load {
    address: SocketAddr,
    request: Vec<u8>,
    holds: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answers {
    /// How long each took, in microseconds.
    pub took: Vec<f64>,
    /// From the first question to the last answer.
    pub elapsed: Duration,
}

impl Answers {
    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.took.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Within how many microseconds this part of them came (0 to 1).
    pub fn within(&self, part: f64) -> f64 {
        quantile(&self.took, part)
    }
}

impl Load {
    /// `POST path` with a body of JSON to `http://host:port`, with these more headers; every answer must hold the text.
    #[track_caller]
    pub fn post(url: &str, path: &str, headers: &[(&str, &str)], body: &str, holds: &str) -> Self {
        let length = body.len();
        let mut request = format!("POST {path} HTTP/1.1\r\nhost: castoff\r\ncontent-type: application/json\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("content-length: {length}\r\n\r\n{body}");
        Self::raw(url, request, holds)
    }

    /// `GET path`, likewise.
    #[track_caller]
    pub fn get(url: &str, path: &str, headers: &[(&str, &str)], holds: &str) -> Self {
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: castoff\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        Self::raw(url, request + "\r\n", holds)
    }

    /// Record queries of iris to `http://host:port` with a key, all about the same flower.
    #[track_caller]
    pub fn of_iris(url: &str, key: &Key) -> Self {
        let (headers, body) = ([("x-api-key", key.key.as_str())], models::setosa().to_string());
        Self::post(url, "/public/api/v1/iris/iris/predict", &headers, &body, "setosa")
    }

    /// Whether somebody takes connections there, after a while at most. A Service of a cluster does so a moment after its first
    /// pod is ready; each try is a connection of its own, since one that was begun before is led nowhere, however long it waits.
    pub fn is_taken(&self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(30);
        const TRY: Duration = Duration::from_secs(5);
        const BREATH: Duration = Duration::from_millis(100);
        let end = Instant::now() + PATIENCE;
        loop {
            if TcpStream::connect_timeout(&self.address, TRY).is_ok() {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(BREATH);
        }
    }

    #[track_caller]
    fn raw(url: &str, request: String, holds: &str) -> Self {
        Self {
            address: url.trim_start_matches("http://").parse().expect("an address"),
            request: request.into_bytes(),
            holds: holds.as_bytes().to_vec(),
        }
    }

    /// So many callers for so long. What is under way at the end is waited for.
    #[track_caller]
    pub fn run(&self, callers: usize, time: Duration) -> Answers {
        self.try_run(callers, time).expect("the other side answers")
    }

    fn try_run(&self, callers: usize, time: Duration) -> io::Result<Answers> {
        let poll = Poll::new(callers)?;
        let mut callers = self.connect(&poll, callers)?;
        let started = Instant::now();
        let end = started + time;
        let mut took = Vec::with_capacity(1 << 16);
        for caller in &mut callers {
            caller.ask(&self.request)?;
        }
        let mut asking = callers.len();
        let mut ready = Vec::with_capacity(callers.len());
        while asking > 0 {
            poll.wait(&mut ready, None)?;
            for number in ready.drain(..) {
                let caller = &mut callers[number];
                let Some(answered) = caller.read(&self.holds)? else {
                    continue;
                };
                took.push(answered.took.as_secs_f64() * 1e6);
                if Instant::now() >= end {
                    asking -= 1;
                    continue;
                }
                if answered.closes {
                    *caller = Caller::connect(self.address)?;
                    poll.watch(number, caller)?;
                }
                caller.ask(&self.request)?;
            }
        }
        Ok(Answers {
            took,
            elapsed: started.elapsed(),
        })
    }

    fn connect(&self, poll: &Poll, callers: usize) -> io::Result<Vec<Caller>> {
        let connect = |number| {
            let caller = Caller::connect(self.address)?;
            poll.watch(number, &caller)?;
            Ok(caller)
        };
        (0..callers).map(connect).collect()
    }
}

/// Tells which callers can read. One alone needs no telling: it asks its socket again and again. Sleeping, it would have
/// to be woken, which on an idle core takes longer than many an answer, and would be counted as if it were one.
enum Poll {
    One,
    Many(OwnedFd),
}

impl Poll {
    fn new(callers: usize) -> io::Result<Self> {
        Ok(match callers {
            1 => Self::One,
            _ => Self::Many(epoll::create(epoll::CreateFlags::CLOEXEC)?),
        })
    }

    fn watch(&self, number: usize, caller: &Caller) -> io::Result<()> {
        match self {
            Self::One => caller.stream().set_nonblocking(true),
            Self::Many(poll) => {
                let data = epoll::EventData::new_u64(number as u64);
                Ok(epoll::add(poll, caller.stream(), data, epoll::EventFlags::IN)?)
            }
        }
    }

    /// Until somebody can read, and no longer than this.
    fn wait(&self, ready: &mut Vec<usize>, most: Option<Duration>) -> io::Result<()> {
        match self {
            Self::One => ready.push(0),
            Self::Many(poll) => {
                let mut events = [epoll::Event {
                    flags: epoll::EventFlags::empty(),
                    data: epoll::EventData::new_u64(0),
                }; 64];
                let most = most.map(|most| most.try_into().expect("a short time"));
                let count = match epoll::wait(poll, events.as_mut_slice(), most.as_ref()) {
                    Err(rustix::io::Errno::INTR) => 0,
                    count => count?,
                };
                ready.extend(events[..count].iter().map(|event| event.data.u64() as usize));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_gets_its_answers() {
        let url = noop("{\"label\":\"setosa\"}");
        for callers in [1, 8] {
            let load = Load::post(&url, "/predict", &[("x-api-key", "k")], "{}", "setosa");
            let answers = load.run(callers, Duration::from_millis(50));
            assert!(answers.took.len() >= callers && answers.rate() > 0.0);
            assert!(answers.within(0.5) <= answers.within(1.0));
        }
    }

    #[test]
    #[should_panic(expected = "virginica")]
    fn a_wrong_answer_ends_it() {
        let url = noop("{\"label\":\"setosa\"}");
        Load::get(&url, "/", &[], "virginica").run(1, Duration::from_millis(1));
    }
}
