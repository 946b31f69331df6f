//! The table at the end of a run, for a terminal.

use crate::board::Board;
use crate::comparison_table::comparison_table;
use crate::numbers::{bytes, median, microjoules, micros, percent, short_hash};
use crate::printable;
use crate::run_comparison::{Movement, RunComparison};
use crate::schema::{Accuracy, Report};
use crate::table::aligned;

/// Column heads; the first column is set left, the others right.
const HEADS: [&str; 6] = ["", "top-1", "agrees", "bytes", "p50", "integers"];

/// One line a place, in plain text: model and where it ran, top-1, agreement with the teacher, size of the model
/// file, median latency, and the first digits of the hash over its integers; then what else boards cost, recipes if they were
/// compared ([`comparison_table`]), what became of an earlier run's figures, the verdict and why.
///
/// ```text
/// scenes: teacher to int8                                      PASS
///                       top-1  agrees    bytes      p50      integers
/// teacher              97.3 %       -   412 kB        -             -
/// int8 on host         95.1 %  96.9 %  31.2 kB   118 µs  5f2c01a9d3e4
/// host: cold start 3.10 ms, peak resident 9.41 MB
/// against the baseline: NOT WORSE
/// ```
pub fn summary(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report.accuracy.iter().map(|row| cells(report, row)).collect();

    let mut text = format!("{}\n", printable(&report.title));
    if !rows.is_empty() {
        text += &aligned(&HEADS, &rows);
    }
    if rows.iter().any(|row| row[4].ends_with('*')) {
        text += "* emulated: counts and integers are facts, milliseconds are not a board's latency\n";
    }
    match report.integers_are_equal() {
        Some(true) => text += "integers: equal in every place\n",
        Some(false) => text += "integers: NOT equal in every place\n",
        None => {}
    }
    text.extend(report.boards.iter().filter_map(costs));
    text += &report.comparison.as_ref().map(comparison_table).unwrap_or_default();
    text += &report.baseline.as_ref().map(against).unwrap_or_default();
    if !report.has_verdict() {
        return text;
    }
    let reasons: Vec<_> = report.reasons.iter().map(|reason| printable(reason)).collect();
    text += report.verdict.word();
    if !reasons.is_empty() {
        text += ": ";
        text += &reasons.join("; ");
    }
    text + "\n"
}

