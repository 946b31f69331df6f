//! What a hostile model can still do, and what becomes of it: a panic in a library, a load without end, memory without bound.
//!
//! Sizes are checked before anything is allocated (`engine`); these are the nets below that. Each ends the program with an exit code
//! and a sentence: the agent of a board does not unwind, and whoever started it must not wait for ever.

use std::panic::PanicHookInfo;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use limbeck_measure::Environment;

/// Exit code of a refused model.
const REFUSED: i32 = 9;

/// Longest that loading a student may take. The slowest board we know of takes two seconds for the largest student we ship; whoever
/// has a slower one sets [`DEADLINE_VARIABLE`].
const LOAD_SECONDS: u64 = 60;

/// Seconds that loading may take, for slow boards and for tests.
const DEADLINE_VARIABLE: &str = "LIMBECK_LOAD_SECONDS";

/// Of the memory that can be had without swapping, the share that a student's tensors may plan: the rest is for weights, samples
/// and everybody else.
const PLANNED_SHARE: f64 = 0.75;

/// What was loaded last, for messages: a panic does not know its file.
static LOADED: Mutex<String> = Mutex::new(String::new());

/// End the program on a panic: with exit code 9 where the engine works on a model, which is then to blame, with 1 elsewhere.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let message = message(panic);
        if limbeck_engine::is_guarded() {
            let file = LOADED.lock().unwrap_or_else(PoisonError::into_inner).clone();
            eprintln!(
                "limbeck-agent: {file}: the model made the runtime give up ({message}); it is damaged or hostile"
            );
            std::process::exit(REFUSED);
        }
        eprintln!("limbeck-agent: a mistake of ours ({message}); please report it");
        std::process::exit(1);
    }));
}

fn message(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
    format!("{text}{place}")
}

/// Bytes of activations that a student may plan on this board.
pub fn planned_bytes() -> u64 {
    match Environment::read().memory_available_bytes {
        Some(bytes) => (bytes as f64 * PLANNED_SHARE) as u64,
        None => limbeck_engine::PLANNED_BYTES,
    }
}

/// A student is being loaded; one that takes too long ends the program with exit code 9. Over when dropped.
pub struct Deadline {
    /// Dropped with this, and so tells the thread that waits.
    _done: Sender<()>,
}

impl Deadline {
    /// Start to count; `what` names the file.
    pub fn start(what: String) -> Deadline {
        *LOADED.lock().unwrap_or_else(PoisonError::into_inner) = what.clone();
        let seconds = std::env::var(DEADLINE_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(LOAD_SECONDS);
        let (done, wait) = channel();
        std::thread::spawn(move || {
            if wait.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
                let way_out = format!("use a smaller model, or set {DEADLINE_VARIABLE} on a very slow board");
                eprintln!("limbeck-agent: {what}: not ready after {seconds} s; {way_out}");
                std::process::exit(REFUSED);
            }
        });
        Deadline { _done: done }
    }
}
