//! Who compiles C, assembles and links for a board.
//!
//! | target | assembles tract's kernels | links |
//! |---|---|---|
//! | this machine's own | `cc` | `cc` |
//! | musl | Debian's cross gcc, or zig | `rust-lld`: start files and libc come with the Rust target |
//! | gnu, static | Debian's cross gcc | the same: its libc.a |
//! | gnu | Debian's cross gcc, or zig | the same |
//! | gnu with a floor (`glibc`) | zig: gcc has the headers of its own glibc only | zig |
//!
//! What the user has set (`CC_<target>`, `CARGO_TARGET_<TARGET>_LINKER`) comes before all of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use limbeck_boards::{Board, Libc, Transport, host_triple};

use crate::error::RunnerError;
use crate::host::{HostEnv, answer};
use crate::packages::{Manager, Package, debian, fix, zig_fix};
use crate::zig::{Zig, ZigTarget};

pub(crate) use crate::host::find_program;
pub(crate) use crate::packages::emulator_fix;

/// A program of a toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tool {
    /// In a variable that the user has set; it is left alone.
    Users(String),
    /// A program of this name.
    Named(String),
    /// zig, behind a wrapper of ours.
    Zig(ZigTarget),
    /// The linker that is part of the Rust toolchain.
    RustLld,
}

impl Tool {
    /// As a command: the program, perhaps with arguments (`CC_x="ccache gcc"` is usual).
    pub(crate) fn command(&self) -> String {
        match self {
            Tool::Users(command) | Tool::Named(command) => command.clone(),
            Tool::Zig(target) => target.cc().display().to_string(),
            Tool::RustLld => "rust-lld".to_owned(),
        }
    }

    /// Can it be started? zig was found already, and lld comes with Rust.
    pub(crate) fn is_there(&self, host: &HostEnv<'_>) -> bool {
        match self {
            Tool::Users(_) | Tool::Named(_) => self.words().first().is_some_and(|word| host.find(word).is_some()),
            Tool::Zig(_) | Tool::RustLld => true,
        }
    }

    /// The same as words. Only what the user has set is split: a folder's name may have a space.
    pub(crate) fn words(&self) -> Vec<String> {
        match self {
            Tool::Users(command) => command.split_whitespace().map(str::to_owned).collect(),
            Tool::Named(_) | Tool::Zig(_) | Tool::RustLld => vec![self.command()],
        }
    }
}

/// A tool that is not there, and the one command that gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub what: String,
    pub fix: String,
}

/// What builds for a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// Compiles C and assembles.
    pub compiler: Tool,
    /// Links the agent.
    pub linker: Tool,
    /// What of both is not there.
    pub missing: Vec<Missing>,
}

/// Is the agent for `board` built as programs for this machine are, without naming a target?
pub(crate) fn is_native(board: &Board) -> bool {
    let links_alike = board.libc == Libc::Gnu || board.triple.contains("musl");
    board.is_host_triple() && board.glibc.is_none() && links_alike
}

/// Does the agent run where it was linked? Then it needs no check of its libraries.
pub(crate) fn runs_here(board: &Board) -> bool {
    is_native(board) && board.transport == Transport::Local
}

impl Toolchain {
    /// The toolchain for `board` among what this machine has.
    pub(crate) fn choose(board: &Board, host: &HostEnv<'_>) -> Toolchain {
        let usual = UsualCompiler::of(&board.triple, &board.arch);
        // zig has every libc but none to link statically against, other than musl's, which the Rust target brings.
        let is_static_gnu = board.libc == Libc::Static && !board.triple.contains("musl");
        let zig = || match is_static_gnu || is_native(board) {
            true => None,
            false => Zig::find(host)?.target(&board.triple, board.glibc).map(Tool::Zig),
        };
        let named = || host.find(usual.program).map(|_| Tool::Named(usual.program.to_owned()));
        let users = |variable: String| Some(Tool::Users(host.set(&variable)?.to_string_lossy().into_owned()));
        let mut missing = Vec::new();

        let compiler = users(cc_variable(&board.triple));
        let compiler = match board.glibc {
            Some(_) => compiler.or_else(zig).or_else(named),
            None => compiler.or_else(named).or_else(zig),
        };
        if let Some(tool @ Tool::Users(command)) = &compiler
            && !tool.is_there(host)
        {
            let what = format!("C compiler `{command}`");
            missing.push(Missing { what, fix: format!("unset {}", cc_variable(&board.triple)) });
        }
        let compiler = compiler.unwrap_or_else(|| {
            missing.push(usual.missing(board, host));
            Tool::Named(usual.program.to_owned())
        });

        let linker = users(target_variable(&board.triple, "LINKER"));
        let linker = linker.or_else(|| board.triple.contains("musl").then_some(Tool::RustLld));
        let linker = linker.unwrap_or_else(|| match board.glibc {
            None => compiler.clone(),
            Some(floor) => zig().unwrap_or_else(|| {
                let what = format!("zig (links against glibc {floor}; gcc does against its own only)");
                missing.push(Missing { what, fix: zig_fix(host) });
                Tool::Named("zig".to_owned())
            }),
        });
        if let Tool::Named(program) = &linker
            && linker == compiler
            && !is_native(board)
            && let Some(path) = host.find(program)
        {
            let library = if is_static_gnu { "libc.a" } else { "libc.so" };
            missing.extend((!has_library(&path, library)).then(|| usual.missing_library(library, host)));
        }
        Toolchain { compiler, linker, missing }
    }

