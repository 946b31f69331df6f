//! From a value to percent of an axis, and the ticks in between.

use crate::numbers::plain;

/// One direction of a plot.
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Value and label, in order.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis that covers `low..=high` and begins and ends on a tick; about `about` steps.
    pub(super) fn linear(low: f64, high: f64, about: u32) -> Axis {
        let (low, high) = widened(low, high);
        let step = nice_step((high - low) / f64::from(about.max(1)));
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let count = (last - first).clamp(1.0, 50.0) as u32;
        let values: Vec<f64> = (0..=count).map(|i| (first + f64::from(i)) * step).collect();
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let label =
            |v: &f64| (*v, if step < 1e-6 || high.abs() >= 1e7 { plain(*v) } else { format!("{v:.decimals$}") });
        Axis { low: values[0], high: values[values.len() - 1], log: false, ticks: values.iter().map(label).collect() }
    }

    /// An axis of times in µs that fits `low..=high` closely; logarithmic where that spans a factor over 6.
    pub(super) fn micros(low: f64, high: f64) -> Axis {
        Axis::measured(low, high, |us| match us {
            us if us < 1e3 => (1.0, "µs"),
            us if us < 1e6 => (1e3, "ms"),
            _ => (1e6, "s"),
        })
    }

    /// The same of sizes in bytes.
    pub(super) fn bytes(low: f64, high: f64) -> Axis {
        Axis::measured(low, high, |bytes| match bytes {
            bytes if bytes < 1e3 => (1.0, "B"),
            bytes if bytes < 1e6 => (1e3, "kB"),
            bytes if bytes < 1e9 => (1e6, "MB"),
            _ => (1e9, "GB"),
        })
    }

    /// `unit` says what one unit of a tick's label is worth, and its name.
    fn measured(low: f64, high: f64, unit: impl Fn(f64) -> (f64, &'static str)) -> Axis {
        if low > 0.0 && high / low > 6.0 && high.is_finite() {
            let decades = (high / low).log10();
            let mantissas: &[f64] = if decades > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let (low, high) = (low / 1.1, high * 1.1);
            let mut ticks = Vec::new();
            for exponent in (low.log10().floor() as i32)..=(high.log10().ceil() as i32) {
                for mantissa in mantissas {
                    let v = mantissa * 10f64.powi(exponent);
                    let (scale, unit) = unit(v);
                    if (low..=high).contains(&v) {
                        ticks.push((v, format!("{}\u{a0}{unit}", plain(v / scale))));
                    }
                }
            }
            return Axis { low, high, log: true, ticks };
        }
        let (scale, unit) = unit(high);
        let mut axis = Axis::linear(low / scale, high / scale, 4);
        for (value, label) in &mut axis.ticks {
            *value *= scale;
            *label = format!("{label}\u{a0}{unit}");
        }
        (axis.low, axis.high) = (axis.low * scale, axis.high * scale);
        axis
    }

    /// Whole numbers `1..=last`, as epochs; ticks at most about ten.
    pub(super) fn counting(last: usize) -> Axis {
        let step = nice_step(last as f64 / 8.0).max(1.0) as usize;
        let mut ticks: Vec<usize> = (1..=last).filter(|i| i % step == 0).collect();
        if ticks.first().is_none_or(|&first| first > 1 && step < 3) {
            ticks.insert(0, 1);
        }
        let ticks = ticks.into_iter().map(|i| (i as f64, i.to_string())).collect();
        Axis {
            low: if last > 1 { 1.0 } else { 0.0 },
            high: last.max(1) as f64 + if last > 1 { 0.0 } else { 1.0 },
            log: false,
            ticks,
        }
    }

    /// Where `value` lies: 0 at the low end, 100 at the high end, clamped.
    pub(super) fn percent(&self, value: f64) -> f64 {
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_finite() { share.clamp(0.0, 1.0) * 100.0 } else { 0.0 }
    }

    /// Not linear: the plot says so.
    pub(super) fn is_log(&self) -> bool {
        self.log
    }
}

/// `low < high`, both finite, even for one value or none.
fn widened(low: f64, high: f64) -> (f64, f64) {
    match (low.is_finite() && high.is_finite(), high - low) {
        (false, _) => (0.0, 1.0),
        (true, span) if span > high.abs() * 1e-9 => (low, high),
        (true, _) if low == 0.0 => (0.0, 1.0),
        (true, _) => (low - low.abs() * 0.1, low + low.abs() * 0.1),
    }
}

/// 1, 2 or 5 times a power of ten, at least `raw`.
fn nice_step(raw: f64) -> f64 {
    if !(raw.is_finite() && raw > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(raw.log10().floor());
    let mantissa = raw / power;
    power * [1.0, 2.0, 5.0].into_iter().find(|&m| mantissa <= m * (1.0 + 1e-9)).unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_data() {
        let axis = Axis::linear(0.13, 1.87, 4);
        assert_eq!(labels(&axis), ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!((axis.percent(0.0), axis.percent(1.0), axis.percent(9.0)), (0.0, 50.0, 100.0));
    }

    #[test]
    fn odd_ranges_still_make_an_axis() {
        let ranges = [(0.0, 0.0), (5.0, 5.0), (f64::NAN, 1.0), (1.0, f64::INFINITY), (-3.0, -3.0), (1e-300, 2e-300)];
        for (low, high) in ranges.into_iter().chain([(1e300, 1e301), (0.0, 1e9), (3.0, 1.0), (f64::MIN, f64::MAX)]) {
            for axis in [Axis::linear(low, high, 4), Axis::micros(low, high), Axis::bytes(low, high)] {
                let p = axis.percent(low);
                assert!((0.0..=100.0).contains(&p) && axis.ticks.len() <= 60, "{low} {high}: {p}");
            }
        }
    }

    #[test]
    fn wide_times_are_logarithmic_and_narrow_ones_are_not() {
        let wide = Axis::micros(100.0, 9_000.0);
        assert!(wide.is_log() && labels(&wide).contains(&"1\u{a0}ms") && labels(&wide).contains(&"200\u{a0}µs"));
        let narrow = Axis::micros(8_100.0, 8_900.0);
        assert!(!narrow.is_log() && labels(&narrow)[0] == "8.0\u{a0}ms", "{:?}", labels(&narrow));
        assert!((narrow.percent(8_500.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn epochs_are_whole() {
        assert_eq!(labels(&Axis::counting(3)), ["1", "2", "3"]);
        assert_eq!(labels(&Axis::counting(1)), ["1"]);
        assert_eq!(Axis::counting(1).percent(1.0), 50.0);
        assert!(Axis::counting(300).ticks.len() < 12);
        let _ = Axis::counting(0);
    }
}
