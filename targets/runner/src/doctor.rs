//! What is needed to build for and run on a board, what of it is there, and the one command that gets each missing thing.

use std::path::Path;
use std::process::Command;

use limbeck_boards::{Board, Transport};

use crate::host::{HostEnv, answer};
use crate::kernels;
use crate::packages::{Package, emulator_fix, fix};
use crate::toolchain::{Missing, Tool, Toolchain, is_native};

/// One thing that is there, or is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub what: String,
    /// Is it there?
    pub ok: bool,
    /// What was found: version, and what follows from it. `None` when it is missing, or says nothing.
    pub found: Option<String>,
    /// The one command that gets it; `None` when it is there.
    pub fix: Option<String>,
}

impl Finding {
    /// Found, with what it says of itself, or missing with the command that gets it.
    fn of(what: impl Into<String>, found: Option<Option<String>>, fix: impl FnOnce() -> String) -> Finding {
        let ok = found.is_some();
        Finding { what: what.into(), ok, found: found.flatten(), fix: (!ok).then(fix) }
    }

    fn missing(missing: Missing) -> Finding {
        Finding { what: missing.what, ok: false, found: None, fix: Some(missing.fix) }
    }
}

/// Everything that building for and running on `board` needs on this machine.
pub fn doctor(board: &Board) -> Vec<Finding> {
    let var = |name: &str| std::env::var_os(name);
    let host = HostEnv { var: &var };
    let mut findings = build_findings(board, &host, Path::new("."));
    if let Some(compiler) = findings.iter_mut().find(|f| f.ok && f.what.starts_with(COMPILER)) {
        let kernels = kernels::probed(board, &Toolchain::choose(board, &host));
        let found = [compiler.found.take(), kernels].into_iter().flatten().collect::<Vec<_>>();
        compiler.found = (!found.is_empty()).then(|| found.join("; "));
    }
    findings.extend(way_findings(board, &host));
    findings
}

/// How the finding of the C compiler begins.
const COMPILER: &str = "C compiler";

/// What building needs; `workspace` decides which Rust toolchain is asked.
pub(crate) fn build_findings(board: &Board, host: &HostEnv<'_>, workspace: &Path) -> Vec<Finding> {
    let rustup = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh";
    let cargo = host.find(&host.cargo().to_string_lossy());
    let rustc = || host.rustc_says(workspace, &["--version"]);
    let mut findings = vec![Finding::of("cargo", cargo.map(|_| rustc()), || rustup.to_owned())];
    if !is_native(board) {
        let libraries = host.rustc_says(workspace, &["--print", "target-libdir", "--target", &board.triple]);
        let is_there = libraries.is_some_and(|dir| Path::new(&dir).is_dir());
        let what = format!("Rust target `{}`", board.triple);
        findings.push(Finding::of(what, is_there.then_some(None), || format!("rustup target add {}", board.triple)));
        // Build scripts are programs of this machine.
        let what = "linker `cc` of this machine (links build scripts)";
        let path = host.path();
        findings.push(Finding::of(what, host.find("cc").map(|_| None), || fix(Package::HostCompiler, path.as_deref())));
    }
    let toolchain = Toolchain::choose(board, host);
    let compiler = &toolchain.compiler;
    if compiler.is_there(host) {
        let what = format!("{COMPILER} `{}` (assembles tract's kernels)", compiler.command());
        findings.push(Finding::of(what, Some(version(compiler)), String::new));
    }
    if let linker @ (Tool::Users(_) | Tool::Zig(_)) = &toolchain.linker
        && linker != compiler
        && !is_native(board)
    {
        findings.push(Finding::of(format!("linker `{}`", linker.command()), Some(version(linker)), String::new));
    }
    findings.extend(toolchain.missing.into_iter().map(Finding::missing));
    findings
}

/// What running on the board needs here.
fn way_findings(board: &Board, host: &HostEnv<'_>) -> Option<Finding> {
    match &board.transport {
        Transport::Local => None,
        Transport::Exec { runner } => {
            let program = runner.first().map_or("", String::as_str);
            let found = host.find(program).map(|path| first_line(Command::new(path).arg("--version")));
            Some(Finding::of(format!("emulator `{program}`"), found, || emulator_fix(program)))
        }
        Transport::Ssh { .. } => {
            let path = host.path();
            Some(Finding::of("`ssh`", host.find("ssh").map(|_| None), || fix(Package::Ssh, path.as_deref())))
        }
    }
}

