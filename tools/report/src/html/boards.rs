//! One section a board: how long an inference takes there, what it costs, and in which circumstances that was measured.

use super::text::{Column, T, card, full_hash, key_values, panel, table};
use super::{costs, latency, nodes, series};
use crate::board::{Agent, Board, Preflight, PreflightState, Validity};
use crate::numbers::{bytes, count};
use crate::schema::{KeyValue, Report};

const EMULATED: &str = "<p class=\"note emulated\"><b>Emulated:</b> counts and integers are facts, \
    milliseconds are not a board's latency.</p>\n";

pub(super) fn sections(report: &Report) -> String {
    report.boards.iter().enumerate().map(|(i, board)| section(report, i, board)).collect()
}

fn section(report: &Report, index: usize, board: &Board) -> String {
    let mut body = String::new();
    if !board.title.is_empty() && board.title != board.board {
        body += &format!("<p class=\"muted\">{}</p>\n", T(&board.title));
    }
    if board.emulated {
        body += EMULATED;
    }
    body += &board.validity.as_ref().map(invalid).unwrap_or_default();
    let mut left = String::new();
    let mut right = String::new();
    match &board.latency {
        Some(measured) => {
            left += &latency::warnings(measured);
            left += &latency::charts(index, board, measured);
            left += &series::windows(index, measured);
            right += &latency::figures(measured);
        }
        None => left += "<p class=\"muted\">Latency was not measured here.</p>\n",
    }
    left += &board.sustained.as_ref().map(|sustained| series::sustained(index, sustained)).unwrap_or_default();
    right += &card("Environment", &key_values(&board.environment));
    right += &board.validity.as_ref().map(unknown).unwrap_or_default();
    right += &board.agent.as_ref().map(agent).unwrap_or_default();
    body += &format!("<div class=\"split\"><div>\n{left}</div>\n<div class=\"cards\">\n{right}</div></div>\n");
    let cost = [costs::cold(board), costs::memory(board, &report.budgets), costs::energy(board)].concat();
    if !cost.is_empty() {
        body += &format!("<div class=\"pair\">\n{cost}</div>\n");
    }
    body += &nodes::table_of(&board.nodes);
    body += &preflight(&board.preflight);
    panel(if board.emulated { format!("{} (emulated)", board.board) } else { board.board.clone() }, &body)
}

/// The measurement is marked, and shown.
fn invalid(validity: &Validity) -> String {
    if validity.valid {
        return String::new();
    }
    let reasons: String = validity.reasons.iter().map(|reason| format!("<li>{}</li>\n", T(reason))).collect();
    format!("<div class=\"note bad\"><b>INVALID:</b> these times prove nothing.<ul>\n{reasons}</ul></div>\n")
}

fn unknown(validity: &Validity) -> String {
    if validity.unknown.is_empty() {
        return String::new();
    }
    card("Unknown, and so not judged", &format!("<p class=\"small\">{}</p>\n", T(validity.unknown.join("; "))))
}

fn agent(agent: &Agent) -> String {
    let mut lines = vec![
        KeyValue::new("toolchain", &agent.toolchain),
        KeyValue::new("size", format!("{} ({})", bytes(agent.bytes), count(agent.bytes))),
    ];
    if !agent.kernels.is_empty() {
        lines.push(KeyValue::new("kernels", agent.kernels.join(", ")));
    }
    card("Agent", &format!("{}<p class=\"small\">sha256 {}</p>\n", key_values(&lines), full_hash(&agent.sha256)))
}

/// A sign as well as a word, so that neither colour nor language is needed.
fn preflight(findings: &[Preflight]) -> String {
    let columns = [Column::Words("looked at"), Column::Words("state"), Column::Prose("found")];
    let sign = |state: PreflightState| match state {
        PreflightState::Ok => "✓",
        PreflightState::Warning => "!",
        PreflightState::Refused => "✗",
        PreflightState::Unknown => "?",
    };
    let row = |finding: &Preflight| {
        let state = format!("{} {}", sign(finding.state), finding.state.word());
        vec![T(&finding.name).to_string(), state.replace(' ', "\u{a0}"), T(&finding.text).to_string()]
    };
    let table = table("Preflight", &columns, &findings.iter().map(row).collect::<Vec<_>>());
    if table.is_empty() { table } else { format!("<h3>Preflight</h3>\n{table}") }
}
