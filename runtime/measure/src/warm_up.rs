//! When has a model warmed up? A state machine fed with durations; it reads no clock.
//!
//! Done when there were enough runs AND enough time AND the median of the last ten runs lies within a tolerance of
//! the median of the ten before, or when the time cap is reached (then it is not stable, and the record says so).

use serde::{Deserialize, Serialize};

use crate::summary::median;

/// Runs on each side of the stability comparison.
const SIDE: usize = 10;

/// Warm-up in progress.
#[derive(Debug, Clone)]
pub struct WarmUp {
    min_runs: u64,
    min_ns: u64,
    cap_ns: u64,
    /// Allowed difference of the two medians, as a fraction of the earlier one.
    tolerance: f64,
    runs: u64,
    total_ns: u64,
    /// Ring of the last `2 * SIDE` durations; the next one goes to `runs % len`.
    last: [u64; 2 * SIDE],
}

/// How the warm-up went; part of the record because its cost is a user's cost too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WarmUpRecord {
    /// Runs, the very first included.
    pub runs: u64,
    /// Their total duration.
    pub seconds: f64,
    /// The last ten runs were as fast as the ten before; false: the cap ended the warm-up.
    pub stable: bool,
}

impl WarmUp {
    /// The full protocol: at least 10 runs and 1 s, medians within 2 %, cap 10 s.
    pub fn full() -> WarmUp {
        WarmUp::new(10, 1_000_000_000, 10_000_000_000, 0.02)
    }

    /// For quick looks: at least 10 runs and 0.2 s, medians within 5 %, cap 2 s.
    pub fn quick() -> WarmUp {
        WarmUp::new(10, 200_000_000, 2_000_000_000, 0.05)
    }

    fn new(min_runs: u64, min_ns: u64, cap_ns: u64, tolerance: f64) -> WarmUp {
        WarmUp { min_runs, min_ns, cap_ns, tolerance, runs: 0, total_ns: 0, last: [0; 2 * SIDE] }
    }

    /// Take the duration of one run; true when the warm-up is over.
    pub fn push(&mut self, ns: u64) -> bool {
        self.last[self.runs as usize % self.last.len()] = ns;
        self.runs += 1;
        self.total_ns = self.total_ns.saturating_add(ns);
        self.is_over()
    }

    /// Is the warm-up over?
    pub fn is_over(&self) -> bool {
        let enough = self.runs >= self.min_runs && self.total_ns >= self.min_ns;
        self.total_ns >= self.cap_ns || (enough && self.is_stable())
    }

    /// What to write down.
    pub fn record(&self) -> WarmUpRecord {
        WarmUpRecord { runs: self.runs, seconds: self.total_ns as f64 / 1e9, stable: self.is_stable() }
    }

    fn is_stable(&self) -> bool {
        if self.runs < self.last.len() as u64 {
            return false;
        }
        let mut in_order = self.last;
        in_order.rotate_left(self.runs as usize % self.last.len());
        let (before, after) = in_order.split_at_mut(SIDE);
        before.sort_unstable();
        after.sort_unstable();
        match (median(before), median(after)) {
            (Some(before), Some(after)) => (after - before).abs() <= self.tolerance * before,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Runs until the warm-up is over; the duration of run `i` is `ns(i)`.
    fn finish(mut warm_up: WarmUp, ns: impl Fn(u64) -> u64) -> WarmUpRecord {
        let mut i = 0;
        while !warm_up.push(ns(i)) {
            i += 1;
            assert!(i < 1_000_000, "never over");
        }
        warm_up.record()
    }

    #[test]
    fn steady_runs_need_one_second() {
        let record = finish(WarmUp::full(), |_| 2 * MS);
        assert_eq!(record, WarmUpRecord { runs: 500, seconds: 1.0, stable: true });
    }

    #[test]
    fn slow_runs_need_twenty_for_the_comparison() {
        assert_eq!(finish(WarmUp::full(), |_| 200 * MS).runs, 20);
    }

    #[test]
    fn falling_times_go_on_until_they_settle() {
        let record = finish(WarmUp::full(), |i| if i < 100 { (300 - 2 * i) * MS } else { 100 * MS });
        assert!(record.seconds >= 10.0 && !record.stable, "the cap ends it: {record:?}");
        // 5 % a run, down to a floor that is reached after 45 runs.
        let record = finish(WarmUp::full(), |i| (100.0 * 0.95f64.powi(i.min(45) as i32) * 1e6) as u64);
        assert!(record.stable && record.runs >= 45 && record.runs < 80, "{record:?}");
    }

    #[test]
    fn the_cap_ends_a_warm_up_of_very_slow_runs() {
        let record = finish(WarmUp::full(), |_| 6000 * MS);
        assert_eq!((record.runs, record.stable), (2, false));
        assert!(finish(WarmUp::quick(), |i| (1 + i % 7 * i) * MS).seconds < 3.0);
    }
}
