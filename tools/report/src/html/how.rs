//! How each number was made, and the commands that make it again.

use super::text::{T, full_hash, panel};
use crate::schema::Report;

pub(super) fn section(report: &Report) -> String {
    panel("How the numbers were made", &how(report)) + &panel("Make them again", &commands(report)) + "</main>\n"
}

fn how(report: &Report) -> String {
    let mut items: Vec<(String, String)> = Vec::new();
    for row in &report.accuracy {
        let mut text = T(&row.how).to_string();
        if let Some(hash) = &row.integers_hash {
            text += &format!("{}integers {}", if text.is_empty() { "" } else { "<br>" }, full_hash(hash));
        }
        if !text.is_empty() {
            items.push((T(&row.subject).to_string(), text));
        }
    }
    if report.accuracy.iter().any(|row| row.top1.is_some()) {
        items.push((
            "95\u{a0}% interval".into(),
            "Wilson's score interval of right answers among those asked: chance of the draw of samples only.".into(),
        ));
    }
    if report.boards.iter().any(|board| board.latency.is_some()) {
        items.push((
            "latency".into(),
            "Monotonic clock round one inference, single stream; preprocessing outside. The score is the median of the \
             windows' medians. A percentile is given only where n supports it."
                .into(),
        ));
    }
    if report.boards.iter().any(|board| board.cold.is_some()) {
        let text = "A fresh process each: its start, the bundle read and checked, the graph compiled, one inference.";
        items.push(("cold start".into(), text.into()));
    }
    if report.boards.iter().any(|board| board.memory.is_some()) {
        items.push((
            "memory".into(),
            "A process of its own, which measures no time. Peak resident is the kernel's VmHWM, proportional share its Pss;              allocations are counted after warm-up."
                .into(),
        ));
    }
    if report.boards.iter().any(|board| board.emulated) {
        items.push((
            "emulated".into(),
            "The instructions of the board's processor, run by an emulator: integers and counts are the board's, \
             times are the emulator's."
                .into(),
        ));
    }
    if items.is_empty() {
        return String::new();
    }
    let lines: String = items.iter().map(|(k, v)| format!("<div><dt>{k}</dt><dd>{v}</dd></div>\n")).collect();
    format!("<dl class=\"kv how\">\n{lines}</dl>\n")
}

fn commands(report: &Report) -> String {
    if report.commands.is_empty() {
        return String::new();
    }
    let lines: String = report.commands.iter().map(|command| format!("<code>{}</code>", T(command))).collect();
    format!("<pre tabindex=\"0\">{lines}</pre>\n")
}
