//! Build the agent for a board with cargo.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use limbeck_boards::{Board, Libc};
use limbeck_files::FileError;
use serde::{Deserialize, Serialize};

use crate::elf::static_check;
use crate::error::RunnerError;
use crate::process::{Tail, is_interrupted};
use crate::toolchain::{HostEnv, build_findings, cc_variable, toolchain_line};

/// Package and program name of the agent.
const AGENT: &str = "limbeck-agent";
/// Package of limbeck itself.
const CLI: &str = "limbeck-cli";

/// How to build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Folder of Limbeck's own workspace.
    pub workspace: PathBuf,
    /// Cargo profile: "dist" for what ships, "dev" for tests.
    pub profile: String,
    /// Do not show what cargo prints.
    pub quiet: bool,
}

/// A built agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The program.
    pub path: PathBuf,
    /// Its hash.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// For which target.
    pub triple: String,
    /// By which profile.
    pub profile: String,
    /// By which compilers: they decide which kernels are in it.
    pub toolchain: String,
}

/// Build the agent for `board`, or find it built already.
///
/// cargo's output goes to standard error as it comes unless `quiet`; its last lines are in the error.
pub fn build_agent(board: &Board, options: &BuildOptions) -> Result<Agent, RunnerError> {
    let var = |name: &str| std::env::var_os(name);
    let host = HostEnv { var: &var };
    for finding in build_findings(board, &host, &options.workspace) {
        if let Some(fix) = finding.fix {
            return Err(RunnerError::MissingTool { what: finding.what, fix });
        }
    }
    let cargo = cargo_command(board, options, &host);
    let path = cargo.run(options)?;
    if !board.is_host_triple() {
        static_check(&path, board)?;
    }
    let toolchain = toolchain_line(board, &host, &options.workspace);
    Agent::from_file(&path, &board.triple, &options.profile, &toolchain)
}

impl Agent {
    /// An agent that was built before.
    pub fn from_file(path: &Path, triple: &str, profile: &str, toolchain: &str) -> Result<Agent, RunnerError> {
        let meta =
            std::fs::metadata(path).map_err(|source| FileError { path: path.to_owned(), doing: "read", source })?;
        Ok(Agent {
            path: path.to_owned(),
            sha256: limbeck_files::sha256_file(path)?,
            bytes: meta.len(),
            triple: triple.to_owned(),
            profile: profile.to_owned(),
            toolchain: toolchain.to_owned(),
        })
    }
}

/// A cargo command as a value.
#[derive(Debug, PartialEq, Eq)]
struct CargoCommand {
    program: OsString,
    args: Vec<String>,
    env: Vec<(String, String)>,
    dir: PathBuf,
}

/// The command that builds the agent for `board`. What the user has set in the environment is left alone.
fn cargo_command(board: &Board, options: &BuildOptions, host: &HostEnv<'_>) -> CargoCommand {
    let mut args: Vec<String> = ["build", "--locked", "-p", AGENT, "--profile", &options.profile]
        .map(str::to_owned)
        .into_iter()
        .chain(["--message-format=json-render-diagnostics".to_owned()])
        .collect();
    let mut env = Vec::new();
    if board.is_host_triple() {
        // Chosen together with limbeck, the agent's dependencies have the same features as limbeck's own, and are those that limbeck was
        // built from. By itself it would want a second tract.
        args.extend(["-p", CLI, "--bin", AGENT].map(str::to_owned));
    } else {
        args.extend(["--target".to_owned(), board.triple.clone()]);
        let mut set = |name: String, value: &str| {
            if (host.var)(&name).is_none() {
                env.push((name, value.to_owned()));
            }
        };
        let cc = host.c_compiler(board);
        let of_target = |what| format!("CARGO_TARGET_{}_{what}", board.triple.to_uppercase().replace(['-', '.'], "_"));
        let is_lld = board.triple.contains("musl") && (host.var)(&of_target("LINKER")).is_none();
        if !cc.is_set_by_user {
            set(cc_variable(&board.triple), &cc.program);
        }
        if board.triple.contains("musl") {
            // Musl's start-up files and libc come with the Rust target; only a linker is needed.
            set(of_target("LINKER"), "rust-lld");
        } else {
            set(of_target("LINKER"), &cc.program);
        }
        if board.libc == Libc::Static {
            // lld folds the many equal functions that generics leave (safe: only those whose address nobody takes).
            let folds = if is_lld { " -C link-arg=--icf=safe" } else { "" };
            set(of_target("RUSTFLAGS"), &format!("-C target-feature=+crt-static{folds}"));
        }
    }
    CargoCommand { program: host.cargo(), args, env, dir: options.workspace.clone() }
}

