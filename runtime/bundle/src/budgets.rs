//! What a student must reach on a board: accuracy, latency, memory, energy.
//!
//! ```toml
//! min_top1 = 0.84                  # share of labelled samples, 0 to 1
//! min_agreement = 0.9              # with the teacher, 0 to 1
//!
//! [boards.raspberry-pi-4]          # replaces what is said above, for that board
//! max_latency_us = 1500            # the score: median of the windows' medians
//! max_p90_us = 1800
//! max_cold_start_ms = 40           # from the start of the program to the first answer
//! max_peak_rss_bytes = 12_000_000
//! max_arena_bytes = 65_536
//! max_energy_uj = 2500             # an inference, idle power subtracted
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use limbeck_files::FileError;
use limbeck_files::nearest::nearest;
use serde::{Deserialize, Serialize};

/// Budgets of a bundle: for every board, and for some.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Budgets {
    /// For every board.
    #[serde(flatten)]
    pub every: Budget,
    /// By a board's name; each figure replaces that of `every`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub boards: BTreeMap<String, Budget>,
}

/// Limits; what is `None` is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Budget {
    /// Least share of labelled samples answered rightly, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_top1: Option<f64>,
    /// Least share of samples answered as the teacher does, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_agreement: Option<f64>,
    /// Longest latency, as the score of the protocol, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_us: Option<f64>,
    /// Longest 90th percentile, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_p90_us: Option<f64>,
    /// Longest time from the start of the program to its first answer, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cold_start_ms: Option<f64>,
    /// Most memory that the program may hold resident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_peak_rss_bytes: Option<f64>,
    /// Largest arena of activations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_arena_bytes: Option<f64>,
    /// Most energy an inference may cost, idle power subtracted, µJ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_energy_uj: Option<f64>,
}

/// Why a file holds no budgets.
#[derive(Debug, thiserror::Error)]
pub enum BudgetsError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in it.
    #[error("{}: {why}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong and what would be right.
        why: String,
    },
}

/// A limit by its name in a file.
type Named<'a> = (&'static str, &'a mut Option<f64>);

impl Budgets {
    /// A budgets file.
    pub fn read(path: &Path) -> Result<Budgets, BudgetsError> {
        let text = limbeck_files::read_to_string(path)?;
        Budgets::parse(&text).map_err(|why| BudgetsError::Bad { path: path.to_owned(), why })
    }

    /// The text of one. The words say what is wrong.
    pub fn parse(text: &str) -> Result<Budgets, String> {
        let one_line = |e: toml::de::Error| e.to_string().trim().replace('\n', "; ");
        let mut table: toml::Table = toml::from_str(text).map_err(one_line)?;
        let mut budgets = Budgets::default();
        match table.remove("boards") {
            Some(toml::Value::Table(boards)) => {
                for (board, limits) in boards {
                    let toml::Value::Table(limits) = limits else {
                        return Err(format!("`boards.{board}` is no table of limits"));
                    };
                    let budget = Budget::from_table(&limits, &format!("boards.{board}."), &[])?;
                    budgets.boards.insert(board, budget);
                }
            }
            Some(_) => return Err("`boards` is no table; write [boards.<name>]".into()),
            None => {}
        }
        budgets.every = Budget::from_table(&table, "", &["boards"])?;
        budgets.check()?;
        Ok(budgets)
    }

    /// Is nothing limited?
    pub fn is_empty(&self) -> bool {
        *self == Budgets::default()
    }

    /// What counts on a board.
    pub fn of(&self, board: &str) -> Budget {
        let (mut budget, mut own) = (self.every, self.boards.get(board).copied().unwrap_or_default());
        for ((_, limit), (_, own)) in budget.named().into_iter().zip(own.named()) {
            *limit = own.or(*limit);
        }
        budget
    }

