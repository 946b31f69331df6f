//! Latency on one board: distribution, windows, figures.

use super::axis::Axis;
use super::plot::{Plot, stairs};
use super::text::{Column, T, card, key_values, table};
use crate::board::Board;
use crate::latency::{Latency, Window};
use crate::numbers::{count, interval_of_times, micros, percent, plain, seconds};
use crate::schema::KeyValue;

/// Points of a drawn distribution; more cannot be seen.
const DRAWN: usize = 400;

pub(super) fn warnings(latency: &Latency) -> String {
    latency.warnings.iter().map(|w| format!("<p class=\"note warn\"><b>Warning:</b> {}</p>\n", T(w))).collect()
}

pub(super) fn figures(latency: &Latency) -> String {
    let not_enough = || "n is too small".to_owned();
    let line = |name: &str, us: f64| KeyValue::new(name, micros(us));
    let percentile = |name: &str, us: Option<f64>| KeyValue::new(name, us.map_or_else(not_enough, micros));
    let mut lines = vec![line("score (median of window medians)", latency.score_us)];
    lines.extend(latency.ci95_us.map(|ci| KeyValue::new("95 % interval of the score", interval_of_times(ci))));
    lines.extend([
        line("p50", latency.p50_us),
        percentile("p90", latency.p90_us),
        percentile("p95", latency.p95_us),
        percentile("p99", latency.p99_us),
        line("min", latency.min_us),
        line("max", latency.max_us),
        KeyValue::new("n", count(latency.n)),
        line("very first", latency.first_us),
        KeyValue::new("warm-up", format!("{} runs, {}", count(latency.warm_up_runs), seconds(latency.warm_up_seconds))),
    ]);
    let measured = [
        ("preprocessing, not in the score", latency.pre_us.map(micros)),
        ("postprocessing, not in the score", latency.post_us.map(micros)),
        ("median distance from the median", latency.mad_us.map(micros)),
        ("deviation over mean", latency.cov.map(percent)),
        ("outliers", latency.outliers.map(count)),
        ("the measurement itself", latency.overhead_ns.map(|ns| micros(ns / 1e3))),
        ("pinned to CPUs", latency.cpus.clone()),
        ("threads", latency.threads.map(count)),
    ];
    lines.extend(measured.into_iter().filter_map(|(name, value)| Some(KeyValue::new(name, value?))));
    card("Latency of one inference", &key_values(&lines))
}

pub(super) fn charts(index: usize, board: &Board, latency: &Latency) -> String {
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
        strips += &w.p90_us.map(|p90| p90_tick(x.percent(p90), y)).unwrap_or_default();
        spoken.push(format!("window {} median {}", i + 1, micros(w.p50_us)));
    }
    let mut grid = String::new();
    for (value, _) in &x.ticks {
        let at = x.percent(*value);
        grid += &format!("<line class=\"grid\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"0\" y2=\"100%\"/>");
    }
    format!(
        "<figure><figcaption>Windows on the same axis: fastest to slowest, bar at the median{}</figcaption>\n\
         <svg class=\"plot strips\" role=\"img\" aria-labelledby=\"win-{index}-t win-{index}-d\" height=\"{}\">\
         <title id=\"win-{index}-t\">Windows of the measurement</title><desc id=\"win-{index}-d\">{}</desc>\
         {grid}{strips}</svg></figure>\n",
        if windows.iter().any(|w| w.p90_us.is_some()) { ", short bar at p90" } else { "" },
        windows.len() * STRIP,
        T(spoken.join(", "))
    )
}

fn p90_tick(at: f64, y: usize) -> String {
    let (above, below) = (y - 4, y + 4);
    format!("<line class=\"p90\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"{above}\" y2=\"{below}\"/>")
}

/// Columns without a single value are left out.
fn window_table(windows: &[Window]) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let first = windows.first().map_or(0.0, |w| w.p50_us);
    let drift = |w: &Window| (w.p50_us / first - 1.0) * 100.0;
    let drift_text = |(i, w): (usize, &Window)| match drift(w) {
        by if i == 0 || !by.is_finite() => "–".into(),
        by => format!("{by:+.1}\u{a0}%").replace('-', "−"),
    };
    let each = |of: &dyn Fn(&Window) -> String| windows.iter().map(of).collect::<Vec<_>>();
    let mut columns: Vec<(&'static str, Vec<String>)> = vec![
        ("n", each(&|w| count(w.n))),
        ("min", each(&|w| micros(w.min_us))),
        ("median", each(&|w| micros(w.p50_us))),
        ("p90", each(&|w| or_dash(w.p90_us.map(micros)))),
        ("max", each(&|w| micros(w.max_us))),
        ("deviation", each(&|w| or_dash(w.cov.map(percent)))),
        ("drift", windows.iter().enumerate().map(drift_text).collect()),
    ];
    columns.retain(|(name, cells)| *name == "drift" || cells.iter().any(|cell| cell != "–"));
    let heads = columns.iter().map(|(name, _)| Column::Number(name));
    let heads: Vec<_> = std::iter::once(Column::Words("window")).chain(heads).collect();
    let row = |i: usize| {
        let cells = columns.iter().map(|(_, cells)| cells[i].clone());
        std::iter::once(plain((i + 1) as f64)).chain(cells).collect()
    };
    table("Windows of the measurement", &heads, &(0..windows.len()).map(row).collect::<Vec<_>>())
}
