//! Boards as data: one strict TOML each.
//!
//! ```toml
//! title = "Emulated Cortex-A53 (qemu-user)"
//! triple = "aarch64-unknown-linux-musl"    # or "host": whatever limbeck itself runs on
//! libc = "static"                          # or "gnu"
//! cpu = "cortex-a53"                       # optional; kernels are chosen at run time, this is for people
//! workdir = "~/.limbeck/work/my-board"     # on the board; absolute, or below the home folder
//! timeout_s = 600                          # longest that one command on the board may take
//!
//! [transport.exec]                         # or: transport = "local"
//! runner = ["qemu-aarch64-static", "-cpu", "cortex-a53"]
//! ```
//!
//! A board behind ssh, and what a measurement wants to know:
//!
//! ```toml
//! glibc = "2.28"              # oldest C library that the agent must run with; only with libc = "gnu"
//! model = "Raspberry Pi 4"    # what /proc/device-tree/model begins with
//! features = ["asimd"]        # CPU features that the board must have, as /proc/cpuinfo names them
//! memory_mib = 1024
//! cpus = "0-3"                # to measure on, in the kernel's list syntax
//! governor = "performance"    # that a measurement asks for
//! max_temp_c = 80.0           # above which a measurement is not valid
//!
//! [transport.ssh]             # all optional; without `host` it describes a kind of board
//! host = "192.168.1.20"
//! user = "pi"
//! port = 22
//! identity = "~/.ssh/id_ed25519"
//! runner = []                 # before each program on the board: an emulator behind its ssh server
//! ```
//!
//! A board's name is its file's name. Built-in boards are the files in `targets/boards/boards`; a user's own stand in
//! `~/.limbeck/boards` (`$LIMBECK_HOME/boards`) and win over built-in ones of the same name; any other file is named
//! by its path. An unknown key is an error that names the file, the line and the nearest key there is.
//!
//! ```
//! let board = limbeck_boards::Board::find("qemu-aarch64").unwrap();
//! assert_eq!((board.arch.as_str(), board.libc), ("aarch64", limbeck_boards::Libc::Static));
//! let error = limbeck_boards::Board::find("qemu-arch64").unwrap_err().to_string();
//! assert!(error.contains("did you mean `qemu-aarch64`"), "{error}");
//! ```

#![forbid(unsafe_code)]

mod add;
mod board;
mod builtin;
mod cpus;
mod find;
mod glibc;
mod parse;
#[cfg(test)]
mod parse_tests;
mod values;

// One board.
pub use board::{Board, Libc, Transport, host_triple, limbeck_home};
pub use cpus::parse_cpus;
pub use glibc::Glibc;
pub use parse::BoardError;
// All of them, and one more.
pub use add::{NewBoard, add, add_in, replace, replace_in};
pub use find::{Listed, list, list_in, own_boards};
