//! `limbeck doctor`: what is missing to build for a board, and the one command that fixes it.

use anyhow::Result;
use limbeck_boards::{Board, Listed, Transport};
use serde_json::json;

use crate::console::Console;

/// What is missing to build for a board, and the command that fixes it.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Boards to look at (default: this machine, the emulated ones, and your own).
    pub boards: Vec<String>,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let boards = match &arguments.boards[..] {
        [] => usual_boards(console),
        names => names.iter().map(|n| Board::find(n)).collect::<Result<_, _>>()?,
    };
    let mut missing = 0;
    for board in boards {
        let findings = limbeck_runner::doctor(&board);
        missing += findings.iter().filter(|f| !f.ok).count();
        let record = json!({ "board": board.name, "title": board.title, "triple": board.triple, "findings": findings });
        console.result("doctor", &record, || {
            let mut text = format!("{}: {}\n", board.name, board.title);
            for finding in &findings {
                let mark = if finding.ok { "ok     " } else { "MISSING" };
                let fix = finding.fix.as_ref().map(|f| format!("  →  {f}")).unwrap_or_default();
                let found = finding.found.as_ref().map(|f| format!(": {f}")).unwrap_or_default();
                text += &format!("  {mark} {}{found}{fix}\n", finding.what);
            }
            text
        })?;
    }
    match missing {
        0 => Ok(()),
        1 => Err(crate::exit::usage("one thing is missing; run the command after the arrow")),
        n => Err(crate::exit::usage(format!("{n} things are missing; run the commands after the arrows"))),
    }
}

/// Boards that one can use without owning one, and those that one owns.
fn usual_boards(console: &Console) -> Vec<Board> {
    let mut boards = vec![];
    for Listed { name, file, board } in limbeck_boards::list() {
        match board {
            Ok(board) if file.is_some() || !matches!(board.transport, Transport::Ssh { .. }) => boards.push(board),
            Ok(_) => {}
            Err(error) => console.say(format!("{name}: {error}")),
        }
    }
    boards
}
