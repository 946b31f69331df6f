//! Accuracy against what it costs, for every student and board: what no other beats in both is the front.
//!
//! Points carry a number and the table says whose it is, so that names of any length fit.

use super::axis::Axis;
use super::plot::Plot;
use super::text::{Column, T, panel, table};
use crate::numbers::{bytes, micros, percent_fine};
use crate::schema::{Accuracy, Report};

/// One model in one place, or the places where it is the same.
struct Point {
    subject: String,
    cost: f64,
    top1: f64,
    on_front: bool,
}

const LEGEND: &str = "<p class=\"legend\">● on the front: nothing here is both cheaper and better · ○ beaten</p>\n";

pub(super) fn section(report: &Report) -> String {
    let size = |row: &Accuracy| report.model_of(row).map(|model| model.bytes as f64);
    // The latency of a board is that of its int8 student, or of the only student there; of an emulator it is none.
    let only = |row: &Accuracy| report.accuracy.iter().filter(|other| same_board(report, other, row)).count() == 1;
    let latency = |row: &Accuracy| {
        let board = report.board_of(row).filter(|board| !board.emulated && !board.is_invalid())?;
        (row.is_int8() || only(row)).then_some(board.latency.as_ref()?.score_us)
    };
    let by_size = points(report, size);
    let by_latency = points(report, latency);
    let drawn = figure("size", "Size of the model file", &by_size, &Axis::bytes, &|b| bytes(b as u64))
        + &figure("latency", "Score of one inference", &by_latency, &Axis::micros, &micros);
    if drawn.is_empty() {
        drawn
    } else {
        panel("Accuracy against cost", &format!("<div class=\"pair\">\n{drawn}</div>\n{LEGEND}"))
    }
}

fn same_board(report: &Report, a: &Accuracy, b: &Accuracy) -> bool {
    let id = |row: &Accuracy| report.board_of(row).map(|board| board.board.clone());
    id(a).is_some() && id(a) == id(b)
}

fn points(report: &Report, cost: impl Fn(&Accuracy) -> Option<f64>) -> Vec<Point> {
    let measured = report.accuracy.iter().filter_map(|row| {
        let (cost, top1) = (cost(row)?, row.top1?);
        (cost.is_finite() && cost > 0.0 && top1.is_finite()).then_some((row.subject.clone(), cost, top1))
    });
    let mut all: Vec<(String, f64, f64)> = Vec::new();
    for (subject, cost, top1) in measured {
        match all.iter_mut().find(|(_, c, t)| (*c, *t) == (cost, top1)) {
            Some((subjects, ..)) => *subjects += &format!(", {subject}"),
            None => all.push((subject, cost, top1)),
        }
    }
    let beaten = |cost: f64, top1: f64| all.iter().any(|&(_, c, t)| c <= cost && t >= top1 && (c < cost || t > top1));
    let point = |(subject, cost, top1): &(String, f64, f64)| Point {
        subject: subject.clone(),
        cost: *cost,
        top1: *top1,
        on_front: !beaten(*cost, *top1),
    };
    let mut points: Vec<Point> = all.iter().map(point).collect();
    points.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(b.top1.total_cmp(&a.top1)));
    points
}

/// Nothing where fewer than two points could be compared.
fn figure(
    id: &str,
    x_name: &str,
    points: &[Point],
    axis: &dyn Fn(f64, f64) -> Axis,
    shown: &dyn Fn(f64) -> String,
) -> String {
    if points.len() < 2 {
        return String::new();
    }
    let ends = |of: &dyn Fn(&Point) -> f64| {
        points.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((cheap, dear), (worst, best)) = (ends(&|p| p.cost), ends(&|p| p.top1 * 100.0));
    let (x, y) = (axis(cheap, dear), Axis::linear(worst, best, 5));
    let (mut dots, mut numbers) = (String::new(), String::new());
    let mut spoken = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let (px, py) = (x.percent(point.cost), 100.0 - y.percent(point.top1 * 100.0));
        let class = if point.on_front { "c-top1" } else { "c-top1 hollow" };
        dots += &format!(
            "<circle class=\"dot {class}\" cx=\"{px:.2}%\" cy=\"{py:.2}%\" r=\"5\"><title>{}</title></circle>",
            T(&point.subject)
        );
        numbers += &format!("<text class=\"mark\" x=\"{px:.2}%\" y=\"{py:.2}%\" dx=\"8\" dy=\"-6\">{}</text>", i + 1);
        spoken.push(format!("{}: {}, {}", point.subject, shown(point.cost), percent_fine(point.top1)));
    }
    let front = points.iter().filter(|point| point.on_front).map(|point| (point.cost, point.top1 * 100.0));
    let plot = Plot {
        id: format!("pareto-{id}"),
        title: &format!("Top-1 against: {x_name}"),
        desc: &spoken.join("; "),
        x: &x,
        y: &y,
        x_name,
        height: 210,
        paths: super::plot::line(&x, &y, front, "line c-top1 dashed"),
        marks: dots + &numbers,
    };
    format!(
        "<figure><figcaption>Top-1, %, against: {}</figcaption>\n{}{}</figure>\n",
        T(x_name),
        plot.html(),
        listed(points, x_name, shown)
    )
}

fn listed(points: &[Point], x_name: &str, shown: &dyn Fn(f64) -> String) -> String {
    let columns = [Column::Words("point"), Column::Number("cost"), Column::Number("top-1"), Column::Words("front")];
    let row = |(i, point): (usize, &Point)| {
        let front = if point.on_front { "●\u{a0}yes" } else { "○\u{a0}no" };
        let name = format!("{} {}", i + 1, T(&point.subject));
        vec![name, shown(point.cost), percent_fine(point.top1), front.into()]
    };
    table(&format!("Top-1 against: {x_name}"), &columns, &points.iter().enumerate().map(row).collect::<Vec<_>>())
}
