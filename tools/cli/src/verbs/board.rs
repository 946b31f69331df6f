//! `limbeck board`: the boards that Limbeck knows.

use anyhow::Result;
use limbeck_boards::Board;

use crate::console::Console;

/// The boards that Limbeck knows.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    /// One line a board.
    List,
    /// Everything about one board.
    Show {
        /// Name, or a TOML file.
        board: String,
    },
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    match &arguments.verb {
        Verb::List => {
            let line = |b: Board| format!("{:14} {:32} {}\n", b.name, b.triple, b.title);
            console.print(Board::builtin().into_iter().map(line).collect::<String>())
        }
        Verb::Show { board } => {
            let board = Board::find(board)?;
            console.print(serde_json::to_string_pretty(&board)?)
        }
    }
}
