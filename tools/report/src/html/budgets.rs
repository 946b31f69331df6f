//! What was promised, and what was measured: a bar a promise, its limit as a line.

use super::costs::limit_line;
use super::text::{Bar, T, panel};
use crate::board::Board;
use crate::budget::{Budget, FigureKind};
use crate::numbers::figure;
use crate::schema::Report;

pub(super) fn section(report: &Report) -> String {
    let bars: String = report.budgets.iter().map(|budget| bar(report, budget).html()).collect();
    if bars.is_empty() {
        return bars;
    }
    panel("Budgets", &format!("<div class=\"bars\">\n{bars}</div>\n"))
}

fn bar(report: &Report, budget: &Budget) -> Bar {
    let place = budget.board.as_ref().map(|id| format!(" on {id}")).unwrap_or_default();
    let name = format!("{}{place}", budget.name);
    let bound = if budget.kind.more_is_better() { "at least" } else { "at most" };
    let limit = format!("{bound} {}", figure(budget.limit, &budget.unit));
    let measured = budget.measured.map_or_else(|| "not measured".into(), |value| figure(value, &budget.unit));
    let state = state(report, budget);
    let mut drawing = String::new();
    // A share has all of its axis; of a cost the larger of the two is a bit less than all.
    let whole = match budget.kind {
        FigureKind::Accuracy => 1.0,
        _ => budget.limit.max(budget.measured.unwrap_or(0.0)) * 1.1,
    };
    if let Some(value) = budget.measured.map(|value| value / whole * 100.0).filter(|width| width.is_finite()) {
        let (width, class) = (value.clamp(0.0, 100.0), if budget.ok == Some(false) { "c-loss" } else { "c-top1" });
        drawing += &format!("<rect class=\"{class}\" x=\"0\" y=\"2\" width=\"{width:.2}%\" height=\"14\" rx=\"2\"/>");
    }
    if (budget.limit / whole).is_finite() {
        drawing += &limit_line(budget.limit / whole * 100.0);
    }
    let title = format!("{name}: {measured}, {limit}: {state}");
    Bar { name, value: format!("<b>{}</b> · {} · <b>{}</b>", T(measured), T(limit), T(state)), title, drawing }
}

/// The word that [`crate::judge()`] acts by.
fn state(report: &Report, budget: &Budget) -> &'static str {
    let board = budget.board.as_ref().and_then(|id| report.boards.iter().find(|board| board.board == *id));
    let timed = matches!(budget.kind, FigureKind::Latency | FigureKind::Energy);
    let untrusted = |board: &Board| board.emulated || board.is_invalid();
    match budget.ok {
        _ if timed && board.is_some_and(untrusted) => "not judged",
        None => "open",
        Some(true) => "kept",
        Some(false) => "NOT KEPT",
    }
}