    /// Write the wrappers that stand for zig.
    pub(crate) fn prepare(&self) -> Result<(), RunnerError> {
        [&self.compiler, &self.linker].into_iter().try_for_each(|tool| match tool {
            Tool::Zig(target) => target.write(),
            Tool::Users(_) | Tool::Named(_) | Tool::RustLld => Ok(()),
        })
    }

    /// What cargo has to be told, variable by variable; what the user has set is not in it.
    pub(crate) fn variables(&self, board: &Board, host: &HostEnv<'_>) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        let triple = &board.triple;
        match &self.compiler {
            Tool::Users(_) | Tool::RustLld => {}
            Tool::Named(program) => variables.push((cc_variable(triple), program.clone())),
            Tool::Zig(target) => {
                let of = |path: PathBuf| path.display().to_string();
                variables.push((cc_variable(triple), of(target.cc())));
                variables.push((of_target("AR", triple), of(target.ar())));
            }
        }
        variables.push((target_variable(triple, "LINKER"), self.linker.command()));
        if board.libc == Libc::Static {
            // lld folds the many equal functions that generics leave. All of them: Rust promises no function an address of its own.
            let folds = if self.linker == Tool::RustLld { " -C link-arg=--icf=all" } else { "" };
            variables.push((target_variable(triple, "RUSTFLAGS"), format!("-C target-feature=+crt-static{folds}")));
        }
        variables.retain(|(name, _)| host.set(name).is_none());
        variables
    }
}

/// Does this compiler have a C library to link against? One that only assembles needs none, and Debian installs it
/// without. A file that it knows, gcc names with its folder.
fn has_library(compiler: &Path, library: &str) -> bool {
    let file = answer(Command::new(compiler).arg(format!("-print-file-name={library}")));
    file.is_some_and(|file| Path::new(&file).is_absolute() && Path::new(&file).exists())
}

/// The C compiler that Debian has for a target.
struct UsualCompiler {
    program: &'static str,
    /// Debian's package; `None`: this machine's own compiler.
    package: Option<&'static str>,
}

impl UsualCompiler {
    fn of(triple: &str, arch: &str) -> UsualCompiler {
        let host = host_triple();
        let host_arch = host.split('-').next().unwrap_or_default();
        let (program, package) = match arch {
            arch if arch == host_arch => ("cc", None),
            "aarch64" => ("aarch64-linux-gnu-gcc", Some("gcc-aarch64-linux-gnu")),
            "x86_64" => ("x86_64-linux-gnu-gcc", Some("gcc-x86-64-linux-gnu")),
            arch if arch.starts_with("riscv64") => ("riscv64-linux-gnu-gcc", Some("gcc-riscv64-linux-gnu")),
            arch if arch.starts_with("arm") && triple.ends_with("eabi") => {
                ("arm-linux-gnueabi-gcc", Some("gcc-arm-linux-gnueabi"))
            }
            arch if arch.starts_with("arm") => ("arm-linux-gnueabihf-gcc", Some("gcc-arm-linux-gnueabihf")),
            _ => ("cc", None),
        };
        UsualCompiler { program, package }
    }

