//! cargo as a value: the command that builds the agent, and what it says.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use limbeck_boards::Board;

use crate::build::BuildOptions;
use crate::error::RunnerError;
use crate::host::HostEnv;
use crate::kernels;
use crate::process::{Tail, is_interrupted};
use crate::toolchain::{Toolchain, is_native};

/// Package and program name of the agent.
const AGENT: &str = "limbeck-agent";
/// The profile whose `panic = "abort"` makes tables of how to unwind useless.
const UNWINDS_NOT: &str = "board";
/// Package of limbeck itself.
const CLI: &str = "limbeck-cli";

/// A cargo command as a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CargoCommand {
    pub program: OsString,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub dir: PathBuf,
}

/// What cargo built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Built {
    /// The agent.
    pub program: PathBuf,
    /// tract's kernel sets in it.
    pub kernels: Vec<String>,
}

impl CargoCommand {
    /// The command that builds the agent for `board`. What the user has set in the environment is left alone.
    pub(crate) fn new(
        board: &Board,
        options: &BuildOptions,
        toolchain: &Toolchain,
        host: &HostEnv<'_>,
    ) -> CargoCommand {
        let mut args: Vec<String> = ["build", "--locked", "-p", AGENT, "--profile", &options.profile]
            .map(str::to_owned)
            .into_iter()
            .chain(["--message-format=json-render-diagnostics".to_owned()])
            .collect();
        let mut env = Vec::new();
        if is_native(board) {
            // Chosen together with limbeck, the agent's dependencies have the same features as limbeck's own, and are those that
            // limbeck was built from. By itself it would want a second tract.
            args.extend(["-p", CLI, "--bin", AGENT].map(str::to_owned));
        } else {
            args.extend(["--target".to_owned(), board.triple.clone()]);
            env = toolchain.variables(board, host);
            if options.profile == UNWINDS_NOT {
                // A tenth of the program. Not the profile's to say: cargo has no such key.
                let flags = env.iter_mut().filter(|(name, _)| name.ends_with("_RUSTFLAGS"));
                flags.for_each(|(_, flags)| flags.push_str(" -C force-unwind-tables=no"));
            }
        }
        CargoCommand { program: host.cargo(), args, env, dir: options.workspace.clone() }
    }

