//! Run a program with a deadline, line by line, and leave nothing of it behind.
//!
//! The program leads a process group of its own. When it ends, fails, overruns or is interrupted, the whole group is
//! killed before the leader is reaped: until then its number cannot be given to a stranger.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// A longer line is given on in pieces of this size.
const LINE_LIMIT: u64 = 1 << 20;
/// Lines of the error output that are kept for messages.
const TAIL_LINES: usize = 20;
/// How often to look for an end or an interrupt while the program is silent: rarely, it may be measuring.
pub(crate) const IDLE: Duration = Duration::from_millis(100);
/// How long the output of killed stragglers may take to arrive.
const GRACE: Duration = Duration::from_secs(1);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; 128 + n for signal n.
    pub status: i32,
    /// Standard output, where it was collected and not given on line by line.
    pub stdout: String,
    /// The last lines of standard error.
    pub stderr_tail: String,
}

/// Kill every program this crate runs now, and make later runs fail with
/// [`RunnerError::Interrupted`](crate::RunnerError::Interrupted).
///
/// For the Ctrl-C handler of a program (from a thread, as the crate `ctrlc` does it, not from a raw signal handler).
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
    for &group in GROUPS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        kill_group(group);
    }
}

pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Why a program did not end by itself.
#[derive(Debug)]
pub(crate) enum RunError {
    /// It never started.
    Spawn(std::io::Error),
    /// Its deadline passed.
    Timeout,
    /// [`interrupt`] was called.
    Interrupted,
}

/// Run `command` to its end and give on each line of its output. `started` learns the process group.
pub(crate) fn run(
    command: &mut Command,
    deadline: Duration,
    started: impl FnOnce(u32),
    on_line: &mut dyn FnMut(&str),
) -> Result<Output, RunError> {
    run_bytes(command, deadline, started, &mut |piece| on_line(&line_of(piece)))
}

/// The same, giving on the output as it is, in pieces that end at the latest where a line does.
pub(crate) fn run_bytes(
    command: &mut Command,
    deadline: Duration,
    started: impl FnOnce(u32),
    on_piece: &mut dyn FnMut(&[u8]),
) -> Result<Output, RunError> {
    let start = Instant::now();
    let mut running = Running::start(command)?;
    started(running.child.id());
    let events = running.listen();
    let mut tail = Tail::default();
    let mut take = |event: Event| match event {
        Event::Out(piece) => on_piece(&piece),
        Event::Err(piece) => tail.hear(&line_of(&piece)),
    };

    let mut looked = start;
    loop {
        let left = match deadline.checked_sub(start.elapsed()) {
            _ if is_interrupted() => return Err(RunError::Interrupted),
            None => return Err(RunError::Timeout),
            Some(left) => left,
        };
        let silent = match events.recv_timeout(left.min(IDLE)) {
            Ok(event) => {
                take(event);
                false
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => {
                // Both outputs are closed; the end is near.
                std::thread::sleep(Duration::from_millis(2));
                true
            }
        };
        if silent || looked.elapsed() > IDLE {
            looked = Instant::now();
            if running.has_ended() {
                break;
            }
        }
    }
    let status = running.finish_code();
    if is_interrupted() {
        // It ended because `interrupt` killed it.
        return Err(RunError::Interrupted);
    }
    let grace = Instant::now();
    while let Some(left) = GRACE.checked_sub(grace.elapsed()) {
        let Ok(event) = events.recv_timeout(left) else { break };
        take(event);
    }
    Ok(Output { status, stdout: String::new(), stderr_tail: tail.text() })
}

fn code_of(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1)
}

/// A child that leads a group; dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    /// Start a program in a group of its own.
    pub(crate) fn start(command: &mut Command) -> Result<Running, RunError> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut attempts = 0;
        let child = loop {
            if is_interrupted() {
                return Err(RunError::Interrupted);
            }
            match command.spawn() {
                // Another thread that forks at this moment holds our just-written program open for an instant.
                Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy && attempts < 100 => {
                    attempts += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(e) => return Err(RunError::Spawn(e)),
                Ok(child) => break child,
            }
        };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).extend(group);
        Ok(Running { child, group })
    }

    /// Its standard input, where it was piped; once.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Both outputs as they come; once.
    pub(crate) fn listen(&mut self) -> Receiver<Event> {
        // Bounded: a program that prints faster than we read has to wait.
        let (send, receive) = sync_channel(256);
        if let Some(out) = self.child.stdout.take() {
            read_pieces(out, send.clone(), Event::Out);
        }
        if let Some(err) = self.child.stderr.take() {
            read_pieces(err, send, Event::Err);
        }
        receive
    }

    /// Has the leader ended? It is not reaped by asking.
    pub(crate) fn has_ended(&self) -> bool {
        let Some(group) = self.group else { return true };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(rustix::process::waitid(WaitId::Pid(group), look), Ok(None))
    }

    /// Its exit code, once it has ended by itself, which it is about to do; or it is ended.
    pub(crate) fn last_words(&mut self) -> i32 {
        let start = Instant::now();
        while !self.has_ended() && start.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.finish_code()
    }

    /// End it and what is left of its group; its exit code.
    pub(crate) fn finish_code(&mut self) -> i32 {
        self.finish().map_or(1, code_of)
    }

    /// Kill what is left of the group, then reap the leader.
    fn finish(&mut self) -> Option<ExitStatus> {
        let group = self.group.take()?;
        kill_group(group);
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).retain(|&g| g != group);
        // A killed process ends at once unless the kernel holds it (a dead disk); that is not worth hanging for.
        for _ in 0..400 {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(status)) => return Some(status),
                Err(_) => return None,
            }
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.finish();
    }
}

