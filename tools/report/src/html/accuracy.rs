//! Accuracy: a bar with its confidence whisker for each model in each place, and the table.

use super::confusion;
use super::text::{Bar, Column, T, hash, panel, table};
use crate::numbers::{Interval, count, interval, percent, percent_fine, plain, wilson95};
use crate::schema::{Accuracy, Report};

const LEGEND: &str = "<p class=\"legend\"><span class=\"key c-top1\"></span> top-1 \
    <span class=\"key c-agree\"></span> agreement with the teacher \
    <span class=\"whisker\">├─┤</span> 95\u{a0}% confidence (Wilson)</p>\n";

pub(super) fn section(report: &Report) -> String {
    if report.accuracy.is_empty() {
        return String::new();
    }
    let bars: String = report.accuracy.iter().map(|row| bar(row).html()).collect();
    let columns = [
        Column::Words("what, where"),
        Column::Number("top-1"),
        Column::Number("95 % interval"),
        Column::Number("right"),
        Column::Number("of"),
        Column::Number("agrees with teacher"),
        Column::Number("agrees with host"),
        Column::Words("integers"),
    ];
    let rows: Vec<_> = report.accuracy.iter().map(cells).collect();
    let note = match report.integers_are_equal() {
        Some(true) => {
            "<p class=\"note good\">Every place produced the same integers: the hashes are equal, \
             so accuracy in one place is accuracy in all of them.</p>\n"
        }
        Some(false) => {
            "<p class=\"note bad\">The places did not produce the same integers: the hashes differ. \
             The same student on the same samples must give equal hashes.</p>\n"
        }
        None => "",
    };
    let table = table("Accuracy of each model in each place", &columns, &rows);
    let more = agreement(report) + &confusion::tables(report);
    panel("Accuracy", &format!("<div class=\"bars\">\n{bars}</div>\n{LEGEND}{note}{table}{more}"))
}

/// How close the outputs are, where that was measured.
fn agreement(report: &Report) -> String {
    let columns = [
        Column::Words("outputs of"),
        Column::Number("answered as the teacher"),
        Column::Number("of"),
        Column::Number("symmetric KL, nats"),
        Column::Number("largest difference of logits"),
        Column::Number("cosine"),
        Column::Number("difference from host"),
        Column::Number("allowed"),
    ];
    let or_dash = |value: Option<f64>| value.map_or_else(|| "–".into(), plain);
    let measured = report.accuracy.iter().filter(|row| row.agreement.is_some() || row.host_difference.is_some());
    let row = |row: &Accuracy| {
        let agreement = row.agreement.as_ref();
        let counted = |n: Option<u64>| n.map_or_else(|| "–".into(), count);
        vec![
            T(&row.subject).to_string(),
            counted(agreement.map(|a| a.same)),
            counted(agreement.map(|a| a.n)),
            or_dash(agreement.and_then(|a| a.symmetric_kl)),
            or_dash(agreement.and_then(|a| a.max_difference)),
            or_dash(agreement.and_then(|a| a.cosine)),
            or_dash(row.host_difference.map(|d| d.max_abs)),
            or_dash(row.host_difference.map(|d| d.tolerance)),
        ]
    };
    table("Outputs beside the teacher's and the host's", &columns, &measured.map(row).collect::<Vec<_>>())
}

fn interval_of(row: &Accuracy) -> Option<Interval> {
    row.top1?;
    wilson95(row.correct, row.n)
}

fn bar(row: &Accuracy) -> Bar {
    let percent_of = |rate: f64| if rate.is_finite() { rate.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    let mut drawing = String::new();
    let mut values = Vec::new();
    let mut spoken = Vec::new();
    if let Some(top1) = row.top1 {
        let width = percent_of(top1);
        drawing += &format!("<rect class=\"c-top1\" x=\"0\" y=\"2\" width=\"{width:.2}%\" height=\"10\" rx=\"2\"/>");
        values.push(format!("<b>{}</b>", percent(top1)));
        spoken.push(format!("top-1 {}", percent(top1)));
    }
    if let Some(agreement) = row.agreement_with_teacher {
        let width = percent_of(agreement);
        let (y, height) = if row.top1.is_some() { (13, 3) } else { (2, 14) };
        drawing += &format!(
            "<rect class=\"c-agree\" x=\"0\" y=\"{y}\" width=\"{width:.2}%\" height=\"{height}\" rx=\"1.5\"/>"
        );
        values.push(format!("agrees {}", percent(agreement)));
        spoken.push(format!("agreement with the teacher {}", percent(agreement)));
    }
    if let Some(i) = interval_of(row) {
        let (low, high) = (percent_of(i.low), percent_of(i.high));
        let whisker = format!(
            "<line x1=\"{low:.2}%\" x2=\"{high:.2}%\" y1=\"7\" y2=\"7\"/>\
             <line x1=\"{low:.2}%\" x2=\"{low:.2}%\" y1=\"3\" y2=\"11\"/>\
             <line x1=\"{high:.2}%\" x2=\"{high:.2}%\" y1=\"3\" y2=\"11\"/>"
        );
        drawing += &format!("<g class=\"halo\">{whisker}</g><g class=\"error\">{whisker}</g>");
        spoken.push(format!("95 % interval {}", interval(i)));
    }
    if values.is_empty() {
        values.push("not measured".into());
        spoken.push("not measured".into());
    }
    Bar {
        name: row.subject.clone(),
        value: values.join(" · "),
        title: format!("{}: {}", row.subject, spoken.join(", ")),
        drawing,
    }
}

fn cells(row: &Accuracy) -> Vec<String> {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "–".into(), percent_fine);
    let labelled = row.top1.is_some();
    vec![
        T(&row.subject).to_string(),
        rate(row.top1),
        interval_of(row).map_or_else(|| "–".into(), interval),
        if labelled { count(row.correct) } else { "–".into() },
        count(row.n),
        rate(row.agreement_with_teacher),
        rate(row.agreement_with_host),
        row.integers_hash.as_deref().map_or_else(|| "–".into(), hash),
    ]
}
