//! The real program: built once a test binary, run with a home folder of its own.
//!
//! Cargo names the executables of a crate to that crate's own tests only, so it is asked for here.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The command-line tool of profile `dev`, built if need be.
///
/// The agent is left to `limbeck deploy`: built in the same cargo run, the crates they share would get other features and
/// be built once more.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("limbeck-cli", "limbeck", &[], &[]))
}

/// The executable `program` of `package`, built by cargo with more arguments and environment than usual.
///
/// # Panics
/// When it cannot be built; cargo's own words are on stderr.
pub fn build(package: &str, program: &str, args: &[&str], env: &[(String, String)]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "-p", package, "--message-format=json-render-diagnostics"]).args(args);
    command.envs(env.iter().cloned());
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).stderr(Stdio::inherit());
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    let built = String::from_utf8_lossy(&output.stdout).lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["reason"] == "compiler-artifact" && message["target"]["name"] == program;
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    built.unwrap_or_else(|| panic!("{command:?} built no program named {program}"))
}

/// `limbeck` in `folder`, with `folder/home` as its home: nothing of the user's is read or written.
pub fn limbeck(folder: &Path, args: &[&str]) -> Command {
    started_in(folder, program(), args)
}

/// `program` as [`limbeck`] is run.
pub fn started_in(folder: &Path, program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdin(Stdio::null());
    command.env("LIMBECK_HOME", folder.join("home")).env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    command
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Ended {
    /// Run `command` to its end.
    pub fn of(command: &mut Command) -> Ended {
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics unless the code is `code`, stderr holds every part of `says`, and nothing panicked.
    #[track_caller]
    pub fn expect(self, code: i32, says: &[&str]) -> Ended {
        assert_eq!(self.code, Some(code), "exit code\n{}{}", self.stdout, self.stderr);
        for part in says {
            assert!(self.stderr.contains(part), "`{part}` is not in\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked at"), "{}", self.stderr);
        self
    }
}

/// Press Ctrl-C for `child`.
pub fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.is_ok_and(|s| s.success()), "kill -INT failed");
}

/// Leave a test out, by name and with the reason, on the real stderr. With `LIMBECK_STRICT=1` that is a failure.
pub fn skip(test: &str, why: &str) {
    assert!(!is_set("LIMBECK_STRICT"), "{test} cannot run: {why} (LIMBECK_STRICT=1)");
    tell(&format!("skipped: {test}: {why}"));
}

/// Tell whoever runs the tests something that is no failure, on the real stderr.
pub fn tell(text: &str) {
    use std::io::Write;
    // `eprintln!` would be captured. A closed stderr has no one to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Is an environment variable `1`?
pub fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|v| v == "1")
}
