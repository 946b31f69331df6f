//! What is needed to build for and run on a board, and the one command that gets each missing thing.
//!
//! Static aarch64 needs no aarch64 C library: Debian's cross gcc only assembles tract's kernels, `rust-lld` (part of
//! the Rust toolchain) links.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use limbeck_boards::{Board, Transport, host_triple};

/// One thing that is there, or is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub what: String,
    /// Is it there?
    pub ok: bool,
    /// The one command that gets it; `None` when it is there.
    pub fix: Option<String>,
}

/// What the environment of this process says; a value, so that tests can have another one.
pub(crate) struct HostEnv<'a> {
    /// An environment variable.
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
}

impl HostEnv<'_> {
    fn path(&self) -> Option<OsString> {
        (self.var)("PATH")
    }

    /// cargo: the one that started us, or the one in PATH.
    pub(crate) fn cargo(&self) -> OsString {
        (self.var)("CARGO").filter(|v| !v.is_empty()).unwrap_or_else(|| "cargo".into())
    }

    fn rustc(&self) -> OsString {
        (self.var)("RUSTC").filter(|v| !v.is_empty()).unwrap_or_else(|| "rustc".into())
    }

    /// The C compiler for a board: what the user set as `CC_<triple>`, or the usual one.
    pub(crate) fn c_compiler(&self, board: &Board) -> CCompiler {
        let usual = usual_c_compiler(&board.triple, &board.arch);
        match (self.var)(&cc_variable(&board.triple)).filter(|v| !v.is_empty()) {
            Some(set) => {
                let program = set.to_string_lossy().into_owned();
                let fix = format!("unset {}", cc_variable(&board.triple));
                CCompiler { program, fix, is_set_by_user: true }
            }
            None => usual,
        }
    }
}

/// A C compiler and how to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CCompiler {
    pub program: String,
    pub fix: String,
    pub is_set_by_user: bool,
}

fn usual_c_compiler(triple: &str, arch: &str) -> CCompiler {
    let host = host_triple();
    let host_arch = host.split('-').next().unwrap_or_default();
    let (program, package) = match arch {
        arch if arch == host_arch => ("cc", "gcc"),
        "aarch64" => ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        "x86_64" => ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
        arch if arch.starts_with("riscv64") => ("riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu"),
        arch if arch.starts_with("arm") && triple.ends_with("eabi") => {
            ("arm-linux-gnueabi-gcc", "gcc-arm-linux-gnueabi")
        }
        arch if arch.starts_with("arm") => ("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf"),
        _ => ("cc", "gcc"),
    };
    CCompiler { program: program.to_owned(), fix: apt(package), is_set_by_user: false }
}

/// The variable in which the crate `cc`, and so tract's build, looks for a target's compiler.
pub(crate) fn cc_variable(triple: &str) -> String {
    format!("CC_{}", triple.replace(['-', '.'], "_"))
}

/// Everything that building for and running on `board` needs on this machine.
pub fn doctor(board: &Board) -> Vec<Finding> {
    let var = |name: &str| std::env::var_os(name);
    let host = HostEnv { var: &var };
    let mut findings = build_findings(board, &host, Path::new("."));
    if let Transport::Exec { runner } = &board.transport {
        let program = runner.first().map_or("", String::as_str);
        let ok = find_program(program, host.path().as_deref()).is_some();
        findings.push(finding(format!("emulator `{program}`"), ok, || emulator_fix(program)));
    }
    findings
}

/// What building needs; `workspace` decides which Rust toolchain is asked.
pub(crate) fn build_findings(board: &Board, host: &HostEnv<'_>, workspace: &Path) -> Vec<Finding> {
    let path = host.path();
    let cargo = host.cargo();
    let cargo_is_there = find_program(&cargo.to_string_lossy(), path.as_deref()).is_some();
    let rustup = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh";
    let mut findings = vec![finding("cargo".to_owned(), cargo_is_there, || rustup.to_owned())];
    if !board.is_host_triple() {
        let libraries = rustc_says(host, workspace, &["--print", "target-libdir", "--target", &board.triple]);
        let ok = libraries.is_some_and(|dir| Path::new(&dir).is_dir());
        let what = format!("Rust target `{}`", board.triple);
        findings.push(finding(what, ok, || format!("rustup target add {}", board.triple)));
    }
    let CCompiler { program, fix, .. } = host.c_compiler(board);
    // `CC_x="ccache gcc"` is usual.
    let first_word = program.split_whitespace().next().unwrap_or_default();
    let ok = find_program(first_word, path.as_deref()).is_some();
    findings.push(finding(format!("C compiler `{program}` (assembles tract's kernels)"), ok, || fix));
    findings
}

