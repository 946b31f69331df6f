//! The verdict on a report, from the record alone.
//!
//! What is proved wrong is a FAIL, whatever else could not be trusted; a figure taken in circumstances that forbid to
//! believe it proves nothing, either way. In this order:
//!
//! | | verdict | exit code |
//! |---|---|---|
//! | integers that differ, floats beyond their tolerance, an accuracy below its budget | FAIL | 3 |
//! | memory or size over budget; latency or energy over budget, where the measurement is valid | FAIL | 4 |
//! | a measurement in bad circumstances, a board that refused, a budget without a measurement | INVALID | 5 |
//! | nothing compared: no student ran both here and on a board, and there are no budgets | INVALID | 5 |
//! | all else | PASS | 0 |
//!
//! Heat and load change times, never integers, memory or sizes: so the latter count on a throttled board too. Times of
//! an emulator are no board's: budgets of latency and energy are not judged there, and the reasons say so.

use crate::board::{Board, PreflightState};
use crate::budget::{Budget, FigureKind};
use crate::numbers::figure;
use crate::schema::{Accuracy, Report, Verdict};

/// What a report amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The one word.
    pub verdict: Verdict,
    /// Why, one sentence each; what weighs most first. Never empty.
    pub reasons: Vec<String>,
    /// 0 PASS, 3 or 4 FAIL, 5 INVALID: of the whole report, for a program that was asked to judge it.
    pub exit_code: u8,
}

/// Judge what a report holds; its own `verdict` and `reasons` are not read. See the module for the order.
pub fn judge(report: &Report) -> Judgement {
    let mut found = Found::default();
    integers(report, &mut found);
    floats(report, &mut found);
    circumstances(report, &mut found);
    for budget in &report.budgets {
        found.budget(report, budget);
    }
    found.judgement()
}

/// Sentences by what they prove.
#[derive(Default)]
struct Found {
    inaccurate: Vec<String>,
    costly: Vec<String>,
    untrusted: Vec<String>,
    open: Vec<String>,
    proved: Vec<String>,
    asides: Vec<String>,
}

impl Found {
    fn judgement(mut self) -> Judgement {
        if self.proved.is_empty() && self.open.is_empty() {
            self.open.push("nothing was compared and no budget was set, so nothing is proved".into());
        }
        let (verdict, exit_code) = match () {
            () if !self.inaccurate.is_empty() => (Verdict::Fail, 3),
            () if !self.costly.is_empty() => (Verdict::Fail, 4),
            () if !self.untrusted.is_empty() || !self.open.is_empty() => (Verdict::Invalid, 5),
            () => (Verdict::Pass, 0),
        };
        let mut reasons = [self.inaccurate, self.costly, self.untrusted].concat();
        // What is still open is worth saying only where nothing is proved wrong.
        if verdict != Verdict::Fail {
            reasons.extend(self.open);
        }
        if verdict == Verdict::Pass {
            reasons.extend(self.proved);
        }
        reasons.extend(self.asides);
        Judgement { verdict, reasons, exit_code }
    }

    fn budget(&mut self, report: &Report, budget: &Budget) {
        let board = budget.board.as_deref().and_then(|id| report.boards.iter().find(|board| board.board == id));
        let timed = matches!(budget.kind, FigureKind::Latency | FigureKind::Energy);
        let place = budget.board.as_ref().map(|id| format!(" on {id}")).unwrap_or_default();
        let name = format!("{}{place}", budget.name);
        let shown = |value: f64| figure(value, &budget.unit).replace('\u{a0}', " ");
        if timed && board.is_some_and(|board| board.emulated) {
            self.asides.push(format!("{name} was not judged against its budget: the board is emulated"));
            return;
        }
        let Some((measured, ok)) = budget.measured.zip(budget.ok) else {
            self.open.push(format!("{name} was not measured, so its budget of {} is open", shown(budget.limit)));
            return;
        };
        let limit = if budget.kind.more_is_better() { "at least" } else { "at most" };
        let text = format!("{name} is {}, and its budget is {limit} {}", shown(measured), shown(budget.limit));
        match (ok, timed && board.is_some_and(Board::is_invalid)) {
            (_, true) => self.asides.push(format!("{text}: not judged, because the measurement there is invalid")),
            (true, false) => self.proved.push(text),
            (false, false) if budget.kind == FigureKind::Accuracy => self.inaccurate.push(text),
            (false, false) => self.costly.push(text),
        }
    }
}

