//! Recipes side by side: every seed as a dot, and the table.
//!
//! The drawing has no `viewBox`, as in `plot`: x is percent of the width, y pixels. A row is a recipe, the float
//! student above the int8 one; dots are seeds, the tall bar their mean, the line one standard deviation either way.

use super::axis::Axis;
use super::text::{Column, T, key_values, panel, table};
use crate::comparison::{ComparedRecipe, ComparedRun, Comparison};
use crate::numbers::{count, percent_fine, points, seconds, spread};
use crate::schema::{KeyValue, Report};
use crate::spread::{Finding, Spread};

/// Pixels above the first row: two lines of labels, so that two references never write over each other.
const HEAD: usize = 36;
/// Pixels of a row, and of its two lanes from its upper edge.
const ROW: usize = 30;
const FLOAT_LANE: usize = 10;
const INT8_LANE: usize = 21;
/// Letters of a name that fit beside its row; the table has all of them.
const NAME: usize = 22;
/// A reference is drawn on the axis unless the runs would then fill less than one part in so many of it.
const STRETCH: f64 = 4.0;

const LEGEND: &str = "<p class=\"legend\"><span class=\"key c-float\"></span> float student \
    <span class=\"key c-int8\"></span> int8 student, a mark a seed \
    <span class=\"whisker\">─┃─</span> mean ± standard deviation</p>\n";

const NOISE: &str = "<p class=\"small muted\">± is the sample standard deviation over seeds (n − 1). Against kd are \
    points of float top-1: higher or lower where Welch's t test over the seeds says so at 95\u{a0}%, within noise where \
    it does not, no claim with fewer than two seeds on a side or no spread among them. Each recipe is judged alone: of \
    20 that are no different from kd, about one seems to be. Other test samples are noise of their own.</p>\n";

pub(super) fn section(report: &Report) -> String {
    let Some(comparison) = &report.comparison else { return String::new() };
    let budget = [
        KeyValue::new("student", &comparison.student),
        KeyValue::new("trained on", format!("{} samples of {}", count(comparison.samples), comparison.data)),
        KeyValue::new("epochs, the same for all", count(comparison.epochs)),
        KeyValue::new("tested on", format!("{} samples of {}", count(comparison.tested), comparison.test)),
    ];
    let note = if comparison.baseline().is_some() { NOISE } else { "" };
    let body = plot(comparison) + &recipes(comparison) + note + &failures(comparison) + &key_values(&budget);
    panel("Recipes compared", &body)
}

fn recipes(comparison: &Comparison) -> String {
    let mut columns = vec![
        Column::Words("recipe"),
        Column::Number("seeds"),
        Column::Number("float top-1"),
        Column::Number("int8 top-1"),
        Column::Number("agrees with teacher"),
        Column::Number("time of a run"),
        Column::Number("against kd"),
        Column::Words("what it does"),
    ];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let width = columns.len();
    let reference = |name: &str, top1: Option<f64>| {
        let mut row = vec!["–".to_owned(); width];
        row[0] = name.into();
        row[2] = or_dash(top1.map(percent_fine));
        row
    };
    let row = |recipe: &ComparedRecipe| {
        vec![
            T(&recipe.name).to_string(),
            recipe.seeds(),
            or_dash(recipe.float().map(spread)),
            or_dash(recipe.int8().map(spread)),
            or_dash(recipe.agreement().map(|of| percent_fine(of.mean))),
            or_dash(recipe.seconds().map(|of| seconds(of.mean))),
            against(comparison, recipe),
            T(&recipe.about).to_string(),
        ]
    };
    let mut rows = vec![reference("teacher", comparison.teacher), reference("untouched student", comparison.untouched)];
    rows.extend(comparison.ranked().into_iter().map(row));
    if comparison.baseline().is_none() {
        let against = width - 2;
        columns.remove(against);
        for row in &mut rows {
            row.remove(against);
        }
    }
    table("Top-1 of each recipe, the best first", &columns, &rows)
}

fn against(comparison: &Comparison, recipe: &ComparedRecipe) -> String {
    if recipe.is_baseline() {
        return "baseline".into();
    }
    let Some(difference) = comparison.against_baseline(recipe) else { return "–".into() };
    let by = points(difference.by).replace('-', "−");
    match difference.finding {
        Finding::Higher => format!("<b>{by} higher</b>"),
        Finding::Lower => format!("<b>{by} lower</b>"),
        Finding::WithinNoise => format!("{by} within noise"),
        Finding::NoClaim => format!("{by} no claim"),
    }
}

fn failures(comparison: &Comparison) -> String {
    let columns = [Column::Words("no result of"), Column::Number("seed"), Column::Words("why")];
    let row = |recipe: &ComparedRecipe| {
        let name = T(&recipe.name).to_string();
        let of = |failed: &crate::FailedRun| vec![name.clone(), failed.seed.to_string(), T(&failed.why).to_string()];
        recipe.failed.iter().map(of).collect::<Vec<_>>()
    };
    table("Runs without a result", &columns, &comparison.recipes.iter().flat_map(row).collect::<Vec<_>>())
}

/// A share as it is drawn, in percent; what is not a number is not drawn.
fn drawn(share: Option<f64>) -> Option<f64> {
    share.map(|share| share * 100.0).filter(|percent| percent.is_finite())
}

