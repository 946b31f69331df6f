//! What may be said about a set of latency samples, and no more.
//!
//! Percentiles p90, p95 and p99 follow MLPerf inference's early-stopping rule: the value left after discarding the
//! t - 1 worst of n samples, where t is the largest k with BinomCDF(k; n, 1 - p) <= 0.01. It is an upper bound of the
//! true percentile with 99 % confidence; with t < 1 there are too few samples and nothing is reported.

use serde::{Deserialize, Serialize};

use crate::samples::Samples;
use crate::spread::Spread;

/// The chance we accept of a reported percentile being too low (MLPerf inference: confidence 0.99).
const EARLY_STOPPING_RISK: f64 = 0.01;

/// Latency of one window, or of all of them together. Times in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Runs.
    pub n: u64,
    /// Runs whose duration was kept; percentiles and `cov` rest on these. Equal to `n` until the buffer was full.
    pub kept: u64,
    /// Shortest run.
    pub min_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 90th percentile by early stopping; `None`: fewer than 64 samples.
    pub p90_us: Option<f64>,
    /// 95th percentile by early stopping; `None`: fewer than 130 samples.
    pub p95_us: Option<f64>,
    /// 99th percentile by early stopping; `None`: fewer than 662 samples.
    pub p99_us: Option<f64>,
    /// Longest run.
    pub max_us: f64,
    /// Mean over all runs.
    pub mean_us: f64,
    /// Coefficient of variation: sample standard deviation / mean.
    pub cov: f64,
    /// Median absolute deviation from the median, unscaled.
    pub mad_us: f64,
    /// Kept runs that lie far off (modified z-score above 3.5, see `spread`).
    pub outliers: u64,
}

impl Summary {
    /// Summarise; `None` when there is no sample. Sorts the buffer in place.
    pub fn of<const N: usize>(samples: &mut Samples<N>) -> Option<Summary> {
        let (min_ns, max_ns) = (samples.min_ns()?, samples.max_ns()?);
        let (n, sum_ns) = (samples.n(), samples.sum_ns());
        let sorted = samples.sorted();
        let spread = Spread::of(sorted)?;
        Some(Summary {
            n,
            kept: sorted.len() as u64,
            min_us: micros(min_ns),
            p50_us: median(sorted)? / 1e3,
            p90_us: percentile(sorted, 0.90),
            p95_us: percentile(sorted, 0.95),
            p99_us: percentile(sorted, 0.99),
            max_us: micros(max_ns),
            mean_us: sum_ns as f64 / n as f64 / 1e3,
            cov: coefficient_of_variation(sorted),
            mad_us: spread.mad_ns / 1e3,
            outliers: spread.outliers,
        })
    }
}

/// How many of the worst of `n` samples may be discarded before the worst one left is reported as percentile `p`
/// (t - 1 in the rule above); `None` when `n` is too small to say anything.
///
/// ```
/// use limbeck_measure::early_stopping_discard;
/// assert_eq!(early_stopping_discard(63, 0.90), None);
/// assert_eq!(early_stopping_discard(64, 0.90), Some(0));
/// assert_eq!(early_stopping_discard(745, 0.90), Some(54));
/// ```
pub fn early_stopping_discard(n: usize, p: f64) -> Option<usize> {
    if n == 0 || p.is_nan() || p <= 0.0 || p >= 1.0 {
        return None;
    }
    // Terms of Binomial(n, q), relative to the term at the mode, by the ratio of neighbours. (1 - q)^n itself would
    // underflow from n = 7000 on.
    let (n_f, q) = (n as f64, 1.0 - p);
    let odds = q / p;
    let mode = (((n_f + 1.0) * q) as usize).min(n);
    let mut above = 0.0;
    let mut term = 1.0;
    for k in mode + 1..=n {
        term *= (n_f - k as f64 + 1.0) / k as f64 * odds;
        above += term;
        if term < 1e-18 {
            break;
        }
    }
    let below_ratio = |k: usize| k as f64 / (n_f - k as f64 + 1.0) / odds;
    let mut up_to_mode = 1.0;
    term = 1.0;
    for k in (1..=mode).rev() {
        term *= below_ratio(k);
        up_to_mode += term;
        if term < 1e-18 {
            break;
        }
    }
    // Walk down from the mode, taking one term off the cumulated sum at a time, until it is small enough.
    let limit = EARLY_STOPPING_RISK * (above + up_to_mode);
    let (mut cumulated, mut term, mut k) = (up_to_mode, 1.0, mode);
    while cumulated > limit {
        if k == 0 {
            return None;
        }
        cumulated -= term;
        term *= below_ratio(k);
        k -= 1;
    }
    k.checked_sub(1)
}