pub(crate) fn kill_group(group: Pid) {
    // The group may be gone already: that is what we want.
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
}

/// A piece of an output: a line with its end, or part of a long one.
pub(crate) enum Event {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// A piece as the text of a line, without its end.
pub(crate) fn line_of(piece: &[u8]) -> String {
    String::from_utf8_lossy(piece).trim_end_matches(['\n', '\r']).to_owned()
}

fn read_pieces(stream: impl Read + Send + 'static, send: SyncSender<Event>, event: fn(Vec<u8>) -> Event) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut piece = Vec::new();
            match stream.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut piece) {
                Ok(n) if n > 0 => {}
                _ => return,
            }
            if send.send(event(piece)).is_err() {
                return;
            }
        }
    });
}

/// The last lines of an output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: std::collections::VecDeque<String>,
}

impl Tail {
    /// Log a line of an error output and keep it.
    pub(crate) fn hear(&mut self, line: &str) {
        log::info!(target: "limbeck::agent", "{line}");
        self.push(line.to_owned());
    }

    pub(crate) fn push(&mut self, mut line: String) {
        if let Some((end, _)) = line.char_indices().nth(500) {
            line.truncate(end);
        }
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::dies;

    fn shell(script: &str, deadline_ms: u64) -> (Result<Output, RunError>, Vec<String>) {
        let mut lines = Vec::new();
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).stdin(Stdio::null());
        let result =
            run(&mut command, Duration::from_millis(deadline_ms), |_| {}, &mut |line| lines.push(line.to_owned()));
        (result, lines)
    }

    #[test]
    fn lines_and_exit_code_come_through() {
        let (result, lines) = shell("echo one; echo log >&2; printf 'two\\r\\nthree'; exit 7", 10_000);
        let output = result.unwrap();
        assert_eq!((output.status, output.stderr_tail.as_str()), (7, "log"));
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn a_signal_is_128_and_its_number() {
        assert_eq!(shell("kill -SEGV $$", 10_000).0.unwrap().status, 139);
    }

    #[test]
    fn the_deadline_kills_grandchildren_too() {
        let start = Instant::now();
        let (result, lines) = shell("(sh -c 'echo $$; sleep 300' & sleep 300) & echo $!; wait", 600);
        assert!(matches!(result, Err(RunError::Timeout)), "{result:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|pid| dies(pid)), "{lines:?} still run");
    }

    #[test]
    fn what_a_finished_program_left_running_is_killed() {
        let start = Instant::now();
        let (result, lines) = shell("sleep 300 & echo $!; exit 3", 20_000);
        assert_eq!(result.unwrap().status, 3);
        assert!(start.elapsed() < Duration::from_secs(5), "waited for the straggler's pipe");
        assert!(dies(&lines[0]));
    }

    #[test]
    fn endless_output_ends_at_the_deadline() {
        let (result, lines) = shell("while :; do echo x; done", 400);
        assert!(matches!(result, Err(RunError::Timeout)), "{result:?}");
        assert!(!lines.is_empty());
    }

    #[test]
    fn a_panicking_listener_leaves_no_process() {
        let pid = std::sync::Arc::new(Mutex::new(String::new()));
        let seen = pid.clone();
        let result = std::thread::spawn(move || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "echo $$; sleep 300"]);
            run(&mut command, Duration::from_secs(30), |_| {}, &mut |line| {
                *seen.lock().unwrap() = line.to_owned();
                panic!("listener");
            })
            .map(|_| ())
        })
        .join();
        assert!(result.is_err());
        let pid = pid.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(dies(&pid), "{pid} still runs");
    }

    #[test]
    fn a_tail_keeps_the_last_lines_and_cuts_long_ones() {
        let mut tail = Tail::default();
        (0..50).for_each(|i| tail.push(format!("{i} {}", "é".repeat(600))));
        assert!(tail.text().starts_with("30 é") && tail.text().lines().count() == TAIL_LINES);
        assert!(tail.text().lines().all(|l| l.chars().count() == 500));
    }
}
