use super::*;
use crate::board::{Board, Energy, Memory, Validity};
use crate::latency::{Cold, Latency, Window};
use crate::schema::{Accuracy, Agreement, KeyValue, Model, Source};

/// One board "pi" whose windows had these medians.
fn run(medians: &[f64]) -> Report {
    let mut report = Report::new("t", "c", "v");
    report.verdict = Verdict::Pass;
    let windows = medians.iter().map(|&p50_us| Window { n: 100, p50_us, ..Window::default() }).collect();
    let latency = Latency {
        protocol: "single-stream v1".into(),
        score_us: crate::numbers::median(medians).unwrap_or_default(),
        first_us: 300.0,
        windows,
        ..Latency::default()
    };
    report.boards.push(Board { board: "pi".into(), latency: Some(latency), ..Board::default() });
    report
}

fn compare(before: &Report, after: &Report) -> RunComparison {
    compare_runs(before, after, &Thresholds::default())
}

#[track_caller]
fn movement(comparison: &RunComparison, name: &str) -> Movement {
    comparison.figures.iter().find(|figure| figure.name == name).unwrap().movement
}

/// A run with so many right of 2,000 on board "pi".
fn accurate(correct: u64) -> Report {
    let mut report = run(&[100.0, 101.0, 99.0]);
    let top1 = Some(correct as f64 / 2000.0);
    report.accuracy.push(Accuracy { subject: "int8 on pi".into(), top1, correct, n: 2000, ..Accuracy::default() });
    report
}

#[test]
fn a_time_must_pass_both_floor_and_noise() {
    // Deviation 1 on both sides: noise 2 · √2 = 2.83, floor 5: the floor decides.
    let quiet = run(&[99.0, 100.0, 101.0]);
    // Deviation 10: noise 28.3, and the noise decides.
    let noisy = run(&[90.0, 100.0, 110.0]);
    let cases = [
        (&quiet, [103.0, 104.0, 105.0], Movement::Same, 0),
        (&quiet, [105.0, 106.0, 107.0], Movement::Worse, 4),
        (&quiet, [93.0, 94.0, 95.0], Movement::Better, 0),
        (&noisy, [110.0, 120.0, 130.0], Movement::CannotTell, 0),
        (&noisy, [119.0, 129.0, 139.0], Movement::Worse, 4),
    ];
    for (before, after, want, exit_code) in cases {
        let comparison = compare(before, &run(&after));
        let got = (movement(&comparison, "score"), comparison.exit_code);
        assert_eq!(got, (want, exit_code), "{after:?}: {:?}", comparison.figures);
    }
    let wider = Thresholds { time: 0.1, ..Thresholds::default() };
    let comparison = compare_runs(&quiet, &run(&[107.0, 108.0, 109.0]), &wider);
    assert_eq!(movement(&comparison, "score"), Movement::Same, "the floor can be set");
}

#[test]
fn one_window_tells_nothing_of_noise_and_a_wide_interval_tells_more_than_windows() {
    let comparison = compare(&run(&[100.0]), &run(&[150.0]));
    assert_eq!((movement(&comparison, "score"), comparison.exit_code), (Movement::CannotTell, 0));
    assert!(comparison.figures[0].why.contains("nothing tells"), "{:?}", comparison.figures);
    let mut wide = run(&[149.0, 150.0, 151.0]);
    if let Some(latency) = &mut wide.boards[0].latency {
        latency.ci95_us = Some([100.0, 200.0]);
    }
    assert_eq!(movement(&compare(&run(&[99.0, 100.0, 101.0]), &wide), "score"), Movement::CannotTell);
}

#[test]
fn accuracy_must_pass_half_a_point_and_the_draw_of_samples() {
    // 1,630 of 2,000: 95 % of differences of two such shares lie within 2.4 points.
    let cases = [
        (1630, Movement::Same, 0),
        (1621, Movement::Same, 0),
        (1600, Movement::CannotTell, 0),
        (1575, Movement::Worse, 3),
        (1690, Movement::Better, 0),
    ];
    for (correct, want, exit_code) in cases {
        let comparison = compare(&accurate(1630), &accurate(correct));
        assert_eq!((movement(&comparison, "top-1"), comparison.exit_code), (want, exit_code), "{correct}");
    }
}

