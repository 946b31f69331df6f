//! What the facts about a board mean for putting an agent there: one check each.

use limbeck_boards::{Board, Glibc, Libc, Transport};

use super::facts::Facts;
use super::{Check, Verdict};
use crate::toolchain::emulator_fix;

/// A clock that is off by more gives files and logs dates that mislead.
const CLOCK_S: i64 = 24 * 3600;
/// Above this load a measurement is not valid (protocol single-stream v1).
const LOAD: f64 = 0.5;
/// A kernel and firmware keep some of the memory for themselves; less than this share of what the board should have is
/// another board.
const MEMORY_SHARE: f64 = 0.7;
/// What the transport cannot do without.
const NEEDED: [&str; 12] = ["cat", "chmod", "df", "ln", "ls", "mkdir", "mv", "readlink", "rm", "sleep", "sync", "wc"];

/// What is asked of a board.
pub(crate) struct Asked<'a> {
    pub board: &'a Board,
    /// The emulator in front of each program.
    pub runner: Option<&'a str>,
    /// Bytes that will be copied; `None`: nothing yet.
    pub need_bytes: Option<u64>,
}

pub(crate) fn judge(asked: &Asked<'_>, facts: &Facts) -> Vec<Check> {
    let checks = [
        architecture(asked, facts),
        kernel(facts),
        libc(asked, facts),
        features(asked, facts),
        model(asked.board, facts),
        folder(facts),
        executable(asked, facts),
        space(asked, facts),
        memory(asked.board, facts),
        clock(facts),
        load(facts),
        lock(facts),
    ];
    let programs =
        matches!(asked.board.transport, Transport::Ssh { .. }).then(|| programs(facts)).into_iter().flatten();
    checks.into_iter().chain(programs).collect()
}

fn ok(what: &'static str, found: impl Into<String>) -> Check {
    Check { what, verdict: Verdict::Ok, found: found.into(), fix: None }
}

fn warning(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { what, verdict: Verdict::Warning, found: found.into(), fix: Some(fix.into()) }
}

fn refused(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { what, verdict: Verdict::Refused, found: found.into(), fix: Some(fix.into()) }
}

fn or_unknown<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or("unknown".to_owned(), T::to_string)
}

fn architecture(asked: &Asked<'_>, facts: &Facts) -> Check {
    let (what, arch) = ("architecture", &asked.board.arch);
    let behind = asked.runner.map(|runner| format!(" behind {runner}")).unwrap_or_default();
    match &facts.machine {
        None => warning(what, format!("unknown{behind}"), "make sure that it runs programs for the board's `triple`"),
        Some(machine) if runs(machine, arch) => ok(what, format!("{machine}{behind}")),
        Some(machine) => refused(
            what,
            format!("{machine}{behind} does not run programs for {}", asked.board.triple),
            "set `triple` of the board to what it is",
        ),
    }
}

/// Does a machine (`uname -m`) run programs of an architecture (first part of a Rust target)?
fn runs(machine: &str, arch: &str) -> bool {
    let is_arm_64 = matches!(machine, "aarch64" | "arm64");
    // A 64-bit kernel, or a CPU of the eighth generation, has a 32-bit mode; the probe finds the few that do not.
    let is_arm_7 = is_arm_64 || machine.starts_with("armv7") || machine.starts_with("armv8");
    match arch {
        "aarch64" => is_arm_64,
        arch if arch.starts_with("armv7") || arch.starts_with("thumbv7") => is_arm_7 || machine == "arm",
        arch if arch.starts_with("arm") => is_arm_64 || machine.starts_with("arm"),
        arch if arch.starts_with("riscv64") => machine == "riscv64",
        "i586" | "i686" => machine == "x86_64" || (machine.starts_with('i') && machine.ends_with("86")),
        arch => machine == arch,
    }
}

fn kernel(facts: &Facts) -> Check {
    match &facts.kernel {
        Some(kernel) => ok("kernel", kernel.as_str()),
        None => ok("kernel", "unknown"),
    }
}