impl CargoCommand {
    /// Run it and find the program it built.
    fn run(&self, options: &BuildOptions) -> Result<PathBuf, RunnerError> {
        let failed = |tail: String| RunnerError::Build { command: self.to_string(), tail };
        let colour = !options.quiet && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().cloned()).current_dir(&self.dir);
        command.env("CARGO_TERM_COLOR", if colour { "always" } else { "never" });
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| failed(format!("{}: {e}", self.program.display())))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let quiet = options.quiet;
        let log = std::thread::spawn(move || stderr.map(|e| tee(e, quiet)).unwrap_or_default());
        let executable = stdout.and_then(|out| executable_in(BufReader::new(out)));
        let status = child.wait();
        let tail = log.join().unwrap_or_default();
        match status {
            _ if is_interrupted() => Err(RunnerError::Interrupted),
            Ok(status) if status.success() => {
                executable.ok_or_else(|| failed(format!("cargo built no program named {AGENT}")))
            }
            Ok(_) => Err(failed(tail)),
            Err(e) => Err(failed(e.to_string())),
        }
    }
}

impl std::fmt::Display for CargoCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program.to_string_lossy()))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

fn quoted(word: &str) -> String {
    if word.contains(|c: char| c.is_whitespace() || "'\"$`\\".contains(c)) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    word.to_owned()
}

/// Copy to standard error unless quiet; give back the last lines without colours.
fn tee(stream: impl Read, quiet: bool) -> String {
    let mut tail = Tail::default();
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if !quiet {
            // A closed standard error is no reason to stop a build.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        tail.push(without_colours(&line));
    }
    tail.text()
}

