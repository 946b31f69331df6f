//! What happened over time on one board: latency, and below it on the same axis temperature and frequency.
//!
//! One drawing of lanes. Each lane has its own scale, with its lowest and highest value as text; a triangle says that
//! the board held itself back.

use super::axis::Axis;
use super::plot::line;
use super::text::{Column, T, table};
use crate::latency::{Edge, Latency, Minute, Sustained, Window};
use crate::numbers::{count, micros, plain};

/// Pixels of the lane of latency, of the others, and between two.
const TALL: usize = 110;
const LOW: usize = 46;
const GAP: usize = 24;
/// Pixels above the first lane, for its name.
const HEAD: usize = 16;
/// More minutes than this are folded away under the drawing.
const UNFOLDED: usize = 8;

type Points = Vec<(f64, f64)>;

/// What is drawn over one axis of time.
struct Series {
    id: String,
    title: &'static str,
    x: Axis,
    x_name: &'static str,
    p50: Points,
    p90: Points,
    temperature: Points,
    /// MHz.
    frequency: Points,
    /// When the board held itself back.
    throttled: Vec<f64>,
}

/// The windows of a measurement; nothing where no times or no edges were recorded.
pub(super) fn windows(index: usize, latency: &Latency) -> String {
    let windows = &latency.windows;
    let starts: Option<Vec<f64>> = windows.iter().map(|w| w.start_s.filter(|s| s.is_finite())).collect();
    let Some(starts) = starts.filter(|starts| starts.len() > 1) else { return String::new() };
    // A window ends where the next one begins; the last is taken to be as long as the one before.
    let last = starts.len() - 1;
    let end = |i: usize| if i < last { starts[i + 1] } else { 2.0 * starts[last] - starts[last - 1] };
    let mut series = Series {
        id: format!("time-{index}"),
        title: "Over the windows",
        x: Axis::linear(starts[0], end(last), 6),
        x_name: "seconds since the first window began",
        p50: vec![],
        p90: vec![],
        temperature: vec![],
        frequency: vec![],
        throttled: vec![],
    };
    for (i, window) in windows.iter().enumerate() {
        let (from, to) = (starts[i], end(i));
        series.p50.extend([(from, window.p50_us), (to, window.p50_us)]);
        series.p90.extend(window.p90_us.iter().flat_map(|&p90| [(from, p90), (to, p90)]));
        series.edges(window, from, to);
    }
    series.figure("Latency over the windows, with the board beside it")
}

/// Minute by minute under load.
pub(super) fn sustained(index: usize, sustained: &Sustained) -> String {
    let minutes = &sustained.minutes;
    if minutes.is_empty() {
        return String::new();
    }
    let at = |minute: &Minute| minute.minute as f64;
    let x = Axis::linear(at(&minutes[0]), at(&minutes[minutes.len() - 1]), 6);
    let points = |of: &dyn Fn(&Minute) -> Option<f64>| -> Points {
        minutes.iter().filter_map(|minute| Some((at(minute), of(minute)?))).collect()
    };
    let series = Series {
        id: format!("minutes-{index}"),
        title: "Under load",
        x,
        x_name: "minute",
        p50: points(&|minute| Some(minute.p50_us)),
        p90: points(&|minute| minute.p90_us),
        temperature: points(&|minute| minute.temperature_c),
        frequency: points(&|minute| minute.frequency_khz.map(|khz| khz as f64 / 1e3)),
        throttled: minutes.iter().filter(|minute| minute.throttled == Some(true)).map(at).collect(),
    };
    let ratio = sustained.last_over_first.map_or_else(String::new, |ratio| {
        format!("<p class=\"small\">Last minute over first: <b>{}</b></p>\n", T(format!("{ratio:.2}")))
    });
    let table = minute_table(minutes);
    let table = if minutes.len() > UNFOLDED {
        format!("<details><summary>All {} minutes</summary>\n{table}</details>\n", minutes.len())
    } else {
        table
    };
    series.figure("Latency under load, minute by minute") + &ratio + &table
}

fn minute_table(minutes: &[Minute]) -> String {
    let columns = ["n", "p50", "p90", "frequency", "temperature", "throttled"].map(Column::Number);
    let columns: Vec<_> = std::iter::once(Column::Words("minute")).chain(columns).collect();
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let row = |minute: &Minute| {
        vec![
            count(minute.minute),
            count(minute.n),
            micros(minute.p50_us),
            or_unknown(minute.p90_us.map(micros)),
            or_unknown(minute.frequency_khz.map(|khz| format!("{}\u{a0}MHz", khz / 1000))),
            or_unknown(minute.temperature_c.map(|c| format!("{}\u{a0}°C", plain(c)))),
            or_unknown(minute.throttled.map(|yes| if yes { "yes" } else { "no" }.into())),
        ]
    };
    table("Latency under load, minute by minute", &columns, &minutes.iter().map(row).collect::<Vec<_>>())
}

impl Series {
    fn edges(&mut self, window: &Window, from: f64, to: f64) {
        let edges: [(f64, Option<Edge>); 2] = [(from, window.begin), (to, window.end)];
        for (at, edge) in edges.into_iter().filter_map(|(at, edge)| Some((at, edge?))) {
            self.temperature.extend(edge.temperature_c.map(|c| (at, c)));
            self.frequency.extend(edge.frequency_khz.map(|khz| (at, khz as f64 / 1e3)));
            if edge.throttled == Some(true) {
                self.throttled.push(at);
            }
        }
    }

