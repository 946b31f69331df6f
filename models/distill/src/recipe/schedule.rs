//! How heavy a loss is when.

use limbeck_losses::Progress;
use serde::Deserialize;

/// Factor on a loss's weight while training.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Schedule {
    /// 1.
    #[default]
    Constant,
    /// From 0 to 1 over so many epochs, linearly (DKD's and ReviewKD's warm-up).
    Rise(f64),
    /// From 1 to this over all steps, linearly (Shin et al. 2019: the soft loss shrinks while training goes on).
    Fall(f64),
    /// 1 for this share of all steps, then 0.
    Until(f64),
    /// 0 for this share of all steps, then 1.
    From(f64),
}

/// One key, or none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rise: Option<f64>,
    fall: Option<f64>,
    until: Option<f64>,
    from: Option<f64>,
}

impl Schedule {
    /// Read a recipe's `schedule`.
    pub fn parse(value: toml::Value) -> Result<Schedule, String> {
        let table: Table = value.try_into().map_err(|e: toml::de::Error| format!("schedule: {}", e.message()))?;
        let schedule = match (table.rise, table.fall, table.until, table.from) {
            (Some(epochs), None, None, None) => Schedule::Rise(epochs),
            (None, Some(to), None, None) => Schedule::Fall(to),
            (None, None, Some(share), None) => Schedule::Until(share),
            (None, None, None, Some(share)) => Schedule::From(share),
            _ => return Err("schedule has one of rise, fall, until, from; write { rise = 1.0 }".into()),
        };
        match schedule {
            Schedule::Rise(epochs) if !(epochs.is_finite() && epochs > 0.0) => {
                Err(format!("schedule: rise = {epochs}; give epochs above 0"))
            }
            Schedule::Fall(n) | Schedule::Until(n) | Schedule::From(n) if !(0.0..=1.0).contains(&n) => {
                Err(format!("schedule: {n} is not between 0 and 1"))
            }
            schedule => Ok(schedule),
        }
    }

    /// The factor of a step.
    pub fn factor(self, progress: Progress) -> f64 {
        let (step, total) = (progress.step as f64, progress.total.max(1) as f64);
        let on = |on: bool| on as u8 as f64;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Rise(epochs) => ((step + 1.0) / (epochs * progress.epoch_steps.max(1) as f64)).min(1.0),
            Schedule::Fall(to) => 1.0 - (1.0 - to) * step / total,
            Schedule::Until(share) => on(step < share * total),
            Schedule::From(share) => on(step >= share * total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_follow_the_steps() {
        let at = |s: Schedule, step| s.factor(Progress { step, total: 100, epoch_steps: 10 });
        assert_eq!([0, 9, 50].map(|s| at(Schedule::Rise(1.0), s)), [0.1, 1.0, 1.0]);
        assert_eq!([0, 50, 100].map(|s| at(Schedule::Fall(0.5), s)), [1.0, 0.75, 0.5]);
        assert_eq!([49, 50].map(|s| at(Schedule::Until(0.5), s)), [1.0, 0.0]);
        assert_eq!([49, 50].map(|s| at(Schedule::From(0.5), s)), [0.0, 1.0]);
    }
}
