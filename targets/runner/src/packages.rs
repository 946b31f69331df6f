//! The one command that gets a missing program, in the words of this system's package manager.

use std::ffi::OsStr;
use std::path::Path;

use crate::host::{HostEnv, find_program};

/// A package manager that we know the words of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    Apt,
    Dnf,
    Pacman,
    Zypper,
    Apk,
}

/// Something that systems pack under different names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Package {
    /// C compiler and linker for this machine's own programs.
    HostCompiler,
    /// Emulators that need no libraries of the emulated machine.
    StaticEmulators,
    /// Emulators that need them, and take plugins.
    Emulators,
    /// OpenSSH's client.
    Ssh,
}

impl Manager {
    /// The one whose program is in `path`; `None` when we know none of them.
    pub(crate) fn in_path(path: Option<&OsStr>) -> Option<Manager> {
        [
            ("apt-get", Manager::Apt),
            ("dnf", Manager::Dnf),
            ("pacman", Manager::Pacman),
            ("zypper", Manager::Zypper),
            ("apk", Manager::Apk),
        ]
        .into_iter()
        .find(|(program, _)| find_program(program, path).is_some())
        .map(|(_, manager)| manager)
    }

    fn name_of(self, package: Package) -> Option<&'static str> {
        use Manager::*;
        Some(match (package, self) {
            (Package::HostCompiler, Apt) => "gcc libc6-dev",
            (Package::HostCompiler, Apk) => "gcc musl-dev",
            (Package::HostCompiler, _) => "gcc",
            (Package::StaticEmulators, Apt | Dnf | Pacman) => "qemu-user-static",
            (Package::Emulators, Apt | Dnf | Pacman) => "qemu-user",
            (Package::StaticEmulators | Package::Emulators, Zypper) => "qemu-linux-user",
            (Package::StaticEmulators | Package::Emulators, Apk) => return None,
            (Package::Ssh, Apt | Apk) => "openssh-client",
            (Package::Ssh, Dnf | Zypper) => "openssh-clients",
            (Package::Ssh, Pacman) => "openssh",
        })
    }

    fn install(self, names: &str) -> String {
        match self {
            Manager::Apt => format!("sudo apt-get install -y {names}"),
            Manager::Dnf => format!("sudo dnf install -y {names}"),
            Manager::Pacman => format!("sudo pacman -S --needed {names}"),
            Manager::Zypper => format!("sudo zypper install -y {names}"),
            Manager::Apk => format!("sudo apk add {names}"),
        }
    }
}

/// The command that gets `package`; of a system that we do not know, Debian's, whose names people recognise.
pub(crate) fn fix(package: Package, path: Option<&OsStr>) -> String {
    let known = Manager::in_path(path).and_then(|manager| Some((manager, manager.name_of(package)?)));
    match known {
        Some((manager, names)) => manager.install(names),
        None => debian(Manager::Apt.name_of(package).unwrap_or_default()),
    }
}

/// The command that gets a package of Debian's.
pub(crate) fn debian(names: &str) -> String {
    Manager::Apt.install(names)
}

/// The command that gets zig. `--target`, because many systems forbid pip to touch their own Python (PEP 668), and into
/// limbeck's folder, where it is looked for.
pub(crate) fn zig_fix(host: &HostEnv<'_>) -> String {
    let folder = match (host.limbeck_home(), host.set("LIMBECK_HOME")) {
        (Some(home), Some(_)) => home.join("toolchains/zig").display().to_string(),
        _ => "~/.limbeck/toolchains/zig".to_owned(),
    };
    format!("python3 -m pip install --target {folder} ziglang")
}

/// The command that gets an emulator.
pub(crate) fn emulator_fix(program: &str) -> String {
    let path = std::env::var_os("PATH");
    let name = Path::new(program).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match name.as_str() {
        name if name.starts_with("qemu-") && name.ends_with("-static") => {
            fix(Package::StaticEmulators, path.as_deref())
        }
        name if name.starts_with("qemu-") => fix(Package::Emulators, path.as_deref()),
        name => debian(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::FakePath;

    #[test]
    fn each_manager_is_spoken_to_in_its_own_words() {
        for (program, words) in [
            ("apt-get", "sudo apt-get install -y qemu-user-static"),
            ("dnf", "sudo dnf install -y qemu-user-static"),
            ("pacman", "sudo pacman -S --needed qemu-user-static"),
            ("zypper", "sudo zypper install -y qemu-linux-user"),
            ("apk", "sudo apt-get install -y qemu-user-static"),
        ] {
            let path = FakePath::of(&[(program, "")]);
            assert_eq!(fix(Package::StaticEmulators, Some(path.as_os_str())), words);
        }
        assert_eq!(fix(Package::HostCompiler, None), "sudo apt-get install -y gcc libc6-dev");
    }
}