    /// Shares are shares and limits are above zero.
    pub(crate) fn check(&self) -> Result<(), String> {
        for mut budget in self.boards.values().copied().chain([self.every]) {
            for (name, limit) in budget.named() {
                let Some(value) = *limit else { continue };
                let is_share = name.starts_with("min_");
                if is_share && !(0.0..=1.0).contains(&value) {
                    return Err(format!("`{name}` = {value}: a share lies between 0 and 1"));
                }
                if !is_share && !(value.is_finite() && value > 0.0) {
                    return Err(format!("`{name}` = {value}: a limit must be above 0"));
                }
            }
        }
        Ok(())
    }
}

impl Budget {
    /// Every limit by its name.
    fn named(&mut self) -> [Named<'_>; 8] {
        [
            ("min_top1", &mut self.min_top1),
            ("min_agreement", &mut self.min_agreement),
            ("max_latency_us", &mut self.max_latency_us),
            ("max_p90_us", &mut self.max_p90_us),
            ("max_cold_start_ms", &mut self.max_cold_start_ms),
            ("max_peak_rss_bytes", &mut self.max_peak_rss_bytes),
            ("max_arena_bytes", &mut self.max_arena_bytes),
            ("max_energy_uj", &mut self.max_energy_uj),
        ]
    }

    /// Limits from a table; `place` stands before the keys in errors, `also` are keys that may be there besides.
    fn from_table(table: &toml::Table, place: &str, also: &[&str]) -> Result<Budget, String> {
        let mut budget = Budget::default();
        for (key, value) in table {
            let mut named = budget.named();
            let Some((_, limit)) = named.iter_mut().find(|(name, _)| name == key) else {
                let known: Vec<&str> = named.iter().map(|(name, _)| *name).chain(also.iter().copied()).collect();
                let meant = nearest(key, known.iter().copied()).map(|n| format!(", did you mean `{n}`?"));
                let known = known.join(", ");
                return Err(format!("unknown key `{place}{key}`{}; keys here: {known}", meant.unwrap_or_default()));
            };
            let number = value.as_float().or_else(|| value.as_integer().map(|i| i as f64));
            **limit = Some(number.ok_or_else(|| format!("`{place}{key}` must be a number"))?);
        }
        Ok(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boards_own_limits_replace_those_of_all() {
        let text =
            "min_top1 = 0.8\nmax_latency_us = 900\n[boards.pi]\nmax_latency_us = 1500.5\nmax_arena_bytes = 65536\n";
        let budgets = Budgets::parse(text).unwrap();
        let (pi, other) = (budgets.of("pi"), budgets.of("other"));
        assert_eq!((pi.min_top1, pi.max_latency_us, pi.max_arena_bytes), (Some(0.8), Some(1500.5), Some(65536.0)));
        assert_eq!((other.max_latency_us, other.max_arena_bytes), (Some(900.0), None));
        let json = serde_json::to_string(&budgets).unwrap();
        assert_eq!(serde_json::from_str::<Budgets>(&json).unwrap(), budgets);
    }

    #[test]
    fn a_wrong_key_or_value_is_named() {
        let says = |text: &str, part: &str| {
            let why = Budgets::parse(text).unwrap_err();
            assert!(why.contains(part), "`{part}` is not in `{why}`");
        };
        says("min_topl = 0.8", "unknown key `min_topl`, did you mean `min_top1`?");
        says("[boards.pi]\nmax_latency = 1", "unknown key `boards.pi.max_latency`, did you mean `max_latency_us`?");
        says("min_top1 = 84", "a share lies between 0 and 1");
        says("max_latency_us = 0", "above 0");
        says("max_latency_us = nan", "above 0");
        says("max_latency_us = \"fast\"", "must be a number");
        says("boards = 1", "[boards.<name>]");
        says("[boards]\npi = 1", "`boards.pi` is no table");
        says("min_top1 = = 1", "TOML parse error at line 1");
        assert!(Budgets::parse("").unwrap().is_empty());
    }
}
