//! Clock and heap buffers.

use rustix::time::{ClockId, clock_gettime};

use crate::conditions::{Conditions, Edge};
use crate::latency::Latency;
use crate::protocol::{Buffers, Instruments, Protocol, measure_into, measure_watched_into};

/// Samples kept a window: 256 KiB, enough for every percentile and small beside a model.
const KEPT: usize = 1 << 15;

/// [`measure_into`] with buffers from the heap, allocated before the first run.
pub fn measure<E>(
    clock: &mut impl FnMut() -> u64,
    run: &mut impl FnMut() -> Result<(), E>,
    protocol: &Protocol,
) -> Result<Latency, E> {
    measure_into(clock, run, protocol, &mut Box::new(Buffers::<KEPT>::new()))
}

/// The same, with the machine watched at the edges of every window.
pub fn measure_watched<E>(
    instruments: &mut Instruments<impl FnMut() -> u64, impl FnMut(Edge) -> Conditions>,
    run: &mut impl FnMut() -> Result<(), E>,
    protocol: &Protocol,
) -> Result<Latency, E> {
    measure_watched_into(instruments, run, protocol, &mut Box::new(Buffers::<KEPT>::new()))
}

/// Nanoseconds on `CLOCK_MONOTONIC_RAW`: no correction by NTP stretches or shrinks it. All programs of one machine read the same
/// figure.
pub fn raw_now_ns() -> u64 {
    let now = clock_gettime(ClockId::MonotonicRaw);
    let whole = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// The clock of a measurement: nanoseconds since this call, by [`raw_now_ns`].
///
/// ```
/// let mut clock = limbeck_measure::monotonic_clock();
/// let (a, b) = (clock(), clock());
/// assert!(b >= a);
/// ```
pub fn monotonic_clock() -> impl FnMut() -> u64 {
    let start = raw_now_ns();
    move || raw_now_ns().saturating_sub(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_clock_measures_a_real_loop() {
        let mut x = 1u64;
        let mut run = || -> Result<(), ()> {
            for i in 0..1000 {
                x = std::hint::black_box(x.wrapping_mul(i | 1));
            }
            Ok(())
        };
        let latency = measure(&mut monotonic_clock(), &mut run, &Protocol::quick(0.01)).unwrap();
        assert!(latency.score_us > 0.0 && latency.all.n >= 30);
        assert!(latency.all.min_us <= latency.all.p50_us && latency.all.p50_us <= latency.all.max_us);
    }

    #[test]
    fn the_raw_clock_moves_with_the_system_clock() {
        let (start, before) = (std::time::Instant::now(), raw_now_ns());
        std::thread::sleep(std::time::Duration::from_millis(20));
        let (raw, wall) = ((raw_now_ns() - before) as f64, start.elapsed().as_nanos() as f64);
        // NTP bends the system clock by 500 ppm at most (adjtimex(2)).
        assert!(raw > 19.9e6 && raw < 1.001 * wall, "{raw} within {wall}");
    }
}
