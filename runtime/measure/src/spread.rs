//! Spread that a few slow runs cannot move: the median absolute deviation, and how many runs lie far off.
//!
//! ```text
//! MAD = median |x - median(x)|          far off: 0.6745 |x - median(x)| > 3.5 MAD
//! ```
//!
//! Where more than half of all runs took equally long the MAD is 0, and the mean deviation takes its place: |x - median(x)| > 3.5 * 1.2533 *
//! mean |x - median(x)|. Both rules: Iglewicz and Hoaglin, *How to Detect and Handle Outliers*, 1993.

use crate::summary::median;

/// Modified z-score from which a run is far off.
const FAR: f64 = 3.5;

/// MAD and outliers of sorted durations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub mad_ns: f64,
    pub outliers: u64,
}

impl Spread {
    /// `None` when there is nothing.
    pub fn of(sorted: &[u64]) -> Option<Spread> {
        let centre = median(sorted)?;
        let off = |ns: u64| (ns as f64 - centre).abs();
        let mad_ns = median_deviation(sorted, centre);
        let limit = if mad_ns > 0.0 {
            FAR * mad_ns / 0.6745
        } else {
            FAR * 1.2533 * sorted.iter().map(|&ns| off(ns)).sum::<f64>() / sorted.len() as f64
        };
        let outliers = sorted.iter().filter(|&&ns| off(ns) > limit).count() as u64;
        Some(Spread { mad_ns, outliers })
    }
}

/// Median of the deviations from `centre`, without a buffer: left and right of it they are sorted already, so the two sides are merged
/// outwards until half of them are seen.
fn median_deviation(sorted: &[u64], centre: f64) -> f64 {
    let off = |ns: &u64| (*ns as f64 - centre).abs();
    let middle = sorted.partition_point(|&ns| (ns as f64) < centre);
    let (left, right) = sorted.split_at(middle);
    let (mut left, mut right) = (left.iter().rev().map(off).peekable(), right.iter().map(off).peekable());
    let mut next = || match (left.peek(), right.peek()) {
        (Some(l), Some(r)) if l <= r => left.next(),
        (_, Some(_)) => right.next(),
        _ => left.next(),
    };
    let n = sorted.len();
    let low = (0..=(n - 1) / 2).filter_map(|_| next()).last().unwrap_or(0.0);
    if n % 2 == 1 { low } else { (low + next().unwrap_or(low)) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, with a buffer.
    fn plain(sorted: &[u64]) -> f64 {
        let centre = median(sorted).unwrap();
        let mut off: Vec<f64> = sorted.iter().map(|&ns| (ns as f64 - centre).abs()).collect();
        off.sort_by(f64::total_cmp);
        (off[(off.len() - 1) / 2] + off[off.len() / 2]) / 2.0
    }

    #[test]
    fn the_merge_agrees_with_the_definition() {
        let mut state = 1u64;
        for n in 1..60 {
            let mut ns: Vec<u64> = (0..n)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 33) % 50
                })
                .collect();
            ns.sort_unstable();
            assert_eq!(Spread::of(&ns).unwrap().mad_ns, plain(&ns), "{ns:?}");
        }
    }

    #[test]
    fn a_few_slow_runs_are_counted_and_do_not_move_it() {
        let mut ns: Vec<u64> = (0..100).map(|i| 1000 + i % 10).collect();
        ns.extend([9000, 20_000]);
        ns.sort_unstable();
        let spread = Spread::of(&ns).unwrap();
        assert!(spread.mad_ns < 4.0 && spread.outliers == 2, "{spread:?}");
    }

    #[test]
    fn equal_runs_with_one_slow_one_still_show_it() {
        let mut ns = [7u64; 100];
        ns[99] = 700;
        assert_eq!(Spread::of(&ns), Some(Spread { mad_ns: 0.0, outliers: 1 }));
        assert_eq!(Spread::of(&[7; 5]), Some(Spread { mad_ns: 0.0, outliers: 0 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
