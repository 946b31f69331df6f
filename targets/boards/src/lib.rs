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

mod board;
mod cpus;
mod glibc;
mod parse;
mod values;

pub use board::{Board, Libc, Transport, host_triple, limbeck_home};
pub use cpus::parse_cpus;
pub use glibc::Glibc;
pub use parse::BoardError;