    /// Debian's package of the libc that it links against: that of gcc-riscv64-linux-gnu is libc6-dev-riscv64-cross.
    fn libc_package(&self) -> Option<String> {
        let (arch, abi) = self.package?.strip_prefix("gcc-")?.split_once("-linux-")?;
        // Where Debian's name of an architecture is not GNU's.
        let arch = match (arch, abi) {
            ("aarch64", _) => "arm64",
            ("x86-64", _) => "amd64",
            ("arm", "gnueabihf") => "armhf",
            ("arm", _) => "armel",
            (arch, _) => arch,
        };
        Some(format!("libc6-dev-{arch}-cross"))
    }

    fn missing_library(&self, library: &str, host: &HostEnv<'_>) -> Missing {
        let what = format!("C library `{library}` of `{}`", self.program);
        let host_fix = || fix(Package::HostCompiler, host.path().as_deref());
        Missing { what, fix: self.libc_package().map_or_else(host_fix, |package| debian(&package)) }
    }

    fn missing(&self, board: &Board, host: &HostEnv<'_>) -> Missing {
        let path = host.path();
        let what = format!("C compiler `{}` (assembles tract's kernels)", self.program);
        let (Some(package), Some(libc)) = (self.package, self.libc_package()) else {
            return Missing { what, fix: fix(Package::HostCompiler, path.as_deref()) };
        };
        let is_musl = board.triple.contains("musl");
        match Manager::in_path(path.as_deref()) {
            Some(Manager::Apt) if is_musl => Missing { what, fix: debian(package) },
            Some(Manager::Apt) => Missing { what, fix: debian(&format!("{package} {libc}")) },
            // Other systems pack no cross compiler that has a libc; zig is one download everywhere.
            _ if board.libc == Libc::Static && !is_musl => Missing {
                what: format!(
                    "C compiler `{}` with a static libc; where that is not packed, zig builds for a board of your own \
                     with `libc = \"gnu\"` and `glibc = \"2.31\"`",
                    self.program
                ),
                fix: zig_fix(host),
            },
            _ => Missing { what, fix: zig_fix(host) },
        }
    }
}

/// The variable in which the crate `cc`, and so tract's build, looks for a target's compiler.
pub(crate) fn cc_variable(triple: &str) -> String {
    of_target("CC", triple)
}

fn of_target(tool: &str, triple: &str) -> String {
    format!("{tool}_{}", triple.replace(['-', '.'], "_"))
}

