//! The guest program (`targets/guest`): built as the agent is, run on this machine or on an emulated CPU.
//!
//! For an emulated CPU by profile `dist` and the flags of the agent, so the kernels are those that ship; without tract that takes
//! seconds. For this machine, where nothing is counted, by the profile of the tests, which has compiled most of it.
//!
//! An emulated CPU gets a `/proc/cpuinfo` of its own (`tests/instructions/cpuinfo.<cpu>`). Otherwise the guest would read the
//! host's, which is an x86's: HWCAP is right all the same, but whatever parses the file takes the wrong kernels or dies.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::limbeck::{Ended, build, started_in};

/// For what the guest is compiled, and with what it runs.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    triple: &'static str,
    linker: &'static str,
    /// Debian package of the linker; `None` where it is part of the Rust toolchain.
    linker_package: Option<&'static str>,
    emulator: &'static str,
    flags: &'static str,
}

/// As `targets/runner` builds the agent: static musl, linked by the toolchain's own lld.
const AARCH64: Target = Target {
    triple: "aarch64-unknown-linux-musl",
    linker: "rust-lld",
    linker_package: None,
    emulator: "qemu-aarch64",
    flags: "-C target-feature=+crt-static -C link-arg=--icf=safe",
};

/// 32-bit boards, static glibc.
const ARMV7: Target = Target {
    triple: "armv7-unknown-linux-gnueabihf",
    linker: "arm-linux-gnueabihf-gcc",
    linker_package: Some("gcc-arm-linux-gnueabihf"),
    emulator: "qemu-arm",
    flags: "-C target-feature=+crt-static",
};

/// An emulated CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// As the emulator's `-cpu` names it.
    pub name: &'static str,
    target: &'static Target,
}

/// CPUs that instructions are counted on: boards in the field have them (Raspberry Pi 3, 4, 5).
pub const COUNTED: [Cpu; 3] = [aarch64("cortex-a53"), aarch64("cortex-a72"), aarch64("cortex-a76")];

/// CPUs that integers are compared on: those, everything the emulator knows (i8mm among it), and a 32-bit one.
pub const COMPARED: [Cpu; 5] =
    [COUNTED[0], COUNTED[1], COUNTED[2], aarch64("max"), Cpu { name: "cortex-a7", target: &ARMV7 }];

const fn aarch64(name: &'static str) -> Cpu {
    Cpu { name, target: &AARCH64 }
}

impl Cpu {
    /// What this machine lacks to build for this CPU and emulate it, with the command that gets it.
    pub fn missing(&self) -> Option<String> {
        let Target { triple, linker, linker_package, emulator, .. } = self.target;
        let says = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        if says(emulator, &["--version"]).is_none() {
            return Some(format!("{emulator} is missing; get it with: apt-get install qemu-user"));
        }
        let libraries = says("rustc", &["--print", "target-libdir", "--target", triple]);
        if !libraries.is_some_and(|folder| Path::new(&folder).is_dir()) {
            return Some(format!("Rust target {triple} is missing; get it with: rustup target add {triple}"));
        }
        let package = linker_package.filter(|_| says(linker, &["--version"]).is_none())?;
        Some(format!("{linker} is missing; get it with: apt-get install {package}"))
    }
}

/// The guest program, ready to run somewhere.
pub struct Guest {
    program: PathBuf,
    cpu: Option<Cpu>,
    /// Working folder, and below `root` what the guest finds in the place of `/`.
    folder: tempfile::TempDir,
}

/// What one run of the guest said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Kernel path that was taken.
    pub path: String,
    /// Integers computed in one inference.
    pub integers: u64,
    /// Their digest, 32 hex digits.
    pub digest: String,
}

impl Guest {
    /// On this machine, natively.
    pub fn here() -> Guest {
        Guest::new(None)
    }

    /// On an emulated CPU; see [`Cpu::missing`] first.
    pub fn on(cpu: Cpu) -> Guest {
        Guest::new(Some(cpu))
    }

    fn new(cpu: Option<Cpu>) -> Guest {
        let mut args = vec![];
        let mut env = vec![];
        if let Some(Cpu { target: Target { triple, linker, flags, .. }, .. }) = cpu {
            args.extend(["--profile", "dist", "--target", triple]);
            let variable =
                |what: &str| format!("CARGO_TARGET_{}_{what}", triple.to_uppercase().replace(['-', '.'], "_"));
            env.push((variable("LINKER"), (*linker).to_owned()));
            env.push((variable("RUSTFLAGS"), (*flags).to_owned()));
        }
        let program = build("limbeck-guest", "limbeck-guest", &args, &env);
        let folder = tempfile::tempdir().expect("a temporary folder");
        if let Some(cpu) = cpu {
            write_root(cpu, &folder.path().join("root"));
        }
        Guest { program, cpu, folder }
    }

