//! The heap, counted: the system's allocator behind counters that are always on, and are read by the memory pass alone.
//!
//! Each allocation adds to atomic counters. An int8 student that is one plan allocates nothing in an inference, so nothing is added to
//! its time; what it costs where there are allocations is measured in the folder's README.

use std::alloc::System;

use peakmem_alloc::{PeakMemAlloc, PeakMemAllocTrait};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: PeakMemAlloc<&StatsAlloc<System>> = PeakMemAlloc::new(&INSTRUMENTED_SYSTEM);

/// The heap at one moment, since the start of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// Allocations, each growth counted as one.
    pub allocations: u64,
    /// Bytes of all of them, of a growth what it added.
    pub allocated_bytes: u64,
    /// Bytes that are live.
    pub live_bytes: u64,
    /// The most that ever was.
    pub peak_bytes: u64,
}

/// The heap now.
pub fn now() -> Heap {
    let stats = INSTRUMENTED_SYSTEM.stats();
    Heap {
        allocations: (stats.allocations + stats.reallocations) as u64,
        allocated_bytes: stats.bytes_allocated as u64,
        live_bytes: stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) as u64,
        peak_bytes: HEAP.get_peak_memory() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_count() {
        let before = now();
        let kept = std::hint::black_box(vec![0u8; 1 << 26]);
        let with = now();
        drop(kept);
        // Other tests allocate meanwhile, but not that much.
        assert!(with.allocations > before.allocations && with.allocated_bytes >= before.allocated_bytes + (1 << 26));
        assert!(with.live_bytes > 1 << 26 && now().live_bytes < with.live_bytes);
        assert!(with.peak_bytes >= 1 << 26 && now().peak_bytes >= with.peak_bytes);
    }
}
