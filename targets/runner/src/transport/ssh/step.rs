//! One step on the board: a short script with a deadline on both sides.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::error::RunnerError;
use crate::process::{self, RunError};

use super::client::Client;
use super::failure;
use super::frame::{Bytes, Ended, Frames, Heard};
use super::quote::{join, quote};

/// Runs a program on the board with a deadline; the text is the documentation.
pub(crate) const RUN: &str = include_str!("run.sh");
/// Before it in a step: what ssh brings is the program's input, and programs speak English.
const BEFORE_RUN: &str = "export LC_ALL=C\nexec 3<&0 </dev/null\n";

/// A script for the board's `sh` (POSIX, and what busybox has) and its arguments `$1`, `$2`, …
pub(crate) struct Step<'a> {
    /// What it is, for messages.
    pub what: &'a str,
    pub script: &'a str,
    pub args: &'a [&'a OsStr],
    /// Longest it may take on the board.
    pub deadline: Duration,
}

/// How a step ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub status: i32,
    /// The last lines of its error output.
    pub log: String,
}

/// The line for a login shell that runs `script` in `sh`.
pub(crate) fn shell_line<'a>(script: &'a str, args: impl Iterator<Item = &'a OsStr>) -> OsString {
    let words = [OsStr::new(script), OsStr::new("limbeck")];
    let mut line = OsString::from("exec sh -c ");
    line.push(join(words.into_iter().chain(args), quote));
    line
}

/// Seconds for a watchdog on the board; never 0, which would end at once.
pub(crate) fn seconds(deadline: Duration) -> String {
    deadline.as_secs_f64().ceil().max(1.0).to_string()
}

impl Client {
    /// Run a step with `input`, giving on its output as it comes.
    pub(crate) fn run(&self, step: &Step<'_>, input: Stdio, give: &mut dyn FnMut(&[u8])) -> Result<Ran, RunnerError> {
        let mut frames = Frames::new();
        let (nonce, limit) = (frames.nonce().to_owned(), seconds(step.deadline));
        let before = [&nonce, &limit, "/", "sh", "-c", step.script, "limbeck"].map(OsStr::new);
        let line = shell_line(&format!("{BEFORE_RUN}{RUN}"), before.into_iter().chain(step.args.iter().copied()));
        let mut command = self.command(&line)?;
        command.stdin(input);
        let (mut bytes, mut ended) = (Bytes::default(), None);
        let deadline = step.deadline + self.limits.grace;
        let result = process::run_bytes(&mut command, deadline, |_| {}, &mut |piece| match frames.hear(piece) {
            Heard::Content => bytes.content(piece, &mut *give),
            Heard::End(how) => ended = Some(how),
            Heard::Noise | Heard::Begin | Heard::Held => {}
        });
        let timeout = || RunnerError::Timeout { what: step.what.to_owned(), after_s: step.deadline.as_secs_f64() };
        match (result, ended) {
            (Err(RunError::Interrupted), _) => Err(RunnerError::Interrupted),
            (Err(RunError::Spawn(e)), _) => Err(self.no_client(&e)),
            // It said that it ended. Whatever keeps the connection open is none of it.
            (result, Some(Ended::By(status))) => {
                let log = result.map(|output| output.stderr_tail).unwrap_or_default();
                Ok(Ran { status, log: without_nonce(&log, &nonce) })
            }
            (_, Some(Ended::Timeout)) | (Err(RunError::Timeout), _) => Err(timeout()),
            (Ok(output), _) if !frames.has_begun() => Err(failure::no_answer(self, output.status, &output.stderr_tail)),
            (Ok(output), _) => Err(failure::lost(self, step.what, &output.stderr_tail)),
        }
    }

    /// Run a step that says something and needs no input; its exit code and what it printed.
    pub(crate) fn ask(&self, step: &Step<'_>) -> Result<(i32, String), RunnerError> {
        let mut said = Vec::new();
        let ran = self.run(step, Stdio::null(), &mut |bytes| said.extend_from_slice(bytes))?;
        let mut said = String::from_utf8_lossy(&said).into_owned();
        if ran.status != 0 && said.trim().is_empty() {
            said = ran.log;
        }
        Ok((ran.status, said))
    }

    /// The same for a step that does something to `path` and must succeed; what it printed.
    pub(crate) fn act(&self, path: &Path, doing: &'static str, step: &Step<'_>) -> Result<String, RunnerError> {
        match self.ask(step)? {
            (0, said) => Ok(said),
            (status, said) if said.trim().is_empty() => {
                Err(failure::refused(path, doing, &crate::error::ending(status)))
            }
            (_, said) => Err(failure::refused(path, doing, &said)),
        }
    }

    /// ssh itself did not start.
    pub(crate) fn no_client(&self, e: &std::io::Error) -> RunnerError {
        let what = format!("the OpenSSH client ({e})");
        RunnerError::MissingTool { what, fix: "sudo apt-get install -y openssh-client".into() }
    }
}

/// An error output without the line that ends it.
pub(crate) fn without_nonce(log: &str, nonce: &str) -> String {
    log.replace(nonce, "").trim_end().to_owned()
}
