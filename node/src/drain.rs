//! Leaving without failing a call: how long each step of it takes.
//!
//! The rule a newcomer would break: a node that shares its listening socket stops accepting at once, because a connection
//! that it does not take goes to another replica; one with a socket of its own must go on accepting until nobody sends it
//! new ones.

use castoff_listen::Phase;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// For the callers that have a connection open already: the time of their next call.
const IDLE: Duration = Duration::from_secs(1);
/// From the deadline of a call to its answer having left.
const SLACK: Duration = Duration::from_secs(3);

/// How long the steps take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Not ready, but accepting.
    pub accept: Duration,
    /// Not accepting, but answering on what is open.
    pub idle: Duration,
    /// Finishing what is in flight.
    pub finish: Duration,
}

impl Plan {
    /// The plan for a node, by whether it shares its listening socket and by its limits.
    pub fn new(shared: bool, drain_delay: Duration, deadline: Duration) -> Self {
        let accept = if shared { Duration::ZERO } else { drain_delay };
        // Who had time to leave while connections were accepted needs no more of it.
        let idle = IDLE.min(drain_delay.saturating_sub(accept));
        Self {
            accept,
            idle,
            finish: deadline + SLACK,
        }
    }

    /// Goes through the steps; `true` when every connection has ended in time.
    pub async fn carry_out(self, phase: &watch::Sender<Phase>, connections: &TaskTracker) -> bool {
        phase.send_replace(Phase::Leaving);
        tokio::time::sleep(self.accept).await;
        phase.send_replace(Phase::Closed);
        connections.close();
        if tokio::time::timeout(self.idle, connections.wait()).await.is_ok() {
            return true;
        }
        phase.send_replace(Phase::Shut);
        tokio::time::timeout(self.finish, connections.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod connections;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_socket_is_left_at_once() {
        let seconds = Duration::from_secs;
        let plan = |shared, delay| Plan::new(shared, seconds(delay), seconds(10));
        assert_eq!(
            plan(true, 5),
            Plan {
                accept: seconds(0),
                idle: seconds(1),
                finish: seconds(13)
            }
        );
        assert_eq!(
            plan(false, 5),
            Plan {
                accept: seconds(5),
                idle: seconds(0),
                finish: seconds(13)
            }
        );
        assert_eq!(
            plan(true, 0),
            Plan {
                accept: seconds(0),
                idle: seconds(0),
                finish: seconds(13)
            }
        );
    }
}
