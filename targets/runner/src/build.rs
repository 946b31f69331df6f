//! Build the agent for a board with cargo.

use std::path::{Path, PathBuf};

use limbeck_boards::Board;
use limbeck_files::FileError;
use serde::{Deserialize, Serialize};

use crate::cargo::CargoCommand;
use crate::doctor::{build_findings, toolchain_line};
use crate::elf::static_check;
use crate::error::RunnerError;
use crate::host::HostEnv;
use crate::kernels;
use crate::toolchain::{Toolchain, runs_here};

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
    /// The kernel sets that are in it: `limbeck/…` are ours, `tract/…` what tract's build script linked. `None`: it was
    /// built elsewhere, and nobody knows.
    #[serde(default)]
    pub kernels: Option<Vec<String>>,
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
    let toolchain = Toolchain::choose(board, &host);
    toolchain.prepare()?;
    let built = CargoCommand::new(board, options, &toolchain, &host).run(options)?;
    if !runs_here(board) {
        static_check(&built.program, board)?;
    }
    let line = toolchain_line(board, &host, &options.workspace);
    let agent = Agent::from_file(&built.program, &board.triple, &options.profile, &line)?;
    Ok(Agent { kernels: Some(kernels::of_agent(&board.arch, &built.kernels)), ..agent })
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
            kernels: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use limbeck_boards::{Glibc, Libc};

    use super::*;

    /// A workspace with an agent of a few lines, built, checked, installed and run under the real emulator; what the agent
    /// says of its architecture. `None`, with a word about it, when this machine lacks something.
    fn cross_built_and_run(board: Board) -> Option<(Agent, String)> {
        if let Some(missing) = crate::doctor(&board).into_iter().find(|f| !f.ok) {
            let fix = missing.fix.unwrap_or_default();
            eprintln!("skipped {}: {} is missing; get it with: {fix}", board.name, missing.what);
            return None;
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
        // Not the folders of whoever runs this test: a limbeck-agent lies in the target folder already.
        let home = dir.path().join("home").into_os_string();
        let var = |name: &str| if name == "LIMBECK_HOME" { Some(home.clone()) } else { std::env::var_os(name) };
        let host = HostEnv { var: &var };
        let toolchain = Toolchain::choose(&board, &host);
        toolchain.prepare().unwrap();
        let mut cargo = CargoCommand::new(&board, &options, &toolchain, &host);
        cargo.env.push(("CARGO_TARGET_DIR".into(), dir.path().join("target").display().to_string()));
        let path = cargo.run(&options).unwrap().program;
        static_check(&path, &board).unwrap();

        let agent = Agent::from_file(&path, &board.triple, "dev", "").unwrap();
        let board = Board { workdir: dir.path().join("board").display().to_string(), ..board };
        let installed = crate::install(&board, &agent, &write("b", "bundle")).unwrap();
        let mut lines = Vec::new();
        installed.agent(&["validate"], installed.timeout(), &mut |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(agent.kernels, None, "nobody has looked");
        Some((agent, lines.remove(1)))
    }

    #[test]
    fn a_static_agent_is_cross_built_and_runs_emulated() {
        for (board, says) in [("qemu-aarch64-a76", "aarch64"), ("qemu-armv7", "arm"), ("qemu-riscv64", "riscv64")] {
            if let Some((_, said)) = cross_built_and_run(Board::find_in(board, None).unwrap()) {
                assert_eq!(said, format!("{says} validate"), "{board}");
            }
        }
    }

    /// Debian's cross packages hold the libraries that such an agent needs, for the emulator to find.
    #[test]
    fn an_agent_with_a_glibc_floor_is_linked_by_zig_and_runs_emulated() {
        let libraries = "/usr/aarch64-linux-gnu";
        if !Path::new(libraries).is_dir() {
            eprintln!("skipped: {libraries} is missing; get it with: sudo apt-get install -y libc6-arm64-cross");
            return;
        }
        let emulated = Board::find_in("qemu-aarch64", None).unwrap();
        let runner = ["qemu-aarch64-static", "-L", libraries].map(str::to_owned).to_vec();
        let board = Board {
            triple: "aarch64-unknown-linux-gnu".into(),
            libc: Libc::Gnu,
            glibc: Some(Glibc { major: 2, minor: 28 }),
            transport: limbeck_boards::Transport::Exec { runner },
            ..emulated
        };
        if let Some((_, said)) = cross_built_and_run(board) {
            assert_eq!(said, "aarch64 validate");
        }
    }
}
