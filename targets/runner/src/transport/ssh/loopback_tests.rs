//! The transport against a real sshd.

use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use super::*;
use crate::testing::dies;
use crate::testing::loopback::Loopback;

/// A board, trusted, or `None` with the reason said.
fn board() -> Option<(Loopback, Board)> {
    let sshd = Loopback::start().map_err(|why| crate::testing::skip(&why)).ok()?;
    let file = sshd.path("loopback.toml");
    std::fs::write(&file, sshd.toml("host", &[])).unwrap();
    let board = Board::find_in(file.to_str().unwrap(), None).unwrap();
    Some((sshd, board))
}

fn connect(sshd: &Loopback, board: &Board) -> Ssh {
    let client = SshClient { program: "/usr/bin/ssh".into(), home: sshd.path("limbeck") };
    Ssh::new(board, client).unwrap()
}

fn trusted() -> Option<(Loopback, Board, Ssh)> {
    let (sshd, board) = board()?;
    let ssh = connect(&sshd, &board);
    known_hosts::trust_with(&ssh.client).unwrap();
    Some((sshd, board, ssh))
}

#[test]
fn a_key_is_stored_once_and_only_when_asked_for() {
    let Some((mut sshd, board)) = board() else { return };
    let ssh = connect(&sshd, &board);
    let error = ssh.list(Path::new("/")).unwrap_err();
    assert!(matches!(error, RunnerError::HostKeyUnknown { .. }), "{error}");
    assert_eq!((error.exit_code(), error.to_string().contains("limbeck board probe loopback")), (7, true));
    let first = known_hosts::trust_with(&ssh.client).unwrap();
    let again = known_hosts::trust_with(&ssh.client).unwrap();
    assert!(first.is_new && !again.is_new && first.key == again.key);
    assert!(ssh.list(Path::new("/")).unwrap().contains(&"proc".to_owned()));
    drop(ssh);

    sshd.change_host_key().unwrap();
    let ssh = connect(&sshd, &board);
    let error = ssh.list(Path::new("/")).unwrap_err();
    let RunnerError::HostKeyChanged { offered, stored, .. } = &error else { panic!("{error}") };
    assert!(offered.starts_with("SHA256:") && offered != stored && *stored == first.key.fingerprint, "{error}");
    assert_eq!(error.exit_code(), 7);
    assert_eq!(known_hosts::trust_with(&ssh.client).unwrap_err().to_string(), error.to_string());
    assert!(forget_in_home(&sshd, &board));
    assert!(known_hosts::trust_with(&ssh.client).unwrap().is_new);
    ssh.list(Path::new("/")).unwrap();
}

fn forget_in_home(sshd: &Loopback, board: &Board) -> bool {
    known_hosts::forget_in(&client::known_hosts(&sshd.path("limbeck")), &client::host_key_alias(&board.name)).unwrap()
}

#[test]
fn a_refused_login_and_a_board_that_is_off_are_told_apart() {
    let Some((mut sshd, board, ssh)) = trusted() else { return };
    sshd.refuse_logins().unwrap();
    let error = ssh.list(Path::new("/")).unwrap_err();
    assert!(matches!(error, RunnerError::NotLetIn { .. }), "{error}");
    sshd.stop();
    let error = connect(&sshd, &board).list(Path::new("/")).unwrap_err();
    assert!(matches!(error, RunnerError::Unreachable { .. }) && error.to_string().contains("refused"), "{error}");
    assert_eq!(error.exit_code(), 6);
}

#[test]
fn every_operation_does_on_the_board_what_it_does_here() {
    let Some((sshd, board, ssh)) = trusted() else { return };
    std::fs::write(sshd.path("home/.bashrc"), "echo welcome; echo -n 'to the board'; echo notice >&2\n").unwrap();
    let work = ssh.workdir(&board).unwrap();
    assert_eq!(work, sshd.path("home/.limbeck/work"));
    let odd = work.join("it's a \"folder\"\n$HOME");
    ssh.make_dir(&odd).unwrap();
    assert!(odd.is_dir());
    assert!(ssh.free_bytes(&odd).unwrap().unwrap() > 1 << 20);

    let (from, to, back) = (sshd.path("from"), odd.join("copy"), sshd.path("back"));
    for bytes in [&b""[..], b"\n", b"no line end", &(0..=255u8).cycle().take(3 << 20).collect::<Vec<u8>>()] {
        std::fs::write(&from, bytes).unwrap();
        let sha256 = limbeck_files::sha256_hex(bytes);
        ssh.put(Copied { from: &from, to: &to, sha256: &sha256, executable: true }).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), bytes);
        ssh.get(Copied { from: &to, to: &back, sha256: &sha256, executable: false }).unwrap();
        assert_eq!(std::fs::read(&back).unwrap(), bytes);
    }
    let wrong = limbeck_files::sha256_hex(b"another");
    std::fs::write(&from, "new").unwrap();
    for error in [
        ssh.put(Copied { from: &from, to: &to, sha256: &wrong, executable: true }).unwrap_err(),
        ssh.get(Copied { from: &to, to: &back, sha256: &wrong, executable: true }).unwrap_err(),
    ] {
        assert!(matches!(error, RunnerError::DamagedCopy { .. }), "{error}");
    }
    assert_eq!(std::fs::metadata(&to).unwrap().len(), 3 << 20);
    assert_eq!(ssh.list(&odd).unwrap(), ["copy"], "nothing staged is left");

    let link = work.join("current");
    assert_eq!(ssh.read_link(&link).unwrap(), None);
    for target in ["slots/1", "slots/2"] {
        ssh.make_dir(&work.join(target)).unwrap();
        ssh.switch_link(&link, Path::new(target)).unwrap();
        assert_eq!(ssh.read_link(&link).unwrap().unwrap(), Path::new(target));
    }
    assert_eq!(std::fs::read_dir(work.join("slots/1")).unwrap().count(), 0);
    ssh.sync_dir(&work).unwrap();
    ssh.remove_dir(&odd).unwrap();
    assert!(!odd.exists());
    let error = ssh.list(&odd).unwrap_err();
    assert!(error.to_string().contains("list"), "{error}");
}

