//! The range of every activation, from calibration samples.
//!
//! Two passes over the samples: extremes first, then a histogram between them. A range always holds zero, so that zero
//! (padding, a dead ReLU) is an integer. Scale and zero point: s = (high − low) / 255, z = RNE(−low / s).

use std::fmt;
use std::sync::Mutex;

use limbeck_data::{Watch, parallel};
use limbeck_engine::Net;
use limbeck_engine::onnx::Model;

use crate::scope::Scope;
use crate::{Calibration, QuantizeError, QuantizeOptions};

/// Bins of a histogram. 2048 is what TensorRT and onnxruntime use; finer changed no range here.
const BINS: usize = 2048;

/// Candidate ranges tried for the least squared error, along each end.
const CANDIDATES: usize = 64;

/// How a range is chosen from the values seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeMethod {
    /// From the smallest to the largest value.
    MinMax,
    /// The range with the least mean squared rounding and clipping error.
    Mse,
}

impl fmt::Display for RangeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RangeMethod::MinMax => "min-max",
            RangeMethod::Mse => "mse",
        })
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

/// Extremes of a group of activations.
#[derive(Debug, Clone, Copy)]
struct Extremes {
    low: f32,
    high: f32,
}

/// Scale and zero point of every group of `scope`.
pub(crate) fn calibrate(
    net: &Net,
    model: &Model,
    scope: &Scope,
    samples: &Calibration<'_>,
    options: &QuantizeOptions,
    watch: &dyn Watch,
) -> Result<Vec<Quant>, QuantizeError> {
    let groups: Vec<usize> = scope.tapped.iter().map(|t| scope.groups[t]).collect();
    let input = model.graph.inputs.first().and_then(|i| scope.group(&i.name));
    let passes = Passes { net, scope, groups, input, samples, options, watch };
    let extremes = passes.extremes()?;
    if options.method == RangeMethod::MinMax {
        return Ok(extremes.iter().map(|e| Quant::of_range(e.low, e.high)).collect());
    }
    let histograms = passes.histograms(&extremes)?;
    Ok(extremes.iter().zip(&histograms).map(|(e, h)| least_error(*e, h)).collect())
}

struct Passes<'a> {
    net: &'a Net,
    scope: &'a Scope,
    /// Group of each tapped activation.
    groups: Vec<usize>,
    /// Group of the graph's input.
    input: Option<usize>,
    samples: &'a Calibration<'a>,
    options: &'a QuantizeOptions,
    watch: &'a dyn Watch,
}

/// Progress of one pass of two.
struct Half<'a> {
    watch: &'a dyn Watch,
    second: bool,
}

impl Watch for Half<'_> {
    fn progress(&self, done: usize, total: usize) {
        self.watch.progress(done + if self.second { total } else { 0 }, 2 * total);
    }
    fn cancelled(&self) -> bool {
        self.watch.cancelled()
    }
}

impl Passes<'_> {
    /// Run all samples; `see(group, values)` gets every quantized activation of one sample, `merge` joins the samples. It
    /// must not care for their order: threads finish in any.
    fn run<T: Send + Sync + Clone>(
        &self,
        second: bool,
        start: T,
        see: impl Fn(&mut T, usize, &[f32]) + Sync,
        merge: impl Fn(&mut T, T) + Sync,
    ) -> Result<T, QuantizeError> {
        let own_outputs = self.net.output_shapes().len() - self.scope.tapped.len();
        let total = Mutex::new(start.clone());
        let watch = Half { watch: self.watch, second };
        let done = parallel::for_each(
            self.samples.count,
            self.options.threads,
            &watch,
            || Ok::<_, QuantizeError>((self.net.worker()?, vec![0.0; self.samples.preprocess.len()])),
            |(worker, x), i| {
                let id = self.samples.fill(i, x)?;
                let mut mine = start.clone();
                let mut not_finite = None;
                if let Some(group) = self.input {
                    see(&mut mine, group, x);
                }
                worker.run(x, |output, values| {
                    let Some(tap) = output.checked_sub(own_outputs) else { return };
                    if !values.iter().all(|v| v.is_finite()) {
                        not_finite = Some(self.scope.tapped[tap].clone());
                    }
                    see(&mut mine, self.groups[tap], values);
                })?;
                if let Some(value) = not_finite {
                    return Err(QuantizeError::NotFinite { value, id });
                }
                merge(&mut total.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), mine);
                Ok(())
            },
        )?;
        if !done {
            return Err(QuantizeError::Cancelled);
        }
        Ok(total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    fn extremes(&self) -> Result<Vec<Extremes>, QuantizeError> {
        let none = Extremes { low: f32::INFINITY, high: f32::NEG_INFINITY };
        let widen = |e: &mut Extremes, low: f32, high: f32| {
            e.low = e.low.min(low);
            e.high = e.high.max(high);
        };
        let mut extremes = self.run(
            false,
            vec![none; self.scope.group_count],
            |seen, group, values| values.iter().for_each(|&v| widen(&mut seen[group], v, v)),
            |total, mine| total.iter_mut().zip(mine).for_each(|(t, m)| widen(t, m.low, m.high)),
        )?;
        for e in &mut extremes {
            *e = Extremes { low: e.low.min(0.0), high: e.high.max(0.0) };
        }
        Ok(extremes)
    }

    fn histograms(&self, extremes: &[Extremes]) -> Result<Vec<Vec<u64>>, QuantizeError> {
        self.run(
            true,
            vec![vec![0u64; BINS]; self.scope.group_count],
            |seen, group, values| {
                let Extremes { low, high } = extremes[group];
                let per_bin = BINS as f32 / (high - low).max(f32::MIN_POSITIVE);
                for v in values {
                    seen[group][(((v - low) * per_bin) as usize).min(BINS - 1)] += 1;
                }
            },
            |total, mine| {
                for (total, mine) in total.iter_mut().flatten().zip(mine.into_iter().flatten()) {
                    *total += mine;
                }
            },
        )
    }
}

/// The range inside `extremes` with the least mean squared error over the histogram.
///
/// One end is moved at a time, the upper one first, then the lower one with the upper one kept; twice.
fn least_error(extremes: Extremes, histogram: &[u64]) -> Quant {
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
    Quant::of_range(best_low, best_high)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut histogram = vec![0u64; BINS];
        // Two hundred million values below 1, one at 10: cutting it off costs at most 81, keeping it about 26,000.
        histogram[..BINS / 10].fill(1_000_000);
        histogram[BINS - 1] = 1;
        let mse = least_error(Extremes { low: 0.0, high: 10.0 }, &histogram);
        assert!(mse.scale * 255.0 < 5.0, "{mse:?}");
        // Evenly spread values keep nearly the whole range.
        let even = least_error(Extremes { low: 0.0, high: 10.0 }, &vec![10; BINS]);
        assert!(even.scale * 255.0 > 9.5, "{even:?}");
    }
}
