//! The environment card: what the machine said about itself when it was measured.
//!
//! Everything comes from files under a root folder, so tests use a fake one. A missing or unreadable value is `None`
//! ("unknown"), never a guess: virtual machines have no cpufreq and no thermal folder.

mod cpu;
mod moment;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use cpu::Core;
pub(crate) use cpu::cores;

use crate::conditions::{Conditions, Throttle};
use crate::sysfs::{core_list, distinct, line, text};
use crate::validity::{Before, GOVERNOR_LEN};

/// Facts that a latency number depends on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Kernel release, as `uname -r` says it.
    pub kernel: Option<String>,
    /// Architecture this program was compiled for, as Rust names it.
    pub arch: Option<String>,
    /// Architecture of the kernel, as `uname -m` says it; differs from `arch` under emulation.
    pub machine: Option<String>,
    /// Board, from the device tree.
    pub board_model: Option<String>,
    /// CPU, each kind of core once.
    pub cpu_model: Option<String>,
    /// Instruction sets, as the kernel lists them for the first core.
    pub cpu_features: Option<String>,
    /// Cores online.
    pub cpus: Option<u32>,
    /// Every core with its frequencies.
    pub cores: Vec<Core>,
    /// Cores that this process may use.
    pub affinity: Option<Vec<u32>>,
    /// Frequency governor; several, joined by ", ", when cores differ.
    pub governor: Option<String>,
    /// Frequency of the fastest core right now.
    pub frequency_khz: Option<u64>,
    /// Highest frequency of the fastest core.
    pub frequency_max_khz: Option<u64>,
    /// Hottest thermal zone.
    pub temperature_c: Option<f64>,
    /// Whether something slows the CPU down.
    pub throttle: Throttle,
    /// Load average over one minute.
    pub load_average: Option<f64>,
    /// Part of the last ten seconds in which some program waited for a core, in percent (pressure stall information).
    pub cpu_pressure_percent: Option<f64>,
    /// Memory, total.
    pub memory_bytes: Option<u64>,
    /// Memory that can be had without swapping.
    pub memory_available_bytes: Option<u64>,
    /// Swap, total.
    pub swap_bytes: Option<u64>,
    /// Swap that is free.
    pub swap_free_bytes: Option<u64>,
}

impl Environment {
    /// The card of this machine.
    pub fn read() -> Environment {
        Environment::read_from(Path::new("/"))
    }

    /// The card from the file systems found under `root`.
    pub fn read_from(root: &Path) -> Environment {
        let cores = cores(root);
        let cpuinfo = text(&root.join("proc/cpuinfo"));
        let memory = text(&root.join("proc/meminfo"));
        Environment {
            kernel: line(&root.join("proc/sys/kernel/osrelease")),
            arch: Some(std::env::consts::ARCH.to_owned()),
            machine: line(&root.join("proc/sys/kernel/arch")),
            board_model: line(&root.join("proc/device-tree/model")),
            cpu_model: cpuinfo.as_deref().and_then(cpu::cpu_model),
            cpu_features: cpuinfo.as_deref().and_then(cpu::features),
            cpus: line(&root.join("sys/devices/system/cpu/online"))
                .and_then(|list| u32::try_from(core_list(&list)?.len()).ok()),
            affinity: cpu::affinity(root),
            governor: distinct(cores.iter().filter_map(|core| core.governor.clone()).collect()),
            frequency_khz: cores.iter().filter_map(|core| core.frequency_khz).max(),
            frequency_max_khz: cores.iter().filter_map(|core| core.max_khz).max(),
            temperature_c: moment::hottest(root),
            throttle: moment::throttle(root, &cores),
            cores,
            load_average: line(&root.join("proc/loadavg")).and_then(|l| l.split(' ').next()?.parse().ok()),
            cpu_pressure_percent: line(&root.join("proc/pressure/cpu")).as_deref().and_then(pressure),
            memory_bytes: memory.as_deref().and_then(|m| kib_of(m, "MemTotal")),
            memory_available_bytes: memory.as_deref().and_then(|m| kib_of(m, "MemAvailable")),
            swap_bytes: memory.as_deref().and_then(|m| kib_of(m, "SwapTotal")),
            swap_free_bytes: memory.as_deref().and_then(|m| kib_of(m, "SwapFree")),
        }
    }

    /// Is this program emulated (qemu-user)? `None` when the kernel does not say its architecture. An emulated card
    /// describes the host, and its times are no board's times.
    pub fn is_emulated(&self) -> Option<bool> {
        // A 32-bit program on its 64-bit kernel is native.
        let family = |name: &str| match name {
            "x86" | "i386" | "i686" | "x86_64" => "x86".to_owned(),
            name if name.starts_with("arm") || name == "aarch64" => "arm".to_owned(),
            name if name.starts_with("riscv") => "riscv".to_owned(),
            name => name.to_owned(),
        };
        Some(family(self.arch.as_ref()?) != family(self.machine.as_ref()?))
    }

