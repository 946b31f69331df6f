//! What the quantizer did: its settings, what it left in float, what each operator costs.

use super::text::{Column, T, key_values, panel, table};
use crate::numbers::{count, percent};
use crate::schema::{KeyValue, Quantization, QuantizationLoss, Report};

pub(super) fn section(report: &Report) -> String {
    let Some(quantization) = &report.quantization else { return String::new() };
    let left = quantization.float_nodes.len();
    let mut lines = vec![
        KeyValue::new("method", &quantization.method),
        KeyValue::new("calibration samples", count(quantization.calibration_samples)),
        KeyValue::new("arithmetic", &quantization.arithmetic),
        KeyValue::new("nodes left in float", if left == 0 { "none".into() } else { left.to_string() }),
    ];
    if let Some(max) = &quantization.max_drop {
        lines.push(KeyValue::new("may lose at most", max));
    }
    if let (Some(n), Some(loss)) = (quantization.held_out_samples, &quantization.loss) {
        lines.push(KeyValue::new("held-out samples", count(n)));
        lines.push(KeyValue::new("agrees with the float student", percent(loss.agreement)));
        lines.push(KeyValue::new("signal to noise of the logits", decibels(loss)));
    }
    let rows: Vec<_> = quantization
        .float_nodes
        .iter()
        .map(|node| vec![T(&node.node).to_string(), T(&node.reason).to_string()])
        .collect();
    let nodes = table("Nodes left in float", &[Column::Words("left in float"), Column::Words("why")], &rows);
    panel("Quantization", &(key_values(&lines) + &nodes + &sensitivity(quantization)))
}

/// One row an operator, the most harmful first.
fn sensitivity(quantization: &Quantization) -> String {
    let columns = [
        Column::Words("in int8 alone, all others in float"),
        Column::Number("SQNR"),
        Column::Number("KL, nats"),
        Column::Number("agrees"),
        Column::Number("top-1"),
    ];
    let row = |name: &str, loss: &QuantizationLoss| {
        let top1 = loss.top1.map_or_else(|| "–".into(), percent);
        vec![T(name).to_string(), decibels(loss), format!("{:.1e}", loss.kl), percent(loss.agreement), top1]
    };
    let rows: Vec<_> = quantization.sensitivity.iter().map(|s| row(&s.node, &s.loss)).collect();
    table("What each operator costs, the most harmful first", &columns, &rows)
}

fn decibels(loss: &QuantizationLoss) -> String {
    loss.sqnr_db.map_or_else(|| "exact".into(), |db| format!("{db:.1}\u{a0}dB"))
}