/// A variable of cargo's for a target.
fn target_variable(triple: &str, what: &str) -> String {
    format!("CARGO_TARGET_{}_{what}", triple.to_uppercase().replace(['-', '.'], "_"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use limbeck_boards::Glibc;

    use super::*;
    use crate::host::tests::FakePath;

    /// What is chosen for a board with these programs in PATH and these variables set.
    fn chosen(board: &Board, programs: &[&str], set: &[(&str, &str)]) -> Toolchain {
        let scripts: Vec<_> = programs.iter().map(|program| (*program, "echo 0.17.1")).collect();
        let path = FakePath::of(&scripts);
        let var = |name: &str| match name {
            "PATH" => Some(path.as_os_str().to_owned()),
            "LIMBECK_HOME" => Some("/lb".into()),
            name => set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value)),
        };
        Toolchain::choose(board, &HostEnv { var: &var })
    }

    fn board(name: &str) -> Board {
        Board::find_in(name, None).unwrap()
    }

    fn with_floor() -> Board {
        let glibc = Some(Glibc { major: 2, minor: 28 });
        Board { triple: "aarch64-unknown-linux-gnu".into(), libc: Libc::Gnu, glibc, ..board("qemu-aarch64") }
    }

    /// Not on a machine whose own programs these are.
    fn is_cross() -> bool {
        host_triple().starts_with("x86_64")
    }

    #[test]
    fn gcc_comes_before_zig_and_zig_serves_where_gcc_is_missing() {
        if !is_cross() {
            return;
        }
        let gcc = Tool::Named("aarch64-linux-gnu-gcc".into());
        let both = chosen(&board("qemu-aarch64"), &["aarch64-linux-gnu-gcc", "zig"], &[]);
        assert_eq!((&both.compiler, &both.linker, both.missing.len()), (&gcc, &Tool::RustLld, 0));
        let zig = chosen(&board("qemu-aarch64"), &["zig"], &[]);
        assert_eq!(zig.compiler.command(), "/lb/toolchains/aarch64-linux-musl/zig-cc");
        assert_eq!((&zig.linker, zig.missing.len()), (&Tool::RustLld, 0));
        let wheel = chosen(&board("qemu-aarch64"), &["python3"], &[]);
        assert!(matches!(wheel.compiler, Tool::Zig(_)) && wheel.missing.is_empty());
    }

    #[test]
    fn a_floor_is_compiled_for_and_linked_by_zig() {
        if !is_cross() {
            return;
        }
        let both = chosen(&with_floor(), &["aarch64-linux-gnu-gcc", "zig"], &[]);
        assert_eq!(both.compiler, both.linker);
        assert_eq!(both.linker.command(), "/lb/toolchains/aarch64-linux-gnu.2.28/zig-cc");
        let gcc = chosen(&with_floor(), &["aarch64-linux-gnu-gcc", "apt-get"], &[]);
        assert_eq!(gcc.missing.len(), 1);
        assert!(gcc.missing[0].what.starts_with("zig (links against glibc 2.28"), "{gcc:?}");
        assert_eq!(gcc.missing[0].fix, "python3 -m pip install --target /lb/toolchains/zig ziglang");
    }

    #[test]
    fn a_floor_below_this_machines_own_target_is_not_a_native_build() {
        let host = board("host");
        assert!(is_native(&host) && runs_here(&host));
        let floor = Board { glibc: Some(Glibc { major: 2, minor: 28 }), ..host.clone() };
        assert!(!is_native(&floor) && !runs_here(&floor));
        if host.triple.contains("gnu") {
            assert!(!is_native(&Board { libc: Libc::Static, ..host }));
        }
    }

    #[test]
    fn what_the_user_has_set_comes_first_and_must_be_there() {
        let set = [
            ("CC_aarch64_unknown_linux_musl", "ccache my-gcc"),
            ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "my-ld"),
        ];
        let there = chosen(&board("qemu-aarch64"), &["ccache", "zig"], &set);
        assert_eq!(there.compiler, Tool::Users("ccache my-gcc".into()));
        assert_eq!((there.linker, there.missing), (Tool::Users("my-ld".into()), Vec::new()));
        let gone = chosen(&board("qemu-aarch64"), &["zig"], &set);
        assert_eq!(gone.missing[0].fix, "unset CC_aarch64_unknown_linux_musl");
    }

    #[test]
    fn a_compiler_that_links_must_have_a_libc() {
        if !is_cross() {
            return;
        }
        let path = FakePath::of(&[("riscv64-linux-gnu-gcc", "echo ${1#*=}"), ("arm-linux-gnueabihf-gcc", "echo $0")]);
        let var = |name: &str| (name == "PATH").then(|| path.as_os_str().to_owned());
        let missing = |name| Toolchain::choose(&board(name), &HostEnv { var: &var }).missing;
        let libc = missing("qemu-riscv64");
        assert_eq!(libc[0].what, "C library `libc.a` of `riscv64-linux-gnu-gcc`");
        assert_eq!(libc[0].fix, "sudo apt-get install -y libc6-dev-riscv64-cross");
        assert_eq!(missing("qemu-armv7"), Vec::new());
    }

    #[test]
    fn what_is_missing_is_got_from_debian_or_as_the_wheel() {
        if !is_cross() {
            return;
        }
        let fix = |board: &Board, programs| chosen(board, programs, &[]).missing.remove(0);
        let aarch64 = board("qemu-aarch64");
        assert_eq!(fix(&aarch64, &["apt-get"]).fix, "sudo apt-get install -y gcc-aarch64-linux-gnu");
        let wheel = "python3 -m pip install --target /lb/toolchains/zig ziglang";
        assert_eq!(fix(&aarch64, &["dnf"]).fix, wheel);
        // zig has no static glibc: it cannot stand in, and that is said.
        let armv7 = board("qemu-armv7");
        assert_eq!(
            fix(&armv7, &["apt-get", "zig"]).fix,
            "sudo apt-get install -y gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"
        );
        let elsewhere = fix(&armv7, &["dnf"]);
        assert!(elsewhere.what.contains("`glibc = \"2.31\"`") && elsewhere.fix == wheel, "{elsewhere:?}");
        assert_eq!(fix(&board("host"), &["dnf"]).fix, "sudo dnf install -y gcc");
    }
}
