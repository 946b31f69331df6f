//! Installs by a real process whose system calls fail, on disks that are full or start no programs.

use std::process::{Command, ExitStatus, Stdio};

use super::tests::Fixture;
use super::*;
use crate::testing::skip;
use crate::transport::Local;

/// Generation 2, large enough that a small disk cannot hold it.
const PADDING: usize = 1 << 20;

/// The process whose system calls fail; by itself, it does nothing. Its exit code is that of the install, plus 100.
#[test]
fn child_that_installs_once() {
    let Some(dir) = std::env::var_os("LIMBECK_TEST_INSTALL_ONCE").map(PathBuf::from) else { return };
    let agent = Agent::from_file(&dir.join("agent"), "t", "dev", "sh").unwrap();
    let result = install_over(
        Box::new(Local::native()),
        &dir.join("board"),
        Duration::from_secs(10),
        &agent,
        &dir.join("bundle"),
    );
    let code = result.as_ref().err().map_or(0, RunnerError::exit_code);
    if let Err(error) = result {
        // For whoever reads the test's output; the standard error may be closed.
        eprintln!("{error}");
    }
    std::process::exit(100 + code);
}

/// Start `child_that_installs_once` behind `before`, for generation 2 of `f`.
fn install_once(f: &Fixture, before: &[&str]) -> ExitStatus {
    let child = std::env::current_exe().unwrap().display().to_string();
    let test = ["--exact", "install::fault_tests::child_that_installs_once", "--nocapture", "--test-threads=1"];
    let words: Vec<&str> = before.iter().copied().chain([child.as_str()]).chain(test).collect();
    Command::new(words[0])
        .args(&words[1..])
        .env("LIMBECK_TEST_INSTALL_ONCE", f.dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

/// Agent and bundle of generation 2 in the folder of `f`.
fn prepare(f: &Fixture) {
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = probe ] && exit 0\necho '{{\"schema_version\":1}}'; echo 2; cat $2\nexit\n{}",
        "#".repeat(PADDING)
    );
    std::fs::write(f.dir().join("agent"), script).unwrap();
    std::fs::write(f.dir().join("bundle"), "2").unwrap();
}

fn can(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn a_system_call_that_fails_anywhere_leaves_a_whole_install() {
    if !can("strace", &["-f", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=1", "true"]) {
        return skip("strace is missing or may not trace; get it with: sudo apt-get install -y strace");
    }
    for (fault, at_least) in [
        ("fsync,fdatasync:error=EIO", 4),
        ("rename,renameat,renameat2:signal=KILL", 4),
        ("copy_file_range,sendfile:error=ENOSPC", 1),
        ("symlink,symlinkat:error=EROFS", 1),
        ("mkdir,mkdirat:signal=KILL", 1),
    ] {
        let mut hit = 0;
        for n in 1..40 {
            let f = Fixture::new();
            f.install(1, Box::new(Local::native())).unwrap();
            prepare(&f);
            let log = f.dir().join("trace").display().to_string();
            let inject = format!("inject={fault}:when={n}");
            let status = install_once(&f, &["strace", "-f", "-o", &log, "-e", &inject]);
            let running = f.running();
            if !std::fs::read_to_string(&log).unwrap().contains("INJECTED") && status.code() == Some(100) {
                assert_eq!(running, 2, "{fault} at {n}");
                break;
            }
            hit += 1;
            assert!([1, 2].contains(&running), "{fault} at {n}: {running}");
            assert!(status.code() != Some(100) || running == 2, "{fault} at {n}: it said that it was done");
            f.install(3, Box::new(Local::native())).unwrap();
            assert_eq!(f.running(), 3, "{fault} at {n}: the next install");
        }
        assert!(hit >= at_least, "{fault}: only {hit} calls were hit");
    }
}

/// Install generation 2 on a tmpfs with `options`, which holds generation 1 where it may; its exit code.
fn on_a_disk(f: &Fixture, options: &str) -> Option<i32> {
    let board = f.dir().join("board").display().to_string();
    let kept = f.dir().join("kept").display().to_string();
    let script = format!(
        "cp -a {board} {kept} && mount -t tmpfs -o {options} tmpfs {board} && cp -a {kept}/. {board}/ || exit 1\n\
         \"$@\"; code=$?; rm -r {kept}; cp -a {board} {kept}; exit $code"
    );
    let status = install_once(f, &["unshare", "-rm", "sh", "-c", &script, "sh"]);
    // What was on the disk, where it can be seen now.
    std::fs::remove_dir_all(f.dir().join("board")).unwrap();
    std::fs::rename(kept, f.dir().join("board")).unwrap();
    status.code()
}

fn has_namespaces() -> bool {
    can("unshare", &["-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"])
}

#[test]
fn a_full_disk_refuses_with_code_8_and_the_old_install_stays() {
    if !has_namespaces() {
        return skip("unshare -rm may not mount a tmpfs here");
    }
    let f = Fixture::new();
    f.install(1, Box::new(Local::native())).unwrap();
    prepare(&f);
    assert_eq!(on_a_disk(&f, "size=512k"), Some(108));
    assert_eq!(f.running(), 1);
    assert_eq!(slots(&f), [1], "nothing half is left");
}

#[test]
fn a_disk_from_which_nothing_starts_refuses_with_code_8() {
    if !has_namespaces() {
        return skip("unshare -rm may not mount a tmpfs here");
    }
    let f = Fixture::new();
    f.install(1, Box::new(Local::native())).unwrap();
    prepare(&f);
    assert_eq!(on_a_disk(&f, "size=64m,noexec"), Some(108));
    assert_eq!(f.running(), 1);
    assert_eq!(slots(&f), [1], "nothing half is left");
}

fn slots(f: &Fixture) -> Vec<u32> {
    slot_numbers(&Local::native(), &f.dir().join("board/slots")).unwrap()
}

#[test]
fn preflight_finds_noexec_and_a_full_disk_before_a_byte_is_copied() {
    if !has_namespaces() {
        return skip("unshare -rm may not mount a tmpfs here");
    }
    let dir = tempfile::tempdir().unwrap();
    let look = |options: &str| {
        let script = format!("mount -t tmpfs -o {options} tmpfs \"$1\" && exec sh -c \"$2\" limbeck \"$1\"");
        let text = include_str!("preflight/preflight.sh");
        let output = Command::new("unshare")
            .args(["-rm", "sh", "-c", &script, "sh"])
            .arg(dir.path())
            .arg(text)
            .output()
            .unwrap();
        crate::preflight::Facts::parse(&String::from_utf8(output.stdout).unwrap())
    };
    let facts = look("size=512k,noexec");
    assert!(facts.is_noexec() && facts.starts == Some(126), "{facts:?}");
    assert!(facts.free_bytes.unwrap() <= 512 << 10 && facts.disk_bytes == Some(512 << 10), "{facts:?}");
    let facts = look("size=512k,ro");
    assert!(facts.failure.as_ref().is_some_and(|why| why.contains("Read-only")), "{facts:?}");
}
