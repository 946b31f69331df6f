//! Boards that lack programs, and the scripts by themselves.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;
use crate::testing::stand_in::StandIn;
use crate::testing::{dies, skip};
use crate::toolchain::find_program;

const SECOND: Duration = Duration::from_secs(1);

/// The locking shell by itself, with this longest silence; its input stays open.
fn session(dir: &Path, silence: &str, path: &OsStr) -> std::process::Child {
    Command::new("sh")
        .arg("-c")
        .arg(include_str!("session.sh"))
        .args(["limbeck", "N"])
        .arg(dir)
        .args(["test", silence, include_str!("run.sh")])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A line of a shell's output that begins with `begin`; `None` when it ends before.
fn line(output: &mut impl BufRead, begin: &str) -> Option<String> {
    output.lines().map_while(Result::ok).find(|line| line.starts_with(begin))
}

#[test]
fn a_client_that_gives_no_sign_of_life_loses_program_and_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let mut silent = session(dir.path(), "2", &path);
    let mut output = BufReader::new(silent.stdout.take().unwrap());
    assert!(line(&mut output, "N held").is_some());
    let mut input = silent.stdin.take().unwrap();
    input.write_all(b"'M' '60' '/' 'sh' '-c' 'echo pid $$; exec sleep 300'\n").unwrap();
    let pid = line(&mut output, "pid ").unwrap();
    // Signs of life keep it.
    for _ in 0..3 {
        std::thread::sleep(SECOND);
        input.write_all(b"\n").unwrap();
    }
    assert!(silent.try_wait().unwrap().is_none());
    assert!(dies(&pid["pid ".len()..]));
    assert!(silent.wait().unwrap().success());
    Lock::acquire(dir.path()).unwrap();
}

#[test]
fn without_flock_one_holds_the_lock_and_a_dead_one_is_followed() {
    let stand_in = StandIn::new();
    stand_in.lacks(&["flock"]);
    let (dir, path) = (stand_in.dir().join("board"), std::fs::read(stand_in.dir().join("path")).unwrap());
    std::fs::create_dir(&dir).unwrap();
    let ssh = stand_in.ssh();
    let first = ssh.lock(&dir).unwrap();
    let error = ssh.lock(&dir).unwrap_err();
    assert!(matches!(error, RunnerError::Busy { .. }), "{error}");
    drop(first);
    // Killed, it can say nothing; and many want what it had.
    let path = OsString::from(String::from_utf8(path).unwrap());
    let mut killed = session(&dir, "60", &path);
    let mut output = BufReader::new(killed.stdout.take().unwrap());
    assert!(line(&mut output, "N held").is_some());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let mut all: Vec<_> = (0..6).map(|_| session(&dir, "60", &path)).collect();
    let mut said = Vec::new();
    for child in &mut all {
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let line = output.by_ref().lines().map_while(Result::ok).find(|l| l == "N held" || l == "N end 75").unwrap();
        said.push((line, output));
    }
    assert_eq!(said.iter().filter(|(line, _)| line == "N held").count(), 1, "{said:?}");
    // Their input ends.
    all.iter_mut().for_each(|child| drop(child.stdin.take()));
    all.iter_mut().for_each(|child| assert!(child.wait().unwrap().success()));
    ssh.lock(&dir).unwrap();
}

#[test]
fn without_setsid_and_timeout_a_program_is_killed_with_its_family() {
    let stand_in = StandIn::new();
    stand_in.lacks(&["setsid", "timeout"]);
    let ssh = stand_in.ssh();
    let lock = ssh.lock(stand_in.dir()).unwrap();
    let argv = ["sh", "-c", "(sh -c 'echo $$; sleep 300; true' & sleep 300) & echo $!; wait"].map(OsString::from);
    let job = Job { what: "x", argv: &argv, dir: Path::new("/"), deadline: SECOND, lock: &lock };
    let (start, mut pids) = (Instant::now(), Vec::new());
    let error = ssh.run(job, &mut |line| pids.push(line.to_owned())).unwrap_err();
    assert!(matches!(error, RunnerError::Timeout { .. }), "{error}");
    assert!(start.elapsed() < SECOND * 5 && pids.len() == 2);
    assert!(pids.iter().all(|pid| dies(pid)), "{pids:?} still run");
}