    /// The kernel paths there are, slowest first.
    pub fn paths(&self) -> Vec<String> {
        let ended = Ended::of(&mut self.command(&[], &[])).expect(0, &[]);
        ended.stdout.lines().filter_map(|line| line.strip_prefix("path ")).map(str::to_owned).collect()
    }

    /// Runs the kernels' suite on every path; the paths whose kernels all met their references.
    ///
    /// # Panics
    /// With what the guest says, when a kernel did not.
    pub fn suite(&self) -> Vec<String> {
        let ended = Ended::of(&mut self.command(&[], &["suite"])).expect(0, &[]);
        ended.stdout.lines().filter_map(|line| line.strip_prefix("met ")).map(str::to_owned).collect()
    }

    /// One hashed inference of `plan`, by the kernel path that `isa` names or the fastest.
    pub fn run(&self, plan: &[u8], isa: Option<&str>) -> Ran {
        self.start(&[], plan, 0, isa)
    }

    /// The same, and `runs` more between markers, seen by a plugin of the emulator.
    pub fn run_with_plugin(&self, plugin: &str, plan: &[u8], runs: usize) -> Ran {
        self.start(&["-plugin", plugin], plan, runs, None)
    }

    /// Asked for the kernel path `isa`, it fails and says `says`.
    ///
    /// # Panics
    /// When it does not.
    pub fn refuses_path(&self, isa: &str, says: &str) {
        Ended::of(self.command(&[], &[]).env("LIMBECK_ISA", isa)).expect(1, &[says]);
    }

    /// Does the emulator load this plugin?
    ///
    /// # Errors
    /// What it says where it does not.
    pub fn accepts_plugin(&self, plugin: &str) -> Result<(), String> {
        let ended = Ended::of(&mut self.command(&["-plugin", plugin], &[]));
        let version = self.cpu.map_or_else(String::new, |cpu| version(cpu.target.emulator));
        if ended.code == Some(0) { Ok(()) } else { Err(format!("{version}: {}", ended.stderr.trim())) }
    }

    fn start(&self, emulator_args: &[&str], plan: &[u8], runs: usize, isa: Option<&str>) -> Ran {
        let file = self.folder.path().join("plan");
        std::fs::write(&file, plan).expect("a plan in a temporary folder");
        let mut command = self.command(emulator_args, &["plan", &runs.to_string()]);
        if let Some(isa) = isa {
            command.env("LIMBECK_ISA", isa);
        }
        let Ended { stdout, .. } = Ended::of(&mut command).expect(0, &[]);
        let said = |what: &str| {
            let line = stdout.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("the guest said no {what}:\n{stdout}")).to_owned()
        };
        Ran { path: said("path"), integers: said("integers").parse().expect("a number"), digest: said("digest") }
    }

    fn command(&self, emulator_args: &[&str], args: &[&str]) -> Command {
        let program = self.program.to_str().expect("a path in UTF-8");
        let mut command = match self.cpu {
            None => started_in(self.folder.path(), &self.program, args),
            Some(cpu) => {
                let emulated = ["-L", "root", "-cpu", cpu.name];
                let words = [&emulated, emulator_args, &[program], args].concat();
                started_in(self.folder.path(), cpu.target.emulator.as_ref(), &words)
            }
        };
        command.env_remove("LIMBECK_ISA");
        command
    }
}

/// The first line of `program --version`.
pub fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().find(|line| line.contains("version") || line.contains(' ')).unwrap_or(program).trim().to_owned()
}

/// A folder that `-L` puts over the guest's `/`: one core of this kind.
fn write_root(cpu: Cpu, root: &Path) {
    let name = format!("cpuinfo.{}", cpu.name);
    let cpuinfo = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions").join(&name);
    let cpuinfo = std::fs::read(&cpuinfo).unwrap_or_else(|e| panic!("{}: {e}", cpuinfo.display()));
    let cpus = root.join("sys/devices/system/cpu");
    for folder in [&root.join("proc"), &cpus.join("cpu0")] {
        std::fs::create_dir_all(folder).expect("a temporary folder");
    }
    std::fs::write(root.join("proc/cpuinfo"), cpuinfo).expect("a temporary file");
    for file in ["possible", "present", "online", "kernel_max"] {
        std::fs::write(cpus.join(file), "0\n").expect("a temporary file");
    }
}
