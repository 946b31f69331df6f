//! The operators that take longest on one board.

use super::text::{Column, T, table};
use crate::board::Node;
use crate::numbers::{micros, percent, short_count};

/// Rows that are shown.
const SHOWN: usize = 20;

pub(super) fn table_of(nodes: &[Node]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let columns = [
        Column::Words("operator"),
        Column::Words("kind"),
        Column::Number("time"),
        Column::Number("share"),
        Column::Words(""),
        Column::Number("MACs"),
        Column::Number("MACs/s"),
    ];
    let mut slowest: Vec<&Node> = nodes.iter().collect();
    slowest.sort_by(|a, b| b.us.total_cmp(&a.us));
    let largest = slowest.iter().map(|node| node.share).filter(|s| s.is_finite()).fold(0.0, f64::max);
    let row = |node: &&Node| {
        let rate = node.macs.map(|macs| macs as f64 / (node.us / 1e6)).filter(|rate| rate.is_finite() && *rate >= 0.0);
        vec![
            T(&node.name).to_string(),
            T(&node.op).to_string(),
            micros(node.us),
            percent(node.share),
            share_bar(node, largest),
            node.macs.map_or_else(|| "–".into(), short_count),
            rate.map_or_else(|| "–".into(), |rate| short_count(rate as u64)),
        ]
    };
    let rows: Vec<_> = slowest.iter().take(SHOWN).map(row).collect();
    format!(
        "<h3>Slowest operators</h3>\n{}",
        table("The operators that take longest, the slowest first", &columns, &rows)
    )
}

fn share_bar(node: &Node, largest: f64) -> String {
    let width = node.share / largest * 100.0;
    let width = if width.is_finite() { width.clamp(0.0, 100.0) } else { 0.0 };
    format!(
        "<svg class=\"inline\" role=\"img\" width=\"120\" height=\"12\"><title>{}: {} of the time</title>\
         <rect class=\"track\" x=\"0\" y=\"1\" width=\"100%\" height=\"10\" rx=\"2\"/>\
         <rect class=\"c-latency\" x=\"0\" y=\"1\" width=\"{width:.2}%\" height=\"10\" rx=\"2\"/></svg>",
        T(&node.name),
        T(percent(node.share))
    )
}
