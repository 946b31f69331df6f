//! Cores: their names, their features, their frequencies.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sysfs::{core_list, distinct, line, numbered, text, value};

/// One core of the machine, as sysfs describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Core {
    /// Its number.
    pub id: u32,
    /// Frequency now.
    pub frequency_khz: Option<u64>,
    /// Lowest frequency it has.
    pub min_khz: Option<u64>,
    /// Highest frequency it has.
    pub max_khz: Option<u64>,
    /// Highest frequency it may use now.
    pub limit_khz: Option<u64>,
    /// Its governor.
    pub governor: Option<String>,
    /// Speed at its highest frequency, where 1024 is the machine's fastest core (`cpu_capacity`).
    pub capacity: Option<u64>,
}

/// All cores, in order.
pub(crate) fn cores(root: &Path) -> Vec<Core> {
    let core = |folder: &Path| {
        let frequency = |leaf: &str| value(&folder.join("cpufreq").join(leaf));
        Some(Core {
            id: folder.file_name()?.to_str()?.strip_prefix("cpu")?.parse().ok()?,
            frequency_khz: frequency("scaling_cur_freq"),
            min_khz: frequency("cpuinfo_min_freq"),
            max_khz: frequency("cpuinfo_max_freq"),
            limit_khz: frequency("scaling_max_freq"),
            governor: line(&folder.join("cpufreq/scaling_governor")),
            capacity: value(&folder.join("cpu_capacity")),
        })
    };
    numbered(&root.join("sys/devices/system/cpu"), "cpu").iter().filter_map(|folder| core(folder)).collect()
}

/// Cores that the process may use.
pub(crate) fn affinity(root: &Path) -> Option<Vec<u32>> {
    let status = text(&root.join("proc/self/status"))?;
    core_list(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim())
}

/// Instruction sets, as the kernel lists them for the first core.
pub(crate) fn features(cpuinfo: &str) -> Option<String> {
    ["Features", "flags", "isa"].iter().find_map(|key| cpuinfo.lines().find_map(|line| field(line, key)))
}

fn field(line: &str, key: &str) -> Option<String> {
    let (name, value) = line.split_once(':')?;
    (name.trim() == key).then(|| value.trim().to_owned())
}

/// Names of the kinds of core, each once.
pub(crate) fn cpu_model(cpuinfo: &str) -> Option<String> {
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
