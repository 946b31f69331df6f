//! Is a measurement one of the machine as it should be? VALID, or INVALID with every reason; the numbers are shown either way.
//!
//! What a machine does not tell makes nothing INVALID: it is listed as unknown. Virtual machines have neither governor nor thermometer.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::conditions::{Conditions, Edges};

/// Longest name of governors that is kept; they are words such as "performance, schedutil".
pub const GOVERNOR_LEN: usize = 64;

/// Frequencies that differ by less are the same: what x86 reports is an average over a few milliseconds.
const SAME_FREQUENCY: f64 = 0.05;

/// The governor that keeps the clock where it is.
const STEADY: &str = "performance";

/// What is wanted of the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Hottest that any edge of a window may be. 80: where a Raspberry Pi begins to lower its clock (Raspberry Pi documentation,
    /// "Frequency management and thermal control").
    pub max_temperature_c: f64,
    /// Highest load average over one minute before the start.
    pub max_load_average: f64,
    /// Whether the clock may be somebody's choice.
    pub clock: Clock,
}

/// Which settings of the CPU's clock are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Governor `performance`, no frequency limit below the highest.
    Performance,
    /// Any governor, any limit; a frequency that moves while measuring is INVALID all the same.
    Any,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_temperature_c: 80.0, max_load_average: 0.5, clock: Clock::Performance }
    }
}

/// What was read before the first run, besides the conditions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Before {
    /// Governors of the cores.
    pub governor: Option<heapless::String<GOVERNOR_LEN>>,
    /// Load average over one minute.
    pub load_average: Option<f64>,
    /// The machine before the first run.
    pub conditions: Conditions,
}

/// A reason why the numbers do not count; its text says what to do. Windows count from 1, and 0 is before the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invalid {
    /// The clock follows the load.
    Governor {
        /// The governors.
        governor: heapless::String<GOVERNOR_LEN>,
    },
    /// A frequency limit below what the CPU can do.
    FrequencyCapped {
        /// Where it was seen first.
        window: u32,
    },
    /// Other programs ran before the start.
    Load {
        /// Load average over one minute.
        load_average: f64,
        /// What it may be.
        limit: f64,
    },
    /// Too hot.
    Hot {
        /// Where it was hottest.
        window: u32,
        /// How hot.
        celsius: f64,
        /// What it may be.
        limit: f64,
    },
    /// The clock was held down.
    Throttled {
        /// Where it was seen first.
        window: u32,
    },
    /// The supply was too weak.
    UnderVoltage {
        /// Where it was seen first.
        window: u32,
    },
    /// The clock moved.
    FrequencyChanged {
        /// Where it was farthest from the first window's start.
        window: u32,
        /// Frequency at the start of the first window.
        from_khz: u64,
        /// Frequency there.
        to_khz: u64,
    },
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Governor { governor } => {
                write!(
                    f,
                    "governor {governor}; set performance (cpupower frequency-set -g performance), or allow it with --allow-governor"
                )
            }
            Invalid::FrequencyCapped { window } => {
                write!(
                    f,
                    "{}: a core's frequency limit is below its maximum; cool the board, or raise scaling_max_freq, or allow it with --allow-governor",
                    Place(*window)
                )
            }
            Invalid::Load { load_average, limit } => {
                write!(
                    f,
                    "load average {load_average:.2} before the start, above {limit}; stop other programs, or wait a minute after the last measurement"
                )
            }
            Invalid::Hot { window, celsius, limit } => {
                write!(f, "{}: {celsius:.1} °C, above {limit}; cool the board or wait (--max-temp-c)", Place(*window))
            }
            Invalid::Throttled { window } => {
                write!(f, "{}: the CPU was throttled; cool the board, check its supply", Place(*window))
            }
            Invalid::UnderVoltage { window } => {
                write!(
                    f,
                    "{}: the supply voltage is too low; use a stronger supply and a shorter cable",
                    Place(*window)
                )
            }
            Invalid::FrequencyChanged { window, from_khz, to_khz } => {
                let (from, to) = (from_khz / 1000, to_khz / 1000);
                write!(
                    f,
                    "{}: {to} MHz, after {from} MHz at the start; fix the frequency and cool the board",
                    Place(*window)
                )
            }
        }
    }
}

/// "window 2", or "before the start".
struct Place(u32);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("before the start"),
            window => write!(f, "window {window}"),
        }
    }
}

/// A fact that the machine did not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// Frequency governor.
    Governor,
    /// Load average.
    LoadAverage,
    /// Any thermal zone.
    Temperature,
    /// Frequency of any core that may be used.
    Frequency,
    /// Whether the CPU is throttled.
    Throttle,
    /// Whether the supply is strong enough.
    UnderVoltage,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unknown::Governor => "governor",
            Unknown::LoadAverage => "load average",
            Unknown::Temperature => "temperature",
            Unknown::Frequency => "frequency",
            Unknown::Throttle => "throttling",
            Unknown::UnderVoltage => "supply voltage",
        })
    }
}

