//! Latency windows, percentile rules, the verdict on the machine, and the record of a measurement.
//!
//! The protocol is `single-stream v1`, built on MLPerf Tiny v1.2 and MLPerf inference (early stopping):
//!
//! ```text
//! the machine ─► empty model ─► first run ─► warm-up until stable ─► window 1 ─► … ─► window W ─► Latency ─► Validity
//!                                                                │           │
//!                                                 Conditions at both edges of every window
//! score = median over windows of the window's median
//! ```
//!
//! The clock is read right before and right after each run. Inside a window nothing is allocated, printed or logged;
//! samples go to a buffer of fixed capacity ([`Samples`]). A percentile is reported only where the number of samples
//! supports it ([`early_stopping_discard`]): p90 needs 64, p95 130, p99 662.
//!
//! A measurement is VALID or INVALID ([`Validity`]): throttling, a weak supply, heat, a clock that moves, another governor than
//! `performance` or other programs make it INVALID. Its numbers are shown all the same. What a machine does not tell is unknown, and makes
//! nothing INVALID.
//!
//! Other passes have records of their own ([`BenchRecord`]'s module has the table): cold starts ([`ColdStarts`]), memory
//! ([`MemoryRecord`]), half an hour ([`sustain`]); energy comes from a meter or not at all ([`energy`]).
//!
//! Without the default feature `std` the crate is `no_std` and needs no allocator: the caller lends the buffers
//! ([`Buffers`]) and the clock.
//!
//! ```
//! use limbeck_measure::{Buffers, Protocol, measure_into};
//! let mut now = 0; // a pretend clock: every run takes one millisecond
//! let ticks = std::cell::Cell::new(0u64);
//! let mut clock = || ticks.get();
//! let mut run = || -> Result<(), ()> { now += 1_000_000; ticks.set(now); Ok(()) };
//! let protocol = Protocol::quick(0.5);
//! let latency = measure_into(&mut clock, &mut run, &protocol, &mut Buffers::<1024>::new()).unwrap();
//! assert_eq!(latency.score_us, 1000.0);
//! assert_eq!(latency.windows.len(), 3);
//! ```

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

mod bootstrap;
mod conditions;
mod latency;
mod protocol;
mod samples;
mod spread;
mod summary;
mod sustained;
mod validity;
mod warm_up;

#[cfg(feature = "std")]
mod cold;
#[cfg(feature = "std")]
mod duration;
#[cfg(feature = "std")]
pub mod energy;
#[cfg(feature = "std")]
mod environment;
#[cfg(test)]
mod fake;
#[cfg(feature = "std")]
mod host;
#[cfg(feature = "std")]
mod memory;
#[cfg(feature = "std")]
mod pin;
#[cfg(feature = "std")]
mod record;
#[cfg(feature = "std")]
mod sysfs;

// The measurement and its record.
pub use bootstrap::{Interval, interval_of_median};
pub use latency::{DISTRIBUTION_POINTS, Latency, Warning};
pub use protocol::{Buffers, Instruments, MAX_WINDOWS, Protocol, Rule, measure_into, measure_watched_into};
pub use sustained::{Minute, Stretches, Sustained, sustain};
pub use warm_up::{WarmUp, WarmUpRecord};
// Whether it counts.
pub use conditions::{Conditions, Edge, Edges, Throttle};
pub use validity::{Before, Clock, GOVERNOR_LEN, Invalid, Limits, Unknown, Validity};
// Samples and what may be said about them.
pub use samples::Samples;
pub use summary::{Summary, early_stopping_discard};
// What only an operating system can tell.
#[cfg(feature = "std")]
pub use cold::{ColdStart, ColdStarts};
#[cfg(feature = "std")]
pub use duration::parse_duration;
#[cfg(feature = "std")]
pub use environment::{Core, Environment};
#[cfg(feature = "std")]
pub use host::{measure, measure_watched, monotonic_clock, raw_now_ns};
#[cfg(feature = "std")]
pub use memory::{MemoryRecord, PerInference, ProcessMemory, Sections, peak_rss_bytes, peak_rss_bytes_in};
#[cfg(feature = "std")]
pub use pin::{Cores, PinError, pin};
#[cfg(feature = "std")]
pub use record::{BenchRecord, Processing, Setting, SustainedRecord};
