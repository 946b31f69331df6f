//! How sure is the score? A bootstrap of the windows: as many windows again, drawn with replacement, and the median of their medians;
//! the middle 95 % of what comes out (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13, the percentile interval).
//!
//! The draws come from a counter and a fixed seed, so the same windows give the same interval on every machine. With five windows the
//! interval is about as wide as the windows are apart: it cannot know more than they do.

use serde::{Deserialize, Serialize};

use crate::protocol::MAX_WINDOWS;

/// Resamples; the interval's ends are settled to a fraction of a percent of the draws.
const RESAMPLES: u32 = 4000;

/// Fixed, so that a record can be computed again.
const SEED: u64 = 0x6c69_6d62_6563_6b31;

/// Fewest windows of which something can be drawn.
const FEWEST: usize = 3;

/// A 95 % confidence interval, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low_us: f64,
    /// Upper end.
    pub high_us: f64,
}

/// The 95 % interval of the median of `medians_us`; `None` for fewer than three windows, or more than [`MAX_WINDOWS`].
pub fn interval_of_median(medians_us: &[f64]) -> Option<Interval> {
    let mut sorted = heapless::Vec::<f64, MAX_WINDOWS>::from_slice(medians_us).ok()?;
    if sorted.len() < FEWEST {
        return None;
    }
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    // The median of a resample is the mean of two of the sorted medians (twice the same for an odd n): count by that pair.
    let mut counts = [[0u32; MAX_WINDOWS]; MAX_WINDOWS];
    let mut counter = 0;
    for _ in 0..RESAMPLES {
        let mut drawn = heapless::Vec::<usize, MAX_WINDOWS>::new();
        for _ in 0..n {
            let _ = drawn.push((splitmix(counter) % n as u64) as usize);
            counter += 1;
        }
        drawn.sort_unstable();
        counts[drawn[(n - 1) / 2]][drawn[n / 2]] += 1;
    }
    let mut values = heapless::Vec::<(f64, u32), { MAX_WINDOWS * MAX_WINDOWS }>::new();
    for (i, row) in counts.iter().enumerate().take(n) {
        for (j, &count) in row.iter().enumerate().take(n).filter(|(_, count)| **count > 0) {
            let _ = values.push(((sorted[i] + sorted[j]) / 2.0, count));
        }
    }
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let tail = RESAMPLES / 40;
    let low_us = reached(values.iter(), tail)?;
    let high_us = reached(values.iter().rev(), tail)?;
    Some(Interval { low_us, high_us })
}

/// The first value at which more than `tail` resamples are counted.
fn reached<'a>(values: impl Iterator<Item = &'a (f64, u32)>, tail: u32) -> Option<f64> {
    let mut seen = 0;
    values.map(|(value, count)| (value, count)).find_map(|(value, count)| {
        seen += count;
        (seen > tail).then_some(*value)
    })
}

/// Random bits number `counter` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn splitmix(counter: u64) -> u64 {
    let mut z = SEED.wrapping_add((counter + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_windows_leave_no_doubt() {
        assert_eq!(interval_of_median(&[3.0; 5]), Some(Interval { low_us: 3.0, high_us: 3.0 }));
    }

    #[test]
    fn five_windows_give_the_exact_bootstrap_of_a_median() {
        // P(median of 5 draws is the smallest) = P(Binomial(5, 1/5) >= 3) = 0.0579 > 2.5 %: both ends are the extremes.
        let interval = interval_of_median(&[5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!((interval.low_us, interval.high_us), (1.0, 5.0));
        // Of 15 windows P(Binomial(15, 3/15) >= 8) = 0.4 %, and 3.5 % with the fifth: exact ends 5th and 11th, of 1 to 15.
        let windows: [f64; 15] = core::array::from_fn(|i| (i + 1) as f64);
        let interval = interval_of_median(&windows).unwrap();
        assert!((4.0..=5.0).contains(&interval.low_us) && (11.0..=12.0).contains(&interval.high_us), "{interval:?}");
    }

    #[test]
    fn an_even_number_of_windows_has_medians_between_two() {
        let interval = interval_of_median(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!(interval.low_us >= 1.0 && interval.low_us < 2.0 && interval.high_us > 3.0, "{interval:?}");
    }

    #[test]
    fn two_windows_say_nothing_and_the_same_windows_the_same() {
        assert_eq!(interval_of_median(&[1.0, 2.0]), None);
        let windows = [1.5, 9.0, 4.0, 4.5, 2.0, 8.0];
        assert_eq!(interval_of_median(&windows), interval_of_median(&windows));
    }
}
