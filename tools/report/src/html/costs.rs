//! What an inference costs on one board besides its time: cold starts, memory against its budgets, energy.

use super::text::{Bar, T, key_values};
use crate::board::{Board, Energy, Memory};
use crate::budget::{Budget, FigureKind};
use crate::latency::Cold;
use crate::numbers::{bytes, count, median, microjoules, micros, plain, significant};
use crate::schema::KeyValue;

/// The parts of a cold start, in order of time, and the class of each.
const PARTS: [(&str, &str); 4] =
    [("load", "c-load"), ("compile", "c-compile"), ("first", "c-first"), ("other", "c-other")];

const COLD_LEGEND: &str = "<p class=\"legend\">ms: <span class=\"key c-load\"></span> load + \
    <span class=\"key c-compile\"></span> compile + <span class=\"key c-first\"></span> first inference + \
    <span class=\"key c-other\"></span> all else until the answer</p>\n";

/// One bar a fresh process, cut into its parts.
pub(super) fn cold(board: &Board) -> String {
    let Some(cold) = &board.cold else { return String::new() };
    let starts: Vec<Start> = starts(cold);
    let longest = starts.iter().map(Start::whole_ms).fold(0.0, f64::max);
    let bars: String = starts.iter().enumerate().map(|(i, start)| start.bar(i, longest).html()).collect();
    let medians: Vec<KeyValue> = [
        ("median, start to answer", median(&cold.start_to_answer_ms)),
        ("median, load", median(&cold.load_ms)),
        ("median, compile", median(&cold.compile_ms)),
        ("median, first inference", median(&cold.first_us).map(|us| us / 1e3)),
    ]
    .into_iter()
    .filter_map(|(name, ms)| Some(KeyValue::new(name, micros(ms? * 1e3))))
    .collect();
    figure("Cold starts, a bar a fresh process", &(bars_of(&bars) + COLD_LEGEND + &key_values(&medians)))
}

/// One process; parts in milliseconds, absent where they were not measured.
struct Start {
    parts: [Option<f64>; 4],
    answer: Option<f64>,
}

fn starts(cold: &Cold) -> Vec<Start> {
    let processes = [&cold.load_ms, &cold.compile_ms, &cold.first_us, &cold.start_to_answer_ms].map(Vec::len);
    let at = |values: &[f64], i: usize| values.get(i).copied().filter(|ms| ms.is_finite() && *ms >= 0.0);
    let start = |i: usize| {
        let [load, compile] = [at(&cold.load_ms, i), at(&cold.compile_ms, i)];
        let first = at(&cold.first_us, i).map(|us| us / 1e3);
        let answer = at(&cold.start_to_answer_ms, i);
        let known: f64 = [load, compile, first].into_iter().flatten().sum();
        Start { parts: [load, compile, first, answer.map(|ms| (ms - known).max(0.0))], answer }
    };
    (0..processes.into_iter().max().unwrap_or(0)).map(start).collect()
}

impl Start {
    fn whole_ms(&self) -> f64 {
        self.parts.iter().flatten().sum()
    }

    fn bar(&self, index: usize, longest: f64) -> Bar {
        let mut drawing = String::new();
        let (mut words, mut terms) = (Vec::new(), Vec::new());
        let mut from = 0.0;
        for (ms, (name, class)) in self.parts.iter().zip(PARTS) {
            terms.push(ms.map_or_else(|| "–".into(), significant));
            let Some(ms) = ms else { continue };
            let width = if longest > 0.0 { ms / longest * 100.0 } else { 0.0 };
            drawing +=
                &format!("<rect class=\"{class} part\" x=\"{from:.2}%\" y=\"2\" width=\"{width:.2}%\" height=\"14\"/>");
            from += width;
            words.push(format!("{name} {}", micros(ms * 1e3)));
        }
        let answer = self.answer.map_or_else(|| "–".into(), |ms| micros(ms * 1e3));
        let name = format!("process {}", index + 1);
        let title = format!("{name}: answer after {answer}; {}", words.join(", "));
        Bar { name, value: format!("<b>{}</b> = {}", T(answer), T(terms.join(" + "))), title, drawing }
    }
}

