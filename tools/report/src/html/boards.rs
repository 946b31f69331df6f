//! One section a board: how long an inference takes there, and in which circumstances that was measured.

use super::axis::Axis;
use super::plot::{Plot, stairs};
use super::text::{Column, T, card, full_hash, key_values, panel, table};
use crate::board::{Agent, Board};
use crate::latency::{Latency, Window};
use crate::numbers::{bytes, count, micros, plain, seconds};
use crate::schema::{KeyValue, Report};

const EMULATED: &str = "<p class=\"note emulated\"><b>Emulated:</b> counts and integers are facts, \
    milliseconds are not a board's latency.</p>\n";

/// Points of a drawn distribution; more cannot be seen.
const DRAWN: usize = 400;

pub(super) fn sections(report: &Report) -> String {
    report.boards.iter().enumerate().map(|(i, board)| section(i, board)).collect()
}

fn section(index: usize, board: &Board) -> String {
    let mut body = String::new();
    if !board.title.is_empty() && board.title != board.board {
        body += &format!("<p class=\"muted\">{}</p>\n", T(&board.title));
    }
    if board.emulated {
        body += EMULATED;
    }
    let mut left = String::new();
    let mut right = memory(board);
    match &board.latency {
        Some(latency) => {
            left += &warnings(latency);
            left += &charts(index, board, latency);
            right.insert_str(0, &figures(latency));
        }
        None => left += "<p class=\"muted\">Latency was not measured here.</p>\n",
    }
    right += &card("Environment", &key_values(&board.environment));
    right += &board.agent.as_ref().map(agent).unwrap_or_default();
    body += &format!("<div class=\"split\"><div>\n{left}</div>\n<div class=\"cards\">\n{right}</div></div>\n");
    panel(if board.emulated { format!("{} (emulated)", board.board) } else { board.board.clone() }, &body)
}

fn warnings(latency: &Latency) -> String {
    latency.warnings.iter().map(|w| format!("<p class=\"note warn\"><b>Warning:</b> {}</p>\n", T(w))).collect()
}

fn figures(latency: &Latency) -> String {
    let not_enough = || "n is too small".to_owned();
    let line = |name: &str, us: f64| KeyValue::new(name, micros(us));
    let percentile = |name: &str, us: Option<f64>| KeyValue::new(name, us.map_or_else(not_enough, micros));
    let lines = [
        line("score (median of window medians)", latency.score_us),
        line("p50", latency.p50_us),
        percentile("p90", latency.p90_us),
        percentile("p95", latency.p95_us),
        percentile("p99", latency.p99_us),
        line("min", latency.min_us),
        line("max", latency.max_us),
        KeyValue::new("n", count(latency.n)),
        line("very first", latency.first_us),
        KeyValue::new("warm-up", format!("{} runs, {}", count(latency.warm_up_runs), seconds(latency.warm_up_seconds))),
    ];
    card("Latency of one inference", &key_values(&lines))
}

fn memory(board: &Board) -> String {
    let both = |n: u64| if n < 1000 { bytes(n) } else { format!("{} ({})", bytes(n), count(n)) };
    let line = |name: &str, n: Option<u64>| n.map(|n| KeyValue::new(name, both(n)));
    let lines = [line("plan's arena", board.arena_bytes), line("agent, peak resident", board.peak_rss_bytes)];
    card("Memory", &key_values(&lines.into_iter().flatten().collect::<Vec<_>>()))
}

fn agent(agent: &Agent) -> String {
    let lines = [
        KeyValue::new("toolchain", &agent.toolchain),
        KeyValue::new("size", format!("{} ({})", bytes(agent.bytes), count(agent.bytes))),
    ];
    card("Agent", &format!("{}<p class=\"small\">sha256 {}</p>\n", key_values(&lines), full_hash(&agent.sha256)))
}