fn libc(asked: &Asked<'_>, facts: &Facts) -> Check {
    let (what, has) = ("libc", or_unknown(&facts.libc));
    if asked.board.libc == Libc::Static {
        return ok(what, format!("{has}; a static agent needs none"));
    }
    if let Some(runner) = asked.runner {
        return ok(what, format!("that of {runner}"));
    }
    let floor = asked.board.glibc.unwrap_or(Glibc::oldest_for(&asked.board.arch));
    match (facts.glibc(), &facts.libc) {
        (Some(glibc), _) if glibc >= floor => ok(what, format!("{has}; the agent needs {floor}")),
        (Some(_), _) => refused(
            what,
            format!("{has}; the agent needs {floor}"),
            "set `glibc` to the board's, or `libc = \"static\"`",
        ),
        (None, Some(_)) => refused(what, format!("{has}; the agent needs glibc {floor}"), "set `libc = \"static\"`"),
        (None, None) => warning(what, format!("unknown; the agent needs glibc {floor}"), "set `libc = \"static\"`"),
    }
}

fn features(asked: &Asked<'_>, facts: &Facts) -> Check {
    let (what, wanted) = ("cpu features", &asked.board.features);
    if let Some(runner) = asked.runner {
        return ok(what, format!("those of {runner}"));
    }
    let Some(has) = &facts.features else {
        return match wanted.is_empty() {
            true => ok(what, "unknown"),
            false => {
                warning(what, format!("unknown; expected are {}", wanted.join(", ")), "the agent's probe will tell")
            }
        };
    };
    let lacks: Vec<&str> = wanted.iter().map(String::as_str).filter(|name| !has_feature(has, name)).collect();
    if lacks.is_empty() {
        return ok(what, if wanted.is_empty() { "none asked for".to_owned() } else { wanted.join(", ") });
    }
    refused(
        what,
        format!("{} is missing", lacks.join(", ")),
        "set `features` (and `triple`) of the board to what it is",
    )
}

/// A 64-bit kernel lists the names of 64-bit mode, whatever mode the program will run in: `asimd` there has all of these.
fn has_feature(has: &[String], name: &str) -> bool {
    let has = |name: &str| has.iter().any(|feature| feature == name);
    let in_32_bit_mode = ["neon", "vfp", "vfpv3", "vfpv4", "vfpd32", "idiva", "idivt", "thumb"];
    has(name) || (has("asimd") && in_32_bit_mode.contains(&name))
}

fn model(board: &Board, facts: &Facts) -> Check {
    let what = "model";
    match (&board.model, &facts.model) {
        (Some(expected), Some(model)) if !model.starts_with(expected.as_str()) => warning(
            what,
            format!("{model}, and not {expected}"),
            "is it the right board? Else set `model` to what it is",
        ),
        (Some(expected), None) => warning(what, format!("unknown; expected is {expected}"), "is it the right board?"),
        (_, model) => ok(what, or_unknown(model)),
    }
}

fn folder(facts: &Facts) -> Check {
    match &facts.failure {
        None => ok("folder", "can be written to"),
        Some(failure) => {
            refused("folder", failure.as_str(), "set `workdir` of the board to a folder that its user may write to")
        }
    }
}

fn executable(asked: &Asked<'_>, facts: &Facts) -> Check {
    let (what, fix) = ("executable", "set `workdir` of the board to a folder from which programs may run");
    let mount = or_unknown(&facts.mount);
    if let Some(emulator) = &facts.no_emulator {
        return refused(what, format!("the board has no {emulator}"), format!("there: {}", emulator_fix(emulator)));
    }
    match (asked.runner, facts.starts) {
        (Some(runner), _) => ok(what, format!("{runner} reads the program")),
        (None, Some(0)) => ok(what, "programs start there"),
        (None, Some(126)) if facts.is_noexec() => {
            refused(what, format!("the file system is mounted noexec ({mount})"), fix)
        }
        (None, Some(code)) => refused(what, format!("a script there does not start (exit code {code}; {mount})"), fix),
        (None, None) => warning(what, "unknown", fix),
    }
}

fn space(asked: &Asked<'_>, facts: &Facts) -> Check {
    let (what, fix) = ("space", "make room, or set `workdir` of the board to another folder");
    let mib = |bytes: u64| bytes >> 20;
    let of = facts.disk_bytes.map(|bytes| format!(" of {} MiB", mib(bytes))).unwrap_or_default();
    match (facts.free_bytes, asked.need_bytes) {
        (None, _) => warning(what, "unknown", fix),
        (Some(free), Some(need)) if free < need => {
            let need = need.div_ceil(1 << 20);
            refused(what, format!("{} MiB{of} are free and {need} MiB are needed", mib(free)), fix)
        }
        (Some(free), _) => ok(what, format!("{} MiB{of} free", mib(free))),
    }
}