/// A line for a board of which more than latency is known: cold start, memory, energy, and whether to believe it.
fn costs(board: &Board) -> Option<String> {
    let cold = board.cold.as_ref().and_then(|cold| median(&cold.start_to_answer_ms));
    let sustained = board.sustained.as_ref().and_then(|sustained| sustained.last_over_first);
    let known: Vec<String> = [
        cold.map(|ms| format!("cold start {}", micros(ms * 1e3))),
        board.memory.as_ref().and(board.peak_rss()).map(|rss| format!("peak resident {}", bytes(rss))),
        board.energy.as_ref().map(|energy| format!("{} an inference", microjoules(energy.uj_per_inference))),
        sustained.map(|ratio| format!("last minute over first {ratio:.2}")),
        board.validity.as_ref().filter(|_| board.is_invalid()).map(|v| format!("INVALID: {}", v.reasons.join("; "))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mark = if board.emulated { "*" } else { "" };
    let line = printable(&format!("{}{mark}: {}", board.board, known.join(", ")).replace('\u{a0}', " "));
    (!known.is_empty()).then(|| line + "\n")
}

fn against(comparison: &RunComparison) -> String {
    let worst = comparison.figures.first().filter(|figure| figure.movement == Movement::Worse);
    let worst = worst.map(|figure| format!(": {}, {}", figure.words(), figure.change())).unwrap_or_default();
    printable(&format!("against the baseline: {}{worst}", comparison.word()).replace('\u{a0}', " ")) + "\n"
}

fn cells(report: &Report, row: &Accuracy) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into()).replace('\u{a0}', " ");
    let board = report.board_of(row).filter(|_| row.is_int8());
    let p50 = board.and_then(|board| {
        let mark = if board.emulated { "*" } else { "" };
        Some(micros(board.latency.as_ref()?.p50_us) + mark)
    });
    vec![
        printable(&row.subject),
        or_dash(row.top1.map(percent)),
        or_dash(row.agreement_with_teacher.map(percent)),
        or_dash(report.model_of(row).map(|model| bytes(model.bytes))),
        or_dash(p50),
        or_dash(row.integers_hash.as_deref().map(|hash| printable(&short_hash(hash)))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Energy, Validity};
    use crate::latency::{Cold, Latency};
    use crate::run_comparison::ComparedFigure;
    use crate::schema::{Model, Verdict};

    #[test]
    fn the_table_lines_up_and_marks_emulated_times() {
        let mut report = Report::new("demo", "c", "v");
        report.verdict = Verdict::Pass;
        report.reasons = vec!["int8 within 0.5 point of float".into()];
        report.models.push(Model { role: "int8 student".into(), bytes: 31_200, ..Model::default() });
        for (board, emulated) in [("host", false), ("qemu-aarch64", true)] {
            let latency = Some(Latency { p50_us: 8_312.0, ..Latency::default() });
            report.boards.push(Board { board: board.into(), emulated, latency, ..Board::default() });
        }
        let int8 = |board: &str| Accuracy {
            subject: format!("int8 on {board}"),
            top1: Some(0.815),
            agreement_with_teacher: Some(0.9),
            integers_hash: Some("0123456789abcdef".into()),
            ..Accuracy::default()
        };
        let teacher = Accuracy { subject: "teacher".into(), top1: Some(0.902), ..Accuracy::default() };
        report.accuracy = vec![teacher, int8("host"), int8("qemu-aarch64")];
        let want = "\
demo
                       top-1  agrees    bytes       p50      integers
teacher               90.2 %       -        -         -             -
int8 on host          81.5 %  90.0 %  31.2 kB   8.31 ms  0123456789ab
int8 on qemu-aarch64  81.5 %  90.0 %  31.2 kB  8.31 ms*  0123456789ab
* emulated: counts and integers are facts, milliseconds are not a board's latency
integers: equal in every place
PASS: int8 within 0.5 point of float
";
        assert_eq!(summary(&report), want);
    }

    #[test]
    fn a_board_of_which_more_is_known_has_a_line() {
        let mut report = Report::new("demo", "c", "v");
        let cold = Some(Cold { start_to_answer_ms: vec![38.9, 38.1, 43.0], ..Cold::default() });
        let energy = Some(Energy { uj_per_inference: 9_840.0, ..Energy::default() });
        let validity = Some(Validity { reasons: vec!["throttled".into(), "hot".into()], ..Validity::default() });
        report.boards.push(Board { board: "pi4".into(), cold, energy, validity, ..Board::default() });
        report.boards.push(Board { board: "host".into(), peak_rss_bytes: Some(9), ..Board::default() });
        let moved = |movement| ComparedFigure {
            place: "pi4".into(),
            name: "score".into(),
            before: 100.0,
            after: 120.0,
            movement,
            ..ComparedFigure::default()
        };
        let figures = vec![moved(Movement::Worse)];
        report.baseline = Some(RunComparison { figures, exit_code: 4, ..RunComparison::default() });
        let want = "\
demo
pi4: cold start 38.9 ms, 9.84 mJ an inference, INVALID: throttled; hot
against the baseline: WORSE: pi4, score, +20.0 %
INVALID
";
        assert_eq!(summary(&report), want);
        report.baseline = Some(RunComparison { figures: vec![moved(Movement::Better)], ..RunComparison::default() });
        assert!(summary(&report).contains("\nagainst the baseline: NOT WORSE\n"));
    }

    #[test]
    fn an_empty_report_says_invalid() {
        assert_eq!(summary(&Report::new("nothing", "c", "v")), "nothing\nINVALID\n");
    }

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        let mut report = Report::new("a\u{1b}[2Jb", "c", "v");
        report.accuracy.push(Accuracy { subject: "x\ny\u{202e}".into(), ..Accuracy::default() });
        let text = summary(&report);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains("x\ny"), "{text:?}");
    }
}
