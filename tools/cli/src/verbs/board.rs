//! `limbeck board`: the boards that Limbeck knows, one's own, and what a board says of itself.

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_boards::{Board, Listed, NewBoard};
use limbeck_runner::Trusted;
use serde_json::json;

use crate::console::Console;

/// The boards that Limbeck knows.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    /// One line a board: those that come with Limbeck, and your own.
    List,
    /// Everything about one board.
    Show {
        /// Name, or a TOML file.
        board: String,
    },
    /// Make a board of your own: `board add kitchen --like raspberry-pi-4 --host pi@192.168.1.20`.
    Add(AddArguments),
    /// Ask a board what it is and whether it can take a student; nothing is copied but a few bytes that are removed again.
    Probe {
        /// Name, or a TOML file.
        board: String,
        /// The fingerprint of its host key: another one is refused.
        #[arg(long, value_name = "SHA256:...")]
        fingerprint: Option<String>,
    },
    /// Remove from a board all that Limbeck put there: installs, logs, what it trusts. Refused while the board is in use.
    Clean {
        /// Name, or a TOML file.
        board: String,
    },
    /// Forget the host key of a board, which was set up anew and shows another one.
    Forget {
        /// Name, or a TOML file.
        board: String,
    },
}

#[derive(clap::Args, Clone, Debug)]
struct AddArguments {
    /// How it shall be called.
    name: String,
    /// The board that it is like (`board list`).
    #[arg(long)]
    like: String,
    /// Where it is, for ssh: name or address, with the user before an @.
    #[arg(long, value_name = "[USER@]HOST")]
    host: Option<String>,
    /// Port of its ssh server.
    #[arg(long)]
    port: Option<u16>,
    /// Your key for it.
    #[arg(long, value_name = "FILE")]
    identity: Option<String>,
    /// Working folder on it.
    #[arg(long, value_name = "FOLDER")]
    workdir: Option<String>,
    /// The fingerprint of its host key, as `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the board: another one is
    /// refused.
    #[arg(long, value_name = "SHA256:...", requires = "host", conflicts_with = "offline")]
    fingerprint: Option<String>,
    /// Replace a board of this name.
    #[arg(long)]
    replace: bool,
    /// Write the file and do not ask the board for its key.
    #[arg(long)]
    offline: bool,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    match &arguments.verb {
        Verb::List => list(console),
        Verb::Show { board } => {
            let board = Board::find(board)?;
            let text = serde_json::to_string_pretty(&board)?;
            console.result("board", &board, || text)
        }
        Verb::Add(add) => self::add(add, console),
        Verb::Probe { board, fingerprint } => probe(&Board::find(board)?, fingerprint.as_deref(), console),
        Verb::Clean { board } => {
            let board = Board::find(board)?;
            let left = limbeck_runner::clean(&board).with_context(|| format!("board {}", board.name))?;
            console.result("clean", &json!({ "board": board.name, "left": left }), || match left.is_empty() {
                true => format!("{}: nothing of Limbeck's is left", board.name),
                false => format!("{}: what is not Limbeck's stays: {}", board.name, left.join(", ")),
            })
        }
        Verb::Forget { board } => {
            let board = Board::find(board)?;
            let forgotten = limbeck_runner::forget(&board)?;
            console.result("forget", &json!({ "board": board.name, "forgotten": forgotten }), || match forgotten {
                true => {
                    format!("{}: its host key is forgotten; `limbeck board probe {0}` takes the new one", board.name)
                }
                false => format!("{}: no host key was stored", board.name),
            })
        }
    }
}

fn list(console: &Console) -> Result<()> {
    for Listed { name, file, board } in limbeck_boards::list() {
        let whose = file.as_ref().map_or("built in", |_| "yours");
        match board {
            Ok(board) => {
                let record = json!({ "name": name, "triple": board.triple, "title": board.title, "file": file });
                let line = format!("{name:18} {:32} {whose:9} {}", board.triple, board.title);
                console.result("board", &record, || line)?;
            }
            // A broken file must not hide the others.
            Err(error) => console.say(format!("{name:18} {error}")),
        }
    }
    Ok(())
}

fn add(arguments: &AddArguments, console: &Console) -> Result<()> {
    let new = NewBoard {
        name: &arguments.name,
        like: &arguments.like,
        host: arguments.host.as_deref(),
        port: arguments.port,
        identity: arguments.identity.as_deref(),
        workdir: arguments.workdir.as_deref(),
    };
    let file: PathBuf = if arguments.replace { limbeck_boards::replace(&new)? } else { limbeck_boards::add(&new)? };
    console.say(format!("board      {}", file.display()));
    let board = Board::find(&arguments.name)?;
    if !arguments.offline {
        trust(&board, arguments.fingerprint.as_deref(), console)?;
    }
    console.result("board", &board, || format!("{}: next, `limbeck board probe {0}`", board.name))
}

/// Take the key of a board that has none yet, and say which.
fn trust(board: &Board, fingerprint: Option<&str>, console: &Console) -> Result<()> {
    let trusted = match fingerprint {
        Some(expected) => limbeck_runner::trust_only(board, expected)?,
        None => limbeck_runner::trust(board)?,
    };
    let Some(Trusted { key, is_new }) = trusted else { return Ok(()) };
    if is_new {
        console.say(format!("host key   {} {} is trusted from now on", key.algorithm, key.fingerprint));
        if fingerprint.is_none() {
            console.say("           compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the board");
        }
    }
    Ok(())
}

fn probe(board: &Board, fingerprint: Option<&str>, console: &Console) -> Result<()> {
    trust(board, fingerprint, console)?;
    let preflight = limbeck_runner::preflight(board, None).with_context(|| format!("board {}", board.name))?;
    console.result("preflight", &preflight, || preflight.to_string())?;
    preflight.accept().with_context(|| format!("board {}", board.name))?;
    console.print(format!("{}: it can take a student", board.name))
}