/// Run `script` on the board under a lock.
fn run(ssh: &Ssh, lock: &Lock, script: &str, deadline_s: f64) -> (Result<Output, RunnerError>, Vec<String>) {
    let argv = ["sh", "-c", script].map(OsString::from);
    let deadline = Duration::from_secs_f64(deadline_s);
    let job = Job { what: "agent test", argv: &argv, dir: Path::new("/"), deadline, lock };
    let mut lines = Vec::new();
    let result = ssh.run(job, &mut |line| lines.push(line.to_owned()));
    (result, lines)
}

#[test]
fn programs_run_one_after_the_other_under_one_lock() {
    let Some((sshd, _board, ssh)) = trusted() else { return };
    let work = sshd.path("home");
    let lock = ssh.lock(&work).unwrap();
    let (result, lines) = run(&ssh, &lock, "echo one; printf '\\ntwo'; echo log >&2; exit 7", 20.0);
    let output = result.unwrap();
    assert_eq!((output.status, output.stderr_tail.as_str()), (7, "log"));
    assert_eq!(lines, ["one", "", "two"]);
    let (result, _) = run(&ssh, &lock, "kill -SEGV $$", 20.0);
    assert_eq!(result.unwrap().status, 139);
    // The input of a program is the locked file, as on a local board.
    let (_, lines) = run(&ssh, &lock, "readlink /proc/self/fd/0", 20.0);
    assert_eq!(lines, [work.join("lock").display().to_string()]);

    let error = ssh.lock(&work).unwrap_err();
    assert!(matches!(error, RunnerError::Busy { .. }) && error.to_string().contains("on the board"), "{error}");
    assert!(matches!(Lock::acquire(&work), Err(RunnerError::Busy { .. })), "the kernel's lock is the same");
    drop(lock);
    Lock::acquire(&work).unwrap();
    ssh.lock(&work).unwrap();
}

#[test]
fn a_deadline_on_the_board_ends_a_program_with_all_it_started_and_keeps_the_lock() {
    let Some((sshd, _board, ssh)) = trusted() else { return };
    let lock = ssh.lock(&sshd.path("home")).unwrap();
    let start = Instant::now();
    let (result, lines) = run(&ssh, &lock, "(sh -c 'echo $$; sleep 300' & sleep 300) & echo $!; wait", 1.0);
    assert!(matches!(result, Err(RunnerError::Timeout { .. })), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(6));
    assert!(lines.len() == 2 && lines.iter().all(|pid| dies(pid)), "{lines:?} still run");
    let (result, lines) = run(&ssh, &lock, "sleep 300 & echo $!; exit 3", 20.0);
    assert!(result.unwrap().status == 3 && dies(&lines[0]), "a straggler is left");
}

#[test]
fn steps_share_one_connection_that_ends_with_the_transport() {
    let Some((sshd, board, ssh)) = trusted() else { return };
    let time = |ssh: &Ssh| {
        let start = Instant::now();
        ssh.read_link(Path::new("/none")).unwrap();
        start.elapsed()
    };
    let fresh = time(&ssh);
    let shared = (0..5).map(|_| time(&ssh)).min().unwrap();
    eprintln!("round trip: {fresh:?} fresh, {shared:?} over the shared connection");
    assert!(shared < fresh);
    let masters = || {
        let log = std::fs::read_to_string(sshd.path("sshd.log")).unwrap();
        log.matches("Accepted publickey").count()
    };
    assert_eq!(masters(), 1);
    drop(ssh);
    connect(&sshd, &board).read_link(Path::new("/none")).unwrap();
    assert_eq!(masters(), 2);
}

#[test]
fn the_loss_of_the_connection_ends_the_program_and_frees_the_lock() {
    let Some((sshd, board, ssh)) = trusted() else { return };
    let lock = ssh.lock(&sshd.path("home")).unwrap();
    let argv = ["sh", "-c", "sleep 300 & echo $!; wait"].map(OsString::from);
    let deadline = Duration::from_secs(60);
    let job = Job { what: "agent bench", argv: &argv, dir: Path::new("/"), deadline, lock: &lock };
    let mut pid = String::new();
    let error = ssh.run(job, &mut |line| {
        pid = line.to_owned();
        kill_master(&ssh);
    });
    let error = error.unwrap_err();
    assert!(matches!(error, RunnerError::Unreachable { .. }) && error.to_string().contains("lost"), "{error}");
    assert!(dies(&pid), "{pid} still runs");
    let other = connect(&sshd, &board).lock(&sshd.path("home"));
    assert!(other.is_ok(), "{other:?}");
}

/// Kill the process that holds the connection: to both sides, the other one is gone without a word.
fn kill_master(ssh: &Ssh) {
    let socket = format!("ControlPath={}", ssh.client.control().unwrap().display());
    let said = Command::new("ssh").args(["-O", "check", "-o", &socket, "x"]).output().unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    let pid = said.split_once("pid=").unwrap().1.trim_end().trim_end_matches(')');
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
}