/// Memory of the process, and of the plan in it: two groups, because one is a hundred times the other.
pub(super) fn memory(board: &Board, budgets: &[Budget]) -> String {
    let pass = board.memory.clone().unwrap_or_default();
    let process = [
        ("peak resident", board.peak_rss()),
        ("proportional share", pass.pss_bytes),
        ("peak heap", pass.peak_heap_bytes),
        ("text", pass.text_bytes),
        ("data", pass.data_bytes),
        ("bss", pass.bss_bytes),
    ];
    let plan = [("arena", board.arena()), ("plan", pass.plan_bytes), ("packed weights", pass.packed_bytes)];
    let limits: Vec<&Budget> = budgets
        .iter()
        .filter(|budget| budget.kind == FigureKind::Memory)
        .filter(|budget| budget.board.as_ref().is_none_or(|id| *id == board.board))
        .collect();
    let body = group(&process, &limits) + &group(&plan, &limits) + &key_values(&per_inference(&pass));
    if body.is_empty() { body } else { figure("Memory, and its budgets as a line", &body) }
}

fn group(figures: &[(&str, Option<u64>)], limits: &[&Budget]) -> String {
    // "peak resident memory" is a budget of "peak resident".
    let is_of = |budget: &Budget, name: &str| {
        budget.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let limit_of = |name: &str| limits.iter().find(|budget| is_of(budget, name)).map(|budget| budget.limit);
    let known: Vec<(&str, u64, Option<f64>)> =
        figures.iter().filter_map(|(name, n)| Some((*name, (*n)?, limit_of(name)))).collect();
    let ends = known.iter().flat_map(|(_, n, limit)| [Some(*n as f64), *limit]).flatten().filter(|v| v.is_finite());
    let longest = ends.fold(1.0, f64::max);
    let bar = |(name, n, limit): &(&str, u64, Option<f64>)| {
        let width = (*n as f64 / longest * 100.0).max(if *n > 0 { 0.5 } else { 0.0 });
        let mut drawing =
            format!("<rect class=\"c-size\" x=\"0\" y=\"2\" width=\"{width:.2}%\" height=\"14\" rx=\"2\"/>");
        let mut value = format!("<b>{}</b>", bytes(*n));
        if *n >= 1000 {
            value += &format!(" · {} bytes", count(*n));
        }
        let mut title = format!("{name}: {} bytes", count(*n));
        if let Some(limit) = limit.filter(|limit| limit.is_finite() && *limit >= 0.0) {
            drawing += &limit_line(limit / longest * 100.0);
            let words = format!("{} {}", if *n as f64 <= limit { "within" } else { "OVER" }, bytes(limit as u64));
            value += &format!(" · {}", T(&words));
            title += &format!(", {words}");
        }
        Bar { name: (*name).into(), value, title, drawing }.html()
    };
    bars_of(&known.iter().map(bar).collect::<String>())
}

/// A limit as a line through a bar's drawing.
pub(super) fn limit_line(percent: f64) -> String {
    let at = percent.clamp(0.0, 99.8);
    format!("<line class=\"limit\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"0\" y2=\"18\"/>")
}

fn per_inference(memory: &Memory) -> Vec<KeyValue> {
    let allocated = |n: f64| if n >= 0.0 && n.is_finite() { bytes(n.round() as u64) } else { "–".into() };
    [
        ("allocations per inference", memory.allocations_per_inference.map(plain)),
        ("allocated per inference", memory.bytes_per_inference.map(allocated)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(KeyValue::new(name, value?)))
    .collect()
}

/// Said to be not measured where times were: it is never estimated from them.
pub(super) fn energy(board: &Board) -> String {
    match &board.energy {
        Some(energy) => figure("Energy of one inference", &key_values(&energy_lines(energy))),
        None if board.latency.is_some() => {
            figure("Energy of one inference", "<p class=\"muted\">Not measured: no meter was read.</p>\n")
        }
        None => String::new(),
    }
}

fn energy_lines(energy: &Energy) -> Vec<KeyValue> {
    let windows: Vec<String> = energy.windows.iter().map(|uj| microjoules(*uj)).collect();
    let mut lines = vec![KeyValue::new("median of the windows", microjoules(energy.uj_per_inference))];
    let measured = [
        ("the same without idle power", energy.uj_per_inference_without_idle.map(microjoules)),
        ("idle power", energy.idle_w.map(|w| format!("{}\u{a0}W", plain(w)))),
        ("windows", (!windows.is_empty()).then(|| windows.join(", "))),
    ];
    lines.extend(measured.into_iter().filter_map(|(name, value)| Some(KeyValue::new(name, value?))));
    lines.push(KeyValue::new("meter", &energy.source));
    lines
}

fn bars_of(bars: &str) -> String {
    if bars.is_empty() { String::new() } else { format!("<div class=\"bars\">\n{bars}</div>\n") }
}

fn figure(caption: &str, body: &str) -> String {
    format!("<figure><figcaption>{}</figcaption>\n{body}</figure>\n", T(caption))
}
