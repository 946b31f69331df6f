//! The head of the page: title, verdict and why, and one card for each number people look for first.

use super::text::T;
use crate::board::Board;
use crate::numbers::{bytes, count, micros, percent};
use crate::run_comparison::Movement;
use crate::schema::{Report, Verdict};

pub(super) fn section(report: &Report) -> String {
    let class = match report.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Invalid => "invalid",
    };
    let explained = match report.verdict {
        Verdict::Pass => "",
        Verdict::Fail => "<p>Measured under the protocol, and outside what was asked for.</p>\n",
        Verdict::Invalid => {
            "<p>The measurement cannot be trusted; the numbers below are shown for what they are.</p>\n"
        }
    };
    let reasons: String = report.reasons.iter().map(|reason| format!("<li>{}</li>\n", T(reason))).collect();
    let reasons = if reasons.is_empty() { reasons } else { format!("<ul>\n{reasons}</ul>\n") };
    let verdict = report.verdict.word();
    let banner = if report.has_verdict() {
        format!("<div class=\"verdict {class}\"><strong>{verdict}</strong>\n<div>{explained}{reasons}</div></div>\n")
    } else {
        String::new()
    };
    format!(
        "<header>\n<p class=\"by\">limbeck {version} · {created}</p>\n<h1>{title}</h1>\n{banner}</header>\n\
         <main>\n{tiles}",
        version = T(&report.tool_version),
        created = T(&report.created),
        title = T(&report.title),
        tiles = tiles(report),
    )
}

/// One number of the head: what, how much, and a line of context.
struct Tile {
    what: &'static str,
    value: String,
    context: String,
}

fn tiles(report: &Report) -> String {
    let tiles = [
        accuracy(report),
        agreement(report),
        integers(report),
        size(report),
        latency(report),
        memory(report),
        baseline(report),
    ];
    let html: String = tiles
        .into_iter()
        .flatten()
        .map(|tile| {
            format!(
                "<div class=\"tile\"><dt>{}</dt><dd class=\"value\">{}</dd><dd>{}</dd></div>\n",
                T(tile.what),
                T(tile.value),
                T(tile.context)
            )
        })
        .collect();
    if html.is_empty() { html } else { format!("<dl class=\"tiles\">\n{html}</dl>\n") }
}

/// Top-1 of the last int8 row: the farthest place that the student got to.
fn accuracy(report: &Report) -> Option<Tile> {
    let row = report.accuracy.iter().rfind(|row| row.is_int8() && row.top1.is_some())?;
    let teacher = report.accuracy.iter().find(|row| row.subject.starts_with("teacher"));
    let context = match teacher.and_then(|teacher| teacher.top1) {
        Some(top1) => format!("{}; teacher {}", row.subject, percent(top1)),
        None => row.subject.clone(),
    };
    Some(Tile { what: "Top-1", value: percent(row.top1?), context })
}

fn agreement(report: &Report) -> Option<Tile> {
    let row = report.accuracy.iter().rfind(|row| row.is_int8() && row.agreement_with_teacher.is_some())?;
    let before = report.accuracy.iter().find(|row| row.subject.starts_with("student before"));
    let context = match before.and_then(|before| before.agreement_with_teacher) {
        Some(before) => format!("{}; student before {}", row.subject, percent(before)),
        None => row.subject.clone(),
    };
    Some(Tile { what: "Agrees with teacher", value: percent(row.agreement_with_teacher?), context })
}

fn integers(report: &Report) -> Option<Tile> {
    let equal = report.integers_are_equal()?;
    let places: Vec<&str> = report
        .accuracy
        .iter()
        .filter(|row| row.integers_hash.is_some())
        .map(|row| row.subject.split_once(" on ").map_or(row.subject.as_str(), |(_, place)| place))
        .collect();
    let value = if equal { "equal" } else { "NOT equal" };
    Some(Tile { what: "Integers", value: value.into(), context: places.join(", ") })
}

fn size(report: &Report) -> Option<Tile> {
    let int8 = report.models.iter().find(|model| model.role.starts_with("int8"))?;
    let teacher = report.models.iter().find(|model| model.role.starts_with("teacher"));
    let context = match teacher.filter(|_| int8.bytes > 0) {
        Some(teacher) => {
            let ratio = teacher.bytes as f64 / int8.bytes as f64;
            format!("teacher {}, {ratio:.1} times as large", bytes(teacher.bytes))
        }
        None => format!("{} bytes", count(int8.bytes)),
    };
    Some(Tile { what: "int8 student", value: bytes(int8.bytes), context })
}

/// A real board before the host, and an emulated one last.
fn first_board(report: &Report, has: impl Fn(&Board) -> bool) -> Option<&Board> {
    let rank = |board: &&Board| if board.emulated { 2 } else { u8::from(board.board == "host") };
    report.boards.iter().filter(|board| has(board)).min_by_key(rank)
}

/// Never an emulated board's.
fn latency(report: &Report) -> Option<Tile> {
    let board = first_board(report, |board| !board.emulated && board.latency.is_some())?;
    let latency = board.latency.as_ref()?;
    let quick = if latency.quick { ", quick" } else { "" };
    let invalid = if board.is_invalid() { ", INVALID" } else { "" };
    let p90 = latency.p90_us.map(|p90| format!(", p90 {}", micros(p90))).unwrap_or_default();
    Some(Tile {
        what: "One inference, p50",
        value: micros(latency.p50_us),
        context: format!("on {}{p90}{quick}{invalid}", board.board),
    })
}

fn memory(report: &Report) -> Option<Tile> {
    let board = first_board(report, |board| board.arena().is_some())?;
    let rss = board.peak_rss().map(|rss| format!("agent at its peak {}, {}", bytes(rss), board.board));
    Some(Tile {
        what: "Plan's arena",
        value: bytes(board.arena()?),
        context: rss.unwrap_or_else(|| board.board.clone()),
    })
}

fn baseline(report: &Report) -> Option<Tile> {
    let comparison = report.baseline.as_ref()?;
    let worst = comparison.figures.first().filter(|figure| figure.movement != Movement::Same);
    let context = match worst {
        Some(figure) => format!("{}: {}, {}", figure.words(), figure.change(), figure.movement.word()),
        None => format!("{} figures the same", comparison.figures.len()),
    };
    Some(Tile { what: "Against the baseline", value: comparison.word().to_lowercase(), context })
}