/// Nothing if no run has a result.
fn plot(comparison: &Comparison) -> String {
    let ranked = comparison.ranked();
    let runs = ranked.iter().flat_map(|recipe| &recipe.runs);
    let values: Vec<f64> = runs.flat_map(|run| [run.float, run.int8]).filter_map(drawn).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() {
        return String::new();
    }
    let references = [("untouched student", drawn(comparison.untouched)), ("teacher", drawn(comparison.teacher))];
    // Runs that differ by less than a point still get a point of room.
    let room = (high - low).max(1.0) * STRETCH;
    let near = |at: f64| high.max(at) - low.min(at) <= room;
    let on_axis = references.iter().filter_map(|(_, at)| *at).filter(|&at| near(at));
    let (from, to) = on_axis.fold((low, high), |(from, to), at| (from.min(at), to.max(at)));
    let x = Axis::linear(from, to, 6);

    let height = HEAD + ranked.len() * ROW;
    let mut svg = grid(&x, ranked.len());
    for (line, (name, at)) in references.into_iter().enumerate() {
        svg += &at.map(|at| reference(&x, line, name, at, near(at))).unwrap_or_default();
    }
    svg += &ranked.iter().enumerate().map(|(i, recipe)| row(&x, HEAD + i * ROW, recipe)).collect::<String>();
    let spoken: Vec<String> = ranked.iter().map(|recipe| words(recipe)).collect();
    format!(
        "<figure><figcaption>Top-1 of each run, % <span class=\"muted\">best recipe first</span></figcaption>\n\
         <svg class=\"plot recipes\" role=\"img\" aria-labelledby=\"recipes-t recipes-d\" height=\"{height}\">\
         <title id=\"recipes-t\">Top-1 of {} recipes, every seed</title><desc id=\"recipes-d\">{}</desc>\n{svg}\
         <text class=\"tick\" x=\"100%\" y=\"100%\" dy=\"36\" text-anchor=\"end\">top-1 on the test samples, %</text>\
         </svg>\n{LEGEND}</figure>\n",
        ranked.len(),
        T(spoken.join("; ")),
    )
}

fn grid(x: &Axis, rows: usize) -> String {
    let mut svg = String::new();
    for row in 0..=rows {
        let y = HEAD + row * ROW;
        svg += &format!("<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>");
    }
    for (value, label) in &x.ticks {
        let at = x.percent(*value);
        svg += &format!(
            "<line class=\"grid\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"{HEAD}\" y2=\"100%\"/>\
             <text class=\"tick\" x=\"{at:.2}%\" y=\"100%\" dy=\"18\" text-anchor=\"middle\">{}</text>",
            T(label)
        );
    }
    svg + "\n"
}

/// A dashed line through all rows with its label in line `line` above them; where the axis ends before, an arrow.
fn reference(x: &Axis, line: usize, name: &str, top1: f64, on_axis: bool) -> String {
    let (at, y) = (x.percent(top1), 12 + 16 * line);
    let number = percent_fine(top1 / 100.0);
    let label = match (on_axis, at < 50.0) {
        (true, _) => format!("{name} {number}"),
        (false, true) => format!("← {name} {number}"),
        (false, false) => format!("{name} {number} →"),
    };
    let (dx, anchor) = if at < 50.0 { (5, "start") } else { (-5, "end") };
    let rule = format!("<line class=\"reference\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"{}\" y2=\"100%\"/>", y - 10);
    format!(
        "{}<text class=\"mark\" x=\"{at:.2}%\" y=\"{y}\" dx=\"{dx}\" text-anchor=\"{anchor}\">{}</text>\n",
        if on_axis { rule.as_str() } else { "" },
        T(label)
    )
}

fn row(x: &Axis, top: usize, recipe: &ComparedRecipe) -> String {
    let middle = top + ROW / 2;
    format!(
        "<g><title>{}</title><text class=\"tick\" x=\"-10\" y=\"{middle}\" dy=\"4\" text-anchor=\"end\">{}</text>{}{}</g>\n",
        T(words(recipe)),
        T(shortened(&recipe.name)),
        lane(x, top + FLOAT_LANE, "c-float", recipe.float(), recipe, |run| run.float),
        lane(x, top + INT8_LANE, "c-int8", recipe.int8(), recipe, |run| run.int8),
    )
}

/// Discs for float, squares for int8: two shapes as well as two colours.
fn lane(
    x: &Axis,
    y: usize,
    class: &str,
    spread: Option<Spread>,
    recipe: &ComparedRecipe,
    of: impl Fn(&ComparedRun) -> Option<f64>,
) -> String {
    let Some(spread) = spread else { return String::new() };
    let mean = spread.mean * 100.0;
    let mut svg = String::new();
    if let Some(sd) = spread.sd.map(|sd| sd * 100.0) {
        let (from, to) = (x.percent(mean - sd), x.percent(mean + sd));
        svg += &format!("<line class=\"sd {class}\" x1=\"{from:.2}%\" x2=\"{to:.2}%\" y1=\"{y}\" y2=\"{y}\"/>");
    }
    for top1 in recipe.runs.iter().filter_map(|run| drawn(of(run))) {
        let at = x.percent(top1);
        svg += &if class == "c-int8" {
            let (y, d) = (y - 3, "translate(-3 0)");
            format!("<rect class=\"dot {class}\" x=\"{at:.2}%\" y=\"{y}\" width=\"6\" height=\"6\" transform=\"{d}\"/>")
        } else {
            format!("<circle class=\"dot {class}\" cx=\"{at:.2}%\" cy=\"{y}\" r=\"3.5\"/>")
        };
    }
    let (at, above, below) = (x.percent(mean), y - 5, y + 5);
    svg + &format!("<line class=\"mean {class}\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"{above}\" y2=\"{below}\"/>")
}

/// A recipe read out.
fn words(recipe: &ComparedRecipe) -> String {
    let mut words = vec![format!("{}: seeds {}", recipe.name, recipe.seeds())];
    words.extend(recipe.float().map(|of| format!("float {}", spread(of))));
    words.extend(recipe.int8().map(|of| format!("int8 {}", spread(of))));
    words.join(", ")
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.into();
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}
