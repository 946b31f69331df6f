//! A plot with two axes, as SVG that follows the page's width.
//!
//! The outer drawing has no `viewBox`: positions are percent, text and dots stay the same size in pixels on a phone
//! and on a desk. Lines need path data, which cannot be percent; they live in an inner drawing that is stretched
//! (`viewBox` 0..1000, `preserveAspectRatio="none"`) with strokes that are not.

use super::axis::Axis;
use super::text::T;

/// One plot; `id` must be unique on the page.
pub(super) struct Plot<'a> {
    pub(super) id: String,
    /// Read out; says what is drawn. Plain text.
    pub(super) title: &'a str,
    /// Read out after the title; the main numbers. Plain text.
    pub(super) desc: &'a str,
    pub(super) x: &'a Axis,
    pub(super) y: &'a Axis,
    pub(super) x_name: &'a str,
    pub(super) height: u32,
    /// Inside the stretched drawing: paths in 0..1000 ([`line`], [`stairs`]).
    pub(super) paths: String,
    /// Over it: dots, labels, in percent.
    pub(super) marks: String,
}

impl Plot<'_> {
    pub(super) fn html(&self) -> String {
        let mut grid = String::new();
        for (value, label) in &self.y.ticks {
            let y = 100.0 - self.y.percent(*value);
            grid += &format!(
                "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y:.2}%\" y2=\"{y:.2}%\"/>\
                 <text class=\"tick\" x=\"-8\" y=\"{y:.2}%\" dy=\"4\" text-anchor=\"end\">{}</text>",
                T(label)
            );
        }
        for (value, label) in &self.x.ticks {
            let x = self.x.percent(*value);
            grid += &format!(
                "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"100%\"/>\
                 <text class=\"tick\" x=\"{x:.2}%\" y=\"100%\" dy=\"18\" text-anchor=\"middle\">{}</text>",
                T(label)
            );
        }
        let log = if self.x.is_log() { ", logarithmic" } else { "" };
        format!(
            "<svg class=\"plot\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" height=\"{height}\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{desc}</desc>\n{grid}\n\
             <svg width=\"100%\" height=\"100%\" viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" \
             class=\"paths\">{paths}</svg>\n{marks}\n\
             <text class=\"tick name\" x=\"100%\" y=\"100%\" dy=\"36\" text-anchor=\"end\">{name}{log}</text></svg>\n",
            id = self.id,
            height = self.height,
            title = T(self.title),
            desc = T(self.desc),
            paths = self.paths,
            marks = self.marks,
            name = T(self.x_name),
        )
    }

    /// A dot at `(x, y)`.
    pub(super) fn dot(x: &Axis, y: &Axis, at: (f64, f64), class: &str) -> String {
        let (x, y) = (x.percent(at.0), 100.0 - y.percent(at.1));
        format!("<circle class=\"dot {class}\" cx=\"{x:.2}%\" cy=\"{y:.2}%\" r=\"3.5\"/>")
    }

    /// A line of text beside `(x, y)`, on the side with more room: right and below, or left and above.
    pub(super) fn label(x: &Axis, y: &Axis, at: (f64, f64), text: &str) -> String {
        let (x, y) = (x.percent(at.0), 100.0 - y.percent(at.1));
        let (dx, dy, anchor) = if x < 55.0 { (8, 14, "start") } else { (-8, -7, "end") };
        format!(
            "<text class=\"mark\" x=\"{x:.2}%\" y=\"{y:.2}%\" dx=\"{dx}\" dy=\"{dy}\" text-anchor=\"{anchor}\">{}</text>",
            T(text)
        )
    }
}

/// Straight lines through the points, as a path for [`Plot::paths`].
pub(super) fn line(x: &Axis, y: &Axis, points: impl Iterator<Item = (f64, f64)>, class: &str) -> String {
    let mut d = String::new();
    for (px, py) in points {
        let (px, py) = place(x, y, px, py);
        d += &format!("{}{px:.1} {py:.1}", if d.is_empty() { "M" } else { "L" });
    }
    path(&d, class)
}

/// Right, then up, through the points: an empirical distribution.
pub(super) fn stairs(x: &Axis, y: &Axis, points: impl Iterator<Item = (f64, f64)>, class: &str) -> String {
    let mut d = String::new();
    for (px, py) in points {
        let (px, py) = place(x, y, px, py);
        if d.is_empty() {
            d += &format!("M{px:.1} 1000");
        } else {
            d += &format!("H{px:.1}");
        }
        d += &format!("V{py:.1}");
    }
    if !d.is_empty() {
        d += "H1000";
    }
    path(&d, class)
}

fn place(x: &Axis, y: &Axis, px: f64, py: f64) -> (f64, f64) {
    (x.percent(px) * 10.0, 1000.0 - y.percent(py) * 10.0)
}

fn path(d: &str, class: &str) -> String {
    if d.is_empty() { String::new() } else { format!("<path class=\"{class}\" d=\"{d}\"/>") }
}
