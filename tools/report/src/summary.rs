//! The table at the end of a run, for a terminal.

use crate::comparison_table::comparison_table;
use crate::numbers::{bytes, micros, percent, short_hash};
use crate::printable;
use crate::schema::{Accuracy, Report};
use crate::table::aligned;

/// Column heads; the first column is set left, the others right.
const HEADS: [&str; 6] = ["", "top-1", "agrees", "bytes", "p50", "integers"];

/// One line a place, in plain text: model and where it ran, top-1, agreement with the teacher, size of the model
/// file, median latency, and the first digits of the hash over its integers; then recipes if they were compared
/// ([`comparison_table`]), the verdict and why.
///
/// ```text
/// scenes: teacher to int8                                      PASS
///                       top-1  agrees    bytes      p50      integers
/// teacher              97.3 %       -   412 kB        -             -
/// int8 on host         95.1 %  96.9 %  31.2 kB   118 µs  5f2c01a9d3e4
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
    text += &report.comparison.as_ref().map(comparison_table).unwrap_or_default();
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
    use crate::board::Board;
    use crate::latency::Latency;
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