fn integers(report: &Report, found: &mut Found) {
    let hashed = || report.accuracy.iter().filter(|row| row.integers_hash.is_some());
    let boards = hashed().filter(|row| report.board_of(row).is_some()).count();
    match report.integers_are_equal() {
        Some(true) if boards > 0 => {
            let boards = if boards == 1 { "one board".into() } else { format!("{boards} boards") };
            found.proved.push(format!("every integer is the same on {boards} and in limbeck itself"));
        }
        Some(false) => {
            found.inaccurate.push("the int8 student computed different integers in different places".into());
        }
        _ if hashed().next().is_some() || (report.budgets.is_empty() && !compares_floats(report)) => {
            let text = "the int8 student has not run on a board and here yet, so nothing is proved";
            found.open.push(text.into());
        }
        _ => {}
    }
}

fn compares_floats(report: &Report) -> bool {
    report.accuracy.iter().any(|row| row.host_difference.is_some())
}

fn floats(report: &Report, found: &mut Found) {
    let compared = |row: &Accuracy| Some((row.subject.clone(), row.host_difference?));
    for (subject, difference) in report.accuracy.iter().filter_map(compared) {
        let (max, tolerance) = (figure(difference.max_abs, ""), figure(difference.tolerance, ""));
        if difference.max_abs <= difference.tolerance {
            let text =
                format!("{subject}: outputs differ from the host's by {max} at most, and {tolerance} is allowed");
            found.proved.push(text);
        } else {
            let text = format!("{subject}: outputs differ from the host's by {max}, and {tolerance} is allowed");
            found.inaccurate.push(text);
        }
    }
}

