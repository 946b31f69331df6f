//! How the range of an activation is chosen from its extremes and its histogram.
//!
//! A histogram has [`BINS`] equal bins from the smallest to the largest value. Every method returns a range inside those
//! extremes; [`Quant::of_range`] widens it to hold zero.

use std::fmt;

/// Bins of a histogram. 2048 is what TensorRT and onnxruntime use; finer changed no range here.
pub(crate) const BINS: usize = 2048;

/// Candidate ranges tried for the least squared error, along each end.
const CANDIDATES: usize = 64;

/// Integers that u8 has.
const LEVELS: usize = 256;

/// How a range is chosen from the values seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeMethod {
    /// From the smallest to the largest value.
    MinMax,
    /// The range with the least mean squared rounding and clipping error.
    Mse,
    /// The middle so many percent of the values, in (0, 100]; half of what is cut off goes at each end, as in
    /// onnxruntime's `percentile` calibration.
    Percentile(f64),
    /// The range whose 256 levels lose the least information, by the Kullback-Leibler divergence (TensorRT).
    Entropy,
}

impl RangeMethod {
    /// What [`RangeMethod::Percentile`] keeps where nobody says otherwise.
    pub const PERCENTILE: f64 = 99.99;
}

impl fmt::Display for RangeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RangeMethod::MinMax => f.write_str("min-max"),
            RangeMethod::Mse => f.write_str("mse"),
            RangeMethod::Percentile(kept) => write!(f, "percentile {kept}"),
            RangeMethod::Entropy => f.write_str("entropy"),
        }
    }
}

/// real = (q − zero) · scale, q in u8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quant {
    /// Positive and normal.
    pub scale: f32,
    /// Zero point.
    pub zero: u8,
}

impl Quant {
    /// The quantization of a range that is first widened to hold zero.
    pub fn of_range(low: f32, high: f32) -> Quant {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / 255.0).max(f32::MIN_POSITIVE * 256.0);
        Quant { scale, zero: (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
    }
}

/// Smallest and largest value of a group of activations, and zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extremes {
    pub low: f32,
    pub high: f32,
}

impl Extremes {
    /// The bin of a value.
    pub fn bin(self, value: f32) -> usize {
        let per_bin = BINS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        (((value - self.low) * per_bin) as usize).min(BINS - 1)
    }

    /// The lower end of a bin, `BINS` standing for the upper end of the last.
    fn edge(self, bin: usize) -> f32 {
        if bin == BINS { self.high } else { self.low + bin as f32 * ((self.high - self.low) / BINS as f32) }
    }
}

/// Scale and zero point for values with this histogram; it is not looked at for min-max.
pub(crate) fn choose(method: RangeMethod, extremes: Extremes, histogram: &[u64]) -> Quant {
    let (low, high) = match method {
        RangeMethod::MinMax => (extremes.low, extremes.high),
        RangeMethod::Mse => least_error(extremes, histogram),
        RangeMethod::Percentile(kept) => middle(extremes, histogram, kept),
        RangeMethod::Entropy => least_divergence(extremes, histogram),
    };
    Quant::of_range(low, high)
}

/// The range inside `extremes` with the least mean squared error over the histogram.
///
/// One end is moved at a time, the upper one first, then the lower one with the upper one kept; twice.
fn least_error(extremes: Extremes, histogram: &[u64]) -> (f32, f32) {
    let Extremes { low, high } = extremes;
    let bin = (high - low) / BINS as f32;
    let centre = |i: usize| low + (i as f32 + 0.5) * bin;
    let error = |low: f32, high: f32| -> f64 {
        let quant = Quant::of_range(low, high);
        let (first, last) = (-(quant.zero as f32), 255.0 - quant.zero as f32);
        let squared = |(i, &count): (usize, &u64)| {
            let v = centre(i);
            let back = (v / quant.scale).clamp(first, last).round_ties_even() * quant.scale;
            count as f64 * ((v - back) as f64).powi(2)
        };
        histogram.iter().enumerate().filter(|(_, count)| **count > 0).map(squared).sum()
    };
    let shrunk = |end: f32, k: usize| end * (1.0 - k as f32 / CANDIDATES as f32);
    let (mut best_low, mut best_high) = (low, high);
    for _ in 0..2 {
        let best = |f: &dyn Fn(usize) -> f64| (0..CANDIDATES).min_by(|&a, &b| f(a).total_cmp(&f(b))).unwrap_or(0);
        best_high = shrunk(high, best(&|k| error(best_low, shrunk(high, k))));
        if low < 0.0 {
            best_low = shrunk(low, best(&|k| error(shrunk(low, k), best_high)));
        }
    }
    (best_low, best_high)
}

