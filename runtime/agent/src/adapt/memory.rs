//! What training adds to the memory of the process: highest resident memory (VmHWM) from a mark on, less what was resident (VmRSS) there.
//!
//! The mark also resets the kernel's record (`echo 5 > /proc/self/clear_refs`, proc(5)), because loading a model needs more for an
//! instant than it keeps. Where that is not allowed the record stands, and what is told is at least what training took.

use limbeck_measure::peak_rss_bytes;

/// What the measured figure counts.
pub const COUNTS: &str = "resident memory of the process while training, less what was resident before";

/// Pages of the program itself that training is the first to touch, and what a thread keeps.
const PROGRAM: u64 = 2 << 20;

/// Resident memory that training with so many bytes on the heap adds: a quarter more, which an allocator cannot use again at once, and
/// [`PROGRAM`]. A quantized student takes a half more and twice the program: its plan is taken apart, and its graph cuts layers into
/// parts that come and go. `tests/adapt.rs` holds both against what is measured; by hand, ResNet-8 in int8 added 12.7 MiB of 14.5.
pub fn resident_of(heap: u64, is_quantized: bool) -> u64 {
    if is_quantized { heap + heap / 2 + 2 * PROGRAM } else { heap + heap / 4 + PROGRAM }
}

/// Bytes on the heap that a budget of resident memory leaves room for.
pub fn heap_within(budget: u64, is_quantized: bool) -> u64 {
    if is_quantized { budget.saturating_sub(2 * PROGRAM) / 3 * 2 } else { budget.saturating_sub(PROGRAM) / 5 * 4 }
}

/// The state when training began.
pub struct Mark {
    resident: Option<u64>,
    before: Option<u64>,
}

impl Mark {
    /// Now.
    pub fn set() -> Mark {
        let before = peak_rss_bytes();
        if let Err(e) = std::fs::write("/proc/self/clear_refs", "5") {
            log::debug!("the record of resident memory cannot be reset: {e}");
        }
        Mark { resident: resident(), before }
    }

    /// What was added since, at most.
    pub fn added(&self) -> Option<u64> {
        Some(peak_rss_bytes()?.saturating_sub(self.resident?))
    }

    /// Highest of the process, also before the mark.
    pub fn of_process(&self) -> Option<u64> {
        peak_rss_bytes().max(self.before)
    }
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_a_budget_stays_in_it() {
        for budget in [0, PROGRAM, PROGRAM + 4, 24 << 20, u64::MAX >> 8] {
            for is_quantized in [false, true] {
                let heap = heap_within(budget, is_quantized);
                assert!(heap == 0 || resident_of(heap, is_quantized) <= budget, "{budget}");
            }
        }
    }

    #[test]
    fn what_is_touched_after_the_mark_is_counted() {
        let Some(before) = resident() else { return };
        let mark = Mark::set();
        let bytes = vec![1u8; 32 << 20];
        let added = mark.added().unwrap();
        assert!(added >= 31 << 20, "{added}");
        assert!(mark.of_process().unwrap() >= before + bytes.len() as u64 / 2);
    }
}
