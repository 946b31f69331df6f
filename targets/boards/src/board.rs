//! A board and where to find it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::glibc::Glibc;
use crate::parse::BoardError;

/// Everything Limbeck has to know about a board.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Board {
    /// Name: that of its file.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Rust target; `host` in the file is resolved here.
    pub triple: String,
    /// First part of the triple.
    pub arch: String,
    /// How the agent is linked.
    pub libc: Libc,
    /// The oldest glibc that the agent must run with; only with [`Libc::Gnu`].
    pub glibc: Option<Glibc>,
    /// Core, as compilers name it. For people: kernels are chosen when the program starts.
    pub cpu: Option<String>,
    /// What `/proc/device-tree/model` begins with on such a board.
    pub model: Option<String>,
    /// CPU features that the board must have, as `/proc/cpuinfo` names them.
    pub features: Vec<String>,
    /// Memory of the board in MiB, for people and budgets; boards sold with several sizes have the smallest here.
    pub memory_mib: Option<u64>,
    /// CPUs to measure on, in the kernel's list syntax; [`parse_cpus`](crate::parse_cpus) gives the numbers.
    pub cpus: Option<String>,
    /// Frequency governor that a measurement asks for.
    pub governor: Option<String>,
    /// Temperature in °C above which a measurement is not valid.
    pub max_temp_c: Option<f64>,
    /// How files and commands get there.
    pub transport: Transport,
    /// Working folder on the board, as written: absolute, or `~/` and a path below the home folder of the user there.
    /// For boards that are this machine see [`Board::workdir_path`].
    pub workdir: String,
    /// Longest that one command on the board may take.
    pub timeout_s: u64,
}

/// How the agent is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Libc {
    /// Nothing is asked of the board: no loader, no library.
    Static,
    /// Against the C library of the board.
    Gnu,
}

/// How files and commands get to the board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The board is this machine.
    Local,
    /// This machine, each program behind an emulator.
    Exec {
        /// Emulator and its arguments.
        runner: Vec<String>,
    },
    /// Another machine, reached by the system's OpenSSH.
    Ssh {
        /// Name or address; `None` in the description of a kind of board, see [`Board::ssh_host`].
        host: Option<String>,
        /// User there; `None`: whom ssh's own configuration names.
        user: Option<String>,
        /// Port; `None`: what ssh's own configuration says, 22 if nothing.
        port: Option<u16>,
        /// Key file on this machine, absolute or below `~/`; `None`: what ssh finds by itself.
        identity: Option<String>,
        /// What stands before each program on the board; empty unless the board is emulated behind its ssh server.
        runner: Vec<String>,
    },
}

impl Board {
    /// Is the board's program the same as one built for this machine without a target?
    pub fn is_host_triple(&self) -> bool {
        self.triple == host_triple()
    }

    /// Do its programs run behind an emulator, here or there? Then its integers are facts, and its times are no board's.
    pub fn is_emulated(&self) -> bool {
        match &self.transport {
            Transport::Local => false,
            Transport::Exec { .. } => true,
            Transport::Ssh { runner, .. } => !runner.is_empty(),
        }
    }

    /// Where an ssh board is. `None` for a board on this machine; a description without address is an error.
    pub fn ssh_host(&self) -> Result<Option<&str>, BoardError> {
        match &self.transport {
            Transport::Local | Transport::Exec { .. } => Ok(None),
            Transport::Ssh { host: Some(host), .. } => Ok(Some(host)),
            Transport::Ssh { host: None, .. } => Err(BoardError::NoHost { board: self.name.clone() }),
        }
    }

    /// The working folder as an absolute path, of a board that is this machine; one behind ssh has another home folder,
    /// and is an error.
    ///
    /// Boards on this machine (local and exec) follow `LIMBECK_HOME`: `$LIMBECK_HOME/work/<name>`.
    pub fn workdir_path(&self) -> Result<PathBuf, BoardError> {
        self.workdir_below(env_path("LIMBECK_HOME"), env_path("HOME"))
    }

    fn workdir_below(&self, limbeck_home: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf, BoardError> {
        if let Transport::Ssh { .. } = &self.transport {
            return Err(BoardError::Elsewhere { board: self.name.clone(), workdir: self.workdir.clone() });
        }
        if let Some(limbeck_home) = limbeck_home {
            return Ok(limbeck_home.join("work").join(&self.name));
        }
        match (self.workdir.strip_prefix("~/"), home) {
            (None, _) => Ok(PathBuf::from(&self.workdir)),
            (Some(rest), Some(home)) => Ok(home.join(rest)),
            (Some(_), None) => Err(BoardError::NoHome { board: self.name.clone(), workdir: self.workdir.clone() }),
        }
    }
}

/// Limbeck's folder of this user: `$LIMBECK_HOME`, or `~/.limbeck`; `None` without a home folder.
pub fn limbeck_home() -> Option<PathBuf> {
    env_path("LIMBECK_HOME").or_else(|| Some(env_path("HOME")?.join(".limbeck")))
}

/// A folder named by an environment variable, made absolute; an empty variable is an unset one.
fn env_path(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable).filter(|v| !v.is_empty())?;
    std::path::absolute(value).ok()
}

/// The Rust target of the machine this program runs on.
pub fn host_triple() -> String {
    use std::env::consts::{ARCH, OS};
    let arch = match ARCH {
        "arm" => "armv7",
        "riscv64" => "riscv64gc",
        "x86" => "i686",
        arch => arch,
    };
    match OS {
        "linux" => {
            let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
            let float = if ARCH == "arm" { "eabihf" } else { "" };
            format!("{arch}-unknown-linux-{libc}{float}")
        }
        "macos" => format!("{arch}-apple-darwin"),
        "windows" => format!("{arch}-pc-windows-msvc"),
        os => format!("{arch}-unknown-{os}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_working_folder_follows_limbeck_home() {
        let board = Board::find_in("host", None).unwrap();
        let (limbeck, home) = (Some(PathBuf::from("/l")), Some(PathBuf::from("/home/me")));
        assert_eq!(board.workdir_below(limbeck, home.clone()).unwrap(), Path::new("/l/work/host"));
        assert_eq!(board.workdir_below(None, home).unwrap(), Path::new("/home/me/.limbeck/work/host"));
        let message = board.workdir_below(None, None).unwrap_err().to_string();
        assert!(message.contains("LIMBECK_HOME"), "{message}");
        let absolute = Board { workdir: "/var/lib/limbeck".into(), ..board };
        assert_eq!(absolute.workdir_below(None, None).unwrap(), Path::new("/var/lib/limbeck"));
    }

    #[test]
    fn a_board_behind_ssh_has_a_host_or_the_command_that_gives_it_one() {
        let ssh = |host: Option<&str>| {
            let host = host.map(str::to_owned);
            let transport = Transport::Ssh { host, user: None, port: None, identity: None, runner: Vec::new() };
            Board { name: "rpi4".into(), transport, ..Board::find_in("host", None).unwrap() }
        };
        assert_eq!(ssh(Some("pi.local")).ssh_host().unwrap(), Some("pi.local"));
        assert_eq!(Board::find_in("host", None).unwrap().ssh_host().unwrap(), None);
        let message = ssh(None).ssh_host().unwrap_err().to_string();
        assert!(message.ends_with("limbeck board add NAME --like rpi4 --host pi@192.168.1.20"), "{message}");
        let message = ssh(None).workdir_below(Some("/l".into()), None).unwrap_err().to_string();
        assert!(message.contains("on the board"), "{message}");
    }
}