/// Compiler versions that decide what is in the agent.
pub(crate) fn toolchain_line(board: &Board, host: &HostEnv<'_>, workspace: &Path) -> String {
    let toolchain = Toolchain::choose(board, host);
    let unknown = |tool: &Tool| format!("{} unknown", tool.command());
    let rustc = host.rustc_says(workspace, &["--version"]).unwrap_or_else(|| "rustc unknown".to_owned());
    let compiler = version(&toolchain.compiler).unwrap_or_else(|| unknown(&toolchain.compiler));
    match &toolchain.linker {
        linker @ Tool::Zig(_) if *linker != toolchain.compiler => {
            let linker = version(linker).unwrap_or_else(|| unknown(linker));
            format!("{rustc}; {compiler}; linked by {linker}")
        }
        _ => format!("{rustc}; {compiler}"),
    }
}

/// What a tool says it is; `None` when it says nothing.
fn version(tool: &Tool) -> Option<String> {
    match tool {
        Tool::Users(_) | Tool::Named(_) => {
            let words = tool.words();
            let (program, args) = words.split_first()?;
            first_line(Command::new(program).args(args).arg("--version"))
        }
        Tool::Zig(target) => target.version().map(|version| format!("zig {version}")),
        Tool::RustLld => None,
    }
}

fn first_line(command: &mut Command) -> Option<String> {
    answer(command)?.lines().next().map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::FakePath;

    fn findings(board: &str, programs: &FakePath) -> Vec<Finding> {
        let var = |name: &str| match name {
            "PATH" => Some(programs.as_os_str().to_owned()),
            "LIMBECK_HOME" => Some("/lb".into()),
            "RUSTC" => Some("/nowhere/rustc".into()),
            _ => None,
        };
        build_findings(&Board::find_in(board, None).unwrap(), &HostEnv { var: &var }, Path::new("."))
    }

    #[test]
    fn each_missing_thing_has_the_command_that_gets_it() {
        let findings = findings("raspberry-pi-zero", &FakePath::of(&[("apt-get", "")]));
        assert!(findings.iter().all(|f| !f.ok && f.found.is_none()), "{findings:?}");
        let fixes: Vec<_> = findings.iter().filter_map(|f| f.fix.as_deref()).collect();
        assert!(fixes[0].contains("rustup.rs"));
        assert_eq!(fixes[1], "rustup target add arm-unknown-linux-musleabihf");
        assert_eq!(fixes[2], "sudo apt-get install -y gcc libc6-dev");
        if cfg!(target_arch = "x86_64") {
            assert_eq!(fixes[3], "sudo apt-get install -y gcc-arm-linux-gnueabihf");
        }
    }

    #[test]
    fn what_is_there_says_its_version() {
        let programs = FakePath::of(&[
            ("cargo", ""),
            ("cc", "echo 'cc 12.2.0'; echo more"),
            ("aarch64-linux-gnu-gcc", "echo 'aarch64-linux-gnu-gcc (Debian) 12.2.0'"),
            ("zig", "echo 0.17.1"),
        ]);
        let findings = findings("qemu-aarch64", &programs);
        let compiler = findings.iter().find(|f| f.what.starts_with(COMPILER)).unwrap();
        assert!(compiler.ok && compiler.found.as_deref().unwrap().ends_with("12.2.0"), "{compiler:?}");
        assert!(findings.iter().any(|f| f.ok && f.what.starts_with("linker `cc`")), "{findings:?}");
    }

    #[test]
    fn doctor_asks_for_what_the_way_to_the_board_needs_only() {
        let of = |name| doctor(&Board::find_in(name, None).unwrap());
        assert!(of("qemu-aarch64").iter().any(|f| f.what == "emulator `qemu-aarch64-static`"));
        assert!(of("rpi4").iter().any(|f| f.what == "`ssh`"));
        assert!(!of("host").iter().any(|f| f.what.contains("emulator") || f.what.contains("ssh")));
        assert!(of("host").iter().all(|f| f.ok == f.fix.is_none()));
    }

    #[test]
    fn the_compiler_says_which_kernels_it_makes() {
        let findings = doctor(&Board::find_in("qemu-aarch64", None).unwrap());
        match findings.iter().find(|f| f.what.starts_with(COMPILER) && f.ok) {
            // Any assembler of this decade has dot products.
            Some(compiler) => assert!(compiler.found.as_deref().unwrap().contains("dotprod"), "{compiler:?}"),
            None => eprintln!("skipped: no C compiler for aarch64"),
        }
    }
}
