//! The environment card: what the machine said about itself when it was measured.
//!
//! Everything comes from files under a root folder, so tests use a fake one. A missing or unreadable value is `None`
//! ("unknown"), never a guess: virtual machines have no cpufreq and no thermal folder.

use std::path::Path;

use serde::{Deserialize, Serialize};

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
    /// Cores online.
    pub cpus: Option<u32>,
    /// Frequency governor; several, joined by ", ", when cores differ.
    pub governor: Option<String>,
    /// Frequency of the fastest core right now.
    pub frequency_khz: Option<u64>,
    /// Highest frequency of the fastest core.
    pub frequency_max_khz: Option<u64>,
    /// Hottest thermal zone.
    pub temperature_c: Option<f64>,
    /// Load average over one minute.
    pub load_average: Option<f64>,
    /// Memory, total.
    pub memory_bytes: Option<u64>,
    /// Memory that can be had without swapping.
    pub memory_available_bytes: Option<u64>,
}

impl Environment {
    /// The card of this machine.
    pub fn read() -> Environment {
        Environment::read_from(Path::new("/"))
    }

    /// The card from the file systems found under `root`.
    pub fn read_from(root: &Path) -> Environment {
        let cpufreq = |leaf: &str| each_cpu(root, &format!("cpufreq/{leaf}"));
        let fastest = |leaf: &str| cpufreq(leaf).iter().filter_map(|v| v.parse().ok()).max();
        let cpuinfo = text(&root.join("proc/cpuinfo"));
        let memory = text(&root.join("proc/meminfo"));
        Environment {
            kernel: line(&root.join("proc/sys/kernel/osrelease")),
            arch: Some(std::env::consts::ARCH.to_owned()),
            machine: line(&root.join("proc/sys/kernel/arch")),
            board_model: line(&root.join("proc/device-tree/model")),
            cpu_model: cpuinfo.as_deref().and_then(cpu_model),
            cpus: line(&root.join("sys/devices/system/cpu/online")).as_deref().and_then(count_list),
            governor: distinct(cpufreq("scaling_governor")),
            frequency_khz: fastest("scaling_cur_freq"),
            frequency_max_khz: fastest("cpuinfo_max_freq"),
            temperature_c: hottest(root),
            load_average: line(&root.join("proc/loadavg")).and_then(|l| l.split(' ').next()?.parse().ok()),
            memory_bytes: memory.as_deref().and_then(|m| kib_of(m, "MemTotal")),
            memory_available_bytes: memory.as_deref().and_then(|m| kib_of(m, "MemAvailable")),
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
}

fn text(path: &Path) -> Option<String> {
    // Device-tree strings end in NUL; cpuinfo may hold any bytes a vendor put there.
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn line(path: &Path) -> Option<String> {
    let text = text(path)?;
    let line = text.lines().next()?.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!line.is_empty()).then(|| line.to_owned())
}

/// The first line of `leaf` of every core that has it, in the order of the cores.
fn each_cpu(root: &Path, leaf: &str) -> Vec<String> {
    numbered(&root.join("sys/devices/system/cpu"), "cpu").iter().filter_map(|cpu| line(&cpu.join(leaf))).collect()
}

/// Folders `prefix0`, `prefix1`, … in numeric order.
fn numbered(folder: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(u32, _)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn distinct(values: Vec<String>) -> Option<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    (!seen.is_empty()).then(|| seen.join(", "))
}

/// Hottest zone, in degrees; the kernel gives thousandths.
fn hottest(root: &Path) -> Option<f64> {
    let zones = numbered(&root.join("sys/class/thermal"), "thermal_zone");
    let millis = zones.iter().filter_map(|zone| line(&zone.join("temp"))?.parse::<i64>().ok()).max()?;
    Some(millis as f64 / 1e3)
}

/// "0-3,6" is five.
fn count_list(list: &str) -> Option<u32> {
    list.split(',').try_fold(0u32, |count, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

fn kib_of(meminfo: &str, key: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let field = |line: &str, key: &str| -> Option<String> {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    };
    let names: Vec<String> = cpuinfo.lines().filter_map(|line| field(line, "model name")).collect();
    // aarch64 kernels print numbers instead of a name, 32-bit ones both; the numbers are the more exact.
    let mut parts = Vec::new();
    let mut implementer = None;
    for line in cpuinfo.lines() {
        implementer = field(line, "CPU implementer").or(implementer);
        if let (Some(part), Some(implementer)) = (field(line, "CPU part"), &implementer) {
            parts.push(arm_core(implementer, &part));
        }
    }
    distinct(if parts.is_empty() { names } else { parts })
}

/// Name of an Arm core. Numbers from the MIDR_EL1 pages of Arm's technical reference manuals, as collected in Linux
/// `arch/arm64/include/asm/cputype.h` and util-linux `lscpu-arm.c`. An unknown one keeps its numbers.
fn arm_core(implementer: &str, part: &str) -> String {
    let name = match (implementer, part) {
        ("0x41", "0xb76") => "ARM1176JZF-S",
        ("0x41", "0xc07") => "Cortex-A7",
        ("0x41", "0xc08") => "Cortex-A8",
        ("0x41", "0xc09") => "Cortex-A9",
        ("0x41", "0xc0f") => "Cortex-A15",
        ("0x41", "0xd03") => "Cortex-A53",
        ("0x41", "0xd04") => "Cortex-A35",
        ("0x41", "0xd05") => "Cortex-A55",
        ("0x41", "0xd07") => "Cortex-A57",
        ("0x41", "0xd08") => "Cortex-A72",
        ("0x41", "0xd09") => "Cortex-A73",
        ("0x41", "0xd0a") => "Cortex-A75",
        ("0x41", "0xd0b") => "Cortex-A76",
        ("0x41", "0xd0c") => "Neoverse-N1",
        ("0x41", "0xd41") => "Cortex-A78",
        ("0x41", "0xd42") => "Cortex-A78AE",
        ("0x41", "0xd44") => "Cortex-X1",
        _ => return format!("Arm core, implementer {implementer}, part {part}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(tempfile::TempDir);

    impl Fake {
        fn with(files: &[(&str, &str)]) -> Fake {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Fake(root)
        }
        fn card(&self) -> Environment {
            Environment::read_from(self.0.path())
        }
    }

    #[test]
    fn an_empty_system_is_unknown_and_not_guessed() {
        let card = Fake::with(&[]).card();
        let only_arch = Environment { arch: card.arch.clone(), ..Environment::default() };
        assert_eq!(card, only_arch);
        assert_eq!(card.is_emulated(), None);
    }

    #[test]
    fn a_board_tells_its_card() {
        let card = Fake::with(&[
            ("proc/sys/kernel/osrelease", "6.6.31+rpt-rpi-v8\n"),
            ("proc/sys/kernel/arch", "aarch64\n"),
            ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
            (
                "proc/cpuinfo",
                "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n\nprocessor\t: 1\nCPU implementer\t: 0x41\n\
                 CPU part\t: 0xd08\n\nprocessor\t: 2\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n",
            ),
            ("proc/loadavg", "0.52 0.58 0.59 1/188 4711\n"),
            ("proc/meminfo", "MemTotal:        3885396 kB\nMemFree: 1 kB\nMemAvailable:    3000000 kB\n"),
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "ondemand\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "600000\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1800000\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
            ("sys/class/thermal/thermal_zone1/temp", "51000\n"),
        ])
        .card();
        assert_eq!(card.board_model.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
        assert_eq!(card.cpu_model.as_deref(), Some("Cortex-A53, Cortex-A72"));
        assert_eq!(card.governor.as_deref(), Some("performance, ondemand"));
        assert_eq!((card.frequency_khz, card.frequency_max_khz), (Some(1_800_000), None));
        assert_eq!((card.temperature_c, card.load_average), (Some(51.0), Some(0.52)));
        assert_eq!((card.cpus, card.memory_bytes), (Some(4), Some(3_885_396 * 1024)));
        let json = serde_json::to_string(&card).unwrap();
        assert_eq!(serde_json::from_str::<Environment>(&json).unwrap(), card);
    }

    #[test]
    fn broken_values_are_unknown() {
        let card = Fake::with(&[
            ("proc/loadavg", "n/a"),
            ("proc/meminfo", "MemTotal: 99999999999999999999 kB\n"),
            ("proc/cpuinfo", "CPU implementer\t: 0x51\nCPU part\t: 0x804\n"),
            ("sys/devices/system/cpu/online", "3-0\n"),
            ("sys/class/thermal/thermal_zone0/temp", "hot\n"),
        ])
        .card();
        assert_eq!((card.load_average, card.memory_bytes, card.cpus, card.temperature_c), (None, None, None, None));
        assert_eq!(card.cpu_model.as_deref(), Some("Arm core, implementer 0x51, part 0x804"));
    }

    #[test]
    fn emulation_shows_as_a_foreign_kernel() {
        let card = |arch: &str, machine: &str| Environment {
            arch: Some(arch.into()),
            machine: Some(machine.into()),
            ..Environment::default()
        };
        assert_eq!(card("aarch64", "x86_64").is_emulated(), Some(true));
        assert_eq!(card("aarch64", "aarch64").is_emulated(), Some(false));
        assert_eq!(card("arm", "aarch64").is_emulated(), Some(false), "a 32-bit program on a 64-bit kernel");
    }
}