#[test]
fn agreement_is_judged_by_its_own_counts() {
    let agreeing = |same: u64, n: u64| {
        let mut report = accurate(1630);
        report.accuracy[0].agreement_with_teacher = Some(same as f64 / n as f64);
        report.accuracy[0].agreement = Some(Agreement { same, n, ..Agreement::default() });
        report
    };
    let of = |before, after| movement(&compare(&before, &after), "agreement with the teacher");
    assert_eq!(of(agreeing(90, 100), agreeing(85, 100)), Movement::CannotTell);
    assert_eq!(of(agreeing(9000, 10_000), agreeing(8000, 10_000)), Movement::Worse);
}

#[test]
fn counted_figures_have_no_noise() {
    let with = |arena: u64, allocations: f64, rss: u64| {
        let mut report = run(&[99.0, 100.0, 101.0]);
        report.boards[0].memory = Some(Memory {
            arena_bytes: Some(arena),
            allocations_per_inference: Some(allocations),
            peak_rss_bytes: Some(rss),
            ..Memory::default()
        });
        report
    };
    let comparison = compare(&with(1000, 0.0, 100_000), &with(1011, 1.0, 104_000));
    assert_eq!(movement(&comparison, "arena"), Movement::Worse);
    assert_eq!(movement(&comparison, "allocations per inference"), Movement::Worse);
    assert_eq!(movement(&comparison, "peak resident"), Movement::Same);
    assert_eq!(comparison.exit_code, 4);
    assert_eq!(comparison.figures[0].name, "allocations per inference", "from none is the worst");
    assert!(comparison.reasons[0].contains("from none to 1 allocations"), "{:?}", comparison.reasons);
    assert_eq!(
        movement(&compare(&with(1000, 0.0, 100_000), &with(1010, 0.0, 106_000)), "peak resident"),
        Movement::Worse
    );
}

#[test]
fn cold_starts_energy_and_files_are_compared() {
    let with = |cold: [f64; 5], energy: [f64; 3], bytes: u64| {
        let mut report = run(&[99.0, 100.0, 101.0]);
        report.boards[0].cold = Some(Cold { start_to_answer_ms: cold.into(), ..Cold::default() });
        let uj_per_inference = crate::numbers::median(&energy).unwrap();
        report.boards[0].energy = Some(Energy { uj_per_inference, windows: energy.into(), ..Energy::default() });
        report.models.push(Model { role: "int8 student".into(), bytes, ..Model::default() });
        report
    };
    let before = with([50.0, 51.0, 49.0, 50.0, 52.0], [800.0, 805.0, 795.0], 100_000);
    let after = with([70.0, 71.0, 69.0, 70.0, 72.0], [600.0, 605.0, 595.0], 102_000);
    let comparison = compare(&before, &after);
    assert_eq!(movement(&comparison, "cold, start to answer"), Movement::Worse);
    assert_eq!(movement(&comparison, "energy"), Movement::Better);
    assert_eq!(movement(&comparison, "file"), Movement::Worse);
    let names: Vec<&str> = comparison.figures.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(names, ["cold, start to answer", "file", "energy", "score"], "worst first, then what got better");
}

#[test]
fn accuracy_comes_before_cost() {
    let mut after = accurate(1500);
    after.boards = run(&[200.0, 201.0, 199.0]).boards;
    let comparison = compare(&accurate(1630), &after);
    assert_eq!(comparison.exit_code, 3);
    assert!(comparison.figures[0].name == "top-1" && comparison.figures[1].name == "score");
    assert!(comparison.reasons[0].starts_with("int8 on pi, top-1: −6.50 points"), "{:?}", comparison.reasons);
}

#[test]
fn a_time_of_an_invalid_measurement_proves_nothing_and_memory_does() {
    let invalid = |medians: &[f64], arena: u64| {
        let mut report = run(medians);
        report.verdict = Verdict::Invalid;
        report.boards[0].validity = Some(Validity::default());
        report.boards[0].arena_bytes = Some(arena);
        report
    };
    let mut before = run(&[99.0, 100.0, 101.0]);
    before.boards[0].arena_bytes = Some(1000);
    let comparison = compare(&before, &invalid(&[200.0, 201.0, 199.0], 1000));
    assert_eq!((movement(&comparison, "score"), comparison.exit_code), (Movement::CannotTell, 5));
    assert!(comparison.reasons.contains(&"the later run is INVALID".into()), "{:?}", comparison.reasons);
    assert_eq!(compare(&before, &invalid(&[100.0, 101.0, 99.0], 2000)).exit_code, 4, "memory does not depend on heat");
}

