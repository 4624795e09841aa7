//! Rounds: measuring several things in turn, so that what else goes on meets all of them alike.

/// Measures each of these once a round, one after the other; every other round goes backwards. What comes back is one
/// list per thing, round by round.
pub fn interleaved<const N: usize>(rounds: usize, mut measure: impl FnMut(usize) -> f64) -> [Vec<f64>; N] {
    let mut measured = [const { Vec::new() }; N];
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..N).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for thing in order {
            measured[thing].push(measure(thing));
        }
    }
    measured
}

/// Round by round, one divided by the other.
pub fn ratios(above: &[f64], below: &[f64]) -> Vec<f64> {
    above.iter().zip(below).map(|(above, below)| above / below).collect()
}

/// The middle of these, in any order.
#[track_caller]
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this part of them lies (0 to 1): the nearest that was measured.
#[track_caller]
pub fn quantile(values: &[f64], part: f64) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_there_and_back() {
        let mut order = Vec::new();
        let measured: [Vec<f64>; 2] = interleaved(3, |thing| {
            order.push(thing);
            order.len() as f64
        });
        assert_eq!(order, [0, 1, 1, 0, 0, 1]);
        assert_eq!(measured, [vec![1.0, 4.0, 5.0], vec![2.0, 3.0, 6.0]]);
        assert_eq!(ratios(&measured[1], &measured[0]), [2.0, 0.75, 1.2]);
    }

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let values: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        assert_eq!(median(&values), 51.0);
        assert_eq!(quantile(&values, 0.99), 100.0);
        assert_eq!(quantile(&values, 1.0), 101.0);
        assert_eq!(median(&[7.0]), 7.0);
    }
}
