//! All boards in one table, where there are several.

use super::text::{Column, T, panel, table};
use crate::board::Board;
use crate::numbers::{bytes, median, microjoules, micros};
use crate::schema::Report;

pub(super) fn section(report: &Report) -> String {
    if report.boards.len() < 2 {
        return String::new();
    }
    let columns = [
        Column::Words("board"),
        Column::Number("score"),
        Column::Number("p90"),
        Column::Number("cold start"),
        Column::Number("peak resident"),
        Column::Number("arena"),
        Column::Number("energy"),
        Column::Words("measurement"),
    ];
    let rows: Vec<_> = report.boards.iter().map(row).collect();
    let note = if report.boards.iter().any(|board| board.emulated) {
        "<p class=\"small muted\">* emulated: not a board's time.</p>\n"
    } else {
        ""
    };
    panel("Boards", &(table("What one inference costs on each board", &columns, &rows) + note))
}

fn row(board: &Board) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let timed = |text: Option<String>| or_dash(text.map(|text| text + if board.emulated { "*" } else { "" }));
    let latency = board.latency.as_ref();
    let cold = board.cold.as_ref().and_then(|cold| median(&cold.start_to_answer_ms));
    let quick = if latency.is_some_and(|latency| latency.quick) { ", quick" } else { "" };
    let state = match (&board.validity, board.emulated) {
        (Some(validity), _) if !validity.valid => "<b>INVALID</b>",
        (_, true) => "emulated",
        (Some(_), false) => "valid",
        (None, false) => "not looked at",
    };
    let state = if latency.is_some() { format!("{state}{quick}") } else { "no times".into() };
    vec![
        T(&board.board).to_string(),
        timed(latency.map(|latency| micros(latency.score_us))),
        timed(latency.and_then(|latency| latency.p90_us).map(micros)),
        timed(cold.map(|ms| micros(ms * 1e3))),
        or_dash(board.peak_rss().map(bytes)),
        or_dash(board.arena().map(bytes)),
        or_dash(board.energy.as_ref().map(|energy| microjoules(energy.uj_per_inference))),
        state,
    ]
}
