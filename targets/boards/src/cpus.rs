//! A list of CPUs in the kernel's syntax, as in `/sys/devices/system/cpu/online` and `taskset -c`.

/// One above the highest number a CPU may have here: the largest `NR_CPUS` that Linux can be built for.
const MAX_CPUS: u32 = 8192;

/// The numbers in a list such as `0-3`, `4,6` or `0-7:1/2` (of each 2 in 0 to 7 the first 1), each once, in rising
/// order. Syntax: the kernel's `Documentation/admin-guide/kernel-parameters.rst`, "cpu lists".
pub fn parse_cpus(list: &str) -> Result<Vec<u32>, String> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let group = group(part).ok_or_else(|| {
            format!("`{list}` is no list of CPUs; write it as the kernel does: `0-3`, `4,6` (below {MAX_CPUS})")
        })?;
        cpus.extend(group);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

fn group(part: &str) -> Option<Vec<u32>> {
    let (range, pattern) = match part.split_once(':') {
        Some((range, pattern)) => (range, Some(pattern)),
        None => (part, None),
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(range)?, number(range)?),
    };
    let (used, size) = match pattern {
        Some(pattern) => pattern.split_once('/').and_then(|(used, size)| Some((number(used)?, number(size)?)))?,
        None => (1, 1),
    };
    let is_good = first <= last && last < MAX_CPUS && 1 <= used && used <= size;
    is_good.then(|| (first..=last).filter(|cpu| (cpu - first) % size < used).collect())
}

fn number(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|_| digits.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_reads_them() {
        for (list, cpus) in [
            ("0", vec![0]),
            ("0-3", vec![0, 1, 2, 3]),
            ("6,4-5,4", vec![4, 5, 6]),
            ("0-7:1/2", vec![0, 2, 4, 6]),
            ("8191", vec![8191]),
        ] {
            assert_eq!(parse_cpus(list).unwrap(), cpus, "{list}");
        }
        for bad in ["", ",", "0,", "3-0", "a", "-1", "+1", "0-", "8192", "0-3:0/2", "0-3:3/2", "0-3:1/0", "99999999999"]
        {
            assert!(parse_cpus(bad).unwrap_err().contains("0-3"), "{bad}");
        }
    }
}
