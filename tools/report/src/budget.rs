//! What was promised, and whether it was kept.

use serde::{Deserialize, Serialize};

/// One limit, and what was measured against it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// What is limited, in words: "top-1", "p90", "peak resident memory". Memory that is called as the page calls it ("peak
    /// resident", "arena", "peak heap", …) has its limit in the page's bars.
    pub name: String,
    /// The board it was measured on; absent where it holds for the file itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
    /// What kind of figure: decides which way is better, and the exit code.
    pub kind: FigureKind,
    /// The limit, in `unit`: the least of an accuracy, the most of all others.
    pub limit: f64,
    /// What was measured, in `unit`; absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// "share" (0..=1), "us", "bytes", "uJ".
    pub unit: String,
    /// The limit was kept; absent if nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
}

/// What kind of figure a number is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FigureKind {
    /// A share of right or agreeing answers: more is better.
    Accuracy,
    /// A time: less is better.
    #[default]
    Latency,
    /// Memory in use: less is better.
    Memory,
    /// A file: smaller is better.
    Size,
    /// Energy: less is better.
    Energy,
}

impl FigureKind {
    /// More of it is better.
    pub fn more_is_better(self) -> bool {
        self == FigureKind::Accuracy
    }

    /// Exit code of a program when this fails: 3 accuracy, 4 what it costs.
    pub fn exit_code(self) -> u8 {
        if self == FigureKind::Accuracy { 3 } else { 4 }
    }
}

impl Budget {
    /// Whether `measured` keeps within `limit`. What is not a number keeps nothing.
    pub fn new(kind: FigureKind, name: impl Into<String>, limit: f64, measured: Option<f64>) -> Budget {
        let within = |value: f64| if kind.more_is_better() { value >= limit } else { value <= limit };
        let unit = match kind {
            FigureKind::Accuracy => "share",
            FigureKind::Latency => "us",
            FigureKind::Memory | FigureKind::Size => "bytes",
            FigureKind::Energy => "uJ",
        };
        let (name, unit) = (name.into(), unit.into());
        Budget { name, board: None, kind, limit, measured, unit, ok: measured.map(within) }
    }

    /// The same, measured on a board.
    pub fn on(self, board: impl Into<String>) -> Budget {
        Budget { board: Some(board.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_must_reach_its_limit_and_all_else_stay_below() {
        let ok = |kind, limit, measured| Budget::new(kind, "x", limit, measured).ok;
        assert_eq!(ok(FigureKind::Accuracy, 0.9, Some(0.9)), Some(true));
        assert_eq!(ok(FigureKind::Accuracy, 0.9, Some(0.899)), Some(false));
        for kind in [FigureKind::Latency, FigureKind::Memory, FigureKind::Size, FigureKind::Energy] {
            assert_eq!(ok(kind, 100.0, Some(100.0)), Some(true));
            assert_eq!(ok(kind, 100.0, Some(100.1)), Some(false));
            assert_eq!(ok(kind, 100.0, Some(f64::NAN)), Some(false));
            assert_eq!(ok(kind, 100.0, None), None);
        }
    }
}