/// Compiler versions that decide what is in the agent.
pub(crate) fn toolchain_line(board: &Board, host: &HostEnv<'_>, workspace: &Path) -> String {
    let rustc = rustc_says(host, workspace, &["--version"]).unwrap_or_else(|| "rustc unknown".to_owned());
    let cc = host.c_compiler(board).program;
    let mut words = cc.split_whitespace();
    let version = words.next().and_then(|program| {
        let output = Command::new(program).args(words).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
    });
    format!("{rustc}; {}", version.unwrap_or_else(|| format!("{cc} unknown")))
}

fn rustc_says(host: &HostEnv<'_>, dir: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(host.rustc()).args(args).current_dir(dir).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn finding(what: String, ok: bool, fix: impl FnOnce() -> String) -> Finding {
    Finding { what, ok, fix: (!ok).then(fix) }
}

fn apt(package: &str) -> String {
    format!("sudo apt-get install -y {package}")
}

/// The command that gets an emulator.
pub(crate) fn emulator_fix(program: &str) -> String {
    let name = Path::new(program).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match name.as_str() {
        name if name.starts_with("qemu-") && name.ends_with("-static") => apt("qemu-user-static"),
        name if name.starts_with("qemu-") => apt("qemu-user"),
        name => apt(name),
    }
}

/// The executable file that `program` names: itself when it has a `/`, or the first in `path`.
pub(crate) fn find_program(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let is_executable = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.is_empty() {
        return None;
    }
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_executable);
    }
    std::env::split_paths(path?).map(|dir| dir.join(program)).find(is_executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_thing_has_the_command_that_gets_it() {
        let board = Board::find_in("qemu-aarch64", None).unwrap();
        let var = |name: &str| match name {
            "PATH" => Some("/nowhere".into()),
            "RUSTC" => Some("/nowhere/rustc".into()),
            _ => None,
        };
        let findings = build_findings(&board, &HostEnv { var: &var }, Path::new("."));
        assert!(findings.iter().all(|f| !f.ok), "{findings:?}");
        let fixes: Vec<_> = findings.iter().filter_map(|f| f.fix.as_deref()).collect();
        assert!(fixes[0].contains("rustup.rs"));
        assert_eq!(fixes[1], "rustup target add aarch64-unknown-linux-musl");
        if host_triple().starts_with("x86_64") {
            assert_eq!(fixes[2], "sudo apt-get install -y gcc-aarch64-linux-gnu");
        }
    }

    #[test]
    fn a_compiler_of_the_users_own_is_used_and_checked() {
        let board = Board::find_in("qemu-aarch64", None).unwrap();
        let var = |name: &str| match name {
            "CC_aarch64_unknown_linux_musl" => Some("/nowhere/my-gcc -v".into()),
            name => std::env::var_os(name),
        };
        let host = HostEnv { var: &var };
        assert!(host.c_compiler(&board).is_set_by_user);
        let findings = build_findings(&board, &host, Path::new("."));
        let compiler = findings.last().unwrap();
        assert!(!compiler.ok && compiler.what.contains("my-gcc"), "{compiler:?}");
    }

    #[test]
    fn doctor_asks_for_the_emulator_of_an_exec_board_only() {
        let of = |name| doctor(&Board::find_in(name, None).unwrap());
        assert!(of("qemu-aarch64").iter().any(|f| f.what == "emulator `qemu-aarch64-static`"));
        assert!(!of("host").iter().any(|f| f.what.contains("emulator")));
        assert!(of("host").iter().all(|f| f.ok == f.fix.is_none()));
    }

    #[test]
    fn programs_are_found_in_the_path_and_only_executable_ones() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tool");
        std::fs::write(&file, "").unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), dir.path()]).unwrap();
        assert_eq!(find_program("tool", Some(&path)), None);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_program("tool", Some(&path)), Some(file.clone()));
        assert_eq!(find_program(file.to_str().unwrap(), None), Some(file));
        assert_eq!((find_program("", Some(&path)), find_program("tool", None)), (None, None));
    }
}
