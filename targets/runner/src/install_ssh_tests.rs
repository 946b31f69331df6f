//! Installs on a board behind ssh: a real sshd with aarch64 programs, and a stand-in for ssh that fails at every step.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::tests::{Fixture, SECONDS_10};
use super::*;
use crate::testing::loopback::Loopback;
use crate::testing::stand_in::StandIn;
use crate::testing::{dies, skip};
use crate::transport::{Local, Ssh, SshClient};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn each_fault_of_a_connection_is_the_right_error_within_the_deadline() {
    let stand_in = StandIn::new();
    let known = stand_in.dir().join("known_hosts");
    std::fs::write(&known, "limbeck-stand-in ssh-ed25519 AAAA\n").unwrap();
    for (fault, code, part) in [
        ("stall", 6, "no end after 1"),
        ("off", 6, "Connection refused"),
        ("denied", 6, "ssh-copy-id"),
        ("changed", 7, "SHA256:0123456789abcdefghijklmnopqrstuvwxyzABCDEFG, stored is SHA256:"),
        ("noshell", 6, "sh: not found"),
        ("silent", 6, "did not run our command"),
        ("midway", 6, "connection was lost"),
        ("signal", 6, "killed by signal 9"),
    ] {
        stand_in.fails(0, fault);
        let ssh = stand_in.ssh_within(SECOND, SECOND);
        let start = Instant::now();
        let list = ssh.list(Path::new("/")).map(drop).unwrap_err();
        let lock = ssh.lock(stand_in.dir()).map(drop).unwrap_err();
        assert!(start.elapsed() < SECOND * 10, "{fault}: {:?}", start.elapsed());
        for error in [list, lock] {
            assert!(error.exit_code() == code, "{fault}: {error}");
            assert!(
                error.to_string().contains(part) || matches!(error, RunnerError::Timeout { .. }),
                "{fault}: {error}"
            );
        }
    }
    std::fs::remove_file(known).unwrap();
    stand_in.fails(0, "changed");
    let error = stand_in.ssh().list(Path::new("/")).unwrap_err();
    assert!(matches!(error, RunnerError::HostKeyUnknown { .. }), "nothing is stored: {error}");
}

#[test]
fn banners_and_lying_exit_codes_change_nothing() {
    let (stand_in, f) = (StandIn::new(), Fixture::new());
    for (n, fault) in [(1, "banner"), (2, "lie")] {
        stand_in.fails(0, fault);
        let installed = f.install(n, stand_in.ssh()).unwrap();
        let mut lines = Vec::new();
        installed.agent(&["run"], SECONDS_10, &mut |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines[1..], [n.to_string(), n.to_string()]);
        assert_eq!(f.running(), n);
    }
}

#[test]
fn a_stream_that_ends_at_any_sixteenth_leaves_the_old_file() {
    let stand_in = StandIn::new();
    let (from, to) = (stand_in.dir().join("from"), stand_in.dir().join("board/to"));
    let bytes: Vec<u8> = (0..100_003u32).map(|i| ((i * 7) >> 3) as u8).collect();
    std::fs::write(&from, &bytes).unwrap();
    std::fs::create_dir(to.parent().unwrap()).unwrap();
    std::fs::write(&to, "old").unwrap();
    let (ssh, sha256) = (stand_in.ssh(), limbeck_files::sha256_hex(&bytes));
    let put = || ssh.put(Copied { from: &from, to: &to, sha256: &sha256, executable: false });
    for sixteenth in 0..16 {
        for (fault, code) in [("short", 1), ("cut", 6)] {
            stand_in.fails(0, &format!("{fault} {}", bytes.len() * sixteenth / 16));
            let error = put().unwrap_err();
            assert_eq!(error.exit_code(), code, "{fault} {sixteenth}: {error}");
            assert_eq!(std::fs::read(&to).unwrap(), b"old", "{fault} {sixteenth}");
        }
    }
    stand_in.fails(0, "none");
    put().unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(to.parent().unwrap()).unwrap().count(), 1, "nothing staged is left");
}

