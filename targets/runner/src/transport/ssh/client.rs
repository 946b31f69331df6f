//! The system's OpenSSH client: what it is told, and how a connection is shared.
//!
//! - It asks nothing (`BatchMode`) and gives up by itself (`ConnectTimeout`, `ServerAliveInterval`).
//! - Host keys lie in a file of limbeck's own, under a name made from the board's, and a key that is not there is refused.
//!   Only [`trust`](super::trust) puts one in.
//! - All steps of a process share one connection through a socket in a private folder, closed when the transport is dropped.
//! - The user's own configuration is read: addresses, jump hosts and keys may stand there. What stands on our command line wins.
//!
//! Options: ssh(1), ssh_config(5).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use limbeck_boards::{Board, Transport as Way};
use limbeck_files::FileError;

use crate::error::RunnerError;
use crate::toolchain::find_program;

/// Longest path of a socket, from `sockaddr_un` on macOS, the smallest of those that ssh runs on, less the 17 bytes that ssh
/// appends while it binds and a final zero.
const MAX_SOCKET_PATH: usize = 104 - 17 - 1;
/// How long a shared connection may stay when we were killed and could not close it, in seconds.
const PERSIST_S: u32 = 60;

/// Where the OpenSSH client is, and limbeck's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshClient {
    /// The program `ssh`.
    pub program: PathBuf,
    /// Limbeck's folder of this user; `known_hosts` lies in it.
    pub home: PathBuf,
}

impl SshClient {
    /// `ssh` in PATH and the folder of `LIMBECK_HOME`.
    pub fn of_this_user() -> Result<SshClient, RunnerError> {
        let program = find_program("ssh", std::env::var_os("PATH").as_deref()).ok_or_else(|| {
            RunnerError::MissingTool { what: "ssh".into(), fix: "sudo apt-get install -y openssh-client".into() }
        })?;
        let home = limbeck_boards::limbeck_home().ok_or_else(|| RunnerError::DeviceRefused {
            folder: "known_hosts".into(),
            why: "there is no home folder to keep the keys of boards in".into(),
            fix: "set HOME or LIMBECK_HOME".into(),
        })?;
        Ok(SshClient { program, home })
    }
}

/// How long steps may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A step that copies nothing.
    pub step: Duration,
    /// How much later than the board this machine gives up: connecting takes time, too.
    pub grace: Duration,
}

/// ssh to one board.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    ssh: SshClient,
    pub(crate) board: String,
    host: String,
    user: Option<String>,
    port: Option<u16>,
    identity: Option<String>,
    /// Socket of the shared connection; `None`: each step connects anew.
    control: Option<PathBuf>,
    pub(crate) limits: Limits,
}

impl Client {
    pub(crate) fn new(board: &Board, ssh: SshClient) -> Result<Client, RunnerError> {
        let host = board.ssh_host()?.unwrap_or_default().to_owned();
        let (user, port, identity) = match &board.transport {
            Way::Ssh { user, port, identity, .. } => (user.clone(), *port, identity.clone()),
            Way::Local | Way::Exec { .. } => (None, None, None),
        };
        limbeck_files::create_dir(&ssh.home)?;
        let control = socket(&socket_name(&board.name));
        let limits = Limits { step: Duration::from_secs(30), grace: Duration::from_secs(20) };
        Ok(Client { ssh, board: board.name.clone(), host, user, port, identity, control, limits })
    }

