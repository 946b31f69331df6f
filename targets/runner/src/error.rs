//! What can go wrong between here and the board, and the exit code each has.

use std::path::PathBuf;

use limbeck_boards::BoardError;
use limbeck_files::FileError;

/// Why the agent was not built, installed or run.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// There is no such board, or its file is wrong.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// A program on this machine is missing.
    #[error("{what} is missing; get it with: {fix}")]
    MissingTool {
        /// The program or target.
        what: String,
        /// One command that installs it.
        fix: String,
    },
    /// cargo failed.
    #[error("building the agent failed: {command}\n{tail}")]
    Build {
        /// The command, as one could type it.
        command: String,
        /// The last lines of its error output.
        tail: String,
    },
    /// The program built is not one that the board can start.
    #[error("{}: not a program for board `{board}`: {why}", path.display())]
    WrongProgram {
        /// The program.
        path: PathBuf,
        /// The board.
        board: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The board cannot take or start the agent.
    #[error("{}: the device refuses: {why}; {fix}", folder.display())]
    DeviceRefused {
        /// Folder on the board.
        folder: PathBuf,
        /// What it refuses.
        why: String,
        /// The way out.
        fix: String,
    },
    /// The board takes bundles of another key, or newer ones only.
    #[error("{}: the board does not take it: {why}", folder.display())]
    Untrusted {
        /// Folder on the board.
        folder: PathBuf,
        /// What it asks for.
        why: String,
    },
    /// Another limbeck uses the board.
    #[error("{}: the board is in use by {holder}; wait for it or stop it", lock.display())]
    Busy {
        /// The lock file.
        lock: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// Nothing was installed on the board yet.
    #[error("{}: nothing {what}; deploy a bundle first", folder.display())]
    NotInstalled {
        /// Folder on the board.
        folder: PathBuf,
        /// "installed", or "to roll back to".
        what: &'static str,
    },
    /// A copy on the board differs from the file here.
    #[error("{}: the copy on the board is damaged (sha256 {found}, not {expected}); deploy again", path.display())]
    DamagedCopy {
        /// File on the board.
        path: PathBuf,
        /// Hash of the original.
        expected: String,
        /// Hash of the copy.
        found: String,
    },
    /// The board does not answer, or the connection was lost.
    #[error("board `{board}` at {host}: {why}; is it on, and does `ssh {host} true` work?")]
    Unreachable {
        /// The board.
        board: String,
        /// User, host and port.
        host: String,
        /// What ssh said.
        why: String,
    },
    /// The board answers and does not let us in.
    #[error("board `{board}` at {host}: login refused: {why}; let a key in with: ssh-copy-id {host}")]
    NotLetIn {
        /// The board.
        board: String,
        /// User, host and port.
        host: String,
        /// What ssh said.
        why: String,
    },
    /// Nobody has said yet which key the board has.
    #[error(
        "board `{board}` at {host}: its host key is not known yet; look at it and store it with: limbeck board probe {board}"
    )]
    HostKeyUnknown {
        /// The board.
        board: String,
        /// User, host and port.
        host: String,
    },
    /// Another host key than the stored one: another machine, or a board that was set up anew.
    #[error(
        "board `{board}` at {host}: its host key has changed: it offers {offered}, stored is {stored}; somebody may be in \
         between. Only if the board was set up anew, forget the old key with: {forget}"
    )]
    HostKeyChanged {
        /// The board.
        board: String,
        /// User, host and port.
        host: String,
        /// Fingerprint of the key that the board offers.
        offered: String,
        /// Fingerprints of the keys that are stored.
        stored: String,
        /// The command that forgets the old key.
        forget: String,
    },
    /// A step failed on the board.
    #[error("{}: {doing}: {why}", path.display())]
    Remote {
        /// File or folder on the board.
        path: PathBuf,
        /// What was being done to it.
        doing: &'static str,
        /// What the board's programs said.
        why: String,
    },
    /// A step took longer than it may; everything it started was killed.
    #[error("{what}: no end after {after_s} s, stopped; raise `timeout_s` of the board if it needs longer")]
    Timeout {
        /// The step.
        what: String,
        /// Its deadline.
        after_s: f64,
    },
    /// The agent ended with an exit code of its own.
    #[error("agent {verb}: {}{}", ending(*code), tail_after(stderr_tail))]
    Agent {
        /// What it was asked to do.
        verb: String,
        /// Its exit code; 128 + n for signal n.
        code: i32,
        /// The last lines of its log.
        stderr_tail: String,
    },
    /// The new install computes other integers on the board than on the host. It was not made current.
    #[error(
        "{}: the board computes something else than the host did (samples {samples:?} of the bundle), so the install before \
         stays current; rebuild the agent, and compare compilers and CPUs with `limbeck doctor`",
        folder.display()
    )]
    ProbesDiffer {
        /// The slot that was tried.
        folder: PathBuf,
        /// The bundle's samples on which they differ.
        samples: Vec<u64>,
    },
    /// The agent's output is not what this version understands.
    #[error("agent {verb}: {why}: `{line}`; deploy again, so that agent and limbeck are of one version")]
    Protocol {
        /// What it was asked to do.
        verb: String,
        /// What is wrong.
        why: &'static str,
        /// The line.
        line: String,
    },
    /// [`interrupt`](crate::interrupt) was called.
    #[error("interrupted")]
    Interrupted,
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl RunnerError {
    /// The exit code of a program that ends with this error: 1 internal, 2 usage, 3 other integers, 6 unreachable or timeout, 7 host key
    /// refused, 8 device refused, 130 interrupted; the agent's own codes pass through.
    pub fn exit_code(&self) -> i32 {
        match self {
            RunnerError::Board(_) | RunnerError::NotInstalled { .. } => 2,
            RunnerError::Busy { .. }
            | RunnerError::Timeout { .. }
            | RunnerError::Unreachable { .. }
            | RunnerError::NotLetIn { .. } => 6,
            RunnerError::HostKeyUnknown { .. } | RunnerError::HostKeyChanged { .. } | RunnerError::Untrusted { .. } => {
                7
            }
            RunnerError::WrongProgram { .. } | RunnerError::DeviceRefused { .. } => 8,
            RunnerError::File(file) if file.is_full_disk() => 8,
            RunnerError::Agent { code: code @ 1..=10, .. } => *code,
            RunnerError::ProbesDiffer { .. } => 3,
            RunnerError::Interrupted => 130,
            RunnerError::MissingTool { .. }
            | RunnerError::Build { .. }
            | RunnerError::DamagedCopy { .. }
            | RunnerError::Agent { .. }
            | RunnerError::Protocol { .. }
            | RunnerError::Remote { .. }
            | RunnerError::File(_) => 1,
        }
    }
}

