//! Half an hour instead of ten seconds: does a board hold its speed when it gets warm?
//!
//! ```text
//! runs back to back ─► stretch 1 (60 s) ─► Minute ─► stretch 2 ─► Minute ─► …
//! ratio = median of the last stretch / median of the first
//! ```
//!
//! There is no warm-up: the first minute belongs to the curve. Each stretch is handed out as soon as it is over, so a lost connection
//! keeps what was said. Like the windows, this needs no allocator.

use serde::{Deserialize, Serialize};

use crate::conditions::{Conditions, Edge, Edges};
use crate::protocol::{Instruments, timed};
use crate::samples::Samples;
use crate::summary::Summary;

/// How long, and how finely.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stretches {
    /// In all, at least one stretch.
    pub seconds: f64,
    /// Each stretch; 60 is usual.
    pub every_seconds: f64,
}

impl Stretches {
    /// One figure a minute; of less than a minute, one figure.
    pub fn minutes_of(seconds: f64) -> Stretches {
        Stretches { seconds, every_seconds: seconds.clamp(0.0, 60.0) }
    }

    /// How many, the last one rounded up; at least one.
    fn count(&self) -> u32 {
        let count = self.seconds / self.every_seconds;
        // A cast of a float saturates, so a quotient out of range is only very long.
        let whole = count as u32;
        (if (whole as f64) < count { whole + 1 } else { whole }).max(1)
    }
}

/// One stretch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Minute {
    /// Which one, from 1.
    pub minute: u32,
    /// From the first run of all to the last of this stretch.
    pub end_seconds: f64,
    /// Its runs.
    pub summary: Summary,
    /// The machine before and after.
    pub edges: Edges,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sustained {
    /// What was asked for.
    pub stretches: Stretches,
    /// Stretches that were measured.
    pub minutes: u32,
    /// Runs in all.
    pub n: u64,
    /// Median of the first stretch.
    pub first_p50_us: f64,
    /// Median of the last stretch.
    pub last_p50_us: f64,
    /// Last / first: above 1, it became slower.
    pub ratio: f64,
}

/// Run `run` for as long as `stretches` says; every stretch goes to `each`, outside the time that counts.
///
/// The first error of `run` or `each` ends it. `samples` is room for one stretch.
pub fn sustain<const N: usize, E>(
    instruments: &mut Instruments<impl FnMut() -> u64, impl FnMut(Edge) -> Conditions>,
    run: &mut impl FnMut() -> Result<(), E>,
    stretches: Stretches,
    samples: &mut Samples<N>,
    each: &mut impl FnMut(&Minute) -> Result<(), E>,
) -> Result<Sustained, E> {
    let Instruments { clock, conditions } = instruments;
    let seconds = |ns: u64| ns as f64 / 1e9;
    let start = clock();
    let mut sustained = Sustained { stretches, minutes: 0, n: 0, first_p50_us: 0.0, last_p50_us: 0.0, ratio: 1.0 };
    for i in 0..stretches.count() {
        samples.clear();
        let before = conditions(Edge::Start(i));
        let stretch_start = clock();
        while samples.n() == 0 || seconds(clock().saturating_sub(stretch_start)) < stretches.every_seconds {
            samples.push(timed(clock, run)?);
        }
        let end_seconds = seconds(clock().saturating_sub(start));
        let edges = Edges { start: before, end: conditions(Edge::End(i)) };
        // There is a sample: the loop takes one at least.
        let Some(summary) = Summary::of(samples) else { break };
        sustained.minutes += 1;
        sustained.n += summary.n;
        sustained.last_p50_us = summary.p50_us;
        if i == 0 {
            sustained.first_p50_us = summary.p50_us;
        }
        each(&Minute { minute: i + 1, end_seconds, summary, edges })?;
    }
    if sustained.first_p50_us > 0.0 {
        sustained.ratio = sustained.last_p50_us / sustained.first_p50_us;
    }
    Ok(sustained)
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    const MS: u64 = 1_000_000;

    /// A pretend board whose runs take `ms(seconds since the start)`, and what it said.
    fn pretend(stretches: Stretches, ms: impl Fn(u64) -> u64) -> (Sustained, Vec<Minute>) {
        let now = Cell::new(0u64);
        let mut instruments = Instruments {
            clock: || now.get(),
            conditions: |edge| {
                now.set(now.get() + 500 * MS); // reading sensors takes time, and counts for nothing
                let celsius = if matches!(edge, Edge::Start(0)) { 40.0 } else { 60.0 };
                Conditions { temperature_c: Some(celsius), ..Conditions::default() }
            },
        };
        let mut run = || -> Result<(), ()> {
            now.set(now.get() + ms(now.get() / 1_000_000_000) * MS);
            Ok(())
        };
        let mut said = Vec::new();
        let mut each = |minute: &Minute| {
            said.push(minute.clone());
            Ok(())
        };
        let sustained = sustain(&mut instruments, &mut run, stretches, &mut Samples::<512>::new(), &mut each).unwrap();
        (sustained, said)
    }

    #[test]
    fn a_board_that_gets_slower_shows_it() {
        let (sustained, said) = pretend(Stretches::minutes_of(1800.0), |s| if s < 600 { 10 } else { 15 });
        assert_eq!((sustained.minutes, said.len()), (30, 30));
        assert_eq!((sustained.first_p50_us, sustained.last_p50_us, sustained.ratio), (10_000.0, 15_000.0, 1.5));
        assert_eq!(said[0].summary.n, 6000);
        assert_eq!((said[0].edges.start.temperature_c, said[0].edges.end.temperature_c), (Some(40.0), Some(60.0)));
        assert!(said.windows(2).all(|m| m[1].minute == m[0].minute + 1 && m[1].end_seconds > m[0].end_seconds + 60.0));
        assert_eq!(sustained.n, said.iter().map(|m| m.summary.n).sum::<u64>());
    }

    #[test]
    fn a_part_of_a_minute_is_one_more_stretch() {
        assert_eq!(pretend(Stretches::minutes_of(61.0), |_| 10).0.minutes, 2);
        assert_eq!(pretend(Stretches::minutes_of(60.0), |_| 10).0.minutes, 1);
        let (short, said) = pretend(Stretches::minutes_of(5.0), |_| 10);
        assert_eq!((short.minutes, said[0].summary.n), (1, 500));
        assert_eq!((pretend(Stretches::minutes_of(0.0), |_| 10).0.minutes, short.ratio), (1, 1.0));
        assert_eq!(pretend(Stretches { seconds: 3.0, every_seconds: 1.0 }, |_| 700).0.minutes, 3);
    }

    #[test]
    fn a_lost_connection_ends_it_and_keeps_what_was_said() {
        let now = Cell::new(0u64);
        let mut instruments = Instruments { clock: || now.get(), conditions: |_| Conditions::default() };
        let mut run = || {
            now.set(now.get() + MS);
            Ok(())
        };
        let mut said = 0;
        let mut each = |_: &Minute| {
            said += 1;
            if said == 2 { Err("gone") } else { Ok(()) }
        };
        let stretches = Stretches { seconds: 10.0, every_seconds: 1.0 };
        let ended = sustain(&mut instruments, &mut run, stretches, &mut Samples::<64>::new(), &mut each);
        assert_eq!((ended.unwrap_err(), said), ("gone", 2));
    }
}
