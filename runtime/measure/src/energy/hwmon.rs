//! Power meters that the kernel drives: INA2xx and INA3221 (`Documentation/hwmon/ina2xx.rst`, `ina3221.rst`, `ina238.rst`).
//!
//! ```text
//! power<N>_input   microwatts            energy<N>_input  microjoules, counted by the chip
//! in<N>_input      millivolts            curr<N>_input    milliamperes
//! ```

use std::path::{Path, PathBuf};

use super::EnergyError;
use crate::sysfs::{line, numbered, value};

/// A meter's channel.
#[derive(Debug, Clone)]
pub struct Meter {
    folder: PathBuf,
    chip: String,
    channel: u32,
    kind: Kind,
}

/// What is read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Energy, counted by the chip.
    Counter,
    /// Power.
    Power,
    /// Volts of this input, times amperes.
    VoltsAndAmperes { input: u32 },
}

impl Meter {
    /// Every channel of every meter found under `root`.
    pub fn find_all(root: &Path) -> Vec<Meter> {
        let folders = numbered(&root.join("sys/class/hwmon"), "hwmon");
        let channels = folders.iter().flat_map(|folder| (1..=3).filter_map(|channel| Meter::at(folder, channel)));
        channels.collect()
    }

    /// The meter called `wanted`: `auto` (the first), a chip (`ina226`, its first channel), or chip and channel (`ina3221:2`).
    pub fn named(wanted: &str, root: &Path) -> Result<Meter, EnergyError> {
        let meters = Meter::find_all(root);
        let is_wanted =
            |m: &&Meter| wanted == "auto" || wanted == m.chip || wanted == format!("{}:{}", m.chip, m.channel);
        meters.iter().find(is_wanted).cloned().ok_or_else(|| EnergyError::NoMeter {
            wanted: wanted.to_owned(),
            have: match &meters[..] {
                [] => "none".to_owned(),
                some => some.iter().map(Meter::name).collect::<Vec<_>>().join(", "),
            },
        })
    }

    fn at(folder: &Path, channel: u32) -> Option<Meter> {
        let chip = line(&folder.join("name")).filter(|name| name.starts_with("ina2") || name == "ina3221")?;
        let has = |leaf: String| folder.join(leaf).is_file();
        // INA2xx: input 0 is the shunt, input 1 the bus, and current 1 belongs to it; where the only input is 0 (INA260) it is the bus.
        let input = if has(format!("in{channel}_input")) { channel } else { channel - 1 };
        let kind = if has(format!("energy{channel}_input")) {
            Kind::Counter
        } else if has(format!("power{channel}_input")) {
            Kind::Power
        } else if has(format!("in{input}_input")) && has(format!("curr{channel}_input")) {
            Kind::VoltsAndAmperes { input }
        } else {
            return None;
        };
        Some(Meter { folder: folder.to_owned(), chip, channel, kind })
    }

    /// "ina3221:1 (VDD_IN)".
    pub fn name(&self) -> String {
        let label = line(&self.folder.join(format!("in{}_label", self.channel)));
        let label = label.map_or(String::new(), |label| format!(" ({label})"));
        format!("{}:{}{label}", self.chip, self.channel)
    }

    /// Power now; `None`: no answer, or a meter that counts energy only.
    pub fn watts(&self) -> Option<f64> {
        let channel = self.channel;
        match self.kind {
            Kind::Counter | Kind::Power => Some(self.value(format!("power{channel}_input"))? * 1e-6),
            Kind::VoltsAndAmperes { input } => {
                let volts = self.value(format!("in{input}_input"))? * 1e-3;
                Some(volts * self.value(format!("curr{channel}_input"))? * 1e-3)
            }
        }
    }

    /// Energy since some moment, for meters that count it.
    pub fn joules(&self) -> Option<f64> {
        (self.kind == Kind::Counter).then_some(())?;
        Some(self.value(format!("energy{}_input", self.channel))? * 1e-6)
    }

    fn value(&self, leaf: String) -> Option<f64> {
        value::<i64>(&self.folder.join(leaf)).map(|whole| whole as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn every_kind_of_meter_gives_watts() {
        let fake = Fake::with(&[
            ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
            ("sys/class/hwmon/hwmon1/name", "ina226\n"),
            ("sys/class/hwmon/hwmon1/power1_input", "2500000\n"),
            ("sys/class/hwmon/hwmon2/name", "ina3221\n"),
            ("sys/class/hwmon/hwmon2/in1_input", "5000\n"),
            ("sys/class/hwmon/hwmon2/curr1_input", "400\n"),
            ("sys/class/hwmon/hwmon2/in1_label", "VDD_IN\n"),
            ("sys/class/hwmon/hwmon2/in2_input", "3300\n"),
            ("sys/class/hwmon/hwmon2/curr2_input", "100\n"),
            ("sys/class/hwmon/hwmon3/name", "ina228\n"),
            ("sys/class/hwmon/hwmon3/energy1_input", "7500000\n"),
            ("sys/class/hwmon/hwmon3/power1_input", "1000000\n"),
            ("sys/class/hwmon/hwmon4/name", "ina260\n"),
            ("sys/class/hwmon/hwmon4/in0_input", "12000\n"),
            ("sys/class/hwmon/hwmon4/curr1_input", "500\n"),
        ]);
        let named = |name| Meter::named(name, fake.root()).unwrap();
        let watts = ["auto", "ina226", "ina3221", "ina3221:2", "ina260"].map(|name| named(name).watts().unwrap());
        for (watts, expected) in watts.into_iter().zip([2.5, 2.5, 2.0, 0.33, 6.0]) {
            assert!((watts - expected).abs() < 1e-9, "{watts} and not {expected}");
        }
        assert_eq!((named("ina228").joules(), named("ina226").joules()), (Some(7.5), None));
        assert_eq!(named("ina3221").name(), "ina3221:1 (VDD_IN)");
        let none = Meter::named("ina219", fake.root()).unwrap_err().to_string();
        assert!(none.contains("ina3221:1 (VDD_IN), ina3221:2") && !none.contains("cpu_thermal"), "{none}");
    }

    #[test]
    fn a_board_without_a_meter_has_none() {
        let none = Meter::named("auto", Fake::with(&[]).root()).unwrap_err().to_string();
        assert!(none.contains("has none"), "{none}");
    }
}
