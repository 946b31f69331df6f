//! Which part of the samples a process teaches, as told by a person or by the scheduler that started it.

use std::fmt;
use std::str::FromStr;

/// Part `index` (from 0) of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    index: u64,
    count: u64,
}

/// Not a part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// Not `i/n`.
    #[error("{0}: write i/n, with i from 0 to n - 1, as 0/8 for the first of eight")]
    NotAPart(String),
    /// Not in a job of a scheduler that is known.
    #[error(
        "no scheduler says which part this is: there is neither SLURM_ARRAY_TASK_ID (sbatch --array) nor \
         JOB_COMPLETION_INDEX (a Kubernetes job with completionMode Indexed); give i/n"
    )]
    NoScheduler,
    /// A variable is missing.
    #[error("{there} is set, but {missing} is not: {why}")]
    Missing {
        /// The variable that is there.
        there: &'static str,
        /// The one that is not.
        missing: &'static str,
        /// How it comes to be set.
        why: &'static str,
    },
    /// A variable that is no number, or not one of the parts.
    #[error("{name}={value}: not a number of this job's parts")]
    Value {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
}

/// Slurm counts its array from any number, in any step.
const SLURM: [&str; 4] =
    ["SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"];
/// Kubernetes gives a pod of an indexed job its index, from 0, but not their number.
const KUBERNETES: [&str; 2] = ["JOB_COMPLETION_INDEX", "LIMBECK_SHARDS"];

impl Part {
    /// Part `index` of `count`; none unless it is one of them.
    pub fn new(index: u64, count: u64) -> Option<Part> {
        (index < count).then_some(Part { index, count })
    }

    /// Which part, from 0.
    pub fn index(self) -> u64 {
        self.index
    }

    /// Of how many.
    pub fn count(self) -> u64 {
        self.count
    }

    /// What the scheduler says; `get` reads a variable of the environment.
    pub fn of_scheduler(get: impl Fn(&str) -> Option<String>) -> Result<Part, PartError> {
        let number = |name: &'static str| -> Result<Option<u64>, PartError> {
            let Some(value) = get(name) else { return Ok(None) };
            value.trim().parse().map(Some).map_err(|_| PartError::Value { name, value })
        };
        let part = |index: u64, count: u64, name: &'static str| {
            Part::new(index, count).ok_or_else(|| PartError::Value { name, value: get(name).unwrap_or_default() })
        };
        if let Some(id) = number(SLURM[0])? {
            let why = "Slurm sets both for an array (sbatch --array=0-7)";
            let count = number(SLURM[1])?.ok_or(PartError::Missing { there: SLURM[0], missing: SLURM[1], why })?;
            let (first, step) = (number(SLURM[2])?.unwrap_or(0), number(SLURM[3])?.unwrap_or(1).max(1));
            let from_first = id.checked_sub(first).unwrap_or(u64::MAX);
            return part(from_first / step, count, SLURM[0]);
        }
        if let Some(index) = number(KUBERNETES[0])? {
            let why = "Kubernetes tells a pod its index only; set it to the job's `completions` in the pod's `env`";
            let missing = PartError::Missing { there: KUBERNETES[0], missing: KUBERNETES[1], why };
            return part(index, number(KUBERNETES[1])?.ok_or(missing)?, KUBERNETES[0]);
        }
        Err(PartError::NoScheduler)
    }

    /// What a file's name gets: `.shard-0-of-8`.
    pub fn suffix(self) -> String {
        format!(".shard-{}-of-{}", self.index, self.count)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Part {
    type Err = PartError;

    fn from_str(text: &str) -> Result<Part, PartError> {
        let parts = text.split_once('/').and_then(|(i, n)| Part::new(i.parse().ok()?, n.parse().ok()?));
        parts.ok_or_else(|| PartError::NotAPart(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Part, PartError> {
        Part::of_scheduler(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn schedulers_are_understood() {
        let part = |i, n| Ok(Part { index: i, count: n });
        let id = ("SLURM_ARRAY_TASK_ID", "7");
        assert_eq!(of(&[id, ("SLURM_ARRAY_TASK_COUNT", "8")]), part(7, 8));
        assert_eq!(of(&[id, ("SLURM_ARRAY_TASK_COUNT", "7"), ("SLURM_ARRAY_TASK_MIN", "1")]), part(6, 7));
        let stepped = [("SLURM_ARRAY_TASK_COUNT", "4"), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_STEP", "2")];
        assert_eq!(of(&[&[id], &stepped[..]].concat()), part(3, 4));
        assert_eq!(of(&[("JOB_COMPLETION_INDEX", "0"), ("LIMBECK_SHARDS", "3")]), part(0, 3));
    }

    #[test]
    fn what_a_scheduler_does_not_say_is_named() {
        let says = |variables: &[(&str, &str)], text: &str| {
            let error = of(variables).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(&[], "SLURM_ARRAY_TASK_ID");
        says(&[("SLURM_ARRAY_TASK_ID", "1")], "SLURM_ARRAY_TASK_COUNT");
        says(&[("JOB_COMPLETION_INDEX", "1")], "LIMBECK_SHARDS");
        says(&[("JOB_COMPLETION_INDEX", "3"), ("LIMBECK_SHARDS", "3")], "JOB_COMPLETION_INDEX=3");
        says(&[("JOB_COMPLETION_INDEX", "x"), ("LIMBECK_SHARDS", "3")], "JOB_COMPLETION_INDEX=x");
        says(&[("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_COUNT", "2"), ("SLURM_ARRAY_TASK_MIN", "2")], "=1");
    }

    #[test]
    fn people_write_parts_from_0() {
        assert_eq!("2/3".parse::<Part>().unwrap().suffix(), ".shard-2-of-3");
        for text in ["", "3/3", "1", "a/b", "-1/3", "0/0"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
}