#[test]
fn what_is_not_alike_is_named_and_not_compared() {
    let base = || run(&[99.0, 100.0, 101.0]);
    let changed = |change: &dyn Fn(&mut Report)| {
        let mut report = run(&[199.0, 200.0, 201.0]);
        change(&mut report);
        report
    };
    let latency = |report: &mut Report, change: &dyn Fn(&mut Latency)| {
        report.boards[0].latency.iter_mut().for_each(change);
    };
    type Change<'a> = &'a dyn Fn(&mut Report);
    let cases: [(&str, Change<'_>); 5] = [
        ("full against quick", &|r| latency(r, &|l| l.quick = true)),
        ("single-stream v1 against other", &|r| latency(r, &|l| l.protocol = "other".into())),
        ("pi: only in the earlier run", &|r| r.boards[0].board = "zero".into()),
        ("zero: only in the later run", &|r| r.boards[0].board = "zero".into()),
        ("an emulator against a board", &|r| r.boards[0].emulated = true),
    ];
    for (want, change) in cases {
        let comparison = compare(&base(), &changed(change));
        assert!(comparison.unlike.iter().any(|text| text.contains(want)), "{want}: {:?}", comparison.unlike);
        assert!(comparison.figures.is_empty(), "{want}: {:?}", comparison.figures);
        assert_eq!(comparison.exit_code, 5, "nothing compared is no pass");
    }

    let on = |cpu: &str, governor: &str| {
        let mut report = base();
        report.boards[0].environment = vec![KeyValue::new("cpu", cpu), KeyValue::new("governor", governor)];
        report
    };
    let other = compare(&on("cortex-a72", "performance"), &on("cortex-a76", "performance"));
    assert!(other.figures.is_empty() && other.unlike[0].contains("another machine"), "{:?}", other.unlike);
    let governed = compare(&on("cortex-a72", "performance"), &on("cortex-a72", "ondemand"));
    assert!(!governed.figures.is_empty() && governed.unlike[0].contains("governor"), "{:?}", governed.unlike);
    assert!(compare(&on("unknown", "unknown"), &on("a", "b")).unlike.is_empty(), "unknown is no difference");
}

#[test]
fn other_test_samples_are_not_compared() {
    let on = |correct: u64, digit: &str| {
        let mut report = accurate(correct);
        report.sources.push(Source { role: "test data".into(), sha256: digit.repeat(64), ..Source::default() });
        report
    };
    let comparison = compare(&on(1630, "1"), &on(100, "2"));
    assert!(comparison.figures.iter().all(|figure| figure.kind != FigureKind::Accuracy));
    assert!(comparison.unlike[0].contains("test data"), "{:?}", comparison.unlike);
}

#[test]
fn other_integers_of_the_same_student_on_the_same_samples_fail() {
    let on = |student: &str, integers: &str| {
        let mut report = accurate(1630);
        report.accuracy[0].integers_hash = Some(integers.into());
        report.models.push(Model { role: "int8 student".into(), sha256: student.into(), ..Model::default() });
        report.sources.push(Source { role: "test data".into(), sha256: "1".into(), ..Source::default() });
        report
    };
    let same = compare(&on("s", "i"), &on("s", "i"));
    assert_eq!((same.integers, same.exit_code), (Some(true), 0));
    let broken = compare(&on("s", "i"), &on("s", "j"));
    assert_eq!((broken.integers, broken.exit_code), (Some(false), 3));
    let trained = compare(&on("s", "i"), &on("another", "j"));
    assert_eq!((trained.integers, trained.exit_code), (Some(false), 0), "another student may answer otherwise");
}

#[test]
fn odd_numbers_are_left_out() {
    for odd in [f64::NAN, f64::INFINITY] {
        let comparison = compare(&run(&[99.0, 100.0, 101.0]), &{
            let mut report = run(&[99.0, 100.0, 101.0]);
            report.boards[0].latency.iter_mut().for_each(|latency| latency.score_us = odd);
            report
        });
        assert!(comparison.figures.iter().all(|figure| figure.name != "score"));
    }
    assert_eq!(compare(&run(&[0.0, 0.0]), &run(&[0.0, 0.0])).exit_code, 0);
}
