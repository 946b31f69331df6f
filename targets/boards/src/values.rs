//! What the values of a board file may be. Each check returns what is wrong and what would be right.
//!
//! Some values become arguments of other programs (ssh, cargo, taskset) or part of a shell's line on the board, so what
//! could be taken for an option or for syntax there is refused here, where its line is known.

use crate::cpus::parse_cpus;
use crate::glibc::Glibc;

/// A week: longer than any measurement, shorter than forgetting about it.
const MAX_TIMEOUT_S: u64 = 7 * 24 * 3600;
/// 16 TiB.
const MAX_MEMORY_MIB: u64 = 1 << 24;
/// What chips are specified for, in °C: colder limits would never be met, hotter ones never matter.
const TEMPERATURES_C: std::ops::RangeInclusive<f64> = 20.0..=125.0;
/// Longest name of a frequency governor (`CPUFREQ_NAME_LEN` of the kernel, less its final zero).
const MAX_GOVERNOR: usize = 15;

type Checked = Result<(), String>;

fn must(is_good: bool, why: impl FnOnce() -> String) -> Checked {
    if is_good { Ok(()) } else { Err(why()) }
}

/// A line for people.
pub(crate) fn line(key: &str, text: &str) -> Checked {
    let is_good = !text.trim().is_empty() && text.len() <= 200 && !text.contains(char::is_control);
    must(is_good, || format!("`{key}` must be one line of text"))
}

/// A triple becomes an argument of cargo and part of the names of environment variables; a board's name one of a file.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.starts_with(['-', '.']) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// The architecture of a Rust target.
pub(crate) fn arch_of(triple: &str) -> Result<String, String> {
    match triple.split_once('-') {
        Some((arch, rest)) if !arch.is_empty() && !rest.is_empty() && is_plain(triple) => Ok(arch.to_owned()),
        _ => Err("`triple` must be a Rust target such as `aarch64-unknown-linux-musl`, or `host`".to_owned()),
    }
}

pub(crate) fn glibc(text: &str, arch: &str) -> Result<Glibc, String> {
    let (floor, oldest) = (text.parse::<Glibc>()?, Glibc::oldest_for(arch));
    let is_good = floor >= oldest && floor.major == 2 && floor.minor < 100;
    must(is_good, || {
        format!("`glibc` must be from {oldest}, the oldest that Rust builds {arch} programs for, to 2.99")
    })?;
    Ok(floor)
}

/// A path on the board: it is joined with names of ours, and quoted for the board's shell.
pub(crate) fn workdir(path: &str) -> Checked {
    must(is_anchored(path), || {
        "`workdir` must be absolute or start with `~/`, or it would depend on where limbeck is started".to_owned()
    })?;
    let is_good = !path.contains(char::is_control) && path.split('/').all(|part| part != "..");
    must(is_good, || "`workdir` must not hold `..` or control characters".to_owned())
}

/// Absolute, or below the home folder, and more than just that.
fn is_anchored(path: &str) -> bool {
    let rest = path.strip_prefix("~/").or_else(|| path.strip_prefix('/'));
    rest.is_some_and(|rest| !rest.trim_matches('/').is_empty())
}

pub(crate) fn timeout_s(seconds: u64) -> Checked {
    must((1..=MAX_TIMEOUT_S).contains(&seconds), || {
        format!("`timeout_s` must be at least 1 and at most {MAX_TIMEOUT_S}, a week")
    })
}

pub(crate) fn memory_mib(mib: u64) -> Checked {
    must((1..=MAX_MEMORY_MIB).contains(&mib), || format!("`memory_mib` must be from 1 to {MAX_MEMORY_MIB}"))
}

pub(crate) fn max_temp_c(celsius: f64) -> Checked {
    let (low, high) = (TEMPERATURES_C.start(), TEMPERATURES_C.end());
    must(TEMPERATURES_C.contains(&celsius), || format!("`max_temp_c` must be from {low} to {high} degrees Celsius"))
}

pub(crate) fn cpus(list: &str) -> Checked {
    parse_cpus(list).map(|_| ()).map_err(|why| format!("`cpus`: {why}"))
}

pub(crate) fn governor(name: &str) -> Checked {
    let is_good = (1..=MAX_GOVERNOR).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    must(is_good, || "`governor` must be one of the kernel's, such as `performance` or `schedutil`".to_owned())
}

pub(crate) fn features(names: &[String]) -> Checked {
    let is_name = |name: &String| {
        (1..=32).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.'))
    };
    if let Some(bad) = names.iter().find(|name| !is_name(name)) {
        return Err(format!("`features`: `{bad}` is no name as /proc/cpuinfo has them, such as `asimd` or `neon`"));
    }
    match (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
        Some(i) => Err(format!("`features`: `{}` is there twice", names[i])),
        None => Ok(()),
    }
}

/// A program and its arguments.
pub(crate) fn runner(words: &[String]) -> Checked {
    let is_good = words.first().is_none_or(|program| !program.is_empty() && !program.starts_with('-'))
        && words.iter().all(|word| !word.contains(char::is_control));
    must(is_good, || "`runner` must begin with a program, and hold no control characters".to_owned())
}

/// A name or an address, as an argument of ssh.
pub(crate) fn host(host: &str) -> Checked {
    if let Some((user, host)) = host.split_once('@') {
        return Err(format!("`host` is without the user; write `host = \"{host}\"` and `user = \"{user}\"`"));
    }
    // A zone (`fe80::1%eth0`) belongs to IPv6 addresses only; elsewhere ssh takes `%` for a token.
    let is_good = (1..=255).contains(&host.len())
        && !host.starts_with(['-', '.'])
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'))
        && (!host.contains('%') || host.contains(':'));
    must(is_good, || "`host` must be a name or an address, such as `192.168.1.20` or `pi.local`".to_owned())
}

pub(crate) fn user(name: &str) -> Checked {
    let is_good = (1..=64).contains(&name.len())
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    must(is_good, || "`user` must be the name of a user on the board: letters, digits, `.`, `-`, `_`".to_owned())
}

pub(crate) fn port(port: u16) -> Checked {
    must(port != 0, || "`port` must be from 1 to 65535".to_owned())
}

/// A key file on this machine. ssh would expand tokens and variables in its path.
pub(crate) fn identity(path: &str) -> Checked {
    must(is_anchored(path), || "`identity` must be the absolute path of a key file, or start with `~/`".to_owned())?;
    let is_good = !path.contains(|c: char| c.is_control() || matches!(c, '%' | '$' | '"' | '\\'));
    must(is_good, || "`identity` must not hold `%`, `$`, `\"`, `\\` or control characters".to_owned())
}