fn memory(board: &Board, facts: &Facts) -> Check {
    let what = "memory";
    let Some(bytes) = facts.memory_bytes else { return ok(what, "unknown") };
    let free = facts.available_bytes.map(|bytes| format!(", {} MiB available", bytes >> 20)).unwrap_or_default();
    let found = format!("{} MiB{free}", bytes >> 20);
    match board.memory_mib {
        Some(mib) if (bytes as f64) < MEMORY_SHARE * (mib << 20) as f64 => warning(
            what,
            format!("{found}, and not {mib} MiB"),
            "is it the right board? Else set `memory_mib` to what it is",
        ),
        _ => ok(what, found),
    }
}

fn clock(facts: &Facts) -> Check {
    let what = "clock";
    match facts.clock_ahead_s {
        None => ok(what, "unknown"),
        Some(ahead) if ahead.abs() > CLOCK_S => {
            let days = ahead.abs() / CLOCK_S;
            let way = if ahead < 0 { "behind" } else { "ahead of" };
            let found = format!("{days} days {way} this machine's");
            warning(what, found, "dates of files and logs will mislead; set it, for example with a time server")
        }
        Some(ahead) => ok(what, format!("{ahead:+} s from this machine's")),
    }
}

fn load(facts: &Facts) -> Check {
    match facts.load {
        Some(load) if load > LOAD => warning("load", format!("{load}"), "end what else runs there before measuring"),
        load => ok("load", or_unknown(&load)),
    }
}

fn lock(facts: &Facts) -> Check {
    match &facts.held {
        None => ok("lock", "free"),
        Some(held) => {
            let holder = crate::transport::holder(held);
            warning("lock", format!("in use by {holder}"), "wait for it or stop it")
        }
    }
}

