//! This run against an earlier one: what moved, the worst first.

use super::text::{Column, T, panel, table};
use crate::numbers::figure;
use crate::run_comparison::{ComparedFigure, Movement, RunComparison};
use crate::schema::Report;

const NOTE: &str = "<p class=\"small muted\">A figure counts as moved beyond a floor and beyond the noise of both runs: \
    the deviation of windows or processes for times, the draw of samples for shares, none for what is counted.</p>\n";

pub(super) fn section(report: &Report) -> String {
    let Some(comparison) = &report.baseline else { return String::new() };
    let before = &comparison.before;
    let class = match comparison.exit_code {
        0 => "good",
        5 => "warn",
        _ => "bad",
    };
    let reasons: String = comparison.reasons.iter().map(|reason| format!("<li>{}</li>\n", T(reason))).collect();
    let head = format!(
        "<p class=\"muted\">Before: {}, {} (limbeck {}).</p>\n\
         <div class=\"note {class}\"><b>{}</b><ul>\n{reasons}</ul></div>\n",
        T(&before.title),
        T(&before.created),
        T(&before.tool_version),
        comparison.word(),
    );
    let (same, moved): (Vec<_>, Vec<_>) = comparison.figures.iter().partition(|f| f.movement == Movement::Same);
    let folded = if same.is_empty() {
        String::new()
    } else {
        let rows = rows(&same, "Figures that are the same");
        format!("<details><summary>{} figures the same</summary>\n{rows}</details>\n", same.len())
    };
    let body = head + &rows(&moved, "Figures that moved, the worst first") + &folded + &unlike(comparison) + NOTE;
    panel("Against the baseline", &body)
}

fn unlike(comparison: &RunComparison) -> String {
    let integers = match comparison.integers {
        Some(true) => "<p>The int8 student computed the same integers in both runs.</p>\n",
        Some(false) => "<p>The int8 student computed other integers than in the earlier run.</p>\n",
        None => "",
    };
    let lines = comparison.unlike.iter();
    let lines: String =
        lines.map(|text| format!("<p class=\"note warn\"><b>Not alike:</b> {}</p>\n", T(text))).collect();
    integers.to_owned() + &lines
}

fn rows(figures: &[&ComparedFigure], caption: &str) -> String {
    let columns = [
        Column::Words("figure"),
        Column::Number("before"),
        Column::Number("after"),
        Column::Number("change"),
        Column::Words(""),
        Column::Words("finding"),
        Column::Prose("why"),
    ];
    let row = |compared: &&ComparedFigure| {
        let (before, after) = (figure(compared.before, &compared.unit), figure(compared.after, &compared.unit));
        let word = compared.movement.word();
        let finding = if compared.movement == Movement::Worse { format!("<b>{word}</b>") } else { word.into() };
        vec![
            T(compared.words()).to_string(),
            T(before).to_string(),
            T(after).to_string(),
            compared.change(),
            arrow(compared),
            finding,
            T(&compared.why).to_string(),
        ]
    };
    table(caption, &columns, &figures.iter().map(row).collect::<Vec<_>>())
}

/// A bar from the middle: right is more, left is less; its edge is a change by half.
fn arrow(compared: &ComparedFigure) -> String {
    let by = (compared.after - compared.before) / compared.before.abs();
    let by = if by.is_nan() { 0.0 } else { by.clamp(-0.5, 0.5) * 100.0 };
    let class = match compared.movement {
        Movement::Worse => "c-loss",
        Movement::Better => "c-size",
        Movement::Same | Movement::CannotTell => "c-other",
    };
    let from = 50.0 + by.min(0.0);
    format!(
        "<svg class=\"inline\" role=\"img\" width=\"100\" height=\"12\"><title>{}</title>\
         <rect class=\"{class}\" x=\"{from:.2}%\" y=\"1\" width=\"{:.2}%\" height=\"10\"/>\
         <line class=\"axis\" x1=\"50%\" x2=\"50%\" y1=\"0\" y2=\"12\"/></svg>",
        T(compared.change()),
        by.abs()
    )
}
