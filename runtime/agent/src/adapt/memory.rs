//! What training adds to the memory of the process: highest resident memory (VmHWM) from a mark on, less what was resident (VmRSS) there.
//!
//! The mark also resets the kernel's record (`echo 5 > /proc/self/clear_refs`, proc(5)), because loading a model needs more for an
//! instant than it keeps. Where that is not allowed the record stands, and what is told is at least what training took.

use limbeck_measure::peak_rss_bytes;

/// What the measured figure counts.
pub const COUNTS: &str = "resident memory of the process while training, less what was resident before";

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
    fn what_is_touched_after_the_mark_is_counted() {
        let Some(before) = resident() else { return };
        let mark = Mark::set();
        let bytes = vec![1u8; 32 << 20];
        let added = mark.added().unwrap();
        assert!(added >= 31 << 20, "{added}");
        assert!(mark.of_process().unwrap() >= before + bytes.len() as u64 / 2);
    }
}
