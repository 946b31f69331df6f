//! Small files under a root folder: one line, one value. What cannot be read is `None`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// All of a file, with what is no UTF-8 replaced.
pub(crate) fn text(path: &Path) -> Option<String> {
    // Device-tree strings end in NUL; cpuinfo may hold any bytes a vendor put there.
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Its first line, trimmed; `None` when that is empty.
pub(crate) fn line(path: &Path) -> Option<String> {
    let text = text(path)?;
    let line = text.lines().next()?.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!line.is_empty()).then(|| line.to_owned())
}

/// The first line as a number.
pub(crate) fn value<T: FromStr>(path: &Path) -> Option<T> {
    line(path)?.parse().ok()
}

/// Folders `prefix0`, `prefix1`, … in numeric order.
pub(crate) fn numbered(folder: &Path, prefix: &str) -> Vec<PathBuf> {
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

/// Each value once, joined by ", ".
pub(crate) fn distinct(values: Vec<String>) -> Option<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    (!seen.is_empty()).then(|| seen.join(", "))
}

/// Cores of a list as the kernel writes it: "0-3,6". `None`: it is no such list, or one of its cores has a number above 4095.
pub(crate) fn core_list(list: &str) -> Option<Vec<u32>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last > 4095 {
            return None;
        }
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_is_read_as_the_kernel_writes_it() {
        assert_eq!(core_list("0-3,6"), Some(vec![0, 1, 2, 3, 6]));
        assert_eq!(core_list("2"), Some(vec![2]));
        for bad in ["", "3-0", "a", "1-", "0-4096", "1,,2"] {
            assert_eq!(core_list(bad), None, "{bad:?}");
        }
    }
}
