//! What a board says about itself, asked by one script (`preflight.sh`) before anything is copied.

use std::time::{SystemTime, UNIX_EPOCH};

use limbeck_boards::Glibc;
use serde::Serialize;

/// What a board says about itself. `None`: it does not say, which is not the same as "no".
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Machine as `uname -m` calls it; for a board with an emulator that of the emulator.
    pub machine: Option<String>,
    /// Kernel: `Linux 6.6.31`.
    pub kernel: Option<String>,
    /// C library: `glibc 2.36`, `musl 1.2.3`.
    pub libc: Option<String>,
    /// CPU features, from `/proc/cpuinfo`.
    pub features: Option<Vec<String>>,
    /// CPUs that may be used.
    pub cpus: Option<u32>,
    /// What the device tree calls the board.
    pub model: Option<String>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory that a new program could have, in bytes.
    pub available_bytes: Option<u64>,
    /// Load average over a minute.
    pub load: Option<f64>,
    /// How much the board's clock is ahead of this machine's, in seconds.
    pub clock_ahead_s: Option<i64>,
    /// Size of the file system of the working folder, in bytes.
    pub disk_bytes: Option<u64>,
    /// What is free for us there, in bytes.
    pub free_bytes: Option<u64>,
    /// Type and options of that mount, as in `/proc/mounts`.
    pub mount: Option<String>,
    /// Exit code of a tiny script in the working folder: 126 where it is mounted noexec.
    pub starts: Option<i32>,
    /// Why the working folder cannot be made or written to.
    pub failure: Option<String>,
    /// Can a symbolic link be replaced in one step?
    pub switches: bool,
    /// Who holds the board's lock.
    pub held: Option<String>,
    /// The emulator in front of each program, where the board does not have it.
    pub no_emulator: Option<String>,
    /// Programs that the transport uses and the board does not have.
    pub missing: Vec<String>,
}

impl Facts {
    /// Read what the script printed.
    pub(crate) fn parse(text: &str) -> Facts {
        let mut facts = Facts::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(' ') else { continue };
            let value = value.trim();
            let (text, kib) = (|| Some(value.to_owned()), || value.parse::<u64>().ok()?.checked_mul(1024));
            match key {
                "machine" => facts.machine = text(),
                "kernel" => facts.kernel = text(),
                "libc" => facts.libc = text(),
                "features" => facts.features = Some(features(value)),
                "cpus" => facts.cpus = value.parse().ok(),
                "model" => facts.model = text(),
                "memory_kib" => facts.memory_bytes = kib(),
                "available_kib" => facts.available_bytes = kib(),
                "load" => facts.load = value.parse().ok(),
                "clock" => facts.clock_ahead_s = value.parse().ok().and_then(ahead),
                "df" => (facts.disk_bytes, facts.free_bytes) = sizes_in_df(value),
                "mount" => facts.mount = text(),
                "starts" => facts.starts = value.parse().ok(),
                "failure" => facts.failure = text(),
                "switches" => facts.switches = true,
                "no_emulator" => facts.no_emulator = text(),
                "held" => facts.held = text(),
                "missing" => facts.missing = value.split_ascii_whitespace().map(str::to_owned).collect(),
                _ => {}
            }
        }
        facts
    }

    /// The version of glibc, where there is one.
    pub(crate) fn glibc(&self) -> Option<Glibc> {
        // Debian appends its own number, some embedded systems a third one.
        let version = self.libc.as_deref()?.strip_prefix("glibc ")?;
        let mut parts = version.split(|c: char| !c.is_ascii_digit());
        format!("{}.{}", parts.next()?, parts.next()?).parse().ok()
    }

    /// Is the working folder on a file system from which nothing starts?
    pub(crate) fn is_noexec(&self) -> bool {
        let options = self.mount.as_deref().and_then(|mount| mount.split_once(' '));
        options.is_some_and(|(_, options)| options.split(',').any(|option| option == "noexec"))
    }
}

/// Names in a line of `/proc/cpuinfo`; RISC-V has one word: `rv64imafdc_zicsr_zba`.
fn features(line: &str) -> Vec<String> {
    let extensions = line.strip_prefix("rv64").or_else(|| line.strip_prefix("rv32"));
    let Some(extensions) = extensions else { return line.split_ascii_whitespace().map(str::to_owned).collect() };
    let mut words = extensions.split('_');
    let letters = words.next().unwrap_or_default().chars().map(|letter| letter.to_string());
    letters.chain(words.map(str::to_owned)).collect()
}

fn ahead(board: i64) -> Option<i64> {
    let here = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(board.saturating_sub(i64::try_from(here).ok()?))
}

/// Size and free bytes in the last line of `df -P -k` (POSIX): KiB, before the field that ends with `%`. Names before and
/// behind may hold spaces.
pub(crate) fn sizes_in_df(line: &str) -> (Option<u64>, Option<u64>) {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let bytes = |back: usize| {
        let capacity = words.iter().rposition(|word| word.ends_with('%'))?;
        words.get(capacity.checked_sub(back)?)?.parse::<u64>().ok()?.checked_mul(1024)
    };
    (bytes(3), bytes(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_board_says_is_read_and_what_it_does_not_say_is_unknown() {
        let facts = Facts::parse(
            "machine aarch64\nkernel Linux 6.6.31+rpt-rpi-v8\nlibc glibc 2.36\nfeatures fp asimd evtstrm\nload 0.42\n\
             memory_kib 1000\nmount ext4 rw,noexec,relatime\nstarts 126\nheld limbeck 12 345 laptop\nmissing  flock setsid\n\
             df /dev/my disk 100 60 40 60% /media/a 5 b\nnonsense\n\nswitches yes\n",
        );
        assert_eq!(
            (facts.machine.as_deref(), facts.load, facts.memory_bytes),
            (Some("aarch64"), Some(0.42), Some(1024000))
        );
        assert_eq!((facts.glibc().unwrap().minor, facts.is_noexec(), facts.starts), (36, true, Some(126)));
        assert_eq!((facts.disk_bytes, facts.free_bytes), (Some(100 << 10), Some(40 << 10)));
        assert_eq!(facts.missing, ["flock", "setsid"]);
        assert_eq!(Facts::parse(""), Facts::default());
        assert_eq!(Facts::parse("libc glibc 2.31-13+deb11u5").glibc().unwrap().to_string(), "2.31");
        assert_eq!(Facts::parse("libc musl 1.2.3").glibc(), None);
        for bad in ["", "/dev/root - - - - /", "60% /"] {
            assert_eq!(sizes_in_df(bad), (None, None), "{bad:?}");
        }
    }

    #[test]
    fn the_extensions_of_risc_v_are_features() {
        assert_eq!(features("rv64imafdc_zicsr_zba"), ["i", "m", "a", "f", "d", "c", "zicsr", "zba"]);
    }
}