/// `ESC [ … m` taken out.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// The path of the agent in cargo's messages. Reads to the end, so that cargo never blocks.
fn executable_in(messages: impl BufRead) -> Option<PathBuf> {
    let mut found = None;
    for line in messages.split(b'\n').map_while(Result::ok) {
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(&line) else { continue };
        if message["reason"] == "compiler-artifact" && message["target"]["name"] == AGENT {
            found = message["executable"].as_str().map(PathBuf::from).or(found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(board: &str, set: &'static [(&str, &str)]) -> CargoCommand {
        let var = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        let options = BuildOptions { workspace: "/src/limbeck".into(), profile: "dist".into(), quiet: true };
        cargo_command(&Board::find_in(board, None).unwrap(), &options, &HostEnv { var: &var })
    }

    #[test]
    fn the_host_agent_shares_the_host_build() {
        let command = command("host", &[]);
        assert_eq!(
            command.to_string(),
            "cargo build --locked -p limbeck-agent --profile dist --message-format=json-render-diagnostics \
             -p limbeck-cli --bin limbeck-agent"
        );
        assert_eq!(command.dir, Path::new("/src/limbeck"));
    }

    #[test]
    fn a_static_cross_agent_is_linked_by_rust_lld_and_assembled_by_gcc() {
        if host_is_aarch64() {
            return;
        }
        assert_eq!(
            command("qemu-aarch64", &[]).to_string(),
            "CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc \
             CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld \
             CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS='-C target-feature=+crt-static -C link-arg=--icf=safe' \
             cargo build --locked -p limbeck-agent --profile dist --message-format=json-render-diagnostics \
             --target aarch64-unknown-linux-musl"
        );
    }

    #[test]
    fn what_the_user_has_set_is_left_alone() {
        let command = command(
            "qemu-aarch64",
            &[
                ("CARGO", "/opt/cargo"),
                ("CC_aarch64_unknown_linux_musl", "zig-cc"),
                ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "zig-ld"),
            ],
        );
        assert_eq!(command.program, "/opt/cargo");
        let names: Vec<_> = command.env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS"]);
    }

    fn host_is_aarch64() -> bool {
        cfg!(target_arch = "aarch64")
    }

    /// A stand-in for cargo: a shell script.
    fn fake_cargo(script: &str) -> (tempfile::TempDir, Result<PathBuf, RunnerError>) {
        let dir = tempfile::tempdir().unwrap();
        let command = CargoCommand {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: Vec::new(),
            dir: dir.path().to_owned(),
        };
        let options = BuildOptions { workspace: dir.path().to_owned(), profile: "dev".into(), quiet: true };
        let result = command.run(&options);
        (dir, result)
    }

    #[test]
    fn the_program_is_found_in_cargos_messages() {
        let script = r#"echo noise; echo '{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}'
            echo '{"reason":"compiler-artifact","target":{"name":"limbeck-agent"},"executable":"/t/limbeck-agent"}'
            echo '{"reason":"build-finished","success":true}'"#;
        assert_eq!(fake_cargo(script).1.unwrap(), Path::new("/t/limbeck-agent"));
        let error = fake_cargo("exit 0").1.unwrap_err().to_string();
        assert!(error.contains("no program named limbeck-agent"), "{error}");
    }

    #[test]
    fn a_failed_build_shows_the_last_lines_of_cargo() {
        let script = r#"for i in $(seq 100); do echo "line $i" >&2; done
            printf '\033[1;31merror\033[0m: no such crate\n' >&2; exit 101"#;
        let error = fake_cargo(script).1.unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("line 100\nerror: no such crate") && !text.contains("line 50"), "{text}");
        assert_eq!(error.exit_code(), 1);
    }

    /// A workspace with an agent of five lines, built, checked, installed and run under the real emulator.
    #[test]
    fn a_static_agent_is_cross_built_and_runs_emulated() {
        let board = Board::find_in("qemu-aarch64", None).unwrap();
        if let Some(missing) = crate::doctor(&board).into_iter().find(|f| !f.ok) {
            eprintln!("skipped: {} is missing; get it with: {}", missing.what, missing.fix.unwrap_or_default());
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let package = "name = \"limbeck-agent\"\nversion = \"0.1.0\"\n";
        write("Cargo.toml", &format!("[package]\n{package}edition = \"2024\"\n[workspace]\n"));
        write("Cargo.lock", &format!("version = 4\n\n[[package]]\n{package}"));
        write(
            "src/main.rs",
            r#"fn main() {
                println!("{{\"schema_version\":1}}");
                println!("{} {}", std::env::consts::ARCH, std::env::args().nth(1).unwrap());
            }"#,
        );
        let options = BuildOptions { workspace: dir.path().to_owned(), profile: "dev".into(), quiet: true };
        let var = |name: &str| std::env::var_os(name);
        let mut cargo = cargo_command(&board, &options, &HostEnv { var: &var });
        // Not the target folder of whoever runs this test: a limbeck-agent lies there already.
        cargo.env.push(("CARGO_TARGET_DIR".into(), dir.path().join("target").display().to_string()));
        let path = cargo.run(&options).unwrap();
        static_check(&path, &board).unwrap();

        let agent = Agent::from_file(&path, &board.triple, "dev", "").unwrap();
        let board = Board { workdir: dir.path().join("board").display().to_string(), ..board };
        let installed = crate::install(&board, &agent, &write("b", "bundle")).unwrap();
        let mut lines = Vec::new();
        installed.agent(&["validate"], installed.timeout(), &mut |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines[1], "aarch64 validate");
    }

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(without_colours("\u{1b}[1m\u{1b}[32mok\u{1b}[0m done"), "ok done");
        assert_eq!(without_colours("plain \u{1b}["), "plain ");
    }
}
