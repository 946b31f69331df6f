//! What training did: curves over the epochs, and their settings.

use super::axis::Axis;
use super::plot::{Plot, line};
use super::text::{T, key_values, panel};
use crate::numbers::{count, percent, plain, seconds};
use crate::schema::{KeyValue, Report, Training};

pub(super) fn section(report: &Report) -> String {
    let Some(training) = &report.training else { return String::new() };
    let last = |curve: &[f64], show: fn(f64) -> String| match (curve.first(), curve.last()) {
        (Some(&first), Some(&last)) if curve.len() > 1 => format!("{} → {}", show(first), show(last)),
        (Some(&only), _) => show(only),
        _ => "not recorded".into(),
    };
    let loss_text = last(&training.loss, plain);
    let agreement_text = last(&training.agreement, percent);
    let on = if training.agreement_on.is_empty() { String::new() } else { format!(" ({})", training.agreement_on) };
    let mut charts = String::new();
    if !training.loss.is_empty() {
        charts += &figure("loss", "Loss per epoch", &loss_text, &curve("loss", &training.loss, 1.0, "c-loss"));
    }
    if !training.agreement.is_empty() {
        let plot = curve("agreement", &training.agreement, 100.0, "c-agree");
        charts += &figure("agreement", &format!("Agreement with the teacher, %{on}"), &agreement_text, &plot);
    }
    let charts = if charts.is_empty() { charts } else { format!("<div class=\"pair\">\n{charts}</div>\n") };
    panel("Distillation", &(charts + &settings(training)))
}

fn figure(id: &str, heading: &str, numbers: &str, plot: &str) -> String {
    format!(
        "<figure id=\"fig-{id}\"><figcaption>{} <span class=\"muted\">{}</span></figcaption>\n{plot}</figure>\n",
        T(heading),
        T(numbers)
    )
}

/// One value an epoch, `scale` times as large, as a line; dots too while they can be told apart.
fn curve(id: &str, values: &[f64], scale: f64, class: &str) -> String {
    let finite = values.iter().map(|v| v * scale).filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let low = if low > 0.0 && low < 0.4 * high { 0.0 } else { low };
    let (x, y) = (Axis::counting(values.len()), Axis::linear(low, high, 4));
    let points = || (1..).zip(values).map(|(epoch, &v)| (f64::from(epoch), v * scale)).filter(|(_, v)| v.is_finite());
    let marks =
        if values.len() <= 40 { points().map(|at| Plot::dot(&x, &y, at, class)).collect() } else { String::new() };
    let listed: Vec<String> = points().take(200).map(|(epoch, v)| format!("epoch {epoch}: {}", plain(v))).collect();
    Plot {
        id: format!("curve-{id}"),
        title: &format!("{id} over {} epochs", values.len()),
        desc: &listed.join(", "),
        x: &x,
        y: &y,
        x_name: "epoch",
        height: 190,
        paths: line(&x, &y, points(), &format!("line {class}")),
        marks,
    }
    .html()
}

fn settings(training: &Training) -> String {
    let mut lines = vec![
        KeyValue::new("epochs", count(training.epochs)),
        KeyValue::new("steps", count(training.steps)),
        KeyValue::new("time", seconds(training.seconds)),
        KeyValue::new("optimiser", &training.optimiser),
        KeyValue::new("learning rate", plain(training.learning_rate)),
        KeyValue::new("temperature", plain(training.temperature)),
    ];
    if let Some(method) = &training.method {
        lines.insert(0, KeyValue::new("recipe", method));
    }
    if let Some(samples) = training.samples {
        lines.insert(0, KeyValue::new("training samples", count(samples)));
        if training.seconds > 0.0 {
            let rate = samples as f64 * training.epochs as f64 / training.seconds;
            lines.push(KeyValue::new("throughput", format!("{} samples/s", count(rate.round() as u64))));
        }
    }
    key_values(&lines)
}
