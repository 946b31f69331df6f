//! Power over time.

/// A reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerPoint {
    /// When, on the meter's clock.
    pub seconds: f64,
    /// Power then.
    pub watts: f64,
}

/// From when to when, on the meter's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Start.
    pub start: f64,
    /// End.
    pub end: f64,
}

impl Span {
    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }
}

/// Readings, time ascending.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PowerTrace {
    points: Vec<PowerPoint>,
}

impl PowerTrace {
    /// Take one more reading; one that is not later than the last is not taken, and false comes back.
    pub fn push(&mut self, point: PowerPoint) -> bool {
        let is_later = self.points.last().is_none_or(|last| point.seconds > last.seconds);
        if is_later {
            self.points.push(point);
        }
        is_later
    }

    /// All readings.
    pub fn points(&self) -> &[PowerPoint] {
        &self.points
    }

    /// Readings within a span, both ends included.
    pub fn readings(&self, span: Span) -> usize {
        self.points.iter().filter(|p| (span.start..=span.end).contains(&p.seconds)).count()
    }

    /// Energy of a span by the trapezoid rule, power between two readings on a straight line; `None`: the readings do not cover it.
    pub fn joules(&self, span: Span) -> Option<f64> {
        let (first, last) = (self.points.first()?, self.points.last()?);
        if first.seconds > span.start || last.seconds < span.end || span.end < span.start {
            return None;
        }
        let pieces = self.points.windows(2).map(|pair| {
            let (a, b) = (pair[0], pair[1]);
            let (from, to) = (a.seconds.max(span.start), b.seconds.min(span.end));
            if to <= from {
                return 0.0;
            }
            let at = |t: f64| a.watts + (b.watts - a.watts) * (t - a.seconds) / (b.seconds - a.seconds);
            (at(from) + at(to)) / 2.0 * (to - from)
        });
        Some(pieces.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_has_the_area_of_its_triangle() {
        let mut trace = PowerTrace::default();
        (0..=10).for_each(|t| assert!(trace.push(PowerPoint { seconds: t as f64, watts: t as f64 })));
        let joules = |start, end| trace.joules(Span { start, end });
        assert_eq!((joules(0.0, 10.0), joules(2.0, 4.0)), (Some(50.0), Some(6.0)));
        assert_eq!(joules(2.25, 2.75), Some(1.25), "between two readings");
        assert_eq!((joules(-1.0, 2.0), joules(9.0, 11.0), joules(3.0, 2.0)), (None, None, None));
        assert_eq!(trace.readings(Span { start: 2.0, end: 4.0 }), 3);
    }

    #[test]
    fn time_that_stands_still_is_no_reading() {
        let mut trace = PowerTrace::default();
        let at = |seconds| PowerPoint { seconds, watts: 1.0 };
        assert!(trace.push(at(1.0)) && !trace.push(at(1.0)) && !trace.push(at(0.5)) && !trace.push(at(f64::NAN)));
        assert_eq!(trace.points().len(), 1);
        assert_eq!(PowerTrace::default().joules(Span { start: 0.0, end: 0.0 }), None);
    }
}
