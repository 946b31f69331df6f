//! The lock of a board behind ssh, and the programs that run under it.
//!
//! One shell on the board (`session.sh`) holds the lock as long as its standard input is open, and starts each program
//! with the locked file as its input: so an agent that locks the folder itself takes part in the lock, as on a local
//! board. When this process dies, the input ends, and the shell kills the program and goes. When the network dies, no
//! sign of life comes, with the same effect.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::RunnerError;
use crate::process::{Event, IDLE, Output, RunError, Running, Tail, is_interrupted, line_of};
use crate::transport::Job;

use super::client::Client;
use super::failure;
use super::frame::{Ended, Frames, Heard, Lines};
use super::quote::{join, quote_on_a_line};
use super::step::{RUN, seconds, shell_line, without_nonce};

const SESSION: &str = include_str!("session.sh");
/// From one sign of life to the next: rarely, something may be measured.
const BEAT: Duration = Duration::from_secs(60);
/// The board gives up after this many missed ones.
const MISSED_BEATS: u32 = 3;
/// How long the shell on the board may take to kill and go.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long the rest of an error output may take to arrive.
const REST: Duration = Duration::from_secs(1);

/// A shell on the board that holds its lock.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    lock: PathBuf,
    link: Mutex<Link>,
}

/// The connection to that shell.
#[derive(Debug)]
struct Link {
    running: Running,
    events: Receiver<Event>,
    input: Arc<Mutex<Option<ChildStdin>>>,
    beats: Option<(Sender<()>, JoinHandle<()>)>,
    log: Tail,
}

impl Session {
    /// Lock the folder `dir` of the board.
    pub(crate) fn open(client: &Client, dir: &Path) -> Result<Session, RunnerError> {
        let mut frames = Frames::new();
        let (who, silence) = (who(), (BEAT * MISSED_BEATS).as_secs().to_string());
        let args =
            [OsStr::new(frames.nonce()), dir.as_os_str(), OsStr::new(&who), OsStr::new(&silence), OsStr::new(RUN)];
        let mut command = client.command(&shell_line(&format!("export LC_ALL=C\n{SESSION}"), args.into_iter()))?;
        command.stdin(Stdio::piped());
        let running = Running::start(&mut command).map_err(|e| match e {
            RunError::Spawn(e) => client.no_client(&e),
            RunError::Timeout | RunError::Interrupted => RunnerError::Interrupted,
        })?;
        let mut link = Link::new(running);
        let (lock, mut said) = (dir.join("lock"), String::new());
        let deadline = Instant::now() + client.limits.step + client.limits.grace;
        loop {
            match link.next(deadline) {
                Next::Out(piece) => match frames.hear(&piece) {
                    Heard::Held => break,
                    Heard::Content => said += &String::from_utf8_lossy(&piece),
                    Heard::End(Ended::By(75)) => return Err(RunnerError::Busy { lock, holder: holder(&said) }),
                    Heard::End(_) => return Err(failure::refused(&lock, "lock", &said)),
                    Heard::Noise | Heard::Begin => {}
                },
                Next::Err => {}
                Next::Deadline => {
                    let what = format!("locking {} on {}", dir.display(), client.place());
                    return Err(RunnerError::Timeout { what, after_s: client.limits.step.as_secs_f64() });
                }
                Next::Gone if is_interrupted() => return Err(RunnerError::Interrupted),
                Next::Gone if frames.has_begun() => return Err(failure::lost(client, "lock", &link.log.text())),
                Next::Gone => {
                    let status = link.running.last_words();
                    return Err(failure::no_answer(client, status, &link.log.text()));
                }
            }
        }
        link.beat();
        Ok(Session { client: client.clone(), lock, link: Mutex::new(link) })
    }

    /// Run a program under the lock, behind `runner`.
    pub(crate) fn run(
        &self,
        job: &Job<'_>,
        runner: &[String],
        on_line: &mut dyn FnMut(&str),
    ) -> Result<Output, RunnerError> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let link = &mut *link;
        let mut frames = Frames::new();
        let (nonce, limit) = (frames.nonce().to_owned(), seconds(job.deadline));
        let before = [OsStr::new(&nonce), OsStr::new(&limit), job.dir.as_os_str()].into_iter();
        let program = runner.iter().map(OsStr::new).chain(job.argv.iter().map(OsString::as_os_str));
        let lost = |link: &mut Link| {
            // Nothing more can be said; that its input ends is the last that the board hears.
            link.close();
            match is_interrupted() {
                true => RunnerError::Interrupted,
                false => failure::lost(&self.client, job.what, &link.log.text()),
            }
        };
        link.log = Tail::default();
        link.say(&join(before.chain(program), quote_on_a_line)).map_err(|_| lost(link))?;