/// How a process ended, in words.
pub(crate) fn ending(code: i32) -> String {
    match code {
        132 => "killed by signal 4: an instruction that this CPU does not have".to_owned(),
        137 => "killed by signal 9: out of memory, or killed by hand".to_owned(),
        129.. => format!("killed by signal {}", code - 128),
        code => format!("exit code {code}"),
    }
}

pub(crate) fn tail_after(stderr_tail: &str) -> String {
    match stderr_tail.trim() {
        "" => String::new(),
        tail => format!(": {tail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_table() {
        let agent = |code| RunnerError::Agent { verb: "bench".into(), code, stderr_tail: String::new() };
        let timeout = RunnerError::Timeout { what: "agent bench".into(), after_s: 1.0 };
        let refused = RunnerError::DeviceRefused { folder: "/w".into(), why: "full".into(), fix: "make room".into() };
        assert_eq!((timeout.exit_code(), refused.exit_code()), (6, 8));
        for code in 1..=10 {
            assert_eq!(agent(code).exit_code(), code);
        }
        assert_eq!((agent(101).exit_code(), agent(139).exit_code(), agent(0).exit_code()), (1, 1, 1));
        assert_eq!(RunnerError::Interrupted.exit_code(), 130);
        assert!(agent(132).to_string().contains("instruction"), "{}", agent(132));
    }
}
