//! What a board made of its student: before and after, budget and measured.

use super::text::{Column, T, key_values, panel, table};
use crate::adaptation::{Adaptation, BeforeAfter, Score};
use crate::numbers::{bytes, count, percent, plain, seconds};
use crate::schema::{KeyValue, Report};

pub(super) fn section(report: &Report) -> String {
    let Some(adaptation) = &report.adaptation else { return String::new() };
    let columns = [
        Column::Words("on"),
        Column::Words("student"),
        Column::Number("loss"),
        Column::Number("agrees with the teacher"),
        Column::Number("top-1"),
    ];
    let sets = [("held-out local samples", &adaptation.held_out), ("replay set", &adaptation.replay)];
    let rows: Vec<_> = sets.into_iter().filter_map(|(name, set)| Some(rows(name, set.as_ref()?))).flatten().collect();
    let table = table("The student before and after", &columns, &rows);
    panel(format!("Adaptation on {}", adaptation.board), &(table + &key_values(&lines(adaptation))))
}

fn rows(name: &str, set: &BeforeAfter) -> [Vec<String>; 2] {
    let row = |which: &str, score: &Score| {
        let top1 = score.top1.map_or_else(|| "–".into(), percent);
        vec![
            format!("{} ({})", T(name), count(set.shown)),
            which.to_owned(),
            plain(score.loss),
            percent(score.agreement),
            top1,
        ]
    };
    [row("before", &set.before), row("after", &set.after)]
}

fn lines(a: &Adaptation) -> Vec<KeyValue> {
    let or_unknown = |v: Option<u64>| v.map_or_else(|| "unknown".into(), bytes);
    let mut lines = vec![
        KeyValue::new("verdict", format!("{}: {}", if a.accepted { "accepted" } else { "rolled back" }, a.why)),
        KeyValue::new("recipe", &a.recipe),
        KeyValue::new("trained", format!("{} values in {} tensors", count(a.values), count(a.tensors))),
        KeyValue::new("local samples trained on", count(a.samples)),
        KeyValue::new("steps", format!("{} of {}", count(a.steps), count(a.planned_steps))),
        KeyValue::new("time", seconds(a.seconds)),
        KeyValue::new("time allowed", a.time_budget_s.map_or_else(|| "no limit".into(), seconds)),
        KeyValue::new("training memory, measured", or_unknown(a.training_peak_bytes)),
        KeyValue::new("training memory, predicted", or_unknown(a.predicted_peak_bytes)),
        KeyValue::new("training memory, allowed", a.memory_budget_bytes.map_or_else(|| "no limit".into(), bytes)),
        KeyValue::new("memory of the process", or_unknown(a.process_peak_bytes)),
        KeyValue::new("measured is", &a.memory_counts),
    ];
    if let Some(stopped) = &a.stopped {
        lines.push(KeyValue::new("stopped by", stopped));
    }
    lines.push(KeyValue::new("bundle before", &a.parent_sha256));
    if let Some(sha256) = &a.bundle_sha256 {
        lines.push(KeyValue::new("bundle after", sha256));
    }
    lines
}
