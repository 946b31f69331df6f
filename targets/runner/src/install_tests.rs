//! Install and run with shell scripts as agents; every kill point of an install.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;
use crate::admission::Remembered;
use crate::transport::{Local, Script};

pub(super) const SECONDS_10: Duration = Duration::from_secs(10);

/// A folder with a board's working folder in it and files to install from.
pub(super) struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        Fixture { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn workdir(&self) -> PathBuf {
        self.dir.path().join("board")
    }

    /// A shell script as agent; `probe` works, the rest is `script`.
    fn agent(&self, script: &str) -> Agent {
        let path = self.dir.path().join("agent.sh");
        let text = format!("#!/bin/sh\n[ \"$1\" = probe ] && exit 0\n{script}\n");
        std::fs::write(&path, text).unwrap();
        Agent::from_file(&path, "t", "dev", "sh").unwrap()
    }

    fn bundle(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join("student.bundle");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Install generation `n`: agent and bundle both carry the number.
    pub(super) fn install(&self, n: u32, transport: Box<dyn Transport>) -> Result<Installed, RunnerError> {
        let agent = self.agent(&format!("echo '{{\"schema_version\":1}}'; echo {n}; cat $2"));
        install_over(transport, &self.workdir(), SECONDS_10, &agent, &self.bundle(&n.to_string()))
    }

    fn install_script(&self, script: &str) -> Installed {
        let agent = self.agent(script);
        install_over(Box::new(Local::native()), &self.workdir(), SECONDS_10, &agent, &self.bundle("b")).unwrap()
    }

    /// The generation that `current` runs; panics when agent and bundle are of two, or one is damaged.
    pub(super) fn running(&self) -> u32 {
        let current = self.workdir().join("current");
        let out = Command::new(current.join("agent")).arg("run").arg(current.join("bundle")).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(out.status.success() && lines.len() == 3 && lines[1] == lines[2], "{lines:?}");
        lines[1].parse().unwrap()
    }
}

fn native() -> Box<dyn Transport> {
    Box::new(Local::native())
}

#[test]
fn an_install_runs_and_the_one_before_can_come_back() {
    let f = Fixture::new();
    for n in 1..=4 {
        f.install(n, native()).unwrap();
        assert_eq!(f.running(), n);
    }
    assert_eq!(slot_numbers(&Local::native(), &f.workdir().join("slots")).unwrap().len(), 2, "older slots are gone");
    assert_eq!(rollback_over(&Local::native(), &f.workdir()).unwrap(), 3);
    assert_eq!(f.running(), 3);
    assert_eq!(rollback_over(&Local::native(), &f.workdir()).unwrap(), 4);
    f.install(5, native()).unwrap();
    assert_eq!(f.running(), 5);
}

#[test]
fn nothing_installed_is_said_so() {
    let f = Fixture::new();
    let error = rollback_over(&Local::native(), &f.workdir()).unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().contains("deploy")), (2, true));
    f.install(1, native()).unwrap();
    assert!(matches!(rollback_over(&Local::native(), &f.workdir()), Err(RunnerError::NotInstalled { .. })));
}

#[test]
fn a_damaged_copy_is_refused_and_the_old_install_stays() {
    let f = Fixture::new();
    f.install(1, native()).unwrap();
    let agent = f.agent("exit 0");
    std::fs::write(&agent.path, &std::fs::read(&agent.path).unwrap()[..20]).unwrap();
    let error = install_over(native(), &f.workdir(), SECONDS_10, &agent, &f.bundle("2")).unwrap_err();
    assert!(matches!(error, RunnerError::DamagedCopy { .. }), "{error}");
    assert_eq!(f.running(), 1);
    assert_eq!(slot_numbers(&Local::native(), &f.workdir().join("slots")).unwrap(), [1]);
}

#[test]
fn an_agent_that_does_not_start_is_refused_with_code_8() {
    let f = Fixture::new();
    f.install(1, native()).unwrap();
    let start = |bytes: &[u8]| {
        let path = f.dir.path().join("bad");
        std::fs::write(&path, bytes).unwrap();
        let agent = Agent::from_file(&path, "t", "dev", "x").unwrap();
        install_over(native(), &f.workdir(), SECONDS_10, &agent, &f.bundle("2")).unwrap_err()
    };
    for (bytes, part) in [
        (&b"\x7fELF\x02\x01\x01 and nothing behind it"[..], "another architecture"),
        (b"#!/no/such/loader\n", "loader is missing"),
        (b"#!/bin/sh\nexit 126\n", "noexec"),
        (b"#!/bin/sh\necho no such feature >&2; exit 5\n", "exit code 5: no such feature"),
        (b"#!/bin/sh\nkill -ILL $$\n", "instruction"),
    ] {
        let error = start(bytes);
        assert!(error.to_string().contains(part), "`{part}` is not in `{error}`");
        assert_eq!(error.exit_code(), 8, "{error}");
        assert_eq!(f.running(), 1);
    }
}

