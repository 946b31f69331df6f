//! What the machine was like at one moment, as far as it says: the facts that are read again at every edge of a window.
//!
//! Small and `Copy`, so that a driver without an allocator can keep one for each edge. What is not known is `None`.

use serde::{Deserialize, Serialize};

/// The machine at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// Frequency of the fastest core that this process may use.
    pub frequency_khz: Option<u64>,
    /// Hottest thermal zone.
    pub temperature_c: Option<f64>,
    /// Whether something slows the CPU down.
    pub throttle: Throttle,
}

/// What slows a CPU down. The kernel documents: `driver-api/thermal/sysfs-api`, `admin-guide/pm/cpufreq`; the bits: Raspberry Pi
/// documentation, `vcgencmd get_throttled`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Throttle {
    /// A cooling device of the CPU is at work, or the firmware holds the clock down.
    pub active: Option<bool>,
    /// The supply is too weak.
    pub under_voltage: Option<bool>,
    /// `scaling_max_freq` of a core is below its `cpuinfo_max_freq`: by heat, or by someone's choice.
    pub frequency_capped: Option<bool>,
    /// Bits of a Raspberry Pi's firmware: 0 to 3 are now (under-voltage, capped, throttled, soft temperature limit), 16 to 19 the
    /// same since the start.
    pub firmware_bits: Option<u32>,
    /// Times that cores were throttled since the start (x86).
    pub events: Option<u64>,
}

impl Throttle {
    /// Bits that say "now": frequency capped, throttled, soft temperature limit.
    const NOW: u32 = 0b1110;
    /// The same since the start.
    const SINCE_START: u32 = Self::NOW << 16;
    const UNDER_VOLTAGE: u32 = 1;

    /// Take in what a Raspberry Pi's firmware says.
    pub fn with_firmware_bits(mut self, bits: u32) -> Throttle {
        let or = |old: Option<bool>, new: bool| Some(old.unwrap_or(false) || new);
        self.firmware_bits = Some(bits);
        self.active = or(self.active, bits & Self::NOW != 0);
        self.under_voltage = or(self.under_voltage, bits & Self::UNDER_VOLTAGE != 0);
        self
    }

    /// Was there throttling between an earlier moment and this one, even if it was over at both?
    pub fn happened_since(&self, earlier: &Throttle) -> bool {
        let events = self.events.zip(earlier.events).is_some_and(|(now, before)| now > before);
        events || self.new_bits(earlier) & Self::SINCE_START != 0
    }

    /// Was the supply too weak between an earlier moment and this one, even if it was over at both?
    pub fn sagged_since(&self, earlier: &Throttle) -> bool {
        self.new_bits(earlier) & (Self::UNDER_VOLTAGE << 16) != 0
    }

    fn new_bits(&self, earlier: &Throttle) -> u32 {
        self.firmware_bits.zip(earlier.firmware_bits).map_or(0, |(now, before)| now & !before)
    }
}

/// Both edges of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Edges {
    /// Right before its first run.
    pub start: Conditions,
    /// Right after its last.
    pub end: Conditions,
}

/// Which edge of a window is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Before the first run of this window, counted from 0.
    Start(u32),
    /// After the last run of this window.
    End(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_bits_say_now_and_since_the_start() {
        let bits = |bits| Throttle::default().with_firmware_bits(bits);
        assert_eq!((bits(0).active, bits(0).under_voltage), (Some(false), Some(false)));
        assert_eq!((bits(1).active, bits(1).under_voltage), (Some(false), Some(true)));
        assert_eq!(bits(0x4).active, Some(true), "throttled");
        assert_eq!(bits(0xf_0000).active, Some(false), "what is over is not now");
        assert!(bits(0x4_0000).happened_since(&bits(0)) && !bits(0x4_0000).happened_since(&bits(0x4_0000)));
        assert!(bits(0x1_0000).sagged_since(&bits(0)) && !bits(0x1_0000).happened_since(&bits(0)));
    }

    #[test]
    fn counted_events_matter_when_they_grow() {
        let at = |events| Throttle { events, ..Throttle::default() };
        assert!(at(Some(4)).happened_since(&at(Some(3))));
        assert!(!at(Some(4)).happened_since(&at(Some(4))) && !at(Some(4)).happened_since(&at(None)));
    }
}
