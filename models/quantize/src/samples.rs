//! Which samples calibrate, which are held out to measure with, and one loop over either.
//!
//! Both are taken evenly from the data set, and no sample is both. Results come back in sample order, so whatever is summed
//! over them does not depend on the number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use limbeck_answers::{Preprocess, View};
use limbeck_data::{Dataset, Viewed, Watch, parallel};

use crate::QuantizeError;

/// Some samples of a data set, preprocessed for the student.
pub(crate) struct Samples<'a> {
    pub preprocess: &'a Preprocess,
    pub dataset: &'a dyn Dataset,
    /// Which samples, in rising order.
    pub indices: Vec<usize>,
}

/// One sample, ready to run.
pub(crate) struct Sample {
    pub id: String,
    pub label: Option<u16>,
}

impl Samples<'_> {
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Write the `i`-th of these samples into `x`.
    pub fn fill(&self, i: usize, x: &mut [f32]) -> Result<Sample, QuantizeError> {
        let index = self.indices[i];
        let id = self.dataset.id(index);
        let shown = Viewed::new(self.dataset, None).input(self.preprocess, index, View::Identity, x)?;
        Ok(Sample { id, label: shown.label })
    }

    /// `f(state, x, sample)` for every sample, each thread with a state of its own; results in sample order.
    pub fn map<S, T: Send>(
        &self,
        threads: usize,
        rounds: &Rounds<'_>,
        start: impl Fn() -> Result<S, QuantizeError> + Sync,
        f: impl Fn(&mut S, &[f32], Sample) -> Result<T, QuantizeError> + Sync,
    ) -> Result<Vec<T>, QuantizeError> {
        let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(self.len()));
        let done = parallel::for_each(
            self.len(),
            threads,
            rounds,
            || Ok((start()?, vec![0.0; self.preprocess.len()])),
            |(state, x), i| {
                let sample = self.fill(i, x)?;
                let result = f(state, x, sample)?;
                results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((i, result));
                Ok::<_, QuantizeError>(())
            },
        )?;
        if !done {
            return Err(QuantizeError::Cancelled);
        }
        rounds.end(self.len());
        let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        results.sort_unstable_by_key(|(i, _)| *i);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

/// Progress of one pass over samples after another: what is told is the sum.
pub(crate) struct Rounds<'a> {
    watch: &'a dyn Watch,
    before: AtomicUsize,
}

impl<'a> Rounds<'a> {
    pub fn new(watch: &'a dyn Watch) -> Rounds<'a> {
        Rounds { watch, before: AtomicUsize::new(0) }
    }

    /// A pass over `n` samples has ended.
    pub fn end(&self, n: usize) {
        self.before.fetch_add(n, Ordering::Relaxed);
    }
}

impl Watch for Rounds<'_> {
    fn progress(&self, done: usize, total: usize) {
        let before = self.before.load(Ordering::Relaxed);
        self.watch.progress(before + done, before + total);
    }
    fn note(&self, text: &str) {
        self.watch.note(text);
    }
    fn cancelled(&self) -> bool {
        self.watch.cancelled()
    }
}

/// Indices of the samples that calibrate and of those held out, out of `len`.
///
/// Every k-th sample calibrates; of the others, every k-th is held out. Where there are too few for both, three in four of
/// what there is calibrate.
pub(crate) fn split(len: usize, calibration: usize, held_out: usize) -> (Vec<usize>, Vec<usize>) {
    let most = if held_out == 0 { len } else { len - len.div_ceil(4) };
    let calibration =
        calibration.min(if len >= calibration.saturating_add(held_out) { len } else { most }).max(1).min(len);
    let evenly = |n: usize, of: &[usize]| (0..n.min(of.len())).map(|i| of[i * of.len() / n.min(of.len())]).collect();
    let all: Vec<usize> = (0..len).collect();
    let calibrating: Vec<usize> = evenly(calibration, &all);
    let rest: Vec<usize> = all.into_iter().filter(|i| calibrating.binary_search(i).is_err()).collect();
    let held_out = evenly(held_out, &rest);
    (calibrating, held_out)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn no_sample_both_calibrates_and_measures() {
        for (len, calibration, held_out) in [(1000, 256, 512), (100, 256, 512), (16, 256, 0), (2, 1, 1), (5, 4, 4)] {
            let (c, h) = split(len, calibration, held_out);
            assert!(!c.is_empty() && (held_out == 0) == h.is_empty(), "{len}: {c:?} {h:?}");
            assert!(c.iter().all(|i| !h.contains(i)) && c.len() <= calibration && h.len() <= held_out);
            assert!(c.iter().chain(&h).all(|&i| i < len));
            assert!(c.windows(2).chain(h.windows(2)).all(|w| w[0] < w[1]));
        }
        assert_eq!(split(8, 4, 0), (vec![0, 2, 4, 6], vec![]));
        assert_eq!(split(1, 4, 4), (vec![0], vec![]), "one sample cannot be held out");
    }
}
