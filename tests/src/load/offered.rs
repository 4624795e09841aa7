//! Calls that are offered by the clock, whatever became of those before: more of them than the other side can answer.
//!
//! Apart from callers that each wait for their answer, who never offer more than is taken. The rule a newcomer would break:
//! only right answers that came while calls were offered count; once nothing more is offered, nobody is overloaded.

use super::caller::{Caller, Said};
use super::{Answers, Load, Poll};
use std::io;
use std::time::{Duration, Instant};

/// What came of what was offered.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The right answers.
    pub good: Answers,
    /// Calls that were made.
    pub asked: usize,
    /// Calls that were sent away: a 429 that says when to come back.
    pub refused: usize,
}

impl Load {
    /// Asks once per interval for so long, and with none as often as a connection is free, of which there are so many.
    /// What is under way at the end is waited for, and judged like the rest: each is right or a refusal.
    #[track_caller]
    pub fn offer(&self, interval: Duration, connections: usize, time: Duration) -> Offered {
        self.try_offer(interval, connections, time)
            .expect("the other side answers")
    }

    fn try_offer(&self, interval: Duration, connections: usize, time: Duration) -> io::Result<Offered> {
        assert!(connections > 1, "one connection offers no more than is taken");
        let poll = Poll::new(connections)?;
        let mut callers = self.connect(&poll, connections)?;
        let mut idle: Vec<usize> = (0..connections).collect();
        let mut ready = Vec::with_capacity(connections);
        let (mut took, mut asked, mut refused) = (Vec::with_capacity(1 << 16), 0, 0);
        let started = Instant::now();
        let (end, mut due) = (started + time, started);
        loop {
            let now = Instant::now();
            while now < end
                && due <= now
                && let Some(number) = idle.pop()
            {
                callers[number].ask(&self.request)?;
                asked += 1;
                due += interval;
            }
            if now >= end && idle.len() == connections {
                break;
            }
            let next = (now < end && !idle.is_empty()).then(|| due.saturating_duration_since(now));
            poll.wait(&mut ready, next)?;
            for number in ready.drain(..) {
                let Some(answered) = callers[number].read_or_refused(&self.holds)? else {
                    continue;
                };
                if Instant::now() < end {
                    match answered.said {
                        Said::Right => took.push(answered.took.as_secs_f64() * 1e6),
                        Said::Refused | Said::Wrong => refused += 1,
                    }
                }
                if answered.closes {
                    callers[number] = Caller::connect(self.address)?;
                    poll.watch(number, &callers[number])?;
                }
                idle.push(number);
            }
        }
        let good = Answers { took, elapsed: time };
        Ok(Offered { good, asked, refused })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{noop, noop::answering};
    use super::*;

    const REFUSAL: &str = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn calls_come_by_the_clock() {
        let load = Load::get(&noop("{}"), "/", &[], "{}");
        let offered = load.offer(Duration::from_millis(5), 4, Duration::from_millis(100));
        assert!((1..=20).contains(&offered.asked), "{offered:?}");
        assert!(offered.good.took.len() <= offered.asked && offered.refused == 0);
        let free = load.offer(Duration::ZERO, 4, Duration::from_millis(100));
        assert!(free.asked >= 4, "{}", free.asked);
    }

    #[test]
    fn refusals_are_no_answers() {
        let load = Load::get(&answering(REFUSAL), "/", &[], "{}");
        let offered = load.offer(Duration::ZERO, 2, Duration::from_millis(100));
        assert!(offered.good.took.is_empty() && offered.refused > 0, "{offered:?}");
    }

    #[test]
    #[should_panic(expected = "429")]
    fn who_offers_no_more_than_is_taken_is_not_refused() {
        Load::get(&answering(REFUSAL), "/", &[], "{}").run(2, Duration::from_millis(1));
    }

    #[test]
    #[should_panic(expected = "neither")]
    fn a_refusal_says_when_to_come_back() {
        let silent = REFUSAL.replace("retry-after: 1\r\n", "");
        Load::get(&answering(&silent), "/", &[], "{}").offer(Duration::ZERO, 2, Duration::from_millis(1));
    }
}
