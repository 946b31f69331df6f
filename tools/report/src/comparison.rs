//! What `limbeck compare` records.

use serde::{Deserialize, Serialize};

use crate::spread::{Difference, Spread};

/// The recipe that the others are held against, if it is among them: plain distillation.
const BASELINE: &str = "kd";

/// One student, one budget, many recipes and seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The student's file name.
    pub student: String,
    /// What was trained on, for people.
    pub data: String,
    /// What was tested on, for people.
    pub test: String,
    /// Passes over the training samples, the same for every recipe.
    pub epochs: u64,
    /// Training samples.
    pub samples: u64,
    /// Test samples with a label.
    pub tested: u64,
    /// Top-1 of the teacher's answers on the test samples, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<f64>,
    /// Top-1 of the student as it was given, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untouched: Option<f64>,
    /// Each recipe's runs, in the order in which they were asked for.
    pub recipes: Vec<ComparedRecipe>,
}

/// A recipe and its runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparedRecipe {
    /// Its name.
    pub name: String,
    /// What it does, and whose it is.
    pub about: String,
    /// One entry a seed.
    pub runs: Vec<ComparedRun>,
    /// Why a run has no result, by seed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedRun>,
}

/// One training run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparedRun {
    /// Draws the order of samples and views, and what a loss draws.
    pub seed: u64,
    /// Top-1 of the float student, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float: Option<f64>,
    /// Top-1 of the int8 student, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8: Option<f64>,
    /// Share of test samples on which the float student chooses the teacher's class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Wall time of training.
    pub seconds: f64,
}

/// A run without a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FailedRun {
    /// Its seed.
    pub seed: u64,
    /// In words.
    pub why: String,
}

impl ComparedRecipe {
    /// Top-1 of the float student over the seeds, 0..=1; absent without a run.
    pub fn float(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| run.float))
    }

    /// Top-1 of the int8 student over the seeds, 0..=1.
    pub fn int8(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| run.int8))
    }

    /// Share of test samples answered as the teacher does over the seeds, 0..=1.
    pub fn agreement(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| run.agreement))
    }

    /// Wall time of training over the seeds.
    pub fn seconds(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().map(|run| run.seconds))
    }

    /// "3", or "2 of 3" where one failed.
    pub(crate) fn seeds(&self) -> String {
        match (self.runs.len(), self.failed.len()) {
            (done, 0) => done.to_string(),
            (done, failed) => format!("{done} of {}", done + failed),
        }
    }

    /// It is what the others are held against.
    pub(crate) fn is_baseline(&self) -> bool {
        self.name == BASELINE
    }
}

impl Comparison {
    /// The recipes by mean top-1 of the float student, best first; equal ones as they were asked for, those without a
    /// result last.
    pub fn ranked(&self) -> Vec<&ComparedRecipe> {
        let mut ranked: Vec<_> = self.recipes.iter().map(|recipe| (recipe.float(), recipe)).collect();
        let mean = |float: Option<Spread>| float.map_or(f64::NEG_INFINITY, |float| float.mean);
        ranked.sort_by(|a, b| mean(b.0).total_cmp(&mean(a.0)));
        ranked.into_iter().map(|(_, recipe)| recipe).collect()
    }

    /// The recipe that the others are held against: `kd`, if it has a result.
    pub fn baseline(&self) -> Option<&ComparedRecipe> {
        self.recipes.iter().find(|recipe| recipe.is_baseline() && recipe.float().is_some())
    }

    /// Mean top-1 of the float student less the baseline's, and whether noise between seeds explains it.
    ///
    /// Absent for the baseline itself, without a baseline, and without a result. Each recipe is judged alone: of 20 that
    /// are no different from the baseline, about one seems to be.
    pub fn against_baseline(&self, recipe: &ComparedRecipe) -> Option<Difference> {
        let baseline = self.baseline().filter(|_| !recipe.is_baseline())?;
        Some(recipe.float()?.less(&baseline.float()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spread::Finding;

    fn recipe(name: &str, floats: &[f64]) -> ComparedRecipe {
        let run = |(seed, &float)| ComparedRun { seed, float: Some(float), seconds: 60.0, ..ComparedRun::default() };
        ComparedRecipe { name: name.into(), runs: (0..).zip(floats).map(run).collect(), ..ComparedRecipe::default() }
    }

    fn names(comparison: &Comparison) -> Vec<&str> {
        comparison.ranked().into_iter().map(|recipe| recipe.name.as_str()).collect()
    }

    #[test]
    fn the_best_mean_comes_first_and_what_has_no_result_last() {
        // Means 0.84, 0.86, none, 0.85, 0.84, none (not a number).
        let recipes = vec![
            recipe("kd", &[0.83, 0.84, 0.85]),
            recipe("one seed", &[0.86]),
            recipe("failed", &[]),
            recipe("dist", &[0.90, 0.80]),
            recipe("as kd", &[0.84]),
            recipe("odd", &[f64::NAN]),
        ];
        let comparison = Comparison { recipes, ..Comparison::default() };
        assert_eq!(names(&comparison), ["one seed", "dist", "kd", "as kd", "failed", "odd"]);
    }

    #[test]
    fn the_difference_to_kd_is_claimed_beyond_noise_only() {
        // kd: mean 0.84, sd 0.01. Edge at three seeds and equal sd: 2.776 · 0.01 · √(2/3) = 0.02267.
        let recipes = vec![
            recipe("kd", &[0.83, 0.84, 0.85]),
            recipe("better", &[0.853, 0.863, 0.873]),
            recipe("no better", &[0.852, 0.862, 0.872]),
            recipe("worse", &[0.80, 0.81, 0.82]),
            recipe("one seed", &[0.99]),
            recipe("failed", &[]),
        ];
        let comparison = Comparison { recipes, ..Comparison::default() };
        let found: Vec<_> =
            comparison.recipes.iter().map(|r| comparison.against_baseline(r).map(|d| d.finding)).collect();
        let want = [
            None,
            Some(Finding::Higher),
            Some(Finding::WithinNoise),
            Some(Finding::Lower),
            Some(Finding::NoClaim),
            None,
        ];
        assert_eq!(found, want);
        let by = comparison.against_baseline(&comparison.recipes[3]).map(|d| d.by);
        assert!((by.unwrap() + 0.03).abs() < 1e-12, "{by:?}");
    }

    #[test]
    fn without_kd_there_is_nothing_to_hold_against() {
        for kd in [vec![], vec![recipe("kd", &[])]] {
            let mut comparison = Comparison { recipes: kd, ..Comparison::default() };
            comparison.recipes.push(recipe("dist", &[0.8, 0.9]));
            let dist = comparison.recipes.last().unwrap();
            assert!(comparison.baseline().is_none() && comparison.against_baseline(dist).is_none());
        }
    }

    #[test]
    fn each_number_has_its_own_runs() {
        let mut recipe = recipe("kd", &[0.8, 0.9]);
        recipe.runs[1].int8 = Some(0.7);
        recipe.runs[0].agreement = Some(0.95);
        recipe.runs[1].seconds = 120.0;
        assert_eq!(recipe.float().map(|s| s.n), Some(2));
        assert_eq!(recipe.int8(), Some(Spread { n: 1, mean: 0.7, sd: None }));
        assert_eq!(recipe.agreement(), Some(Spread { n: 1, mean: 0.95, sd: None }));
        assert_eq!(recipe.seconds().map(|s| s.mean), Some(90.0));
    }
}