#[test]
fn an_agent_that_computes_other_integers_is_never_current() {
    let f = Fixture::new();
    f.install(1, native()).unwrap();
    let start = |script: &str| {
        let path = f.dir.path().join("other");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        let agent = Agent::from_file(&path, "t", "dev", "x").unwrap();
        install_over(native(), &f.workdir(), SECONDS_10, &agent, &f.bundle("2")).unwrap_err()
    };
    let error = start(
        r#"[ "$1 $(cat "$2")" = "probe 2" ] || exit 1
        echo '{"schema_version":1}'; echo '{"kind":"probe","probes":8,"differing":[3,7]}'; exit 3"#,
    );
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.to_string().contains("[3, 7]"), "{error}");
    let error = start("echo the model is refused >&2; exit 9");
    assert_eq!((error.exit_code(), error.to_string().contains("the model is refused")), (9, true), "{error}");
    assert_eq!(f.running(), 1);
    assert_eq!(slot_numbers(&Local::native(), &f.workdir().join("slots")).unwrap(), [1]);
}

#[test]
fn clean_leaves_nothing_of_limbeck_and_nothing_else_is_touched() {
    let f = Fixture::new();
    let installed = f.install(1, native()).unwrap();
    assert!(matches!(clean_over(&Local::native(), &f.workdir()), Err(RunnerError::Busy { .. })));
    drop(installed);
    std::fs::write(f.workdir().join("notes.txt"), "mine").unwrap();
    assert_eq!(clean_over(&Local::native(), &f.workdir()).unwrap(), ["notes.txt"]);
    assert!(!f.workdir().join("slots").exists() && !f.workdir().join("current").is_symlink());
    std::fs::remove_file(f.workdir().join("notes.txt")).unwrap();
    assert!(clean_over(&Local::native(), &f.workdir()).unwrap().is_empty());
    assert!(!f.workdir().exists());
    assert!(clean_over(&Local::native(), &f.workdir()).unwrap().is_empty());
    f.install(2, native()).unwrap();
    assert_eq!(f.running(), 2);
}

#[test]
fn an_unwritable_or_foreign_folder_is_refused() {
    let f = Fixture::new();
    std::fs::write(f.workdir(), "a file, not a folder").unwrap();
    let error = f.install(1, native()).unwrap_err();
    assert!(error.to_string().contains("board"), "{error}");
    std::fs::remove_file(f.workdir()).unwrap();
    std::fs::create_dir(f.workdir()).unwrap();
    std::os::unix::fs::symlink("/usr/bin", f.workdir().join("current")).unwrap();
    let error = f.install(1, native()).unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().contains("/usr/bin")), (8, true), "{error}");
}

