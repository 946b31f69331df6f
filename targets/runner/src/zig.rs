//! zig as a C compiler and linker: it brings every C library itself, and links against any version of glibc.
//!
//! cargo and the crate `cc` want one program, and pass what compilers of GNU's kind take. So each target has a wrapper,
//! a script in limbeck's folder, that names the target and says in zig's words what zig says otherwise.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use limbeck_boards::Glibc;
use limbeck_files::FileError;

use crate::error::RunnerError;
use crate::host::{HostEnv, answer, is_executable};

/// zig, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zig {
    /// Program and first arguments.
    command: Vec<String>,
    /// Limbeck's folder of toolchains, for the wrappers.
    toolchains: PathBuf,
}

/// zig for one target, behind its wrappers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ZigTarget {
    zig: Zig,
    /// As zig names it: `aarch64-linux-gnu.2.28`.
    target: String,
    /// CPU that the target stands for, where zig would take another.
    cpu: Option<&'static str>,
}

impl Zig {
    /// `zig` in PATH, the wheel in limbeck's folder, or the wheel of `python3`. `None` as well where limbeck has no
    /// folder for the wrappers.
    pub(crate) fn find(host: &HostEnv<'_>) -> Option<Zig> {
        let toolchains = host.limbeck_home()?.join("toolchains");
        let wheel = toolchains.join("zig/ziglang/zig");
        let program = |path: PathBuf| vec![path.display().to_string()];
        let command = host.find("zig").map(program).or_else(|| is_executable(&wheel).then(|| program(wheel)));
        let command = command.or_else(|| {
            let python = host.find("python3")?.display().to_string();
            answer(Command::new(&python).args(["-m", "ziglang", "version"]))?;
            Some(vec![python, "-m".into(), "ziglang".into()])
        })?;
        Some(Zig { command, toolchains })
    }

    /// What `zig version` says.
    pub(crate) fn version(&self) -> Option<String> {
        let (program, args) = self.command.split_first()?;
        answer(Command::new(program).args(args).arg("version"))
    }

    /// zig for a Rust target; `None` when it is not one for Linux that zig has.
    pub(crate) fn target(&self, triple: &str, glibc: Option<Glibc>) -> Option<ZigTarget> {
        let (arch, abi) = triple.split_once("-unknown-linux-")?;
        let (arch, cpu) = match arch {
            "aarch64" | "x86_64" => (arch, None),
            "i686" => ("x86", None),
            "riscv64gc" => ("riscv64", None),
            // What Rust's targets of these names promise; zig takes something newer or older.
            "armv7" => ("arm", Some("generic+v7a+vfp3d16")),
            "arm" => ("arm", Some("arm1176jzf_s")),
            _ => return None,
        };
        let version = glibc.map(|version| format!(".{version}")).unwrap_or_default();
        Some(ZigTarget { zig: self.clone(), target: format!("{arch}-linux-{abi}{version}"), cpu })
    }
}

impl ZigTarget {
    /// Compiler and linker. The name has `zig` in it: by that the crate `cc` knows what it deals with.
    pub(crate) fn cc(&self) -> PathBuf {
        self.folder().join("zig-cc")
    }

    /// Archiver.
    pub(crate) fn ar(&self) -> PathBuf {
        self.folder().join("zig-ar")
    }

    /// What `zig version` says.
    pub(crate) fn version(&self) -> Option<String> {
        self.zig.version()
    }

    fn folder(&self) -> PathBuf {
        self.zig.toolchains.join(&self.target)
    }

    /// Write the wrappers, unless they are there as they shall be.
    pub(crate) fn write(&self) -> Result<(), RunnerError> {
        limbeck_files::create_dir(self.folder())?;
        write_script(&self.cc(), &self.cc_script())?;
        write_script(&self.ar(), &format!("{}exec {} ar \"$@\"\n", self.head("archiver"), self.zig_words()))
    }

    fn head(&self, what: &str) -> String {
        format!("#!/bin/sh\n# Written by limbeck before each build: zig as {what} for {}.\n", self.target)
    }

    fn zig_words(&self) -> String {
        self.zig.command.iter().map(|word| single_quoted(word)).collect::<Vec<_>>().join(" ")
    }

    fn cc_script(&self) -> String {
        let cpu = self.cpu.map(|cpu| format!(" -mcpu={cpu}")).unwrap_or_default();
        let head = self.head("C compiler and linker");
        format!("{head}{FILTER}exec {} cc -target {}{cpu} \"$@\"\n", self.zig_words(), self.target)
    }
}

/// What rustc, the crate `cc` and build scripts pass that zig does not take, or takes in other words. Tried with zig 0.17.
///
/// - the target is named once, by us, in zig's words;
/// - zig names CPUs only, with `_`: an architecture (`-march=armv8.2-a+sve`) is the generic CPU with features, and LLVM
///   says `fullfp16` for what GNU calls `fp16`; on ARM and RISC-V the target says it all;
/// - options of GNU ld that zig's linker has not.
const FILTER: &str = r#"count=$#
while [ "$count" -gt 0 ]; do
    arg=$1
    shift
    count=$((count - 1))
    case $arg in
    --target=* | -march=armv[67]* | -march=rv* | -Wl,--no-undefined-version | -Wl,-znostart-stop-gc | \
        -Wl,--fix-cortex-a53-843419 | -Wl,-plugin-opt*) continue ;;
    -march=armv8* | -march=armv9*)
        features=
        case $arg in *+*) features=+${arg#*+} ;; esac
        arg=-mcpu=generic$(printf %s "$features" | sed 's/+fp16/+fullfp16/g; s/+simd/+neon/g')
        ;;
    -march=* | -mcpu=* | -mtune=*)
        arg=${arg%%=*}=$(printf %s "${arg#*=}" | tr - _)
        ;;
    esac
    set -- "$@" "$arg"
