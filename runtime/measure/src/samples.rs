//! A latency buffer of fixed capacity that never has to stop a window early.
//!
//! Count, sum, minimum and maximum are exact over every run. Single durations are kept for the percentiles until the
//! buffer is full; then every second one is dropped and from there on only every second run is kept, and so on: a
//! systematic sample over the whole window, not its beginning.

/// Durations in nanoseconds, at most `N` of them kept.
#[derive(Debug, Clone)]
pub struct Samples<const N: usize> {
    kept: heapless::Vec<u64, N>,
    /// One run in `stride` is kept.
    stride: u64,
    n: u64,
    sum_ns: u64,
    min_ns: u64,
    max_ns: u64,
}

impl<const N: usize> Samples<N> {
    /// An empty buffer.
    pub const fn new() -> Self {
        const { assert!(N > 0, "a sample buffer needs room for one sample") };
        Samples { kept: heapless::Vec::new(), stride: 1, n: 0, sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }

    /// Take one duration.
    pub fn push(&mut self, ns: u64) {
        let index = self.n;
        self.n += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        if self.kept.is_full() && index.is_multiple_of(self.stride) {
            self.halve();
        }
        if index.is_multiple_of(self.stride) {
            // Room was made above; with N = 1 there is none, and the first sample stays.
            let _ = self.kept.push(ns);
        }
    }

    /// Forget everything; the capacity stays.
    pub fn clear(&mut self) {
        self.kept.clear();
        (self.stride, self.n, self.sum_ns, self.min_ns, self.max_ns) = (1, 0, 0, u64::MAX, 0);
    }

    /// Runs taken, kept or not.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Sum of all durations, in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Shortest of all runs; `None` when there is none.
    pub fn min_ns(&self) -> Option<u64> {
        (self.n > 0).then_some(self.min_ns)
    }

    /// Longest of all runs; `None` when there is none.
    pub fn max_ns(&self) -> Option<u64> {
        (self.n > 0).then_some(self.max_ns)
    }

    /// The kept durations, in the order of the runs until [`Samples::sorted`] was called.
    pub fn kept(&self) -> &[u64] {
        &self.kept
    }

    /// The kept durations, shortest first. Sorts in place.
    pub fn sorted(&mut self) -> &[u64] {
        self.kept.sort_unstable();
        &self.kept
    }

    fn halve(&mut self) {
        let half = self.kept.len().div_ceil(2);
        for i in 0..half {
            self.kept[i] = self.kept[2 * i];
        }
        self.kept.truncate(half);
        self.stride *= 2;
    }
}

impl<const N: usize> Default for Samples<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_buffer_keeps_an_even_sample_of_the_whole_window() {
        let mut samples = Samples::<8>::new();
        (0..100).for_each(|ns| samples.push(ns));
        assert_eq!((samples.n(), samples.sum_ns()), (100, 4950));
        assert_eq!((samples.min_ns(), samples.max_ns()), (Some(0), Some(99)));
        assert_eq!(samples.kept(), [0, 16, 32, 48, 64, 80, 96]);
    }

    #[test]
    fn the_smallest_and_odd_buffers_do_not_break() {
        let mut one = Samples::<1>::new();
        let mut seven = Samples::<7>::new();
        for ns in 0..1000 {
            one.push(ns);
            seven.push(ns);
        }
        assert_eq!(one.kept(), [0]);
        let step = seven.kept()[1];
        assert!(seven.kept().iter().enumerate().all(|(i, &ns)| ns == i as u64 * step), "{:?}", seven.kept());
        seven.clear();
        assert_eq!((seven.n(), seven.min_ns(), seven.kept().len()), (0, None, 0));
    }
}
