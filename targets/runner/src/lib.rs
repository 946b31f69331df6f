//! Cross-build the agent, install it on a board, start it, collect what it says.
//!
//! ```text
//! doctor ─► build_agent ─► preflight ──► install ─────────► Installed::agent("validate") ─► JSON lines
//! (tools)   cargo, ELF     the board,    lock, space, put,  deadline, all that it started,
//!           checked        looked at     probe, switch      exit code passed through
//! ```
//!
//! On the board everything stands below one folder that needs no root:
//!
//! ```text
//! <workdir>/lock                 held while anything is installed, run or measured
//! <workdir>/slots/<n>/agent      one whole install; never changed once `current` points to it
//! <workdir>/slots/<n>/bundle
//! <workdir>/current  ─► slots/<n>        switched by one rename
//! <workdir>/previous ─► slots/<n-1>      what `rollback` goes back to
//! ```
//!
//! A kill or power cut at any point leaves `current` on a whole slot, the old or the new one. Boards are this machine, this
//! machine behind an emulator, or behind ssh; all of the above is the same on each.
//!
//! Ctrl-C: children run in process groups of their own, so a terminal does not reach them. A program that uses this
//! crate calls [`interrupt`] from its handler; every running agent is killed and the calls return
//! [`RunnerError::Interrupted`].

#![forbid(unsafe_code)]

mod admission;
mod build;
mod cargo;
mod doctor;
mod elf;
mod elf_file;
mod error;
mod host;
mod install;
mod kernels;
mod lock;
mod packages;
mod preflight;
mod process;
#[cfg(test)]
mod testing;
mod toolchain;
mod transport;
mod zig;

// Build.
pub use build::{Agent, BuildOptions, build_agent};
pub use doctor::{Finding, doctor};
pub use elf::{glibc_needed, static_check};
// Look at a board first.
pub use preflight::{Check, Facts, Preflight, Verdict, preflight};
// Install and run.
pub use admission::{Admission, Remembered};
pub use error::RunnerError;
pub use install::{Installed, clean, install, install_admitted, rollback};
pub use lock::Lock;
pub use process::{Output, interrupt};
pub use transport::{Copied, Job, Local, Script, Ssh, SshClient, Transport, transport_for};
// Keys of boards behind ssh.
pub use transport::{HostKey, Trusted, forget, trust, trust_only};