    /// Run it and find what it built.
    pub(crate) fn run(&self, options: &BuildOptions) -> Result<Built, RunnerError> {
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
        let built = stdout.and_then(|out| built_in(BufReader::new(out)));
        let status = child.wait();
        let tail = log.join().unwrap_or_default();
        match status {
            _ if is_interrupted() => Err(RunnerError::Interrupted),
            Ok(status) if status.success() => {
                built.ok_or_else(|| failed(format!("cargo built no program named {AGENT}")))
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

/// The agent in cargo's messages. Reads to the end, so that cargo never blocks.
fn built_in(messages: impl BufRead) -> Option<Built> {
    let mut program = None;
    let mut kernels = Vec::new();
    for line in messages.split(b'\n').map_while(Result::ok) {
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(&line) else { continue };
        if message["reason"] == "compiler-artifact" && message["target"]["name"] == AGENT {
            program = message["executable"].as_str().map(PathBuf::from).or(program);
        }
        // Sent for what was built before, too.
        kernels = kernels::in_message(&message).unwrap_or(kernels);
    }
    program.map(|program| Built { program, kernels })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use limbeck_boards::{Glibc, Libc};

    use super::*;
    use crate::host::tests::FakePath;

    /// The command for a board, with these programs in PATH and these variables set.
    fn command(board: &Board, programs: &[&str], set: &[(&str, &str)]) -> CargoCommand {
        command_by("dist", board, programs, set)
    }

    /// The same by another profile.
    fn command_by(profile: &str, board: &Board, programs: &[&str], set: &[(&str, &str)]) -> CargoCommand {
        let scripts: Vec<_> = programs.iter().map(|program| (*program, "")).collect();
        let path = FakePath::of(&scripts);
        let var = |name: &str| match name {
            "PATH" => Some(path.as_os_str().to_owned()),
            "LIMBECK_HOME" => Some("/lb".into()),
            name => set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)),
        };
        let host = HostEnv { var: &var };
        let options = BuildOptions { workspace: "/src/limbeck".into(), profile: profile.into(), quiet: true };
        CargoCommand::new(board, &options, &Toolchain::choose(board, &host), &host)
    }

    fn board(name: &str) -> Board {
        Board::find_in(name, None).unwrap()
    }

    /// Everything of a command that depends on board and toolchain: variables, then the target.
    fn golden(board: &Board, programs: &[&str]) -> String {
        let text = command(board, programs, &[]).to_string();
        let (variables, args) = text.split_once("cargo build ").unwrap();
        format!("{variables}{}", args.rsplit(' ').next().unwrap())
    }

    #[test]
    fn the_host_agent_shares_the_host_build() {
        let command = command(&board("host"), &[], &[]);
        assert_eq!(
            command.to_string(),
            "cargo build --locked -p limbeck-agent --profile dist --message-format=json-render-diagnostics \
             -p limbeck-cli --bin limbeck-agent"
        );
        assert_eq!(command.dir, Path::new("/src/limbeck"));
    }

    #[test]
    fn a_static_cross_agent_is_linked_by_rust_lld_and_assembled_by_gcc() {
        if !is_x86_64() {
            return;
        }
        assert_eq!(
            command(&board("qemu-aarch64"), &["aarch64-linux-gnu-gcc"], &[]).to_string(),
            "CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc \
             CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld \
             CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS='-C target-feature=+crt-static -C link-arg=--icf=all' \
             cargo build --locked -p limbeck-agent --profile dist --message-format=json-render-diagnostics \
             --target aarch64-unknown-linux-musl"
        );
    }

    #[test]
    fn an_agent_that_ships_has_no_tables_of_how_to_unwind() {
        let flags = |profile: &str| {
            let command = command_by(profile, &board("qemu-armv7"), &["arm-linux-gnueabihf-gcc"], &[]);
            command.env.into_iter().find(|(name, _)| name.ends_with("RUSTFLAGS")).map(|(_, flags)| flags)
        };
        assert_eq!(flags("dist").as_deref(), Some("-C target-feature=+crt-static"));
        assert_eq!(flags("board").as_deref(), Some("-C target-feature=+crt-static -C force-unwind-tables=no"));
    }

    #[test]
    fn each_board_and_toolchain_has_its_variables() {
        if !is_x86_64() {
            return;
        }
        let gnu = |name: &str, triple: &str, floor: Option<u16>| {
            let glibc = floor.map(|minor| Glibc { major: 2, minor });
            Board { triple: triple.into(), libc: Libc::Gnu, glibc, ..board(name) }
        };
        let rpi4 = gnu("rpi4", "aarch64-unknown-linux-gnu", None);
        let rpi4_floor = gnu("rpi4", "aarch64-unknown-linux-gnu", Some(28));
        let bbb_floor = gnu("bbb", "armv7-unknown-linux-gnueabihf", Some(31));
        for (board, programs, variables) in [
            (
                &board("rpi5"),
                &["zig"][..],
                "CC_aarch64_unknown_linux_musl=/lb/toolchains/aarch64-linux-musl/zig-cc \
                 AR_aarch64_unknown_linux_musl=/lb/toolchains/aarch64-linux-musl/zig-ar \
                 CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld \
                 CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS='-C target-feature=+crt-static -C \
                 link-arg=--icf=all' aarch64-unknown-linux-musl",
            ),
            (
                &board("qemu-armv7"),
                &["arm-linux-gnueabihf-gcc", "zig"],
                "CC_armv7_unknown_linux_gnueabihf=arm-linux-gnueabihf-gcc \
                 CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc \
                 CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUSTFLAGS='-C target-feature=+crt-static' \
                 armv7-unknown-linux-gnueabihf",
            ),
            (
                &board("visionfive-2"),
                &["riscv64-linux-gnu-gcc"],
                "CC_riscv64gc_unknown_linux_gnu=riscv64-linux-gnu-gcc \
                 CARGO_TARGET_RISCV64GC_UNKNOWN_LINUX_GNU_LINKER=riscv64-linux-gnu-gcc \
                 CARGO_TARGET_RISCV64GC_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static' \
                 riscv64gc-unknown-linux-gnu",
            ),
            (
                &board("rpi-zero"),
                &["arm-linux-gnueabihf-gcc"],
                "CC_arm_unknown_linux_musleabihf=arm-linux-gnueabihf-gcc \
                 CARGO_TARGET_ARM_UNKNOWN_LINUX_MUSLEABIHF_LINKER=rust-lld \
                 CARGO_TARGET_ARM_UNKNOWN_LINUX_MUSLEABIHF_RUSTFLAGS='-C target-feature=+crt-static -C \
                 link-arg=--icf=all' arm-unknown-linux-musleabihf",
            ),
            (
                &rpi4,
                &["aarch64-linux-gnu-gcc", "zig"],
                "CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
                 CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc aarch64-unknown-linux-gnu",
            ),
            (
                &rpi4_floor,
                &["aarch64-linux-gnu-gcc", "zig"],
                "CC_aarch64_unknown_linux_gnu=/lb/toolchains/aarch64-linux-gnu.2.28/zig-cc \
                 AR_aarch64_unknown_linux_gnu=/lb/toolchains/aarch64-linux-gnu.2.28/zig-ar \
                 CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=/lb/toolchains/aarch64-linux-gnu.2.28/zig-cc \
                 aarch64-unknown-linux-gnu",
            ),
            (
                &bbb_floor,
                &["zig"],
                "CC_armv7_unknown_linux_gnueabihf=/lb/toolchains/arm-linux-gnueabihf.2.31/zig-cc \
                 AR_armv7_unknown_linux_gnueabihf=/lb/toolchains/arm-linux-gnueabihf.2.31/zig-ar \
                 CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=/lb/toolchains/arm-linux-gnueabihf.2.31/zig-cc \
                 armv7-unknown-linux-gnueabihf",
            ),
        ] {
            assert_eq!(golden(board, programs), variables, "{}", board.name);
        }
    }

    #[test]
    fn what_the_user_has_set_is_left_alone() {
        let command = command(
            &board("qemu-aarch64"),
            &["zig-cc"],
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

    fn is_x86_64() -> bool {
        cfg!(target_arch = "x86_64")
    }

    /// A stand-in for cargo: a shell script.
    fn fake_cargo(script: &str) -> (tempfile::TempDir, Result<Built, RunnerError>) {
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
            echo '{"reason":"build-script-executed","package_id":"tract-linalg@0","linked_libs":["static=arm64simd"]}'
            echo '{"reason":"build-finished","success":true}'"#;
        let built = Built { program: "/t/limbeck-agent".into(), kernels: vec!["tract/arm64simd".into()] };
        assert_eq!(fake_cargo(script).1.unwrap(), built);
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

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(without_colours("\u{1b}[1m\u{1b}[32mok\u{1b}[0m done"), "ok done");
        assert_eq!(without_colours("plain \u{1b}["), "plain ");
    }
}
