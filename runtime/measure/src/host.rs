//! Clock, heap buffers and peak memory of the process.

use std::path::Path;
use std::time::Instant;

use crate::protocol::{Buffers, Latency, Protocol, measure_into};

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

/// Nanoseconds since this call, by the system's monotonic clock.
///
/// ```
/// let mut clock = limbeck_measure::monotonic_clock();
/// let (a, b) = (clock(), clock());
/// assert!(b >= a);
/// ```
pub fn monotonic_clock() -> impl FnMut() -> u64 {
    let start = Instant::now();
    move || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The most memory this process ever had resident (VmHWM), in bytes; `None` where the system does not say.
pub fn peak_rss_bytes() -> Option<u64> {
    peak_rss_bytes_in(Path::new("/"))
}

/// The same with the file systems found under `root`.
pub fn peak_rss_bytes_in(root: &Path) -> Option<u64> {
    let status = std::fs::read_to_string(root.join("proc/self/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_peak_and_a_broken_status_has_none() {
        if cfg!(target_os = "linux") {
            assert!(peak_rss_bytes().unwrap() > 100_000);
        }
        let root = tempfile::tempdir().unwrap();
        assert_eq!(peak_rss_bytes_in(root.path()), None);
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let write = |text| std::fs::write(root.path().join("proc/self/status"), text).unwrap();
        write("Name:\tx\nVmHWM:\t   2048 kB\n");
        assert_eq!(peak_rss_bytes_in(root.path()), Some(2 << 20));
        write("VmHWM:\tmany kB\n");
        assert_eq!(peak_rss_bytes_in(root.path()), None);
    }

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
}
