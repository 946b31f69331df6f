//! This machine as the builder: its environment, and the programs in it.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the environment of this process says; a value, so that tests can have another one.
pub(crate) struct HostEnv<'a> {
    /// An environment variable.
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
}

impl HostEnv<'_> {
    /// A variable; an empty one is an unset one.
    pub(crate) fn set(&self, variable: &str) -> Option<OsString> {
        (self.var)(variable).filter(|value| !value.is_empty())
    }

    pub(crate) fn path(&self) -> Option<OsString> {
        (self.var)("PATH")
    }

    /// cargo: the one that started us, or the one in PATH.
    pub(crate) fn cargo(&self) -> OsString {
        self.set("CARGO").unwrap_or_else(|| "cargo".into())
    }

    /// Limbeck's folder: `$LIMBECK_HOME`, or `~/.limbeck`; `None` without a home folder.
    pub(crate) fn limbeck_home(&self) -> Option<PathBuf> {
        let below_home = || Some(PathBuf::from(self.set("HOME")?).join(".limbeck"));
        self.set("LIMBECK_HOME").map(PathBuf::from).or_else(below_home).and_then(|home| std::path::absolute(home).ok())
    }

    /// A program in PATH, or at its path.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        find_program(program, self.path().as_deref())
    }

    /// What rustc answers in `dir`; `None` when it fails or says nothing.
    pub(crate) fn rustc_says(&self, dir: &Path, args: &[&str]) -> Option<String> {
        let rustc = self.set("RUSTC").unwrap_or_else(|| "rustc".into());
        answer(Command::new(rustc).args(args).current_dir(dir))
    }
}

/// What a command prints; `None` when it fails or prints nothing.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The executable file that `program` names: itself when it has a `/`, or the first in `path`.
pub(crate) fn find_program(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.is_empty() {
        return None;
    }
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|file| is_executable(file));
    }
    std::env::split_paths(path?).map(|dir| dir.join(program)).find(|file| is_executable(file))
}

pub(crate) fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A folder of programs that are shell scripts, as the value of PATH.
    pub(crate) struct FakePath(tempfile::TempDir);

    impl FakePath {
        /// Names and the scripts' lines.
        pub(crate) fn of(programs: &[(&str, &str)]) -> FakePath {
            let dir = tempfile::tempdir().unwrap();
            for (name, script) in programs {
                let file = dir.path().join(name);
                std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            FakePath(dir)
        }

        pub(crate) fn as_os_str(&self) -> &OsStr {
            self.0.path().as_os_str()
        }

        pub(crate) fn path(&self) -> &Path {
            self.0.path()
        }
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

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        let var = |name: &str| match name {
            "LIMBECK_HOME" | "CARGO" => Some(OsString::new()),
            "HOME" => Some("/home/me".into()),
            _ => None,
        };
        let host = HostEnv { var: &var };
        assert_eq!((host.cargo(), host.limbeck_home()), ("cargo".into(), Some("/home/me/.limbeck".into())));
    }
}