/// The verdict on a measurement's conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// Nothing known speaks against it.
    pub valid: bool,
    /// What does, each kind once.
    pub invalid: heapless::Vec<Invalid, 8>,
    /// What is not known.
    pub unknown: heapless::Vec<Unknown, 8>,
}

impl Validity {
    /// Judge what was read before the start and at the edges of every window.
    pub fn judge(limits: &Limits, before: &Before, windows: &[Edges]) -> Validity {
        let mut judge = Judge::default();
        judge.clock(limits, before);
        judge.load(limits, before);
        judge.heat(limits, before, windows);
        judge.throttle(before, windows);
        judge.frequency(windows);
        Validity { valid: judge.invalid.is_empty(), invalid: judge.invalid, unknown: judge.unknown }
    }
}

/// Reasons so far.
#[derive(Default)]
struct Judge {
    invalid: heapless::Vec<Invalid, 8>,
    unknown: heapless::Vec<Unknown, 8>,
}

impl Judge {
    // There is room: each kind is said once.
    fn say(&mut self, reason: Invalid) {
        let _ = self.invalid.push(reason);
    }

    fn not_known(&mut self, fact: Unknown) {
        let _ = self.unknown.push(fact);
    }

    fn clock(&mut self, limits: &Limits, before: &Before) {
        match &before.governor {
            None => self.not_known(Unknown::Governor),
            Some(governor) if governor != STEADY && limits.clock == Clock::Performance => {
                self.say(Invalid::Governor { governor: governor.clone() });
            }
            Some(_) => {}
        }
    }

    fn load(&mut self, limits: &Limits, before: &Before) {
        match before.load_average {
            None => self.not_known(Unknown::LoadAverage),
            Some(load_average) if load_average > limits.max_load_average => {
                self.say(Invalid::Load { load_average, limit: limits.max_load_average });
            }
            Some(_) => {}
        }
        let capped = before.conditions.throttle.frequency_capped == Some(true);
        if capped && limits.clock == Clock::Performance {
            self.say(Invalid::FrequencyCapped { window: 0 });
        }
    }

    fn heat(&mut self, limits: &Limits, before: &Before, windows: &[Edges]) {
        let known = moments(before, windows).filter_map(|(window, c)| Some((window, c.temperature_c?)));
        match known.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
            None => self.not_known(Unknown::Temperature),
            Some((window, celsius)) if celsius > limits.max_temperature_c => {
                self.say(Invalid::Hot { window, celsius, limit: limits.max_temperature_c });
            }
            Some(_) => {}
        }
    }

    fn throttle(&mut self, before: &Before, windows: &[Edges]) {
        let first = before.conditions.throttle;
        let throttles = || moments(before, windows).map(|(window, c)| (window, c.throttle));
        let newly_capped =
            |t: &crate::Throttle| first.frequency_capped == Some(false) && t.frequency_capped == Some(true);
        let held_down = |t: &crate::Throttle| t.active == Some(true) || t.happened_since(&first) || newly_capped(t);
        if let Some((window, _)) = throttles().find(|(_, t)| held_down(t)) {
            self.say(Invalid::Throttled { window });
        }
        if throttles().all(|(_, t)| t.active.is_none() && t.events.is_none()) {
            self.not_known(Unknown::Throttle);
        }
        let weak = |t: &crate::Throttle| t.under_voltage == Some(true) || t.sagged_since(&first);
        if let Some((window, _)) = throttles().find(|(_, t)| weak(t)) {
            self.say(Invalid::UnderVoltage { window });
        }
        if throttles().all(|(_, t)| t.under_voltage.is_none()) {
            self.not_known(Unknown::UnderVoltage);
        }
    }

    /// Only what windows saw: before the warm-up a clock may well have been asleep.
    fn frequency(&mut self, windows: &[Edges]) {
        let mut known = edges(windows).filter_map(|(window, c)| Some((window, c.frequency_khz?)));
        let Some((_, from_khz)) = known.next() else { return self.not_known(Unknown::Frequency) };
        let Some((window, to_khz)) = known.max_by_key(|(_, khz)| khz.abs_diff(from_khz)) else { return };
        if to_khz.abs_diff(from_khz) as f64 > SAME_FREQUENCY * from_khz as f64 {
            self.say(Invalid::FrequencyChanged { window, from_khz, to_khz });
        }
    }
}

/// All edges with the number of their window.
fn edges(windows: &[Edges]) -> impl Iterator<Item = (u32, &Conditions)> {
    (1..).zip(windows).flat_map(|(window, edges)| [(window, &edges.start), (window, &edges.end)])
}

