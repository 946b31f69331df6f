//! `limbeck doctor`: what is missing to build for a board, and the one command that fixes it.

use anyhow::Result;
use limbeck_boards::Board;

use crate::console::Console;

/// What is missing to build for a board, and the command that fixes it.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Boards to look at (default: all that Limbeck knows).
    pub boards: Vec<String>,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let boards = match &arguments.boards[..] {
        [] => Board::builtin(),
        names => names.iter().map(|n| Board::find(n)).collect::<Result<_, _>>()?,
    };
    let mut missing = 0;
    for board in boards {
        console.print(format!("{}: {}", board.name, board.title))?;
        for finding in limbeck_runner::doctor(&board) {
            missing += !finding.ok as usize;
            let mark = if finding.ok { "ok     " } else { "MISSING" };
            let fix = finding.fix.map(|f| format!("  →  {f}")).unwrap_or_default();
            console.print(format!("  {mark} {}{fix}", finding.what))?;
        }
    }
    match missing {
        0 => Ok(()),
        n => Err(crate::exit::usage(format!("{n} things are missing; run the commands after the arrows"))),
    }
}