/// Median of sorted durations, in the unit of the input.
pub(crate) fn median(sorted: &[u64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle] as f64),
        _ => Some((sorted[middle - 1] as f64 + sorted[middle] as f64) / 2.0),
    }
}

pub(crate) fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn percentile(sorted: &[u64], p: f64) -> Option<f64> {
    let discard = early_stopping_discard(sorted.len(), p)?;
    sorted.get(sorted.len().checked_sub(1 + discard)?).map(|&ns| micros(ns))
}

fn coefficient_of_variation(ns: &[u64]) -> f64 {
    let n = ns.len() as f64;
    let mean = ns.iter().map(|&x| x as f64).sum::<f64>() / n;
    if ns.len() < 2 || mean == 0.0 {
        return 0.0;
    }
    let squares: f64 = ns.iter().map(|&x| (x as f64 - mean) * (x as f64 - mean)).sum();
    square_root(squares / (n - 1.0)) / mean
}

/// Newton's iteration: `core` has no square root. The start halves the exponent, so five steps reach the last digit.
fn square_root(x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        return 0.0;
    }
    let mut root = f64::from_bits((x.to_bits() >> 1) + (1023u64 << 51));
    for _ in 0..6 {
        root = 0.5 * (root + x / root);
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ns: impl IntoIterator<Item = u64>) -> Summary {
        let mut samples = Samples::<4096>::new();
        ns.into_iter().for_each(|x| samples.push(x));
        Summary::of(&mut samples).unwrap()
    }

    #[test]
    fn a_percentile_needs_its_minimum_of_samples() {
        // deploy-and-measure reference, §5: d = 0, c = 0.99.
        for (p, minimum) in [(0.90, 64), (0.95, 130), (0.99, 662)] {
            assert_eq!(early_stopping_discard(minimum - 1, p), None, "p {p}");
            assert_eq!(early_stopping_discard(minimum, p), Some(0), "p {p}");
        }
        // MLPerf mobile_app_open issue 798.
        assert_eq!(early_stopping_discard(745, 0.90), Some(54));
    }

    #[test]
    fn early_stopping_agrees_with_the_plain_binomial_sum() {
        // The definition, summed from zero; good until (1 - q)^n underflows.
        let plain = |n: usize, p: f64| -> Option<usize> {
            let (mut term, mut cdf, mut k) = (p.powi(n as i32), 0.0, 0usize);
            loop {
                cdf += term;
                if cdf > EARLY_STOPPING_RISK {
                    return k.checked_sub(2);
                }
                k += 1;
                term *= (n - k + 1) as f64 / k as f64 * (1.0 - p) / p;
            }
        };
        for n in (1..2000).step_by(7) {
            for p in [0.5f64, 0.9, 0.95, 0.99] {
                if p.powi(n as i32) > 1e-290 {
                    assert_eq!(early_stopping_discard(n, p), plain(n, p), "n {n} p {p}");
                }
            }
        }
    }

    #[test]
    fn huge_n_tends_to_the_percentile_itself() {
        let n = 1_000_000;
        let discarded = early_stopping_discard(n, 0.9).unwrap() as f64 / n as f64;
        assert!((0.099..0.1).contains(&discarded), "{discarded}");
    }

    #[test]
    fn sixty_three_runs_have_no_p90_and_sixty_four_have_the_maximum() {
        assert_eq!(of((1..=63).map(|x| x * 1000)).p90_us, None);
        let s = of((1..=64).map(|x| x * 1000));
        assert_eq!((s.p90_us, s.p95_us, s.p99_us), (Some(64.0), None, None));
        assert_eq!((s.n, s.min_us, s.p50_us, s.max_us, s.mean_us), (64, 1.0, 32.5, 64.0, 32.5));
    }

    #[test]
    fn spread_is_the_sample_standard_deviation_over_the_mean() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, sum of squares 32, n - 1 = 7.
        let s = of([2, 4, 4, 4, 5, 5, 7, 9].map(|x| x * 1_000_000));
        assert!((s.cov - (32.0f64 / 7.0).sqrt() / 5.0).abs() < 1e-12, "{}", s.cov);
        assert_eq!(of([5000]).cov, 0.0);
        assert_eq!(of([0, 0, 0]).cov, 0.0);
        for x in [1e-300, 0.3, 2.0, 7e18, 1e300] {
            assert!((square_root(x) / x.sqrt() - 1.0).abs() < 1e-15, "{x}");
        }
    }

    #[test]
    fn nothing_measured_is_nothing_said() {
        assert_eq!(Summary::of(&mut Samples::<4>::new()), None);
    }
}
