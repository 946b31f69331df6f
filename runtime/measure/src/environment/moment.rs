//! The machine at one moment, read from sysfs.

use std::path::Path;

use super::cpu::{Core, affinity, cores};
use crate::conditions::{Conditions, Throttle};
use crate::sysfs::{line, numbered, value};

/// Cooling devices that slow the CPU down; a fan does not. Names: `drivers/thermal/cpufreq_cooling.c` ("cpufreq-" and "thermal-cpufreq-"),
/// `cpuidle_cooling.c` ("idle-"), `drivers/acpi/processor_driver.c`, `intel_powerclamp.c`.
const SLOWING: [&str; 5] = ["thermal-cpufreq", "cpufreq", "idle-", "Processor", "intel_powerclamp"];

/// Where a Raspberry Pi's firmware tells its bits: the folder differs by device tree, not by model.
const FIRMWARE: [&str; 2] = [
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
];

impl Conditions {
    /// Of this machine, now.
    pub fn read() -> Conditions {
        Conditions::read_from(Path::new("/"))
    }

    /// From the file systems found under `root`.
    pub fn read_from(root: &Path) -> Conditions {
        let cores = cores(root);
        let allowed = affinity(root);
        let may_run = |core: &&Core| allowed.as_ref().is_none_or(|allowed| allowed.contains(&core.id));
        Conditions {
            frequency_khz: cores.iter().filter(may_run).filter_map(|core| core.frequency_khz).max(),
            temperature_c: hottest(root),
            throttle: throttle(root, &cores),
        }
    }
}

pub(super) fn throttle(root: &Path, cores: &[Core]) -> Throttle {
    let capped = cores.iter().filter_map(|core| Some(core.limit_khz? < core.max_khz?));
    let throttle = Throttle {
        active: slowed(root),
        under_voltage: under_voltage(root),
        frequency_capped: any(capped),
        firmware_bits: None,
        events: events(root),
    };
    match FIRMWARE.iter().find_map(|file| hexadecimal(&line(&root.join(file))?)) {
        Some(bits) => throttle.with_firmware_bits(bits),
        None => throttle,
    }
}

/// `None` when nothing was known.
fn any(mut facts: impl Iterator<Item = bool>) -> Option<bool> {
    let first = facts.next()?;
    Some(facts.fold(first, |a, b| a || b))
}

/// Is a cooling device of the CPU at work? Its state is 0, or -1, when it is not.
fn slowed(root: &Path) -> Option<bool> {
    let devices = numbered(&root.join("sys/class/thermal"), "cooling_device");
    any(devices.iter().filter_map(|device| {
        let kind = line(&device.join("type"))?;
        let state: i64 = value(&device.join("cur_state"))?;
        SLOWING.iter().any(|slowing| kind.starts_with(slowing)).then_some(state > 0)
    }))
}

/// Linux `drivers/hwmon/raspberrypi-hwmon.c`: device `rpi_volt`, alarm of input 0.
fn under_voltage(root: &Path) -> Option<bool> {
    let devices = numbered(&root.join("sys/class/hwmon"), "hwmon");
    any(devices.iter().filter_map(|device| {
        (line(&device.join("name"))? == "rpi_volt").then_some(())?;
        Some(value::<u32>(&device.join("in0_lcrit_alarm"))? != 0)
    }))
}

/// Sum over cores and packages of how often they were throttled (x86).
fn events(root: &Path) -> Option<u64> {
    let folders = numbered(&root.join("sys/devices/system/cpu"), "cpu");
    let counts = folders.iter().flat_map(|core| {
        ["core_throttle_count", "package_throttle_count"]
            .map(|leaf| value::<u64>(&core.join("thermal_throttle").join(leaf)))
    });
    counts.flatten().map(Some).reduce(|a, b| a?.checked_add(b?))?
}

/// "50000" and "0x50000" alike: the firmware's bits are hexadecimal either way.
fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

/// Hottest zone, in degrees; the kernel gives thousandths.
pub(super) fn hottest(root: &Path) -> Option<f64> {
    let zones = numbered(&root.join("sys/class/thermal"), "thermal_zone");
    let millis = zones.iter().filter_map(|zone| value::<i64>(&zone.join("temp"))).max()?;
    Some(millis as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn throttle_of(files: &[(&str, &str)]) -> Throttle {
        Conditions::read_from(Fake::with(files).root()).throttle
    }

    #[test]
    fn the_firmware_of_a_raspberry_pi_is_believed() {
        let of = |text| throttle_of(&[("sys/devices/platform/soc/soc:firmware/get_throttled", text)]);
        assert_eq!((of("0\n").active, of("0\n").under_voltage), (Some(false), Some(false)));
        assert_eq!(of("50005\n").firmware_bits, Some(0x5_0005));
        assert_eq!((of("0x50005\n").active, of("50005\n").under_voltage), (Some(true), Some(true)));
        assert_eq!(of("throttled=?\n"), Throttle::default());
    }

    #[test]
    fn a_cooling_device_counts_and_a_fan_does_not() {
        let of = |kind, state| {
            let folder = "sys/class/thermal/cooling_device0";
            let (kind_file, state_file) = (format!("{folder}/type"), format!("{folder}/cur_state"));
            throttle_of(&[(&kind_file, kind), (&state_file, state)]).active
        };
        assert_eq!(of("thermal-cpufreq-0\n", "2\n"), Some(true));
        assert_eq!(of("thermal-cpufreq-0\n", "0\n"), Some(false));
        assert_eq!(of("intel_powerclamp\n", "-1\n"), Some(false));
        assert_eq!(of("pwm-fan\n", "3\n"), None);
    }

    #[test]
    fn the_other_signs_of_throttling_are_read() {
        let hwmon = |alarm| {
            throttle_of(&[
                ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
                ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", alarm),
            ])
        };
        assert_eq!((hwmon("1\n").under_voltage, hwmon("0\n").under_voltage), (Some(true), Some(false)));
        let capped = |limit| {
            let cpu = "sys/devices/system/cpu/cpu0/cpufreq";
            let (limit_file, max_file) = (format!("{cpu}/scaling_max_freq"), format!("{cpu}/cpuinfo_max_freq"));
            throttle_of(&[(&limit_file, limit), (&max_file, "1800000\n")]).frequency_capped
        };
        assert_eq!((capped("1800000\n"), capped("600000\n"), capped("x\n")), (Some(false), Some(true), None));
        let counted = throttle_of(&[
            ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n"),
            ("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "4\n"),
            ("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "5\n"),
        ]);
        assert_eq!(counted.events, Some(12));
    }

    #[test]
    fn the_frequency_is_that_of_cores_that_may_be_used() {
        let mut files = vec![
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1400000\n"),
            ("sys/devices/system/cpu/cpu4/cpufreq/scaling_cur_freq", "2400000\n"),
        ];
        let frequency = |files: &[(&str, &str)]| Conditions::read_from(Fake::with(files).root()).frequency_khz;
        assert_eq!(frequency(&files), Some(2_400_000));
        files.push(("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-3\n"));
        assert_eq!(frequency(&files), Some(1_400_000));
    }
}
