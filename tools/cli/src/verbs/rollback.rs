//! `limbeck rollback`: the install before the current one is current again, and the two change places.

use anyhow::{Context, Result};
use limbeck_boards::Board;

use crate::console::Console;

/// Go back to the install before the current one, on a board; a second time goes forward again.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Board: a name (`limbeck board list`) or a TOML file.
    #[arg(long, default_value = "host")]
    pub board: String,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let board = Board::find(&arguments.board)?;
    let slot = limbeck_runner::rollback(&board).with_context(|| format!("board {}", board.name))?;
    console.print(format!("{}: slot {slot} is current", board.name))
}