#[test]
fn without_sha256sum_copies_are_hashed_here() {
    let stand_in = StandIn::new();
    stand_in.lacks(&["sha256sum"]);
    let (ssh, from, board) = (stand_in.ssh(), stand_in.dir().join("from"), stand_in.dir().join("board"));
    std::fs::create_dir(&board).unwrap();
    let bytes: Vec<u8> = (0..=255u8).cycle().take(100_000).collect();
    std::fs::write(&from, &bytes).unwrap();
    let to = board.join("to");
    let put = |sha256: &str| ssh.put(Copied { from: &from, to: &to, sha256, executable: true });
    put(&limbeck_files::sha256_hex(&bytes)).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), bytes);
    let error = put(&limbeck_files::sha256_hex(b"another")).unwrap_err();
    assert!(matches!(error, RunnerError::DamagedCopy { .. }), "{error}");
    assert_eq!(std::fs::read_dir(&board).unwrap().count(), 1, "nothing staged is left");
}

#[test]
fn preflight_names_what_a_poor_board_lacks() {
    let stand_in = StandIn::new();
    stand_in.lacks(&["sha256sum", "flock", "sync"]);
    let board = Board { transport: stand_in.board.transport.clone(), ..stand_in.board.clone() };
    let seen = crate::preflight::preflight_over(&*stand_in.ssh(), &board, &stand_in.dir().join("w"), None).unwrap();
    let text = seen.to_string();
    for part in ["refused  programs      sync is missing", "no sha256sum", "no flock"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(seen.accept().unwrap_err().exit_code(), 8);
}

#[test]
fn a_board_with_nothing_but_busybox_will_do() {
    let Some(busybox) = find_program("busybox", std::env::var_os("PATH").as_deref()) else {
        return skip("busybox is missing; get it with: sudo apt-get install -y busybox-static");
    };
    let (stand_in, bin) = (StandIn::new(), tempfile::tempdir().unwrap());
    let names = Command::new(&busybox).arg("--list").output().unwrap().stdout;
    for name in String::from_utf8(names).unwrap().lines() {
        std::os::unix::fs::symlink(&busybox, bin.path().join(name)).unwrap();
    }
    stand_in.has_only(bin.path());
    let (ssh, work) = (stand_in.ssh(), stand_in.dir().join("it's\nwork"));
    let seen = crate::preflight::preflight_over(&*ssh, &stand_in.board, &work, None).unwrap();
    seen.accept().unwrap();
    // Debian's has no flock.
    let mut programs = seen.checks.iter().filter(|check| check.what == "programs");
    assert!(programs.all(|check| check.found == "all there" || check.found.starts_with("no flock")), "{seen}");

    let from = stand_in.dir().join("from");
    std::fs::write(&from, "#!/bin/sh\necho \"$1 $(readlink /proc/self/fd/0)\"\nsleep 300 &\necho $!\nexit 7\n")
        .unwrap();
    let (sha256, slot, back) = (limbeck_files::sha256_file(&from).unwrap(), work.join("slots/1"), work.join("back"));
    ssh.make_dir(&slot).unwrap();
    ssh.put(Copied { from: &from, to: &slot.join("agent"), sha256: &sha256, executable: true }).unwrap();
    ssh.get(Copied { from: &slot.join("agent"), to: &back, sha256: &sha256, executable: false }).unwrap();
    for target in ["slots/0", "slots/1"] {
        ssh.switch_link(&work.join("current"), Path::new(target)).unwrap();
    }
    assert_eq!(ssh.read_link(&work.join("current")).unwrap().unwrap(), Path::new("slots/1"));
    assert!(ssh.free_bytes(&work).unwrap().unwrap() > 0);

    let lock = ssh.lock(&work).unwrap();
    assert!(matches!(ssh.lock(&work), Err(RunnerError::Busy { .. })));
    let argv = [slot.join("agent").into_os_string(), "it's\nan argument".into()];
    let job = Job { what: "x", argv: &argv, dir: &slot, deadline: SECOND * 20, lock: &lock };
    let output = ssh.run_and_collect(job).unwrap();
    let lines: Vec<&str> = output.stdout.lines().collect();
    let input = work.join("lock").display().to_string();
    assert_eq!((output.status, lines[..lines.len() - 1].join("\n")), (7, format!("it's\nan argument {input}")));
    assert!(dies(lines[lines.len() - 1]), "a straggler is left");
    let argv = ["sleep", "300"].map(OsString::from);
    let error = ssh.run_and_collect(Job { argv: &argv, deadline: SECOND, ..job }).unwrap_err();
    assert!(matches!(error, RunnerError::Timeout { .. }), "{error}");
}
