//! What it means when ssh or a step on the board fails.
//!
//! ssh exits with 255 for everything of its own. Its messages are in English on every system and have been stable since
//! OpenSSH 3: they tell a host key from a login from a network. They are looked at only where our own lines did not come.

use std::path::Path;

use crate::error::{RunnerError, ending, tail_after};

use super::client::{Client, host_key_alias};
use super::known_hosts;

/// ssh's messages when a login is refused.
const NOT_LET_IN: [&str; 3] =
    ["Permission denied (", "Too many authentication failures", "No supported authentication methods"];

/// Why nothing of ours came back at all: `status` is ssh's exit code, `log` what it printed.
pub(crate) fn no_answer(client: &Client, status: i32, log: &str) -> RunnerError {
    let (board, host) = (client.board.clone(), client.place());
    let last = || log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
    if log.contains("Host key verification failed") || log.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let stored = known_hosts::stored(&client.known_hosts(), &host_key_alias(&board)).unwrap_or_default();
        let offered = log.split_whitespace().find(|word| word.starts_with("SHA256:"));
        return match known_hosts::fingerprints(&stored) {
            stored if stored.is_empty() => RunnerError::HostKeyUnknown { board, host },
            stored => changed(client, &stored, offered.map(|f| f.trim_end_matches('.'))),
        };
    }
    if NOT_LET_IN.iter().any(|message| log.contains(message)) {
        return RunnerError::NotLetIn { board, host, why: last() };
    }
    let why = match (status, last()) {
        (255, why) if why.is_empty() => "ssh gives no reason".to_owned(),
        (255, why) => why,
        (status, why) => format!("its shell did not run our command ({}{})", ending(status), tail_after(&why)),
    };
    RunnerError::Unreachable { board, host, why }
}

/// The board offers another key than the one that was stored.
pub(crate) fn changed(client: &Client, stored: &str, offered: Option<&str>) -> RunnerError {
    let file = client.known_hosts();
    RunnerError::HostKeyChanged {
        board: client.board.clone(),
        host: client.place(),
        offered: offered.unwrap_or("an unknown one").to_owned(),
        stored: stored.to_owned(),
        forget: format!("ssh-keygen -R {} -f {}", host_key_alias(&client.board), file.display()),
    }
}

/// The connection ended while `what` ran.
pub(crate) fn lost(client: &Client, what: &str, log: &str) -> RunnerError {
    let why = format!("the connection was lost during `{what}`{}", tail_after(log));
    RunnerError::Unreachable { board: client.board.clone(), host: client.place(), why }
}

/// A step that ran on the board and failed, by what its programs printed (in English: they run with `LC_ALL=C`).
pub(crate) fn refused(path: &Path, doing: &'static str, text: &str) -> RunnerError {
    let says = |messages: &[&str]| messages.iter().any(|message| text.contains(message));
    let why = if says(&["No space left", "Disk quota exceeded", "Disc quota exceeded"]) {
        "it is full"
    } else if says(&["Permission denied", "Read-only file system", "Not a directory", "Operation not permitted"]) {
        "it is not writable"
    } else {
        return RunnerError::Remote { path: path.to_owned(), doing, why: text.trim().to_owned() };
    };
    RunnerError::DeviceRefused {
        folder: path.to_owned(),
        why: format!("cannot {doing}, {why} ({})", text.trim()),
        fix: "make room, or set `workdir` of the board to another folder".to_owned(),
    }
}
