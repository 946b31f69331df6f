//! One run held against an earlier one: what got worse, by more than noise.
//!
//! A figure moved if the difference is larger than two things: a floor, below which nobody would act, and the noise of
//! the two runs.
//!
//! | figure | floor | noise |
//! |---|---|---|
//! | latency, cold starts, energy | 5 % | 2 · √(s₀² + s₁²), s: sample deviation of the windows (or processes), or what the 95 % interval of the score says if that is more |
//! | accuracy, agreement | half a point | Newcombe's interval of the difference of two shares ([`rates`]), 95 % |
//! | resident memory | 5 % | one reading: the floor stands for it |
//! | heap, arena, plan, files, allocations | 1 % | none: counted, not measured |
//!
//! Beyond the floor and within the noise is "cannot tell", as is a figure whose noise nothing tells of (one window) and a
//! time of a run in bad circumstances. With 3 windows a side, 2 deviations are Student's 95 % of a difference of
//! medians; with 5 they are stricter.
//!
//! The exit code follows [`crate::judge()`]: what is proved worse (3 accuracy, 4 cost) comes before INVALID (5).

mod figures;
mod likeness;
mod rates;

use std::cmp::Ordering;

use crate::budget::FigureKind;
use crate::numbers::{change, figure, points};
use crate::run_comparison::{ComparedFigure, Movement, RunComparison, RunName};
use crate::schema::{Report, Verdict};
use figures::{Figure, Floor, counted_shares, figures};

/// How large a difference must be to count; [`Default`] is what the module says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Floor of times and energy, as a share of the earlier figure.
    pub time: f64,
    /// Floor of memory that was read once, as a share.
    pub memory: f64,
    /// Floor of what is counted: arena, plan, files, allocations; as a share.
    pub counted: f64,
    /// Floor of accuracy and agreement: a difference of shares, 0.005 is half a point.
    pub accuracy: f64,
    /// Deviations of the two runs together that a time must move by.
    pub deviations: f64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { time: 0.05, memory: 0.05, counted: 0.01, accuracy: 0.005, deviations: 2.0 }
    }
}

/// Hold `after` against `before`: every figure that both have, on boards of the same name. What is not alike is named
/// and not compared. See the module for what counts.
pub fn compare_runs(before: &Report, after: &Report, thresholds: &Thresholds) -> RunComparison {
    let likeness = likeness::of(before, after);
    let (old, new) = (figures(before), figures(after));
    let mut compared: Vec<ComparedFigure> = Vec::new();
    for now in &new {
        let is_same = |then: &&Figure| then.place == now.place && then.name == now.name;
        if let Some(then) = old.iter().find(is_same).filter(|_| likeness.allows(&now.place, now.is_timed())) {
            compared.push(one(then, now, thresholds, likeness.distrusted(&now.place, now.is_timed())));
        }
    }
    if likeness.same_samples {
        compared.extend(shares(before, after, thresholds));
    }
    compared.retain(|figure| figure.before.is_finite() && figure.after.is_finite());
    compared.sort_by(worst_first);

    let mut comparison = RunComparison {
        before: RunName::of(before),
        after: RunName::of(after),
        integers: likeness.integers,
        figures: compared,
        unlike: likeness.unlike,
        exit_code: 0,
        reasons: Vec::new(),
    };
    conclude(&mut comparison, likeness.integers_broke, &[before, after]);
    comparison
}

impl RunName {
    fn of(report: &Report) -> RunName {
        let (title, created) = (report.title.clone(), report.created.clone());
        RunName { title, created, tool_version: report.tool_version.clone() }
    }
}

impl ComparedFigure {
    /// "score on pi4".
    pub(crate) fn words(&self) -> String {
        format!("{}, {}", self.place, self.name)
    }

    /// "+12.3 %" of a cost, "−0.45 points" of a share.
    pub(crate) fn change(&self) -> String {
        match self.kind {
            FigureKind::Accuracy => format!("{} points", points(self.after - self.before).replace('-', "−")),
            _ if self.before == 0.0 && self.after != 0.0 => format!("from none to {}", figure(self.after, &self.unit)),
            _ => change(self.before, self.after),
        }
    }

    /// By how much it got worse, as a share of what it was; negative if it got better.
    fn harm(&self) -> f64 {
        let by = (self.after - self.before) / self.before.abs();
        let by = if by.is_nan() { 0.0 } else { by };
        if self.kind.more_is_better() { -by } else { by }
    }
}

/// A difference of two figures; all in the figures' unit.
struct Moved {
    by: f64,
    floor: f64,
    /// What noise explains; none where nothing tells.
    noise: Option<f64>,
    /// Why a time of one of the runs cannot be trusted.
    distrusted: Option<String>,
}