/// Programs that a transport runs on the board.
fn programs(facts: &Facts) -> Vec<Check> {
    let what = "programs";
    let misses = |name: &str| facts.missing.iter().any(|missing| missing == name);
    let needed: Vec<&str> = NEEDED.into_iter().filter(|name| misses(name)).collect();
    let mut checks = Vec::new();
    if !needed.is_empty() {
        checks.push(refused(what, format!("{} is missing", needed.join(", ")), "install coreutils or busybox"));
    }
    if !facts.switches && facts.failure.is_none() {
        let found = "`mv` has no option -T, so a link cannot be switched in one step";
        checks.push(refused(what, found, "install coreutils, or a newer busybox"));
    }
    for (name, without) in [
        ("sha256sum", "copies are read back to be checked, which takes twice as long"),
        ("setsid", "what a program leaves running behind its back is not found"),
        ("flock", "an agent that adapts by itself on the board is not kept apart from limbeck"),
        ("timeout", "a connection that dies without a word may be noticed only at the deadline"),
    ] {
        if misses(name) {
            checks.push(warning(what, format!("no {name}: {without}"), "install coreutils and util-linux, or busybox"));
        }
    }
    if checks.is_empty() {
        checks.push(ok(what, "all there"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board that is as it should be.
    fn good() -> (Board, Facts) {
        let transport =
            Transport::Ssh { host: Some("b".into()), user: None, port: None, identity: None, runner: vec![] };
        let board = Board {
            triple: "aarch64-unknown-linux-gnu".into(),
            arch: "aarch64".into(),
            libc: Libc::Gnu,
            model: Some("Raspberry Pi 4".into()),
            features: vec!["asimd".into(), "crc32".into()],
            memory_mib: Some(1024),
            transport,
            ..Board::find_in("host", None).unwrap()
        };
        let facts = Facts::parse(
            "machine aarch64\nkernel Linux 6.6\nlibc glibc 2.36\nfeatures fp asimd crc32\ncpus 4\n\
             model Raspberry Pi 4 Model B Rev 1.4\nmemory_kib 948304\navailable_kib 800000\nload 0.1\n\
             df /dev/root 30000000 1 20000000 1% /\nmount ext4 rw\nstarts 0\nswitches yes\n",
        );
        (board, facts)
    }

    /// The verdict and text of a check after one thing changed.
    fn check(what: &str, change: impl FnOnce(&mut Board, &mut Facts)) -> (Verdict, String) {
        let (mut board, mut facts) = good();
        change(&mut board, &mut facts);
        let all = judge(&Asked { board: &board, runner: None, need_bytes: Some(16 << 20) }, &facts);
        let worst = all.iter().filter(|check| check.what == what).max_by_key(|check| check.verdict).unwrap();
        assert_eq!(worst.verdict == Verdict::Ok, worst.fix.is_none(), "{worst:?}");
        (worst.verdict, worst.found.clone())
    }

    #[test]
    fn a_good_board_is_good_in_everything() {
        let (board, facts) = good();
        let all = judge(&Asked { board: &board, runner: None, need_bytes: Some(1) }, &facts);
        assert!(all.iter().all(|check| check.verdict == Verdict::Ok), "{all:?}");
    }

    #[test]
    fn what_the_agent_cannot_run_on_is_refused_before_any_copy() {
        let refused = |what: &str, part: &str, change: fn(&mut Board, &mut Facts)| {
            let (verdict, found) = check(what, change);
            assert!(verdict == Verdict::Refused && found.contains(part), "{what}: {verdict:?}, {found}");
        };
        refused("architecture", "armv7l does not run", |_, f| f.machine = Some("armv7l".into()));
        refused("libc", "needs 2.39", |b, _| b.glibc = "2.39".parse().ok());
        refused("libc", "musl", |_, f| f.libc = Some("musl 1.2.3".into()));
        refused("cpu features", "asimdhp is missing", |b, _| b.features.push("asimdhp".into()));
        refused("folder", "Read-only", |_, f| f.failure = Some("Read-only file system".into()));
        refused("executable", "noexec", |_, f| (f.starts, f.mount) = (Some(126), Some("tmpfs rw,noexec".into())));
        refused("executable", "no qemu-arm", |_, f| f.no_emulator = Some("qemu-arm".into()));
        refused("space", "15 MiB of", |_, f| f.free_bytes = Some((16 << 20) - 1));
        refused("programs", "sync is missing", |_, f| f.missing = vec!["sync".into()]);
        refused("programs", "-T", |_, f| f.switches = false);
    }

    #[test]
    fn what_only_misleads_is_a_warning() {
        let warns = |what: &str, part: &str, change: fn(&mut Board, &mut Facts)| {
            let (verdict, found) = check(what, change);
            assert!(verdict == Verdict::Warning && found.contains(part), "{what}: {verdict:?}, {found}");
        };
        warns("model", "Raspberry Pi 5", |_, f| f.model = Some("Raspberry Pi 5 Model B".into()));
        warns("clock", "20000 days behind", |_, f| f.clock_ahead_s = Some(-20_000 * CLOCK_S));
        warns("memory", "512 MiB", |_, f| f.memory_bytes = Some(512 << 20));
        warns("load", "3.2", |_, f| f.load = Some(3.2));
        warns("lock", "limbeck on laptop", |_, f| f.held = Some("limbeck 12 345 laptop".into()));
        warns("programs", "sha256sum", |_, f| f.missing = vec!["sha256sum".into()]);
    }

    #[test]
    fn what_is_unknown_is_called_so_and_refuses_nothing() {
        let (board, _) = good();
        let unknown = Facts { switches: true, ..Facts::default() };
        let all = judge(&Asked { board: &board, runner: None, need_bytes: Some(1) }, &unknown);
        assert!(all.iter().all(|check| check.verdict < Verdict::Refused), "{all:?}");
        for what in ["architecture", "kernel", "libc", "cpu features", "model", "space", "memory", "clock", "load"] {
            assert!(all.iter().any(|check| check.what == what && check.found.contains("unknown")), "{what}: {all:?}");
        }
    }

    #[test]
    fn a_64_bit_kernel_runs_32_bit_programs_and_has_their_features() {
        for (machine, arch, expected) in [
            ("aarch64", "armv7", true),
            ("armv7l", "arm", true),
            ("armv6l", "armv7", false),
            ("armv7l", "aarch64", false),
            ("x86_64", "i686", true),
            ("i686", "x86_64", false),
            ("riscv64", "riscv64gc", true),
        ] {
            assert_eq!(runs(machine, arch), expected, "{machine} {arch}");
        }
        let features = |b: &mut Board, _: &mut Facts| b.features = vec!["neon".into(), "vfpv4".into()];
        assert_eq!(check("cpu features", features).0, Verdict::Ok);
    }
}
