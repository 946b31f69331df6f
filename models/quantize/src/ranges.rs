//! The range of every activation, from calibration samples.
//!
//! Two passes over the samples: extremes first, then a histogram between them; [`crate::method`] makes a range of these.
//! A range always holds zero, so that zero (padding, a dead ReLU) is an integer. Scale and zero point:
//! s = (high − low) / 255, z = RNE(−low / s).

use std::sync::Mutex;

use limbeck_data::parallel;
use limbeck_engine::Net;
use limbeck_engine::onnx::Model;

use crate::QuantizeError;
use crate::method::{BINS, Extremes, Quant, RangeMethod, choose};
use crate::samples::{Rounds, Samples};
use crate::scope::Scope;

/// Scale and zero point of every group of `scope`.
pub(crate) fn calibrate(
    model: &Model,
    scope: &Scope,
    samples: &Samples<'_>,
    method: RangeMethod,
    threads: usize,
    rounds: &Rounds<'_>,
) -> Result<Vec<Quant>, QuantizeError> {
    let net = Net::load_with_taps(model, 1, &scope.tapped)?;
    let groups: Vec<usize> = scope.tapped.iter().map(|t| scope.groups[t]).collect();
    let input = model.graph.inputs.first().and_then(|i| scope.group(&i.name));
    let passes = Passes { net: &net, scope, groups, input, samples, threads, rounds };
    let extremes = passes.extremes()?;
    let histograms = match method {
        RangeMethod::MinMax => vec![vec![]; extremes.len()],
        _ => passes.histograms(&extremes)?,
    };
    Ok(extremes.iter().zip(&histograms).map(|(e, h)| choose(method, *e, h)).collect())
}

struct Passes<'a> {
    net: &'a Net,
    scope: &'a Scope,
    /// Group of each tapped activation.
    groups: Vec<usize>,
    /// Group of the graph's input.
    input: Option<usize>,
    samples: &'a Samples<'a>,
    threads: usize,
    rounds: &'a Rounds<'a>,
}

impl Passes<'_> {
    /// Run all samples; `see(group, values)` gets every quantized activation of one sample, `merge` joins the samples. It
    /// must not care for their order: threads finish in any.
    fn run<T: Send + Sync + Clone>(
        &self,
        start: T,
        see: impl Fn(&mut T, usize, &[f32]) + Sync,
        merge: impl Fn(&mut T, T) + Sync,
    ) -> Result<T, QuantizeError> {
        let own_outputs = self.net.output_shapes().len() - self.scope.tapped.len();
        let total = Mutex::new(start.clone());
        let done = parallel::for_each(
            self.samples.len(),
            self.threads,
            self.rounds,
            || Ok::<_, QuantizeError>((self.net.worker()?, vec![0.0; self.samples.preprocess.len()])),
            |(worker, x), i| {
                let id = self.samples.fill(i, x)?.id;
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
        self.rounds.end(self.samples.len());
        Ok(total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    fn extremes(&self) -> Result<Vec<Extremes>, QuantizeError> {
        let none = Extremes { low: f32::INFINITY, high: f32::NEG_INFINITY };
        let widen = |e: &mut Extremes, low: f32, high: f32| {
            e.low = e.low.min(low);
            e.high = e.high.max(high);
        };
        let mut extremes = self.run(
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
            vec![vec![0u64; BINS]; self.scope.group_count],
            |seen, group, values| values.iter().for_each(|&v| seen[group][extremes[group].bin(v)] += 1),
            |total, mine| {
                for (total, mine) in total.iter_mut().flatten().zip(mine.into_iter().flatten()) {
                    *total += mine;
                }
            },
        )
    }
}
