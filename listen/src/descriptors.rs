//! How many connections the limit of open files allows.
//!
//! The rule a newcomer would break: ports leave enough for the rest of the process. One that takes every descriptor keeps
//! its own callers waiting and everything else (the database, files, new processes) from working.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For all that is no connection: database, files, pipes, listening sockets.
const KEPT: u64 = 256;
/// A port has at least so many, even where the limit is lower than it should be.
const LEAST: usize = 16;

/// Raises this process's own limit as far as it may, and gives it.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // A kernel that refuses leaves the old one.
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() {
        raised
    } else {
        limit
    };
    limit.current.unwrap_or(u64::MAX)
}

/// Connections for each port, as wanted or in the same proportion fewer, so that `limit` suffices.
pub fn divide<const PORTS: usize>(limit: u64, wanted: [usize; PORTS]) -> [usize; PORTS] {
    let sum = wanted.iter().fold(0_u64, |sum, most| sum.saturating_add(*most as u64));
    let available = limit.saturating_sub(KEPT);
    if sum <= available {
        return wanted;
    }
    // In 128 bits nothing overflows.
    let share = |most: usize| most as u128 * u128::from(available) / u128::from(sum);
    wanted.map(|most| {
        usize::try_from(share(most))
            .unwrap_or(most)
            .clamp(LEAST.min(most), most)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_share_what_the_limit_leaves() {
        assert_eq!(divide(1_048_576, [1_000, 10_000, 100]), [1_000, 10_000, 100]);
        assert_eq!(divide(u64::MAX, [1_000]), [1_000]);
        assert_eq!(divide(KEPT + 1_100, [1_000, 1_000, 200]), [500, 500, 100]);
        assert_eq!(divide(10, [1_000, 8]), [LEAST, 8]);
        assert_eq!(divide(KEPT + 10, [usize::MAX, 8]), [LEAST, 8]);
    }

    #[test]
    fn raising_goes_as_far_as_it_may_and_no_further() {
        let limit = raise();
        assert_eq!(
            getrlimit(Resource::Nofile).current,
            Some(limit).filter(|limit| *limit < u64::MAX)
        );
        assert_eq!(raise(), limit);
    }
}
