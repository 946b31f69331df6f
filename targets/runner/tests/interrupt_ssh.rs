//! Ctrl-C on a board behind ssh: its own test program, because an interrupt is for the whole process and for good.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use limbeck_boards::Board;
use limbeck_runner::{Job, RunnerError, Ssh, SshClient, Transport, interrupt};

#[test]
fn an_interrupt_ends_the_program_on_the_board() {
    let dir = tempfile::tempdir().unwrap();
    let (client, file) = (dir.path().join("ssh"), dir.path().join("board.toml"));
    std::fs::write(&client, include_str!("../src/testing/stand_in.sh")).unwrap();
    std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = "title = \"t\"\ntriple = \"host\"\nlibc = \"static\"\nworkdir = \"/w\"\ntimeout_s = 10\n\
                [transport.ssh]\nhost = \"board\"\n";
    std::fs::write(&file, text).unwrap();
    let board = Board::find_in(file.to_str().unwrap(), None).unwrap();
    let ssh = Ssh::new(&board, SshClient { program: client, home: dir.path().to_owned() }).unwrap();

    let lock = ssh.lock(dir.path()).unwrap();
    let argv = ["sh", "-c", "sleep 300 & echo $!; wait"].map(OsString::from);
    let deadline = Duration::from_secs(60);
    let job = Job { what: "agent bench", argv: &argv, dir: Path::new("/"), deadline, lock: &lock };
    let (start, mut pid) = (Instant::now(), String::new());
    let error = ssh.run(job, &mut |line| {
        pid = line.to_owned();
        // As a handler's thread would.
        std::thread::spawn(interrupt);
    });
    assert!(matches!(error, Err(RunnerError::Interrupted)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
    let is_dead = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |s| s.contains(") Z "))
    };
    assert!((0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_dead()
    }));
    assert!(matches!(ssh.list(Path::new("/")), Err(RunnerError::Interrupted)));
}