/// The range that leaves (100 − kept) / 2 percent of the values below it and as many above, to the resolution of a bin.
fn middle(extremes: Extremes, histogram: &[u64], kept: f64) -> (f32, f32) {
    let total: u64 = histogram.iter().sum();
    let cut = total as f64 * ((100.0 - kept) / 200.0).max(0.0);
    // Bins that hold no more than `cut` values together.
    let skipped = |counts: &mut dyn Iterator<Item = &u64>| {
        let mut seen = 0;
        counts
            .take_while(|count| {
                seen += **count;
                seen as f64 <= cut
            })
            .count()
    };
    let (below, above) = (skipped(&mut histogram.iter()), skipped(&mut histogram.iter().rev()));
    if below + above >= BINS {
        return (extremes.low, extremes.high);
    }
    (extremes.edge(below), extremes.edge(BINS - above))
}

/// The range inside `extremes` with the least KL(P ‖ Q), where for the bins a..b of a range
///
/// P = the bins a..b, what lies outside added to the bins at the ends, as shares of all values;
/// Q = the bins a..b without what lies outside, merged into 256 levels, each level's sum spread evenly over its bins
/// that are not empty, as shares of their sum.
///
/// Szymon Migacz, "8-bit inference with TensorRT" (GTC 2017). There the range is ±T of |x| and 128 levels; here u8 has a
/// zero point, so the upper end is moved first, then the lower one. Values that are exactly zero are exact at every
/// scale, and after a `Relu` they are half of all: zero's bin counts as the fuller of its neighbours, as NVIDIA's
/// pytorch-quantization sets `bins[0] = bins[1]`. A range that ends in an empty bin has Q = 0 where P > 0; the same
/// values are in a shorter range, which is tried instead.
fn least_divergence(extremes: Extremes, histogram: &[u64]) -> (f32, f32) {
    let mut bins = histogram.to_vec();
    let zero = extremes.bin(0.0);
    let neighbours = [zero.checked_sub(1), Some(zero + 1)].into_iter().flatten().filter_map(|i| histogram.get(i));
    bins[zero] = neighbours.copied().max().unwrap_or(0).min(bins[zero]).max(1);
    let (mut a, mut b) = (0, BINS);
    let least = |candidates: &mut dyn Iterator<Item = (usize, usize)>| {
        let scored = candidates.map(|(a, b)| (divergence(&bins, a, b), a, b));
        scored.min_by(|x, y| x.0.total_cmp(&y.0)).map(|(_, a, b)| (a, b))
    };
    // Zero stays inside, and a range has at least as many bins as there are levels.
    if let Some(best) = least(&mut ((a + LEVELS).max(zero + 1)..=BINS).rev().map(|b| (a, b))) {
        b = best.1;
    }
    if let Some(best) = least(&mut (0..=zero.min(b - LEVELS)).map(|a| (a, b))) {
        a = best.0;
    }
    (extremes.edge(a), extremes.edge(b))
}