done
"#;

fn single_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn write_script(path: &Path, text: &str) -> Result<(), RunnerError> {
    if is_executable(path) && std::fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    limbeck_files::write_atomic(path, |out| out.write_all(text.as_bytes()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(|source| FileError {
        path: path.to_owned(),
        doing: "make executable",
        source,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::host::tests::FakePath;

    /// zig as it is found with these programs in PATH and this folder of limbeck's.
    fn found(programs: &FakePath, home: &Path) -> Option<Zig> {
        let var = |name: &str| match name {
            "PATH" => Some(programs.as_os_str().to_owned()),
            "LIMBECK_HOME" => Some(OsString::from(home)),
            _ => None,
        };
        Zig::find(&HostEnv { var: &var })
    }

    #[test]
    fn zig_is_found_in_the_path_in_limbecks_folder_and_as_a_wheel() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(found(&FakePath::of(&[]), home.path()), None);
        let python = FakePath::of(&[("python3", "test \"$*\" = '-m ziglang version' && echo 0.17.1")]);
        let zig = found(&python, home.path()).unwrap();
        assert!(zig.command[0].ends_with("/python3") && zig.command[1..] == ["-m", "ziglang"], "{zig:?}");
        assert_eq!(zig.version().unwrap(), "0.17.1");
        assert_eq!(found(&FakePath::of(&[("python3", "exit 1")]), home.path()), None);

        let wheel = home.path().join("toolchains/zig/ziglang/zig");
        std::fs::create_dir_all(wheel.parent().unwrap()).unwrap();
        std::fs::write(&wheel, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&wheel, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found(&python, home.path()).unwrap().command, [wheel.display().to_string()]);
        let both = FakePath::of(&[("zig", "")]);
        assert!(found(&both, home.path()).unwrap().command[0].starts_with(both.path().to_str().unwrap()));
    }

    #[test]
    fn targets_have_zigs_names() {
        let zig = Zig { command: vec!["zig".into()], toolchains: "/t".into() };
        let name = |triple, glibc: Option<&str>| {
            let glibc = glibc.map(|version| version.parse().unwrap());
            zig.target(triple, glibc).map(|target| (target.target.clone(), target.cpu))
        };
        let gnu = name("aarch64-unknown-linux-gnu", Some("2.28"));
        assert_eq!(gnu, Some(("aarch64-linux-gnu.2.28".into(), None)));
        assert_eq!(name("aarch64-unknown-linux-musl", None), Some(("aarch64-linux-musl".into(), None)));
        let armv7 = Some(("arm-linux-gnueabihf.2.31".into(), Some("generic+v7a+vfp3d16")));
        assert_eq!(name("armv7-unknown-linux-gnueabihf", Some("2.31")), armv7);
        assert_eq!(name("riscv64gc-unknown-linux-gnu", None), Some(("riscv64-linux-gnu".into(), None)));
        assert_eq!(name("aarch64-apple-darwin", None), None);
    }

    #[test]
    fn the_wrapper_says_in_zigs_words_what_compilers_of_gnus_kind_are_told() {
        let home = tempfile::tempdir().unwrap();
        let fake = FakePath::of(&[("zig", "for arg; do echo \"$arg\"; done")]);
        let zig = found(&fake, home.path()).unwrap();
        let target = zig.target("aarch64-unknown-linux-gnu", Some("2.28".parse().unwrap())).unwrap();
        target.write().unwrap();
        target.write().unwrap();
        assert_eq!(target.cc(), home.path().join("toolchains/aarch64-linux-gnu.2.28/zig-cc"));
        let says = |args: &[&str]| answer(Command::new(target.cc()).args(args)).unwrap().replace('\n', " ");
        for (args, zigs) in [
            (&["-c", "a b.c"][..], "-c a b.c"),
            (&["--target=aarch64-unknown-linux-gnu", "-O2"], "-O2"),
            (&["-march=armv8.2-a+sve+fp16"], "-mcpu=generic+sve+fullfp16"),
            (&["-march=armv8.2-a+sve+fullfp16"], "-mcpu=generic+sve+fullfp16"),
            (&["-march=armv8.2-a"], "-mcpu=generic"),
            (&["-march=armv7-a", "-marm"], "-marm"),
            (&["-march=rv64gc", "-mabi=lp64d"], "-mabi=lp64d"),
            (&["-mcpu=cortex-a55"], "-mcpu=cortex_a55"),
            (&["-march=x86-64-v3"], "-march=x86_64_v3"),
            (&["-Wl,--fix-cortex-a53-843419", "-Wl,--gc-sections"], "-Wl,--gc-sections"),
        ] {
            assert_eq!(says(args), format!("cc -target aarch64-linux-gnu.2.28 {zigs}"), "{args:?}");
        }
        assert_eq!(answer(Command::new(target.ar()).args(["cq", "x.a"])).unwrap(), "ar\ncq\nx.a");
    }
}