    fn figure(mut self, caption: &str) -> String {
        for points in [&mut self.p50, &mut self.p90, &mut self.temperature, &mut self.frequency] {
            points.retain(|(x, y)| x.is_finite() && y.is_finite());
        }
        let times = || self.p50.iter().chain(&self.p90).map(|(_, us)| *us);
        let (low, high) = (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max));
        if !low.is_finite() {
            return String::new();
        }
        let mut svg = String::new();
        let mut spoken = vec![format!("latency {} to {}", micros(low), micros(high))];
        let lane = Lane { name: "latency", top: HEAD, height: TALL, y: Axis::micros(low, high), shown: &micros };
        svg += &lane.html(self.x(), &[(&self.p50, "line c-latency"), (&self.p90, "line c-latency dashed")]);
        let mut top = HEAD + TALL + GAP;
        let celsius = |c: f64| format!("{}\u{a0}°C", plain(c));
        let megahertz = |mhz: f64| format!("{mhz:.0}\u{a0}MHz");
        let shows: [&dyn Fn(f64) -> String; 2] = [&celsius, &megahertz];
        let others = [("temperature", &self.temperature, "line c-loss"), ("frequency", &self.frequency, "line c-size")];
        for ((name, points, class), shown) in others.into_iter().zip(shows) {
            let values = || points.iter().map(|(_, v)| *v);
            let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
            if low.is_finite() {
                spoken.push(format!("{name} {} to {}", shown(low), shown(high)));
                let lane = Lane { name, top, height: LOW, y: Axis::linear(low, high, 1), shown };
                svg += &lane.html(self.x(), &[(points, class)]);
                top += LOW + GAP;
            }
        }
        if !self.throttled.is_empty() {
            spoken.push(format!("held back at {} points", self.throttled.len()));
        }
        svg += &self.throttled.iter().map(|at| triangle(self.x.percent(*at))).collect::<String>();
        let legend = [
            (true, "— p50"),
            (!self.p90.is_empty(), "- - p90"),
            (!self.throttled.is_empty(), "▼ the board held itself back"),
        ];
        let legend: Vec<&str> = legend.into_iter().filter_map(|(is, text)| is.then_some(text)).collect();
        format!(
            "<figure><figcaption>{} <span class=\"muted\">{}</span></figcaption>\n\
             <svg class=\"plot lanes\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" height=\"{}\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n{}{svg}\
             <text class=\"tick name\" x=\"100%\" y=\"100%\" dy=\"36\" text-anchor=\"end\">{}</text></svg></figure>\n",
            T(caption),
            T(legend.join(" · ")),
            top - GAP,
            T(self.title),
            T(spoken.join("; ")),
            self.grid(),
            T(self.x_name),
            id = self.id,
        )
    }

    fn x(&self) -> &Axis {
        &self.x
    }

    fn grid(&self) -> String {
        let tick = |(value, label): &(f64, String)| {
            let x = self.x.percent(*value);
            format!(
                "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"100%\"/>\
                 <text class=\"tick\" x=\"{x:.2}%\" y=\"100%\" dy=\"18\" text-anchor=\"middle\">{}</text>",
                T(label)
            )
        };
        self.x.ticks.iter().map(tick).collect()
    }
}

/// One scale over the axis of time; places in pixels from the top of the drawing.
struct Lane<'a> {
    name: &'a str,
    top: usize,
    height: usize,
    y: Axis,
    shown: &'a dyn Fn(f64) -> String,
}

impl Lane<'_> {
    fn html(&self, x: &Axis, lines: &[(&Points, &str)]) -> String {
        let Lane { name, top, height, y, shown } = self;
        let mut svg = String::new();
        let ends = [y.ticks.first(), y.ticks.last()];
        for (value, _) in ends.into_iter().flatten() {
            let at = *top as f64 + (100.0 - y.percent(*value)) / 100.0 * *height as f64;
            svg += &format!(
                "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"tick\" x=\"-8\" y=\"{at:.1}\" dy=\"4\" text-anchor=\"end\">{}</text>",
                T(shown(*value))
            );
        }
        let paths: String = lines.iter().map(|(points, class)| line(x, y, points.iter().copied(), class)).collect();
        let dots = |(points, class): &(&Points, &str)| {
            let class = class.split(' ').nth(1).unwrap_or_default().to_owned();
            let dot = move |(px, py): &(f64, f64)| {
                let (cx, cy) = (x.percent(*px), *top as f64 + (100.0 - y.percent(*py)) / 100.0 * *height as f64);
                format!("<circle class=\"dot {class}\" cx=\"{cx:.2}%\" cy=\"{cy:.1}\" r=\"2.5\"/>")
            };
            points.iter().map(dot).collect::<String>()
        };
        let dots: String = lines.iter().filter(|(points, _)| points.len() <= 60).map(dots).collect();
        svg + &format!(
            "<svg y=\"{top}\" width=\"100%\" height=\"{height}\" viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" \
             class=\"paths\">{paths}</svg>{dots}<text class=\"mark\" x=\"0\" y=\"{}\">{}</text>\n",
            top - 6,
            T(name)
        )
    }
}

/// Points down, at the upper edge.
fn triangle(percent: f64) -> String {
    format!("<text class=\"mark\" x=\"{percent:.2}%\" y=\"10\" text-anchor=\"middle\">▼</text>")
}