/// KL(P ‖ Q) of the range `a..b` of `bins`, in nats; infinite where Q cannot speak of P.
fn divergence(bins: &[u64], a: usize, b: usize) -> f64 {
    let inside = &bins[a..b];
    let (Some(&first), Some(&last)) = (inside.first(), inside.last()) else { return f64::INFINITY };
    let (below, above): (u64, u64) = (bins[..a].iter().sum(), bins[b..].iter().sum());
    if (first == 0 && below > 0) || (last == 0 && above > 0) {
        return f64::INFINITY;
    }
    let kept: u64 = inside.iter().sum();
    let total = kept + below + above;
    let n = inside.len();
    let mut sum = 0.0;
    for level in 0..LEVELS {
        let range = level * n / LEVELS..(level + 1) * n / LEVELS;
        let counts = &inside[range.clone()];
        let occupied = counts.iter().filter(|c| **c > 0).count();
        let q = counts.iter().sum::<u64>() as f64 / occupied.max(1) as f64 / kept as f64;
        for (i, &count) in range.zip(counts).filter(|(_, c)| **c > 0) {
            let outside = if i == 0 { below } else { 0 } + if i == n - 1 { above } else { 0 };
            let p = (count + outside) as f64 / total as f64;
            sum += p * (p / q).ln();
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO_TEN: Extremes = Extremes { low: 0.0, high: 10.0 };

    /// The upper end of the range chosen for values between 0 and 10.
    fn end(method: RangeMethod, histogram: &[u64]) -> f32 {
        choose(method, TO_TEN, histogram).scale * 255.0
    }

    /// Many values below 1, one at 10.
    fn one_outlier() -> Vec<u64> {
        let mut histogram = vec![0u64; BINS];
        histogram[..BINS / 10].fill(1_000_000);
        histogram[BINS - 1] = 1;
        histogram
    }

    /// exp(−|x| / width), a tenth of the bins wide, round the bin `centre`.
    fn peak(centre: usize, width: f64) -> Vec<u64> {
        (0..BINS).map(|i| (1e6 * (-(i.abs_diff(centre) as f64) / width).exp()) as u64).collect()
    }

    #[test]
    fn zero_is_always_an_integer() {
        for (low, high) in [(-1.0, 1.0), (0.0, 6.0), (-3.0, -1.0), (2.0, 5.0), (0.0, 0.0)] {
            let q = Quant::of_range(low, high);
            assert!(q.scale.is_normal() && q.scale > 0.0, "{low}..{high}: {q:?}");
        }
        assert_eq!(Quant::of_range(0.0, 255.0), Quant { scale: 1.0, zero: 0 });
        assert_eq!(Quant::of_range(-255.0, 0.0), Quant { scale: 1.0, zero: 255 });
    }

    #[test]
    fn one_outlier_does_not_cost_the_resolution_of_all_others() {
        // Two hundred million values below 1, one at 10: cutting it off costs at most 81, keeping it about 26,000.
        // Entropy sees no loss in a density that is the same within each level, and keeps this range whole.
        for method in [RangeMethod::Mse, RangeMethod::Percentile(99.99)] {
            assert!(end(method, &one_outlier()) < 5.0, "{method}: {}", end(method, &one_outlier()));
        }
        assert_eq!(end(RangeMethod::MinMax, &one_outlier()), 10.0);
        // Evenly spread values keep nearly the whole range.
        for method in [RangeMethod::Mse, RangeMethod::Percentile(99.99), RangeMethod::Entropy] {
            assert!(end(method, &vec![10; BINS]) > 9.5, "{method}");
        }
    }

    #[test]
    fn a_percentile_cuts_half_of_the_rest_at_each_end() {
        let even = vec![100u64; BINS];
        let quant = choose(RangeMethod::Percentile(90.0), Extremes { low: -5.0, high: 5.0 }, &even);
        assert!((quant.scale * 255.0 - 9.0).abs() < 0.02, "{quant:?}");
        assert_eq!(choose(RangeMethod::Percentile(100.0), TO_TEN, &even), choose(RangeMethod::MinMax, TO_TEN, &even));
        // All values in one bin: that bin is the range.
        let mut lone = vec![0u64; BINS];
        lone[BINS / 2] = 7;
        let end = end(RangeMethod::Percentile(99.0), &lone);
        assert!((end - 5.0).abs() < 0.01, "{end}");
    }

    #[test]
    fn entropy_cuts_a_long_tail_and_leaves_what_zero_does() {
        let mut relu = peak(0, BINS as f64 / 40.0);
        let cut = end(RangeMethod::Entropy, &relu);
        assert!((1.0..7.0).contains(&cut), "{cut}");
        // As many zeros as a Relu makes are exact at any scale: they do not move the range.
        relu[0] *= 1000;
        assert_eq!(end(RangeMethod::Entropy, &relu), cut);
    }

    #[test]
    fn entropy_cuts_both_tails() {
        let both = peak(BINS / 2, BINS as f64 / 40.0);
        let quant = choose(RangeMethod::Entropy, Extremes { low: -5.0, high: 5.0 }, &both);
        assert!(quant.scale * 255.0 < 8.0, "{quant:?}");
        assert!((100..156).contains(&quant.zero), "{quant:?}");
    }

    #[test]
    fn a_constant_activation_has_a_range() {
        for method in [RangeMethod::Mse, RangeMethod::Percentile(99.99), RangeMethod::Entropy, RangeMethod::MinMax] {
            for extremes in [Extremes { low: 0.0, high: 0.0 }, TO_TEN, Extremes { low: -1.0, high: 0.0 }] {
                for at in [0, BINS / 3, BINS - 1] {
                    let mut histogram = vec![0u64; BINS];
                    histogram[at] = 12;
                    let quant = choose(method, extremes, &histogram);
                    assert!(quant.scale.is_normal(), "{method} {extremes:?} {at}: {quant:?}");
                }
            }
        }
    }
}
