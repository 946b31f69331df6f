//! One run against an earlier one, for a terminal.

use crate::numbers::figure;
use crate::printable;
use crate::run_comparison::{ComparedFigure, Movement, RunComparison, RunName};
use crate::table::aligned;

const HEADS: [&str; 6] = ["", "before", "after", "change", "counts from", ""];

/// What moved, one line a figure, the worst first; what did not move is counted; then what was not alike, and why the
/// exit code is what it is.
///
/// ```text
/// kws, 2026-03-02T12:00:00Z (0.1.1) against kws, 2026-03-01T12:00:00Z (0.1.0)
///                       before     after   change  counts from
/// pi4, score           1.18 ms   1.41 ms  +19.5 %      61.0 µs        worse
/// pi4, peak resident   14.2 MB   11.9 MB  −16.2 %       710 kB       better
/// pi4, p90             1.31 ms   1.40 ms   +6.9 %       155 µs  cannot tell
/// 9 figures the same
/// integers: equal in both runs
/// not alike: pi4: compared although not set up alike: governor "performance" against "ondemand"
/// WORSE (exit code 4): pi4, score: +19.5 %, beyond the floor of 59.0 µs and the noise of 61.0 µs
/// ```
pub fn run_comparison_table(comparison: &RunComparison) -> String {
    let name = |run: &RunName| format!("{}, {} ({})", run.title, run.created, run.tool_version);
    let heading = format!("{} against {}", name(&comparison.after), name(&comparison.before));
    let mut text = printable(&heading) + "\n";
    let (same, moved): (Vec<_>, Vec<_>) = comparison.figures.iter().partition(|f| f.movement == Movement::Same);
    if !moved.is_empty() {
        text += &aligned(&HEADS, &moved.into_iter().map(cells).collect::<Vec<_>>());
    }
    if !same.is_empty() {
        text += &format!("{} figures the same\n", same.len());
    }
    match comparison.integers {
        Some(true) => text += "integers: equal in both runs\n",
        Some(false) => text += "integers: not those of the earlier run\n",
        None => {}
    }
    text.extend(comparison.unlike.iter().map(|unlike| format!("not alike: {}\n", printable(unlike))));
    let reasons: Vec<String> = comparison.reasons.iter().map(|reason| printable(reason)).collect();
    text + &format!("{} (exit code {}): {}\n", comparison.word(), comparison.exit_code, reasons.join("; "))
}

fn cells(compared: &ComparedFigure) -> Vec<String> {
    let shown = |value: f64| printable(&figure(value, &compared.unit).replace('\u{a0}', " "));
    let threshold = match compared.threshold {
        Some(threshold) if compared.kind.more_is_better() => format!("{:.2} points", threshold * 100.0),
        Some(threshold) => shown(threshold),
        None => "-".into(),
    };
    vec![
        printable(&compared.words()),
        shown(compared.before),
        shown(compared.after),
        compared.change().replace('\u{a0}', " "),
        threshold,
        compared.movement.word().into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::FigureKind;

    fn moved(place: &str, name: &str, before: f64, after: f64, movement: Movement) -> ComparedFigure {
        ComparedFigure {
            place: place.into(),
            name: name.into(),
            kind: FigureKind::Latency,
            unit: "us".into(),
            before,
            after,
            threshold: Some(61.0),
            movement,
            why: "because".into(),
        }
    }

    #[test]
    fn movers_are_lines_and_the_rest_is_counted() {
        let run = |version: &str| RunName { title: "kws".into(), created: "c".into(), tool_version: version.into() };
        let mut share = moved("int8 on pi4", "top-1", 0.815, 0.792, Movement::Worse);
        (share.kind, share.unit, share.threshold) = (FigureKind::Accuracy, "share".into(), Some(0.021));
        let mut unknown = moved("pi4", "p90", 1310.0, 1400.0, Movement::CannotTell);
        unknown.threshold = None;
        let comparison = RunComparison {
            before: run("0.1.0"),
            after: run("0.1.1"),
            integers: Some(false),
            figures: vec![
                share,
                moved("pi4", "score", 1180.0, 1410.0, Movement::Worse),
                unknown,
                moved("zero", "score", 1.0, 1.0, Movement::Same),
            ],
            unlike: vec!["zero: \u{1b}[2J".into()],
            exit_code: 3,
            reasons: vec!["a".into(), "b".into()],
        };
        let want = "\
kws, c (0.1.1) against kws, c (0.1.0)
                     before    after        change  counts from
int8 on pi4, top-1  81.50 %  79.20 %  −2.30 points  2.10 points        worse
pi4, score          1.18 ms  1.41 ms       +19.5 %      61.0 µs        worse
pi4, p90            1.31 ms  1.40 ms        +6.9 %            -  cannot tell
1 figures the same
integers: not those of the earlier run
not alike: zero: \u{fffd}[2J
WORSE (exit code 3): a; b
";
        assert_eq!(run_comparison_table(&comparison), want);
    }
}