#[test]
fn a_connection_that_fails_at_any_step_leaves_a_whole_install() {
    let (stand_in, f) = (StandIn::new(), Fixture::new());
    f.install(1, Box::new(Local::native())).unwrap();
    for fault in ["off", "silent", "signal"] {
        let mut outcomes = [0, 0];
        for (at, n) in (1..).zip(2..) {
            stand_in.fails(at, fault);
            let before = f.running();
            let result = f.install(n, stand_in.ssh());
            let failed = result.as_ref().err().map(RunnerError::exit_code);
            drop(result);
            assert!(matches!(failed, None | Some(6)), "{fault} at {at}: {failed:?}");
            let now = f.running();
            assert!(now == n || (now == before && failed.is_some()), "{fault} at {at}: {now} runs");
            outcomes[usize::from(now == n)] += 1;
            if stand_in.calls() < at {
                break;
            }
        }
        assert!(outcomes[0] >= 10 && outcomes[1] >= 1, "{fault}: {outcomes:?}");
    }
    stand_in.fails(0, "none");
    f.install(1000, stand_in.ssh()).unwrap();
    assert_eq!(f.running(), 1000);
}

/// A board behind a real sshd; `None` where there is none, with the reason said.
fn loopback(triple: &str, runner: &[&str]) -> Option<(Loopback, Board)> {
    let sshd = Loopback::start().map_err(|why| skip(&why)).ok()?;
    let file = sshd.path("loopback.toml");
    std::fs::write(&file, sshd.toml(triple, runner)).unwrap();
    let board = Board::find_in(file.to_str().unwrap(), None).unwrap();
    Some((sshd, board))
}

fn over_ssh(sshd: &Loopback, board: &Board) -> Box<Ssh> {
    let client = SshClient { program: "/usr/bin/ssh".into(), home: sshd.path("limbeck") };
    let ssh = Ssh::for_test(board, client, SECOND * 30, SECOND * 20);
    ssh.trust().unwrap();
    Box::new(ssh)
}

/// A static aarch64 program that says what it runs on, compiled here; `None` where it cannot be, with the reason said.
fn aarch64_agent(dir: &Path) -> Option<Agent> {
    let (source, program) = (dir.join("agent.rs"), dir.join("agent"));
    let text = r#"fn main() {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let bundle = std::fs::read_to_string(&args[1]).unwrap();
        println!("{{\"schema_version\":1}}");
        println!("{} {} {bundle}", std::env::consts::ARCH, args[0]);
        if args[0] == "probe" && bundle == "other integers" {
            println!("{{\"kind\":\"probe\",\"probes\":8,\"differing\":[2]}}");
            std::process::exit(3);
        }
    }"#;
    std::fs::write(&source, text).unwrap();
    let target =
        ["--edition=2024", "--target=aarch64-unknown-linux-musl", "-Clinker=rust-lld", "-Ctarget-feature=+crt-static"];
    let built = Command::new("rustc").args(target).arg("-o").arg(&program).arg(&source).output().unwrap();
    let has_emulator = Command::new("qemu-aarch64-static").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !built.status.success() || !has_emulator {
        skip("rustc's target aarch64-unknown-linux-musl or qemu-aarch64-static is missing");
        return None;
    }
    Some(Agent::from_file(&program, "aarch64-unknown-linux-musl", "dev", "rustc").unwrap())
}