#[test]
fn the_agent_gets_verb_bundle_and_the_rest() {
    let f = Fixture::new();
    let installed = f.install_script(r#"echo '{"schema_version":1}'; echo "$1|$(cat "$2")|$3|$4""#);
    let mut lines = Vec::new();
    let args = ["bench", "--quick", "a b"];
    let output = installed.agent(&args, installed.timeout(), &mut |l| lines.push(l.to_owned())).unwrap();
    assert_eq!(output.status, 0);
    assert_eq!(lines, [r#"{"schema_version":1}"#, "bench|b|--quick|a b"]);
}

#[test]
fn the_agents_exit_code_and_log_pass_through() {
    let f = Fixture::new();
    let installed = f.install_script(r#"echo '{"schema_version":1}'; echo '{"score":3}'; echo too hot >&2; exit 5"#);
    let mut lines = 0;
    let error = installed.agent(&["bench"], SECONDS_10, &mut |_| lines += 1).unwrap_err();
    assert_eq!((error.exit_code(), lines), (5, 2), "an invalid measurement is still shown");
    assert_eq!(error.to_string(), "agent bench: exit code 5: too hot");
}

#[test]
fn output_of_another_version_is_refused_before_anyone_reads_it() {
    for (first, part) in [
        (r#"echo '{"schema_version":2}'"#, "newer version"),
        ("echo hello", "no schema_version"),
        ("true", "printed nothing"),
    ] {
        let f = Fixture::new();
        let installed = f.install_script(first);
        let mut lines = 0;
        let error = installed.agent(&["run"], SECONDS_10, &mut |_| lines += 1).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!((lines, error.exit_code()), (0, 1));
    }
}

#[test]
fn a_deadline_ends_the_agent_and_frees_the_board() {
    let f = Fixture::new();
    let installed = f.install_script("sleep 300 & sleep 300");
    let start = Instant::now();
    let error = installed.agent(&["bench"], Duration::from_millis(300), &mut |_| {}).unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(installed);
    f.install(1, native()).unwrap();
}

#[test]
fn two_installs_at_once_are_kept_apart() {
    let f = Fixture::new();
    let first = f.install(1, native()).unwrap();
    let error = f.install(2, native()).unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    drop(first);
    f.install(2, native()).unwrap();
}

#[test]
fn a_bundle_that_is_missing_or_no_file_is_named() {
    let f = Fixture::new();
    for path in ["/no/such.bundle", "/dev/null", "/"] {
        let error = install_over(native(), &f.workdir(), SECONDS_10, &f.agent(""), Path::new(path)).unwrap_err();
        assert!(error.to_string().starts_with(path), "{error}");
    }
}

/// Dies before its `left`-th operation: that one and all later ones do nothing, as after a kill. A `put` dies in one
/// of three places.
struct Dying {
    left: Cell<u32>,
    put_leaves: &'static str,
}

impl Dying {
    fn step(&self) -> Result<Local, RunnerError> {
        if self.left.get() == 0 {
            return Err(RunnerError::Interrupted);
        }
        self.left.set(self.left.get() - 1);
        Ok(Local::native())
    }
}

impl Transport for Dying {
    fn make_dir(&self, dir: &Path) -> Result<(), RunnerError> {
        self.step()?.make_dir(dir)
    }
    fn put(&self, file: Copied<'_>) -> Result<(), RunnerError> {
        let dies_here = self.left.get() == 1;
        let staged = file.to.with_file_name(".x.limbeck-tmp");
        match (dies_here, self.put_leaves) {
            (true, "half a staged file") => {
                let bytes = std::fs::read(file.from).unwrap();
                std::fs::write(staged, &bytes[..bytes.len() / 2]).unwrap();
            }
            (true, "a staged file") => drop(std::fs::copy(file.from, staged).unwrap()),
            _ => return self.step()?.put(file),
        }
        self.left.set(0);
        Err(RunnerError::Interrupted)
    }
    fn get(&self, file: Copied<'_>) -> Result<(), RunnerError> {
        self.step()?.get(file)
    }
    fn sync_dir(&self, dir: &Path) -> Result<(), RunnerError> {
        self.step()?.sync_dir(dir)
    }
    fn switch_link(&self, link: &Path, target: &Path) -> Result<(), RunnerError> {
        if self.left.get() == 1 && self.put_leaves == "a staged file" {
            let name = format!(".{}.limbeck-tmp", link.file_name().unwrap().to_str().unwrap());
            std::os::unix::fs::symlink(target, link.with_file_name(name)).unwrap();
            self.left.set(0);
        }
        self.step()?.switch_link(link, target)
    }
    fn read_link(&self, link: &Path) -> Result<Option<PathBuf>, RunnerError> {
        self.step()?.read_link(link)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>, RunnerError> {
        self.step()?.list(dir)
    }
    fn remove_dir(&self, dir: &Path) -> Result<(), RunnerError> {
        self.step()?.remove_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> Result<Option<u64>, RunnerError> {
        self.step()?.free_bytes(dir)
    }
    fn script(&self, path: &Path, script: Script<'_>) -> Result<String, RunnerError> {
        self.step()?.script(path, script)
    }
    fn lock(&self, dir: &Path) -> Result<Lock, RunnerError> {
        self.step()?.lock(dir)
    }
    fn run(&self, job: Job<'_>, on_line: &mut dyn FnMut(&str)) -> Result<Output, RunnerError> {
        self.step()?.run(job, on_line)
    }
}

#[test]
fn a_kill_at_any_step_leaves_a_whole_install_and_the_next_one_works() {
    for put_leaves in ["nothing", "half a staged file", "a staged file"] {
        let mut old_and_new = (0, 0);
        for steps in 0.. {
            let f = Fixture::new();
            f.install(1, native()).unwrap();
            f.install(2, native()).unwrap();
            let result = f.install(3, Box::new(Dying { left: Cell::new(steps), put_leaves }));
            let finished = result.is_ok();
            drop(result);
            match f.running() {
                2 => old_and_new.0 += 1,
                3 => old_and_new.1 += 1,
                other => panic!("generation {other} after {steps} steps"),
            }
            rollback_over(&Local::native(), &f.workdir()).ok();
            assert!([1, 2, 3].contains(&f.running()), "what was rolled back to is whole");
            f.install(4, native()).unwrap();
            assert_eq!(f.running(), 4);
            assert!(slot_numbers(&Local::native(), &f.workdir().join("slots")).unwrap().len() <= 2);
            // Removing old slots comes last and its failure is not the install's.
            if finished && steps > 20 {
                break;
            }
        }
        assert!(old_and_new.0 >= 12 && old_and_new.1 >= 1, "{put_leaves}: {old_and_new:?} were tried");
    }
}

/// Not a test of its own: the process that `a_killed_process_leaves_a_whole_install` kills.
#[test]
#[ignore = "started by a_killed_process_leaves_a_whole_install"]
fn child_that_installs_for_ever() {
    let Some(dir) = std::env::var_os("LIMBECK_TEST_BOARD").map(PathBuf::from) else { return };
    for n in (10..1000).cycle() {
        // A megabyte of padding after `exit`, so that copying takes a while.
        let agent = dir.join("from-agent");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = probe ] && exit 0\necho '{{\"schema_version\":1}}'; echo {n}; cat $2\nexit 0\n{}",
            "#".repeat(1 << 20)
        );
        std::fs::write(&agent, script).unwrap();
        std::fs::write(dir.join("from-bundle"), n.to_string()).unwrap();
        let agent = Agent::from_file(&agent, "t", "dev", "sh").unwrap();
        install_over(native(), &dir.join("board"), SECONDS_10, &agent, &dir.join("from-bundle")).unwrap();
    }
}

#[test]
fn a_killed_process_leaves_a_whole_install() {
    let f = Fixture::new();
    f.install(1, native()).unwrap();
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "install::tests::child_that_installs_for_ever", "--ignored"])
            .env("LIMBECK_TEST_BOARD", f.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over start-up and several installs, at odd moments.
        std::thread::sleep(Duration::from_millis(60 + 37 * round % 211));
        child.kill().unwrap();
        child.wait().unwrap();
        f.running();
    }
    assert!(f.running() >= 10, "the child never got to install");
    f.install(2, native()).unwrap();
    assert_eq!(f.running(), 2);
    let mode = std::fs::metadata(f.workdir().join("current/agent")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn files_are_sent_whole_and_a_bundle_comes_back_only_as_it_was() {
    let f = Fixture::new();
    let installed = f.install(1, native()).unwrap();
    let image = f.dir.path().join("image.png");
    std::fs::write(&image, "pixels").unwrap();
    let folder = installed.send(Path::new("adapt/x"), &[(image, "cat/1.png".into())]).unwrap();
    assert_eq!(std::fs::read(folder.join("cat/1.png")).unwrap(), b"pixels");
    installed.remove(Path::new("adapt/x")).unwrap();
    assert!(!folder.exists());

    let fetched = f.dir.path().join("fetched");
    let error = installed.fetch_bundle(1, &fetched, &limbeck_files::sha256_hex(b"another")).unwrap_err();
    assert!(matches!(error, RunnerError::DamagedCopy { .. }), "{error}");
    assert!(!fetched.exists());
    installed.fetch_bundle(1, &fetched, &limbeck_files::sha256_hex(b"1")).unwrap();
    assert_eq!(std::fs::read(&fetched).unwrap(), b"1");
}

#[test]
fn a_board_remembers_its_key_and_version_and_is_asked_before_anything_is_copied() {
    let f = Fixture::new();
    let install = |admission: &Admission<'_>, n: u32| {
        let bundle = f.bundle(&n.to_string());
        admitted_over(native(), &f.workdir(), SECONDS_10, &f.agent(""), &bundle, admission).map(|i| i.slot())
    };
    let remembers = |name: &str| std::fs::read_to_string(f.workdir().join(name)).ok();
    let first = Admission { key: Some("RWQkey"), version: Some(3), ..Admission::of_anything() };
    install(&first, 1).unwrap();
    assert_eq!((remembers("trusted.pub").as_deref(), remembers("version").as_deref()), (Some("RWQkey\n"), Some("3\n")));

    let asked = std::cell::RefCell::new(Remembered::default());
    let refuse = |remembered: &Remembered| {
        *asked.borrow_mut() = remembered.clone();
        Err("version 2, and the board had version 3".to_owned())
    };
    let slots = || std::fs::read_dir(f.workdir().join("slots")).unwrap().count();
    let before = slots();
    let error = install(&Admission { admit: &refuse, version: Some(2), ..Admission::of_anything() }, 2).unwrap_err();
    assert_eq!((error.exit_code(), slots()), (7, before), "{error}");
    assert_eq!(asked.borrow().key.as_deref().map(str::trim), Some("RWQkey"));
    assert_eq!(remembers("version").as_deref(), Some("3\n"));

    // Another key is not taken on the way.
    install(&Admission { key: Some("RWQother"), version: Some(4), ..Admission::of_anything() }, 3).unwrap();
    assert_eq!((remembers("trusted.pub").as_deref(), remembers("version").as_deref()), (Some("RWQkey\n"), Some("4\n")));
    install(&Admission { version: Some(1), downgrade: true, ..Admission::of_anything() }, 4).unwrap();
    assert_eq!(remembers("version").as_deref(), Some("1\n"));
}