    /// What has to be known of the machine before the first run.
    pub fn before(&self, conditions: Conditions) -> Before {
        let mut governor = self.governor.clone();
        if let Some(name) = &mut governor {
            // More kinds of governor than fit are cut: the first is enough to say that it is another one.
            name.truncate(name.floor_char_boundary(GOVERNOR_LEN));
        }
        let governor = governor.and_then(|name| heapless::String::try_from(name.as_str()).ok());
        Before { governor, load_average: self.load_average, conditions }
    }
}

/// "some avg10=1.23 avg60=…": the first figure.
fn pressure(line: &str) -> Option<f64> {
    line.split_once("avg10=")?.1.split(' ').next()?.parse().ok()
}

fn kib_of(meminfo: &str, key: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn card(files: &[(&str, &str)]) -> Environment {
        Environment::read_from(Fake::with(files).root())
    }

    #[test]
    fn an_empty_system_is_unknown_and_not_guessed() {
        let card = card(&[]);
        let only_arch = Environment { arch: card.arch.clone(), ..Environment::default() };
        assert_eq!(card, only_arch);
        assert_eq!(card.is_emulated(), None);
    }

    #[test]
    fn a_board_tells_its_card() {
        let card = card(&[
            ("proc/sys/kernel/osrelease", "6.6.31+rpt-rpi-v8\n"),
            ("proc/sys/kernel/arch", "aarch64\n"),
            ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
            (
                "proc/cpuinfo",
                "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\nFeatures\t: fp asimd crc32\n\nprocessor\t: 1\nCPU implementer\t: 0x41\n\
                 CPU part\t: 0xd08\n\nprocessor\t: 2\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n",
            ),
            ("proc/loadavg", "0.52 0.58 0.59 1/188 4711\n"),
            (
                "proc/meminfo",
                "MemTotal:        3885396 kB\nMemAvailable:    3000000 kB\nSwapTotal: 4 kB\nSwapFree: 2 kB\n",
            ),
            ("proc/pressure/cpu", "some avg10=1.25 avg60=0.50 avg300=0.10 total=4711\nfull avg10=0.00\n"),
            ("proc/self/status", "Name:\tx\nCpus_allowed_list:\t1,3\n"),
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "ondemand\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "600000\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1800000\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
            ("sys/class/thermal/thermal_zone1/temp", "51000\n"),
        ]);
        assert_eq!(card.board_model.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
        assert_eq!(card.cpu_model.as_deref(), Some("Cortex-A53, Cortex-A72"));
        assert_eq!(card.governor.as_deref(), Some("performance, ondemand"));
        assert_eq!((card.frequency_khz, card.frequency_max_khz), (Some(1_800_000), None));
        assert_eq!((card.temperature_c, card.load_average), (Some(51.0), Some(0.52)));
        assert_eq!((card.cpus, card.memory_bytes), (Some(4), Some(3_885_396 * 1024)));
        assert_eq!((card.swap_bytes, card.swap_free_bytes), (Some(4096), Some(2048)));
        assert_eq!((card.cpu_pressure_percent, card.affinity.as_deref()), (Some(1.25), Some(&[1, 3][..])));
        assert_eq!(card.cpu_features.as_deref(), Some("fp asimd crc32"));
        let frequencies: Vec<_> = card.cores.iter().map(|core| (core.id, core.frequency_khz)).collect();
        assert_eq!(frequencies, [(0, Some(600_000)), (1, Some(1_800_000))]);
        let before = card.before(Conditions::default());
        assert_eq!((before.governor.as_deref(), before.load_average), (Some("performance, ondemand"), Some(0.52)));
        let json = serde_json::to_string(&card).unwrap();
        assert_eq!(serde_json::from_str::<Environment>(&json).unwrap(), card);
    }

    #[test]
    fn broken_values_are_unknown() {
        let card = card(&[
            ("proc/loadavg", "n/a"),
            ("proc/meminfo", "MemTotal: 99999999999999999999 kB\n"),
            ("proc/cpuinfo", "CPU implementer\t: 0x51\nCPU part\t: 0x804\n"),
            ("sys/devices/system/cpu/online", "3-0\n"),
            ("sys/class/thermal/thermal_zone0/temp", "hot\n"),
        ]);
        assert_eq!((card.load_average, card.memory_bytes, card.cpus, card.temperature_c), (None, None, None, None));
        assert_eq!(card.cpu_model.as_deref(), Some("Arm core, implementer 0x51, part 0x804"));
    }

    #[test]
    fn emulation_shows_as_a_foreign_kernel() {
        let named = |arch: &str, machine: &str| Environment {
            arch: Some(arch.into()),
            machine: Some(machine.into()),
            ..Environment::default()
        };
        assert_eq!(named("aarch64", "x86_64").is_emulated(), Some(true));
        assert_eq!(named("aarch64", "aarch64").is_emulated(), Some(false));
        assert_eq!(named("arm", "aarch64").is_emulated(), Some(false), "a 32-bit program on a 64-bit kernel");
    }
}
