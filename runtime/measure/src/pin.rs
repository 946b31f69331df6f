//! Which cores a measurement runs on: `--cpus 0-3`, `big` or `little`.
//!
//! A board with two kinds of core gives two answers, and a scheduler that moves the program gives a mixture. The kind is told by
//! `cpu_capacity`, or where that is missing by the highest frequency (Linux `Documentation/scheduler/sched-capacity.rst`).

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::environment::{Core, cores};
use crate::sysfs::core_list;

/// Cores to run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cores {
    /// These.
    Listed(Vec<u32>),
    /// The fastest kind.
    Big,
    /// The slowest kind.
    Little,
}

/// Why a program cannot be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It is no choice of cores.
    #[error("{0:?} names no cores; write a list such as 0-3,6, or big, or little")]
    NotCores(String),
    /// The machine does not say which of its cores are fast.
    #[error("this machine does not say how fast its cores are; name them by number, such as --cpus 0-3")]
    UnknownKinds,
    /// The system refuses.
    #[error(
        "cores {cores:?} cannot be used: {source}; online and allowed are those of /proc/self/status, Cpus_allowed_list"
    )]
    Refused {
        /// What was asked for.
        cores: Vec<u32>,
        /// What the system said.
        source: std::io::Error,
    },
}

impl FromStr for Cores {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Cores, PinError> {
        match text {
            "big" => Ok(Cores::Big),
            "little" => Ok(Cores::Little),
            list => core_list(list).map(Cores::Listed).ok_or_else(|| PinError::NotCores(list.to_owned())),
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cores::Big => f.write_str("big"),
            Cores::Little => f.write_str("little"),
            Cores::Listed(list) => {
                let numbers: Vec<String> = list.iter().map(u32::to_string).collect();
                f.write_str(&numbers.join(","))
            }
        }
    }
}

impl Cores {
    /// Their numbers, on the machine whose file systems are found under `root`. Where all cores are of one kind, `big` and `little` are
    /// all of them.
    pub fn numbers(&self, root: &Path) -> Result<Vec<u32>, PinError> {
        let speed = |core: &Core| core.capacity.or(core.max_khz);
        let all = cores(root);
        let speeds = || all.iter().filter_map(speed);
        let wanted = match self {
            Cores::Listed(numbers) => return Ok(numbers.clone()),
            Cores::Big => speeds().max(),
            Cores::Little => speeds().min(),
        };
        let wanted = wanted.ok_or(PinError::UnknownKinds)?;
        Ok(all.iter().filter(|core| speed(core) == Some(wanted)).map(|core| core.id).collect())
    }
}

/// From now on this thread, and every thread that it starts, runs on these cores only.
pub fn pin(numbers: &[u32]) -> Result<(), PinError> {
    let mut set = CpuSet::new();
    let refused = |source| PinError::Refused { cores: numbers.to_vec(), source };
    for &number in numbers {
        let number = number as usize;
        if number >= CpuSet::MAX_CPU {
            return Err(refused(std::io::ErrorKind::InvalidInput.into()));
        }
        set.set(number);
    }
    sched_setaffinity(None, &set).map_err(|e| refused(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;
    use crate::fake::Fake;

    #[test]
    fn big_and_little_are_told_by_capacity_or_frequency() {
        let folder = "sys/devices/system/cpu";
        let by = |leaf: &str, values: [&str; 3]| {
            let fake = Fake::with(&[]);
            (0..3).for_each(|i| fake.write(&format!("{folder}/cpu{i}/{leaf}"), values[i]));
            [Cores::Big, Cores::Little].map(|cores| cores.numbers(fake.root()).unwrap())
        };
        assert_eq!(by("cpu_capacity", ["485\n", "485\n", "1024\n"]), [vec![2], vec![0, 1]]);
        assert_eq!(by("cpufreq/cpuinfo_max_freq", ["2400000\n", "1400000\n", "2400000\n"]), [vec![0, 2], vec![1]]);
        assert_eq!(by("cpu_capacity", ["1024\n"; 3]), [vec![0, 1, 2], vec![0, 1, 2]], "one kind only");
        let unknown = Cores::Big.numbers(Fake::with(&[]).root()).unwrap_err().to_string();
        assert!(unknown.contains("--cpus 0-3"), "{unknown}");
    }

    #[test]
    fn a_choice_of_cores_is_read_and_written() {
        for (text, cores) in [("big", Cores::Big), ("little", Cores::Little), ("0-1,4", Cores::Listed(vec![0, 1, 4]))] {
            assert_eq!(text.parse::<Cores>().unwrap(), cores);
        }
        assert_eq!(Cores::Listed(vec![0, 1, 4]).to_string(), "0,1,4");
        assert!("medium".parse::<Cores>().unwrap_err().to_string().contains("\"medium\" names no cores"));
    }

    #[test]
    fn a_pinned_thread_runs_where_it_was_told() {
        let allowed = Environment::read().affinity.unwrap();
        let last = allowed[allowed.len() - 1];
        // A thread of its own: the affinity of the others stays. What it may use is in the file of that thread.
        let seen = std::thread::spawn(move || {
            pin(&[last]).unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let seen = seen.join().unwrap();
        assert!(seen.lines().any(|line| line == format!("Cpus_allowed_list:\t{last}")), "{seen}");
        assert!(pin(&[1023]).unwrap_err().to_string().contains("1023"));
        assert!(pin(&[4000]).unwrap_err().to_string().contains("4000"));
    }
}
