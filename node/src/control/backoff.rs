//! How long to wait before the next dial: full jitter.
//!
//! Pure, so that it can be read and tested without a clock. The rule a newcomer would break: the whole wait is random,
//! not a part of it; a thousand nodes that lost one control plane must not come back together.

use std::time::Duration;

/// The longest first wait.
const BASE: Duration = Duration::from_millis(200);
/// The longest wait.
const CAP: Duration = Duration::from_secs(5);

/// A wait between nothing and min(cap, base · 2^failures); `random` is uniform in 0..1.
pub fn full_jitter(failures: u32, random: f64) -> Duration {
    // 2^5 · 200 ms is beyond the cap already: a larger exponent would only overflow.
    let ceiling = BASE.saturating_mul(1 << failures.min(5)).min(CAP);
    ceiling.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        for (failures, ceiling_ms) in [
            (0, 200),
            (1, 400),
            (2, 800),
            (3, 1600),
            (4, 3200),
            (5, 5000),
            (400, 5000),
        ] {
            assert_eq!(
                full_jitter(failures, 1.0),
                Duration::from_millis(ceiling_ms),
                "{failures}"
            );
            assert_eq!(
                full_jitter(failures, 0.5),
                Duration::from_millis(ceiling_ms / 2),
                "{failures}"
            );
            assert_eq!(full_jitter(failures, 0.0), Duration::ZERO, "{failures}");
        }
    }
}