/// The same, after what was before the start.
fn moments<'a>(before: &'a Before, windows: &'a [Edges]) -> impl Iterator<Item = (u32, &'a Conditions)> {
    core::iter::once((0, &before.conditions)).chain(edges(windows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Throttle;

    /// A machine as it should be.
    fn good() -> Conditions {
        let throttle = Throttle { frequency_capped: Some(false), ..Throttle::default().with_firmware_bits(0) };
        Conditions { frequency_khz: Some(1_500_000), temperature_c: Some(50.0), throttle }
    }

    fn before() -> Before {
        let governor = Some(heapless::String::try_from("performance").unwrap());
        Before { governor, load_average: Some(0.1), conditions: good() }
    }

    /// The verdict with the end of window 2 changed.
    fn with_second_end(change: impl FnOnce(&mut Conditions)) -> Validity {
        let mut windows = [Edges { start: good(), end: good() }; 3];
        change(&mut windows[1].end);
        Validity::judge(&Limits::default(), &before(), &windows)
    }

    /// The verdict with something else before the start.
    fn with_before(change: impl FnOnce(&mut Before)) -> Validity {
        let mut before = before();
        change(&mut before);
        Validity::judge(&Limits::default(), &before, &[Edges { start: good(), end: good() }; 3])
    }

    #[test]
    fn a_machine_as_it_should_be_is_valid() {
        let validity = with_second_end(|_| {});
        assert!(validity.valid && validity.invalid.is_empty() && validity.unknown.is_empty(), "{validity:?}");
    }

    #[test]
    fn every_fault_is_named_with_its_window() {
        let only = |validity: Validity| {
            assert!(!validity.valid && validity.invalid.len() == 1, "{validity:?}");
            validity.invalid[0].clone()
        };
        let hot = only(with_second_end(|c| c.temperature_c = Some(86.5)));
        assert_eq!(hot, Invalid::Hot { window: 2, celsius: 86.5, limit: 80.0 });
        let bits = |bits| with_second_end(move |c| c.throttle = c.throttle.with_firmware_bits(bits));
        assert_eq!(only(bits(0x4)), Invalid::Throttled { window: 2 });
        assert_eq!(
            only(bits(0x4_0000)),
            Invalid::Throttled { window: 2 },
            "over at the edge, but it was in the window"
        );
        assert_eq!(only(bits(0x1)), Invalid::UnderVoltage { window: 2 });
        let capped = only(with_second_end(|c| c.throttle.frequency_capped = Some(true)));
        assert_eq!(capped, Invalid::Throttled { window: 2 });
        let slower = only(with_second_end(|c| c.frequency_khz = Some(600_000)));
        assert_eq!(slower, Invalid::FrequencyChanged { window: 2, from_khz: 1_500_000, to_khz: 600_000 });
        let governor = only(with_before(|b| b.governor = Some("ondemand".try_into().unwrap())));
        assert!(governor.to_string().contains("ondemand") && governor.to_string().contains("--allow-governor"));
        assert_eq!(only(with_before(|b| b.load_average = Some(2.0))), Invalid::Load { load_average: 2.0, limit: 0.5 });
        let capped = only(with_before(|b| b.conditions.throttle.frequency_capped = Some(true)));
        assert!(capped.to_string().starts_with("before the start"), "{capped}");
    }

    #[test]
    fn a_reading_that_trembles_is_no_change() {
        assert!(with_second_end(|c| c.frequency_khz = Some(1_440_000)).valid);
        assert!(with_before(|b| b.conditions.frequency_khz = Some(600_000)).valid, "asleep before the warm-up");
    }

    #[test]
    fn what_was_long_before_is_not_held_against_it() {
        let old = good().throttle.with_firmware_bits(0x5_0000);
        let mut windows = [Edges { start: good(), end: good() }; 2];
        let mut before = before();
        before.conditions.throttle = old;
        windows.iter_mut().for_each(|w| (w.start.throttle, w.end.throttle) = (old, old));
        assert!(Validity::judge(&Limits::default(), &before, &windows).valid);
    }

    #[test]
    fn an_accepted_clock_may_have_any_governor() {
        let limits = Limits { clock: Clock::Any, ..Limits::default() };
        let mut before = before();
        before.governor = Some("schedutil".try_into().unwrap());
        before.conditions.throttle.frequency_capped = Some(true);
        let mut edges = Edges { start: good(), end: good() };
        (edges.start.throttle.frequency_capped, edges.end.throttle.frequency_capped) = (Some(true), Some(true));
        assert!(Validity::judge(&limits, &before, &[edges]).valid);
    }

    #[test]
    fn what_is_not_told_is_unknown_and_valid() {
        let validity = Validity::judge(&Limits::default(), &Before::default(), &[Edges::default(); 3]);
        use Unknown::*;
        assert!(validity.valid);
        assert_eq!(validity.unknown, [Governor, LoadAverage, Temperature, Throttle, UnderVoltage, Frequency]);
        let json = serde_json::to_string(&validity).unwrap();
        assert!(json.contains(r#""valid":true,"invalid":[],"unknown":["governor","load-average""#), "{json}");
        assert_eq!(serde_json::from_str::<Validity>(&json).unwrap(), validity);
    }
}
