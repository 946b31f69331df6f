//! Ctrl-C: its own test program, because an interrupt is for the whole process and for good.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use limbeck_boards::Board;
use limbeck_runner::{Agent, RunnerError, install, interrupt};

#[test]
fn an_interrupt_kills_the_agent_and_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let (script, bundle) = (dir.path().join("agent.sh"), dir.path().join("bundle"));
    let text = "#!/bin/sh\n[ $1 = probe ] && exit 0\necho '{\"schema_version\":1}'; sleep 300 & echo $!; wait\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(&bundle, "b").unwrap();
    let agent = Agent::from_file(&script, "t", "dev", "sh").unwrap();
    let board = Board {
        name: format!("interrupt-test-{}", std::process::id()),
        workdir: dir.path().join("board").display().to_string(),
        ..Board::find_in("host", None).unwrap()
    };

    let installed = install(&board, &agent, &bundle).unwrap();
    let start = Instant::now();
    let mut grandchild = String::new();
    let error = installed.agent(&["bench"], Duration::from_secs(60), &mut |line| {
        if !line.starts_with('{') {
            grandchild = line.to_owned();
            // As a handler's thread would.
            std::thread::spawn(interrupt);
        }
    });
    assert!(matches!(error, Err(RunnerError::Interrupted)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
    let is_dead = || {
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat"));
        stat.map_or(true, |s| s.contains(") Z "))
    };
    assert!((0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_dead()
    }));
    let later = installed.agent(&["bench"], Duration::from_secs(60), &mut |_| {});
    assert!(matches!(later, Err(RunnerError::Interrupted)), "{later:?}");
}