impl Moved {
    /// What to make of it, and why; `shown` writes a number of that unit.
    fn judged(&self, more_is_better: bool, shown: impl Fn(f64) -> String) -> (Movement, String) {
        let (by, floor) = (self.by.abs(), shown(self.floor));
        if let Some(why) = &self.distrusted {
            return (Movement::CannotTell, why.clone());
        }
        if by <= self.floor {
            return (Movement::Same, format!("within the floor of {floor}"));
        }
        let Some(noise) = self.noise else {
            return (
                Movement::CannotTell,
                format!("beyond the floor of {floor}; nothing tells how large the noise is"),
            );
        };
        if by <= noise {
            return (
                Movement::CannotTell,
                format!("beyond the floor of {floor}, within the noise of {}", shown(noise)),
            );
        }
        let movement = if (self.by > 0.0) == more_is_better { Movement::Better } else { Movement::Worse };
        let noise = if noise > 0.0 { format!(" and the noise of {}", shown(noise)) } else { String::new() };
        (movement, format!("beyond the floor of {floor}{noise}"))
    }

    fn threshold(&self) -> Option<f64> {
        self.noise.map(|noise| noise.max(self.floor))
    }
}

fn one(then: &Figure, now: &Figure, thresholds: &Thresholds, distrusted: Option<String>) -> ComparedFigure {
    let floor = match now.floor {
        Floor::Time => thresholds.time,
        Floor::Memory => thresholds.memory,
        Floor::Counted => thresholds.counted,
    };
    let noise = then.deviation.zip(now.deviation).map(|(a, b)| thresholds.deviations * a.hypot(b));
    let moved = Moved { by: now.value - then.value, floor: floor * then.value.abs(), noise, distrusted };
    let (movement, why) = moved.judged(false, |value| figure(value, now.unit));
    ComparedFigure {
        place: now.place.clone(),
        name: now.name.into(),
        kind: now.kind,
        unit: now.unit.into(),
        before: then.value,
        after: now.value,
        threshold: moved.threshold(),
        movement,
        why,
    }
}

fn shares(before: &Report, after: &Report, thresholds: &Thresholds) -> Vec<ComparedFigure> {
    let old = counted_shares(before);
    let mut compared = Vec::new();
    for now in counted_shares(after) {
        let Some(then) = old.iter().find(|then| then.place == now.place && then.name == now.name) else { continue };
        let noise = then.counts.zip(now.counts).and_then(|(then, now)| rates::noise(then, now));
        let moved = Moved { by: now.share - then.share, floor: thresholds.accuracy, noise, distrusted: None };
        let (movement, why) = moved.judged(true, |share| format!("{:.2} points", share * 100.0));
        compared.push(ComparedFigure {
            place: now.place,
            name: now.name.into(),
            kind: FigureKind::Accuracy,
            unit: "share".into(),
            before: then.share,
            after: now.share,
            threshold: moved.threshold(),
            movement,
            why,
        });
    }
    compared
}

/// Movers before the others; accuracy before cost, then the most harmful.
fn worst_first(a: &ComparedFigure, b: &ComparedFigure) -> Ordering {
    let rank = |figure: &ComparedFigure| match figure.movement {
        Movement::Worse => 0,
        Movement::Better => 1,
        Movement::CannotTell => 2,
        Movement::Same => 3,
    };
    let by_harm = b.harm().total_cmp(&a.harm());
    rank(a).cmp(&rank(b)).then(a.kind.exit_code().cmp(&b.kind.exit_code())).then(by_harm)
}

/// Exit code and reasons.
fn conclude(comparison: &mut RunComparison, integers_broke: bool, runs: &[&Report; 2]) {
    let worse = || comparison.figures.iter().filter(|figure| figure.movement == Movement::Worse);
    let mut reasons = Vec::new();
    if integers_broke {
        reasons.push("the same int8 student on the same samples computed other integers".to_owned());
    }
    reasons.extend(worse().map(|figure| format!("{}: {}, {}", figure.words(), figure.change(), figure.why)));
    let costs = worse().map(|figure| figure.kind.exit_code()).min();
    let invalid = runs.iter().zip(["earlier", "later"]).filter(|(run, _)| is_invalid(run));
    let invalid: Vec<String> = invalid.map(|(_, which)| format!("the {which} run is INVALID")).collect();
    let compared = !comparison.figures.is_empty();
    comparison.exit_code = match (integers_broke, costs) {
        (true, _) => 3,
        (false, Some(code)) => code,
        (false, None) if !invalid.is_empty() || !compared => 5,
        (false, None) => 0,
    };
    reasons.extend(invalid);
    if !compared {
        reasons.push("the two runs have no figure in common that may be compared".into());
    } else if comparison.exit_code == 0 {
        reasons.push(format!("none of {} figures got worse by more than floor and noise", comparison.figures.len()));
    }
    comparison.reasons = reasons.into_iter().map(|reason| reason.replace('\u{a0}', " ")).collect();
    for figure in &mut comparison.figures {
        figure.why = figure.why.replace('\u{a0}', " ");
    }
}

fn is_invalid(run: &Report) -> bool {
    run.has_verdict() && run.verdict == Verdict::Invalid
}

#[cfg(test)]
mod tests;
