//! Recipes side by side, for a terminal.

use crate::comparison::{ComparedRecipe, Comparison};
use crate::numbers::{count, minutes, percent_fine, points, spread};
use crate::printable;
use crate::spread::{Finding, Spread};
use crate::table::aligned;

/// One line a recipe, the best float student first, after the teacher and the untouched student; top-1 as mean and
/// sample standard deviation over seeds, and whether the difference to `kd` is more than noise
/// ([`Comparison::against_baseline`]); then why runs failed.
///
/// ```text
/// resnet8.onnx on cifar10/train: 2 epochs of 50,000 samples each; top-1 on 2,000 of cifar10/test
///                    seeds           float            int8   agrees  minutes        against kd
/// teacher                -         90.20 %               -        -        -                 -
/// untouched student      -         76.40 %               -        -        -                 -
/// dist                   3  85.62 ± 0.13 %  85.30 ± 0.15 %  91.02 %     10.4      +0.62 higher
/// kd                     3  85.00 ± 0.20 %  84.80 ± 0.18 %  90.11 %     9.50          baseline
/// at                     3  84.90 ± 0.26 %  84.61 ± 0.31 %  89.95 %     11.2  -0.10 within noise
/// ```
pub fn comparison_table(comparison: &Comparison) -> String {
    let mut heads = vec!["", "seeds", "float", "int8", "agrees", "minutes"];
    if comparison.baseline().is_some() {
        heads.push("against kd");
    }
    let mut rows = vec![];
    for (name, top1) in [("teacher", comparison.teacher), ("untouched student", comparison.untouched)] {
        let mut row = vec!["-".to_owned(); heads.len()];
        row[0] = name.into();
        row[2] = top1.map_or_else(|| "-".into(), percent_fine).replace('\u{a0}', " ");
        rows.push(row);
    }
    rows.extend(comparison.ranked().into_iter().map(|recipe| cells(comparison, recipe, heads.len())));

    let mut text = format!(
        "{} on {}: {} epochs of {} samples each; top-1 on {} of {}\n",
        printable(&comparison.student),
        printable(&comparison.data),
        count(comparison.epochs),
        count(comparison.samples),
        count(comparison.tested),
        printable(&comparison.test),
    );
    text += &aligned(&heads, &rows);
    if comparison.baseline().is_some() {
        text += "against kd: points of float top-1; higher and lower by Welch's t test over seeds, 95 %, each alone\n";
    }
    for recipe in &comparison.recipes {
        for failed in &recipe.failed {
            text +=
                &format!("no result: {}, seed {}: {}\n", printable(&recipe.name), failed.seed, printable(&failed.why));
        }
    }
    text
}

/// As many as there are heads.
fn cells(comparison: &Comparison, recipe: &ComparedRecipe, heads: usize) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into()).replace('\u{a0}', " ");
    let mean = |of: Option<Spread>, show: fn(f64) -> String| or_dash(of.map(|of| show(of.mean)));
    let mut cells = vec![
        printable(&recipe.name),
        recipe.seeds(),
        or_dash(recipe.float().map(spread)),
        or_dash(recipe.int8().map(spread)),
        mean(recipe.agreement(), percent_fine),
        mean(recipe.seconds(), minutes),
    ];
    if cells.len() < heads {
        cells.push(against(comparison, recipe));
    }
    cells
}

fn against(comparison: &Comparison, recipe: &ComparedRecipe) -> String {
    if recipe.is_baseline() {
        return "baseline".into();
    }
    let Some(difference) = comparison.against_baseline(recipe) else { return "-".into() };
    let word = match difference.finding {
        Finding::Higher => "higher",
        Finding::Lower => "lower",
        Finding::WithinNoise => "within noise",
        Finding::NoClaim => "no claim",
    };
    format!("{} {word}", points(difference.by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::{ComparedRun, FailedRun};

    fn recipe(name: &str, floats: &[f64], int8: Option<f64>) -> ComparedRecipe {
        let run = |(seed, &float)| ComparedRun { seed, float: Some(float), int8, agreement: Some(0.9), seconds: 90.0 };
        ComparedRecipe { name: name.into(), runs: (0..).zip(floats).map(run).collect(), ..ComparedRecipe::default() }
    }

    fn comparison(recipes: Vec<ComparedRecipe>) -> Comparison {
        Comparison {
            student: "resnet8.onnx".into(),
            data: "train".into(),
            test: "test".into(),
            epochs: 2,
            samples: 50_000,
            tested: 2_000,
            teacher: Some(0.902),
            untouched: Some(0.764),
            recipes,
        }
    }

    #[test]
    fn the_table_lines_up_best_first() {
        // Edge of noise at three seeds of sd 1 point: 2.27 points.
        let mut failed = recipe("at", &[], None);
        failed.failed.push(FailedRun { seed: 2, why: "the loss is not finite".into() });
        let text = comparison_table(&comparison(vec![
            failed,
            recipe("kd", &[0.83, 0.84, 0.85], Some(0.83)),
            recipe("dist", &[0.86, 0.87, 0.88], None),
            recipe("sp", &[0.82, 0.83, 0.84], Some(0.825)),
            recipe("rkd", &[0.8], Some(0.79)),
        ]));
        let want = "\
resnet8.onnx on train: 2 epochs of 50,000 samples each; top-1 on 2,000 of test
                    seeds           float            int8   agrees  minutes          against kd
teacher                 -         90.20 %               -        -        -                   -
untouched student       -         76.40 %               -        -        -                   -
dist                    3  87.00 ± 1.00 %               -  90.00 %     1.50        +3.00 higher
kd                      3  84.00 ± 1.00 %  83.00 ± 0.00 %  90.00 %     1.50            baseline
sp                      3  83.00 ± 1.00 %  82.50 ± 0.00 %  90.00 %     1.50  -1.00 within noise
rkd                     1         80.00 %         79.00 %  90.00 %     1.50      -4.00 no claim
at                 0 of 1               -               -        -        -                   -
against kd: points of float top-1; higher and lower by Welch's t test over seeds, 95 %, each alone
no result: at, seed 2: the loss is not finite
";
        assert_eq!(text, want);
    }

    #[test]
    fn without_kd_there_is_no_such_column_and_without_recipes_two_lines() {
        let text = comparison_table(&comparison(vec![recipe("dist", &[0.8, 0.8], None)]));
        assert!(text.contains("80.00 ± 0.00 %") && !text.contains("kd") && !text.contains("Welch"), "{text}");
        assert_eq!(comparison_table(&Comparison::default()).lines().count(), 4);
    }

    #[test]
    fn odd_numbers_and_names_stay_in_their_cells() {
        for value in [f64::NAN, f64::INFINITY, -1.0, 1e300, f64::MAX] {
            let mut odd = recipe("a\u{1b}[2J\nb", &[value, value], Some(value));
            odd.runs[0].seconds = value;
            odd.failed.push(FailedRun { seed: 0, why: "x\ny".into() });
            let text = comparison_table(&comparison(vec![odd, recipe("kd", &[value, 0.5], None)]));
            assert!(!text.contains('\u{1b}') && !text.contains("NaN") && !text.contains("inf"), "{text:?}");
            assert_eq!(text.lines().filter(|line| line.contains('b') && line.contains('\u{fffd}')).count(), 2);
        }
    }
}