        let timeout = || RunnerError::Timeout { what: job.what.to_owned(), after_s: job.deadline.as_secs_f64() };
        // The board ends it at the deadline; this is for a board that does not.
        let deadline = Instant::now() + job.deadline + self.client.limits.grace;
        let mut lines = Lines::default();
        let ended = loop {
            match link.next(deadline) {
                Next::Out(piece) => match frames.hear(&piece) {
                    Heard::Content => lines.content(&line_of(&piece), on_line),
                    Heard::End(ended) => break ended,
                    Heard::Noise | Heard::Begin | Heard::Held => {}
                },
                Next::Err => {}
                Next::Deadline => {
                    link.close();
                    return Err(timeout());
                }
                Next::Gone => return Err(lost(link)),
            }
        };
        link.say(OsStr::new("done")).map_err(|_| lost(link))?;
        link.rest_of_log(&nonce);
        match ended {
            Ended::By(status) => {
                let stderr_tail = without_nonce(&link.log.text(), &nonce);
                Ok(Output { status, stdout: String::new(), stderr_tail })
            }
            Ended::Timeout => Err(timeout()),
            Ended::Stopped => Err(RunnerError::Interrupted),
        }
    }

    /// The lock file on the board.
    pub(crate) fn lock(&self) -> &Path {
        &self.lock
    }
}

/// What comes next from the board.
enum Next {
    Out(Vec<u8>),
    Err,
    Deadline,
    Gone,
}

impl Link {
    fn new(mut running: Running) -> Link {
        let input = Arc::new(Mutex::new(running.take_stdin()));
        Link { events: running.listen(), running, input, beats: None, log: Tail::default() }
    }

    fn next(&mut self, deadline: Instant) -> Next {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Asked before the wait: what ssh had still to say is in the queue by the end of it.
            let is_over = is_interrupted() || self.running.has_ended();
            match self.events.recv_timeout(left.min(IDLE)) {
                Ok(Event::Out(piece)) => return Next::Out(piece),
                Ok(Event::Err(piece)) => {
                    self.log.hear(&line_of(&piece));
                    return Next::Err;
                }
                Err(RecvTimeoutError::Disconnected) => return Next::Gone,
                // Others may hold the pipe of an ssh that has gone.
                Err(RecvTimeoutError::Timeout) if is_over => return Next::Gone,
                Err(RecvTimeoutError::Timeout) if left <= IDLE => return Next::Deadline,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Hear what the program has still to say on its error output, which ends with the nonce.
    fn rest_of_log(&mut self, nonce: &str) {
        let deadline = Instant::now() + REST;
        while !self.log.text().contains(nonce) {
            if !matches!(self.next(deadline), Next::Err | Next::Out(_)) {
                return;
            }
        }
    }

    fn say(&self, line: &OsStr) -> std::io::Result<()> {
        say(&self.input, line)
    }

    /// Give signs of life from now on.
    fn beat(&mut self) {
        let (stop, stopped) = channel();
        let input = self.input.clone();
        let beats = std::thread::spawn(move || {
            while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                if say(&input, OsStr::new("")).is_err() {
                    return;
                }
            }
        });
        self.beats = Some((stop, beats));
    }

    /// End the input of the shell on the board, and wait until it has gone: then the lock is free.
    fn close(&mut self) {
        if let Some((stop, beats)) = self.beats.take() {
            drop(stop);
            // It has nothing to report.
            let _ = beats.join();
        }
        *self.input.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let deadline = Instant::now() + FAREWELL;
        while !matches!(self.next(deadline), Next::Deadline | Next::Gone) {}
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

fn say(input: &Mutex<Option<ChildStdin>>, line: &OsStr) -> std::io::Result<()> {
    let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = input.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
    pipe.write_all(&[line.as_bytes(), b"\n"].concat())?;
    pipe.flush()
}

/// Who asks for the lock, in one word: this machine.
fn who() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if name.is_empty() { "elsewhere".to_owned() } else { name }
}

/// Who holds a lock, from its file.
pub(crate) fn holder(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("limbeck "));
    let mut words = line.unwrap_or_default().split_ascii_whitespace().skip(1);
    match (words.next(), words.next(), words.next()) {
        (Some(pid), _, Some(who)) => format!("limbeck on {who} (process {pid} on the board)"),
        (Some(pid), ..) => format!("process {pid} on the board"),
        _ => "another process on the board".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_named() {
        assert_eq!(holder("limbeck 12 345 laptop\n"), "limbeck on laptop (process 12 on the board)");
        assert_eq!(holder("limbeck 12 345\nagent 13\n"), "process 12 on the board");
        assert_eq!(holder(""), "another process on the board");
        assert!(!who().is_empty() && !who().contains(char::is_whitespace));
    }
}