fn charts(index: usize, board: &Board, latency: &Latency) -> String {
    let mut sorted: Vec<f64> = latency.samples_us.iter().copied().filter(|s| s.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let ends = |w: &Window| [w.min_us, w.max_us];
    let drawn = sorted.iter().copied().chain(latency.windows.iter().flat_map(ends)).filter(|v| v.is_finite());
    let (low, high) = drawn.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if !low.is_finite() {
        return format!("<p class=\"muted\">No samples were kept. {}</p>\n", protocol(latency));
    }
    let x = Axis::micros(low, high);
    let mut html = String::new();
    if !sorted.is_empty() {
        html += &distribution(index, board, latency, &sorted, &x);
    }
    html += &window_strips(index, board, latency, &x);
    let thinned = if (sorted.len() as u64) < latency.n {
        format!(" Drawn from {} of the {} samples, an even pick.", count(sorted.len() as u64), count(latency.n))
    } else {
        String::new()
    };
    format!("{html}<p class=\"small muted\">{}{thinned}</p>\n{}", protocol(latency), window_table(&latency.windows))
}

fn protocol(latency: &Latency) -> String {
    let quick = if latency.quick { " <b>Quick:</b> short windows, fit for a look and not for a claim." } else { "" };
    format!("Protocol {}.{quick}", T(&latency.protocol))
}

/// Share of inferences that took at most so long.
fn distribution(index: usize, board: &Board, latency: &Latency, sorted: &[f64], x: &Axis) -> String {
    let n = sorted.len();
    let y = Axis::linear(0.0, 100.0, 5);
    let class = if board.emulated { "c-emulated" } else { "c-latency" };
    let share = |i: usize| (i + 1) as f64 / n as f64 * 100.0;
    let step = n.div_ceil(DRAWN);
    let points = (0..n).filter(|i| i % step == 0 || i + 1 == n).map(|i| (sorted[i], share(i)));
    let percentiles = [
        ("p50", Some(latency.p50_us), 50.0, true),
        ("p90", latency.p90_us, 90.0, true),
        ("p95", latency.p95_us, 95.0, false),
        ("p99", latency.p99_us, 99.0, false),
    ];
    let mut marks = String::new();
    let mut spoken =
        vec![format!("{} samples from {} to {}", count(latency.n), micros(latency.min_us), micros(latency.max_us))];
    for (name, us, percent, with_text) in percentiles {
        let Some(us) = us.filter(|us| us.is_finite()) else { continue };
        let text = format!("{name} {}", micros(us));
        marks += &Plot::dot(x, &y, (us, percent), class);
        if with_text {
            marks += &Plot::label(x, &y, (us, percent), &text);
        }
        spoken.push(text);
    }
    let plot = Plot {
        id: format!("ecdf-{index}"),
        title: &format!("Distribution of latency on {}", board.board),
        desc: &spoken.join(", "),
        x,
        y: &y,
        x_name: if board.emulated { "time of one emulated inference" } else { "latency of one inference" },
        height: 230,
        paths: stairs(x, &y, points, &format!("line {class}")),
        marks,
    };
    format!("<figure><figcaption>Inferences that took at most so long, %</figcaption>\n{}</figure>\n", plot.html())
}

/// Height of a window's strip, and of the whole drawing's edges.
const STRIP: usize = 18;

/// A strip a window on the distribution's axis: a line from fastest to slowest, a bar at the median.
fn window_strips(index: usize, board: &Board, latency: &Latency, x: &Axis) -> String {
    let windows = &latency.windows;
    let class = if board.emulated { "c-emulated" } else { "c-latency" };
    if windows.is_empty() {
        return String::new();
    }
    let mut strips = String::new();
    let mut spoken = Vec::new();
    for (i, w) in windows.iter().enumerate() {
        let y = i * STRIP + STRIP / 2;
        let (min, p50, max) = (x.percent(w.min_us), x.percent(w.p50_us), x.percent(w.max_us));
        strips += &format!(
            "<text class=\"tick\" x=\"-8\" y=\"{y}\" dy=\"4\" text-anchor=\"end\">{}</text>\
             <line class=\"range {class}\" x1=\"{min:.2}%\" x2=\"{max:.2}%\" y1=\"{y}\" y2=\"{y}\"/>\
             <line class=\"median\" x1=\"{p50:.2}%\" x2=\"{p50:.2}%\" y1=\"{}\" y2=\"{}\"/>",
            i + 1,
            y - 6,
            y + 6
        );
        spoken.push(format!("window {} median {}", i + 1, micros(w.p50_us)));
    }
    let mut grid = String::new();
    for (value, _) in &x.ticks {
        let at = x.percent(*value);
        grid += &format!("<line class=\"grid\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"0\" y2=\"100%\"/>");
    }
    format!(
        "<figure><figcaption>Windows on the same axis: fastest to slowest, bar at the median</figcaption>\n\
         <svg class=\"plot strips\" role=\"img\" aria-labelledby=\"win-{index}-t win-{index}-d\" height=\"{}\">\
         <title id=\"win-{index}-t\">Windows of the measurement</title><desc id=\"win-{index}-d\">{}</desc>\
         {grid}{strips}</svg></figure>\n",
        windows.len() * STRIP,
        T(spoken.join(", "))
    )
}

fn window_table(windows: &[Window]) -> String {
    let columns = ["window", "n", "min", "median", "max", "drift"];
    let columns: Vec<_> =
        columns.iter().enumerate().map(|(i, c)| if i == 0 { Column::Words(c) } else { Column::Number(c) }).collect();
    let first = windows.first().map_or(0.0, |w| w.p50_us);
    let row = |(i, w): (usize, &Window)| {
        let drift = (w.p50_us / first - 1.0) * 100.0;
        let drift =
            if i == 0 || !drift.is_finite() { "–".into() } else { format!("{drift:+.1}\u{a0}%").replace('-', "−") };
        vec![plain((i + 1) as f64), count(w.n), micros(w.min_us), micros(w.p50_us), micros(w.max_us), drift]
    };
    table("Windows of the measurement", &columns, &windows.iter().enumerate().map(row).collect::<Vec<_>>())
}