    /// The file with the keys of boards.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        known_hosts(&self.ssh.home)
    }

    /// Where the board is, for people: `user@host port 22`.
    pub(crate) fn place(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(" port {port}")).unwrap_or_default();
        format!("{user}{}{port}", self.host)
    }

    /// The command that runs `line` in a shell on the board.
    pub(crate) fn command(&self, line: &OsStr) -> Result<Command, RunnerError> {
        let mut command = self.connecting(&self.known_hosts(), "yes")?;
        match &self.control {
            Some(socket) => {
                command.arg("-o").arg(option("ControlPath", socket)?);
                command.args(["-o", "ControlMaster=auto", "-o", &format!("ControlPersist={PERSIST_S}")]);
            }
            None => _ = command.args(["-o", "ControlPath=none", "-o", "ControlMaster=no"]),
        }
        command.arg("--").arg(&self.host).arg(line);
        Ok(command)
    }

    /// The command that connects, whatever key the board has, writes the key to `file` and goes no further.
    pub(crate) fn key_fetch(&self, file: &Path) -> Result<Command, RunnerError> {
        let mut command = self.connecting(file, "accept-new")?;
        command.args(["-o", "ControlPath=none", "-o", "ControlMaster=no", "-o", "PreferredAuthentications=none"]);
        command.args(["--", &self.host, "exit"]).stdin(Stdio::null());
        Ok(command)
    }

    /// End the shared connection.
    pub(crate) fn disconnect(&self) {
        let Some(socket) = self.control.as_ref().filter(|socket| socket.exists()) else { return };
        let Ok(path) = option("ControlPath", socket) else { return };
        let mut command = Command::new(&self.ssh.program);
        command.args(["-O", "exit", "-o"]).arg(path).args(["--", &self.host]).stdin(Stdio::null());
        // It would end by itself after `PERSIST_S`.
        if let Err(e) = crate::process::run(&mut command, Duration::from_secs(5), |_| {}, &mut |_| {}) {
            log::debug!("closing the connection to {}: {e:?}", self.place());
        }
    }

    /// Socket of the shared connection.
    #[cfg(test)]
    pub(crate) fn control(&self) -> Option<&Path> {
        self.control.as_deref()
    }

    /// ssh with all options but those of sharing.
    fn connecting(&self, known_hosts: &Path, strict: &str) -> Result<Command, RunnerError> {
        let mut command = Command::new(&self.ssh.program);
        command.arg("-T").arg("-o").arg(option("UserKnownHostsFile", known_hosts)?);
        let options = [
            &format!("StrictHostKeyChecking={strict}"),
            &format!("HostKeyAlias={}", host_key_alias(&self.board)),
            "GlobalKnownHostsFile=/dev/null",
            // Older clients do not know it, and need not.
            "IgnoreUnknown=KnownHostsCommand",
            "KnownHostsCommand=none",
            "HashKnownHosts=no",
            "UpdateHostKeys=no",
            "CheckHostIP=no",
            "VerifyHostKeyDNS=no",
            "BatchMode=yes",
            "ConnectTimeout=10",
            "ServerAliveInterval=30",
            "ServerAliveCountMax=3",
            "LogLevel=ERROR",
            "RemoteCommand=none",
            "PermitLocalCommand=no",
            "ForwardAgent=no",
            "ForwardX11=no",
            "ClearAllForwardings=yes",
        ];
        options.iter().for_each(|option| _ = command.args(["-o", *option]));
        if let Some(identity) = &self.identity {
            command.args(["-o", "IdentitiesOnly=yes", "-i", identity]);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        Ok(command)
    }
}

/// The file with the keys of boards.
pub(crate) fn known_hosts(home: &Path) -> PathBuf {
    home.join("known_hosts")
}

/// The name under which a board's key is kept: boards change their addresses.
pub(crate) fn host_key_alias(board: &str) -> String {
    format!("limbeck-{board}")
}

/// `Name="path"`, with what ssh would expand written so that it does not.
fn option(name: &str, path: &Path) -> Result<OsString, RunnerError> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|b| matches!(b, b'"' | b'\\' | b'$' | b'\n')) {
        return Err(RunnerError::DeviceRefused {
            folder: path.to_owned(),
            why: "ssh cannot use a path with a quotation mark, a backslash, a dollar sign or a line break".into(),
            fix: "set LIMBECK_HOME to another folder".into(),
        });
    }
    let mut text = OsString::from(format!("{name}=\""));
    for (i, part) in bytes.split(|b| *b == b'%').enumerate() {
        text.push(if i > 0 { "%%" } else { "" });
        text.push(OsStr::from_bytes(part));
    }
    text.push("\"");
    Ok(text)
}

/// One socket a board and transport: closing it disturbs nobody else.
fn socket_name(board: &str) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let (board, number) = (limbeck_files::sha256_hex(board.as_bytes()), MADE.fetch_add(1, Ordering::Relaxed));
    format!("{}-{}-{number}", &board[..8], std::process::id())
}

/// A socket of this name in a folder in which nobody else can put one; `None` when there is none.
fn socket(name: &str) -> Option<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let is_private = |dir: &PathBuf| {
        // It is there already, or it is looked at closely.
        let _ = std::fs::DirBuilder::new().mode(0o700).create(dir);
        std::fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == user && meta.mode() & 0o077 == 0)
    };
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    [runtime, Some(std::env::temp_dir()), Some("/tmp".into())]
        .into_iter()
        .flatten()
        .filter(|base| base.is_absolute())
        .map(|base| base.join(format!("limbeck-{user}")))
        .filter(|dir| dir.as_os_str().len() + 1 + name.len() <= MAX_SOCKET_PATH)
        .find(is_private)
        .map(|dir| dir.join(name))
}

/// What went wrong with a file on this machine.
pub(crate) fn here<'a>(path: &'a Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> FileError + 'a {
    move |source| FileError { path: path.to_owned(), doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_lies_in_a_private_folder_and_has_a_short_path() {
        let path = socket(&socket_name("a board")).unwrap();
        assert!(path.as_os_str().len() <= MAX_SOCKET_PATH);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_ne!(path.file_name().unwrap().to_str().unwrap(), socket_name("a board"));
        assert_eq!(socket(&"x".repeat(100)), None);
    }

    #[test]
    fn paths_reach_ssh_as_they_are_or_not_at_all() {
        assert_eq!(option("A", Path::new("/a b/100%/%h")).unwrap(), "A=\"/a b/100%%/%%h\"");
        for bad in ["/a\"b", "/${HOME}", "/a\nb", "/a\\"] {
            assert_eq!(option("A", Path::new(bad)).unwrap_err().exit_code(), 8, "{bad:?}");
        }
    }
}
