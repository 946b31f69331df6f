//! Cold starts: what a user waits for when the program was not running. Each in a process of its own, the median over several.

use serde::{Deserialize, Serialize};

/// One start, in milliseconds, by the raw clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ColdStart {
    /// Reading the bundle and checking all of it.
    pub load_ms: f64,
    /// From the bundle to something that can run: the student's plan, or its model parsed and compiled; packing weights, taking the
    /// arena.
    pub compile_ms: f64,
    /// The first inference.
    pub first_ms: f64,
    /// From the moment before the process was started to its first answer, preprocessing included; `None`: nobody said when it was
    /// started.
    pub answer_ms: Option<f64>,
}

/// Several starts, and the median of each figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColdStarts {
    /// Medians, each figure for itself.
    pub median: ColdStart,
    /// All of them, in order.
    pub starts: Vec<ColdStart>,
}

impl ColdStarts {
    /// Put starts together; `None` when there is none.
    pub fn of(starts: Vec<ColdStart>) -> Option<ColdStarts> {
        let median_of = |figure: fn(&ColdStart) -> Option<f64>| {
            let mut values: Vec<f64> = starts.iter().filter_map(figure).collect();
            values.sort_by(f64::total_cmp);
            let n = values.len();
            Some((values.get(n.checked_sub(1)? / 2)? + values.get(n / 2)?) / 2.0)
        };
        let median = ColdStart {
            load_ms: median_of(|s| Some(s.load_ms))?,
            compile_ms: median_of(|s| Some(s.compile_ms))?,
            first_ms: median_of(|s| Some(s.first_ms))?,
            answer_ms: median_of(|s| s.answer_ms),
        };
        Some(ColdStarts { median, starts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_own_median() {
        let start = |load_ms, first_ms, answer_ms| ColdStart { load_ms, compile_ms: 1.0, first_ms, answer_ms };
        let starts = vec![start(9.0, 1.0, None), start(1.0, 2.0, Some(4.0)), start(2.0, 30.0, Some(6.0))];
        let cold = ColdStarts::of(starts).unwrap();
        assert_eq!(cold.median, start(2.0, 2.0, Some(5.0)));
        assert_eq!(cold.starts.len(), 3);
        assert_eq!(ColdStarts::of(vec![]), None);
        let json = serde_json::to_string(&cold).unwrap();
        assert_eq!(serde_json::from_str::<ColdStarts>(&json).unwrap(), cold);
    }
}