fn circumstances(report: &Report, found: &mut Found) {
    for board in &report.boards {
        let refused = board.preflight.iter().filter(|finding| finding.state == PreflightState::Refused);
        found.untrusted.extend(refused.map(|f| format!("{} refused: {}: {}", board.board, f.name, f.text)));
        let Some(validity) = board.validity.as_ref().filter(|validity| !validity.valid) else { continue };
        let mut why = validity.reasons.join("; ");
        if why.is_empty() {
            why = "no reason was given".into();
        }
        found.untrusted.push(format!("the measurement on {} is invalid: {why}", board.board));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Preflight, Validity};
    use crate::schema::HostDifference;

    /// int8 here and on board "pi", with these hashes.
    fn report(here: &str, there: &str) -> Report {
        let row = |place: &str, hash: &str| Accuracy {
            subject: format!("int8 on {place}"),
            integers_hash: Some(hash.into()),
            ..Accuracy::default()
        };
        let mut report = Report::new("t", "c", "v");
        report.accuracy = vec![row("this machine", here), row("pi", there)];
        report.boards = vec![Board { board: "pi".into(), ..Board::default() }];
        report
    }

    fn throttled(report: &mut Report) {
        let reasons = vec!["throttled: fix the supply".into()];
        report.boards[0].validity = Some(Validity { valid: false, reasons, unknown: vec![] });
    }

    #[track_caller]
    fn check(report: &Report, verdict: Verdict, exit_code: u8, first_reason: &str) {
        let found = judge(report);
        assert_eq!((found.verdict, found.exit_code), (verdict, exit_code), "{:?}", found.reasons);
        assert!(found.reasons[0].contains(first_reason), "{:?}", found.reasons);
    }

    #[test]
    fn equal_integers_pass_different_ones_fail_and_none_are_invalid() {
        check(&report("aa", "aa"), Verdict::Pass, 0, "every integer is the same on one board");
        check(&report("aa", "bb"), Verdict::Fail, 3, "different integers");
        let mut once = report("aa", "aa");
        once.accuracy.pop();
        check(&once, Verdict::Invalid, 5, "has not run");
        check(&Report::new("t", "c", "v"), Verdict::Invalid, 5, "nothing is proved");
    }

    #[test]
    fn integers_that_are_equal_without_a_board_prove_nothing() {
        let mut report = report("aa", "aa");
        report.boards.clear();
        check(&report, Verdict::Invalid, 5, "has not run on a board");
    }

    #[test]
    fn accuracy_comes_before_cost_and_cost_before_circumstances() {
        let mut report = report("aa", "aa");
        throttled(&mut report);
        check(&report, Verdict::Invalid, 5, "throttled: fix the supply");
        report.budgets.push(Budget::new(FigureKind::Memory, "peak resident", 1e6, Some(2e6)).on("pi"));
        check(&report, Verdict::Fail, 4, "peak resident on pi is 2.00 MB, and its budget is at most 1.00 MB");
        report.budgets.push(Budget::new(FigureKind::Accuracy, "top-1", 0.9, Some(0.8)).on("pi"));
        check(&report, Verdict::Fail, 3, "top-1 on pi is 80.00 %");
        assert!(judge(&report).reasons.iter().any(|reason| reason.contains("throttled")), "all of it is said");
    }

    #[test]
    fn a_time_measured_while_throttled_neither_keeps_nor_breaks_a_budget() {
        for measured in [50.0, 500.0] {
            let mut report = report("aa", "aa");
            report.budgets.push(Budget::new(FigureKind::Latency, "p90", 100.0, Some(measured)).on("pi"));
            let alone = judge(&report).verdict;
            assert_eq!(alone, if measured < 100.0 { Verdict::Pass } else { Verdict::Fail });
            throttled(&mut report);
            check(&report, Verdict::Invalid, 5, "invalid: throttled");
        }
    }

    #[test]
    fn a_slow_board_fails_even_if_another_was_throttled() {
        let mut report = report("aa", "aa");
        throttled(&mut report);
        report.boards.push(Board { board: "zero".into(), ..Board::default() });
        report.budgets.push(Budget::new(FigureKind::Latency, "p90", 100.0, Some(500.0)).on("zero"));
        check(&report, Verdict::Fail, 4, "p90 on zero is 500 µs");
    }

    #[test]
    fn times_of_an_emulator_are_not_judged_and_its_memory_is() {
        let mut report = report("aa", "aa");
        report.boards[0].emulated = true;
        report.budgets.push(Budget::new(FigureKind::Latency, "p90", 100.0, Some(500.0)).on("pi"));
        check(&report, Verdict::Pass, 0, "every integer");
        assert!(judge(&report).reasons.iter().any(|reason| reason.contains("the board is emulated")));
        report.budgets.push(Budget::new(FigureKind::Memory, "arena", 100.0, Some(500.0)).on("pi"));
        check(&report, Verdict::Fail, 4, "arena on pi");
    }

    #[test]
    fn a_promise_without_a_measurement_is_not_kept() {
        let mut report = report("aa", "aa");
        report.budgets.push(Budget::new(FigureKind::Latency, "p90", 100.0, None).on("pi"));
        check(&report, Verdict::Invalid, 5, "p90 on pi was not measured");
    }

    #[test]
    fn a_board_that_refused_is_named() {
        let mut report = report("aa", "aa");
        let refused = PreflightState::Refused;
        report.boards[0].preflight =
            vec![Preflight { name: "noexec".into(), state: refused, text: "remount it".into() }];
        check(&report, Verdict::Invalid, 5, "pi refused: noexec: remount it");
    }

    #[test]
    fn a_float_student_is_held_to_its_tolerance() {
        let mut report = Report::new("t", "c", "v");
        let difference = Some(HostDifference { max_abs: 1e-5, tolerance: 1e-4 });
        let subject = "float on pi".into();
        report.accuracy.push(Accuracy { subject, host_difference: difference, ..Accuracy::default() });
        check(&report, Verdict::Pass, 0, "1.00e-5 at most");
        report.accuracy[0].host_difference = Some(HostDifference { max_abs: 1e-3, tolerance: 1e-4 });
        check(&report, Verdict::Fail, 3, "0.001");
        report.accuracy[0].host_difference = Some(HostDifference { max_abs: f64::NAN, tolerance: 1e-4 });
        assert_eq!(judge(&report).verdict, Verdict::Fail);
    }

    #[test]
    fn budgets_alone_can_pass_where_no_integers_are_promised() {
        let mut report = Report::new("t", "c", "v");
        report.budgets.push(Budget::new(FigureKind::Size, "bundle", 1e6, Some(2e5)));
        check(&report, Verdict::Pass, 0, "bundle is 200 kB");
    }
}
