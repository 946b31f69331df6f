//! A version of the GNU C library.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A version of glibc, as its symbols are versioned: `2.28`. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc {
    /// 2 since 1997.
    pub major: u16,
    /// Counts up twice a year.
    pub minor: u16,
}

impl Glibc {
    /// The oldest that a program built by Rust for this architecture can run on (rustc's "platform support").
    pub fn oldest_for(arch: &str) -> Glibc {
        let minor = match arch {
            arch if arch.starts_with("riscv64") => 29,
            arch if arch.starts_with("loongarch64") => 36,
            _ => 17,
        };
        Glibc { major: 2, minor }
    }
}

impl FromStr for Glibc {
    type Err = String;

    fn from_str(text: &str) -> Result<Glibc, String> {
        let number = |digits: &str| -> Option<u16> {
            let is_number = digits.chars().all(|c| c.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
            digits.parse().ok().filter(|_| is_number)
        };
        text.split_once('.')
            .and_then(|(major, minor)| Some(Glibc { major: number(major)?, minor: number(minor)? }))
            .ok_or_else(|| format!("`{text}` is no version of glibc; write it as `2.28`"))
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for Glibc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_ordered_by_number_and_written_back() {
        let version = |text: &str| text.parse::<Glibc>().unwrap();
        assert!(version("2.4") < version("2.28") && version("2.28") < version("3.0"));
        assert_eq!(version("2.31").to_string(), "2.31");
        for bad in ["", "2", "2.", ".28", "2.28.1", "2.+8", "2.028", "-2.1", "2.99999", "two.three"] {
            assert!(bad.parse::<Glibc>().unwrap_err().contains("2.28"), "{bad}");
        }
    }
}