#[test]
fn an_aarch64_board_behind_ssh_installs_runs_and_rolls_back() {
    let runner = ["qemu-aarch64-static"];
    let Some((mut sshd, board)) = loopback("aarch64-unknown-linux-musl", &runner) else { return };
    let Some(agent) = aarch64_agent(&sshd.path("")) else { return };
    let workdir = sshd.path("home/.limbeck/work");
    let bundle = sshd.path("bundle");
    let install = |text: &str| {
        std::fs::write(&bundle, text).unwrap();
        let ssh = over_ssh(&sshd, &board);
        let seen = preflight_over(&*ssh, &board, &workdir, Some(agent.bytes)).unwrap();
        assert_eq!(seen.facts.machine.as_deref(), Some("aarch64"));
        seen.accept().unwrap();
        install_over(ssh, &workdir, SECOND * 60, &agent, &bundle)
    };
    let says = |installed: &Installed| {
        let mut lines = Vec::new();
        installed.agent(&["validate"], SECOND * 60, &mut |line| lines.push(line.to_owned())).unwrap();
        lines.remove(1)
    };
    for text in ["first", "second"] {
        assert_eq!(says(&install(text).unwrap()), format!("aarch64 validate {text}"));
    }
    let error = install("other integers").unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().contains("[2]")), (3, true), "{error}");
    assert_eq!(std::fs::read_to_string(workdir.join("current/bundle")).unwrap(), "second");
    rollback_over(&*over_ssh(&sshd, &board), &workdir).unwrap();
    assert_eq!(std::fs::read_to_string(workdir.join("current/bundle")).unwrap(), "first");

    let ssh = over_ssh(&sshd, &board);
    let lock = ssh.lock(&workdir).unwrap();
    assert_eq!(clean_over(&*over_ssh(&sshd, &board), &workdir).unwrap_err().exit_code(), 6, "it is in use");
    drop((lock, ssh));
    sshd.change_host_key().unwrap();
    let client = SshClient { program: "/usr/bin/ssh".into(), home: sshd.path("limbeck") };
    let stranger = Ssh::for_test(&board, client, SECOND * 30, SECOND * 20);
    let error = install_over(Box::new(stranger), &workdir, SECOND, &agent, &bundle).unwrap_err();
    assert_eq!(error.exit_code(), 7, "{error}");
    assert_eq!(std::fs::read_to_string(workdir.join("current/bundle")).unwrap(), "first");
    std::fs::remove_file(sshd.path("limbeck/known_hosts")).unwrap();
    assert!(clean_over(&*over_ssh(&sshd, &board), &workdir).unwrap().is_empty());
    assert!(!workdir.exists());
}

/// The process that `a_killed_client_leaves_no_program_and_no_lock` kills; by itself, it does nothing.
#[test]
fn child_that_runs_an_agent_behind_ssh() {
    let Some(dir) = std::env::var_os("LIMBECK_TEST_KILLED_CLIENT").map(PathBuf::from) else { return };
    let board = Board::find_in(dir.join("loopback.toml").to_str().unwrap(), None).unwrap();
    let client = SshClient { program: "/usr/bin/ssh".into(), home: dir.join("limbeck") };
    let ssh = Box::new(Ssh::for_test(&board, client, SECOND * 30, SECOND * 20));
    let agent = Agent::from_file(&dir.join("agent"), "t", "dev", "sh").unwrap();
    let installed = install_over(ssh, &dir.join("home/work"), SECOND * 60, &agent, &dir.join("bundle")).unwrap();
    installed.agent(&["bench"], SECOND * 300, &mut |_| {}).unwrap();
}

#[test]
fn a_killed_client_leaves_no_program_and_no_lock() {
    let Some((sshd, board)) = loopback("host", &[]) else { return };
    let ssh = over_ssh(&sshd, &board);
    std::fs::write(sshd.path("bundle"), "b").unwrap();
    let script = "#!/bin/sh\n[ $1 = probe ] && exit\necho '{\"schema_version\":1}'\nsleep 300 &\necho $$ $! >pids.new\n\
                  mv pids.new pids\nwait\n";
    crate::testing::program(&sshd.path("agent"), script);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "install::ssh_tests::child_that_runs_an_agent_behind_ssh"])
        .env("LIMBECK_TEST_KILLED_CLIENT", sshd.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pids = sshd.path("home/work/slots/1/pids");
    let start = Instant::now();
    while !pids.exists() {
        assert!(start.elapsed() < SECOND * 60, "the agent did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(matches!(ssh.lock(&sshd.path("home/work")), Err(RunnerError::Busy { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    for pid in std::fs::read_to_string(&pids).unwrap().split_ascii_whitespace() {
        assert!(dies(pid), "{pid} still runs");
    }
    ssh.lock(&sshd.path("home/work")).unwrap();
    assert!(killed.elapsed() < SECOND * 8, "{:?}", killed.elapsed());
}
