//! Promises of the page and of the tables about what was measured on boards.

#[path = "../examples/sample/report.rs"]
mod sample;

use limbeck_report::{
    Accuracy, Board, Budget, Confusion, FigureKind, HostDifference, Model, Movement, Report, RunComparison, Thresholds,
    Validity, compare_runs, html, judge, metrics_csv, run_comparison_table, samples_csv, summary, write_csv,
};
use sample::sample;
use serde_json::Value;

/// The page with plain spaces.
fn page(report: &Report) -> String {
    html::render(report).replace('\u{a0}', " ")
}

/// From a heading to the end of its panel.
fn panel<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<h2>{heading}</h2>")).unwrap();
    rest.split_once("</section>").unwrap().0
}

#[track_caller]
fn holds(text: &str, all: &[&str]) {
    for part in all {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn every_figure_of_a_board_is_text() {
    let page = page(&sample());
    let pi = panel(&page, "pi4");
    // Latency, its windows, and the minutes.
    holds(
        pi,
        &[">2.24 ms<", ">2.23 ms – 2.26 ms<", ">41.2 µs<", ">900 ns<", ">61.0 µs<", ">11.2 %<", ">431<", ">38.0 ns<"],
    );
    holds(pi, &[">4,428<", ">4.1 %<", "51 °C", "temperature 51 °C to 60 °C", "frequency 1800 MHz to 1800 MHz"]);
    holds(pi, &["<b>1.31</b>", ">1400 MHz<", ">81 °C<", ">yes<", "All 12 minutes"]);
    // Cold starts, memory, energy.
    holds(
        pi,
        &["<b>38.9 ms</b> = 4.10 + 21.7 + 6.41 + 6.69", "<b>43.0 ms</b>", ">21.5 ms<", "load 4.10 ms, compile 21.7 ms"],
    );
    holds(
        pi,
        &["<b>9.41 MB</b> · 9,412,608 bytes · within 12.0 MB", "<b>57.3 kB</b>", "<b>104 kB</b>", ">allocations per"],
    );
    holds(pi, &[">9.84 mJ<", ">4.31 mJ<", ">2.47 W<", "9.79 mJ, 9.84 mJ", "ina226"]);
    // Operators, preflight, what is unknown.
    holds(
        pi,
        &[
            "stack1/conv1",
            ">402 µs<",
            ">17.9 %<",
            ">2.36 M<",
            ">5.87 G<",
            "2 days behind",
            ">! warning<",
            ">? unknown<",
        ],
    );
    holds(pi, &["under-voltage", "limbeck neon, tract dotprod"]);
    let bundle = panel(&page, "Bundle");
    holds(bundle, &[">key 5F2C 01A9 (made up)<", ">8131812<", ">rustc 1.95.0<", "<dt>version</dt><dd>7</dd>"]);
}

#[test]
fn what_was_not_measured_says_so() {
    let mut report = sample();
    report.boards[0].energy = None;
    report.bundle.as_mut().unwrap().signer = None;
    let page = page(&report);
    holds(&page, &["Not measured: no meter was read.", "<dt>signed by</dt><dd>nobody</dd>"]);
    assert!(!panel(&page, "pi4").contains("mJ"), "energy is never estimated");
}

#[test]
fn an_invalid_measurement_is_marked_and_shown() {
    let mut report = sample();
    let reasons = vec!["throttled: <fix> the supply".into()];
    report.boards[0].validity = Some(Validity { valid: false, reasons, unknown: vec![] });
    let judged = judge(&report);
    assert_eq!(judged.exit_code, 5);
    (report.verdict, report.reasons) = (judged.verdict, judged.reasons);
    let page = page(&report);
    holds(panel(&page, "pi4"), &["INVALID:", "throttled: &lt;fix&gt; the supply", ">2.24 ms<"]);
    holds(panel(&page, "Boards"), &["<b>INVALID</b>"]);
    holds(panel(&page, "Budgets"), &["p90 on pi4", "not judged"]);
    holds(&page, &["on pi4, p90 2.37 ms, INVALID"]);
    holds(&summary(&report), &["INVALID: throttled"]);
}

#[test]
fn a_budget_is_kept_broken_or_open_in_words() {
    let mut report = sample();
    let latency = |limit, measured| Budget::new(FigureKind::Latency, "p90", limit, measured);
    report.budgets = vec![
        latency(3000.0, Some(2570.0)).on("pi4"),
        latency(2000.0, Some(2570.0)).on("pi4"),
        latency(2000.0, None).on("pi4"),
        latency(2000.0, Some(17_000.0)).on("qemu-aarch64"),
    ];
    let page = page(&report);
    let states = panel(&page, "Budgets").split("<title>").skip(1);
    let states: Vec<&str> =
        states.map(|rest| rest.split_once("</title>").unwrap().0.rsplit(": ").next().unwrap()).collect();
    assert_eq!(states, ["kept", "NOT KEPT", "open", "not judged"]);
}

#[test]
fn movers_come_first_and_what_is_the_same_is_folded() {
    let page = page(&sample());
    let section = panel(&page, "Against the baseline");
    let (moved, folded) = section.split_once("<details>").unwrap();
    let names = |part: &str| -> Vec<String> {
        part.split("<th scope=\"row\">").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(moved), ["pi4, arena", "pi4, score", "int8 on pi4, top-1", "pi4, cold, start to answer"]);
    holds(moved, &["<b>worse</b>", ">better<", ">cannot tell<", ">+16.7 %<", ">−17.4 %<", ">+1.30 points<", "WORSE"]);
    assert!(names(folded).len() > 20 && folded.contains("emulated, so its times are not compared"));
    let comparison: RunComparison = sample().baseline.unwrap();
    assert!(comparison.figures.iter().any(|figure| figure.movement == Movement::Same));
    assert_eq!(run_comparison_table(&comparison).lines().filter(|line| line.contains("pi4, ")).count(), 5);
}

#[test]
fn a_run_is_not_worse_than_itself() {
    let comparison = compare_runs(&sample(), &sample(), &Thresholds::default());
    assert_eq!(comparison.exit_code, 0, "{:?}", comparison.reasons);
    assert!(comparison.figures.iter().all(|figure| figure.movement == Movement::Same));
}

#[test]
fn a_confusion_is_a_table_of_counts_or_the_commonest_mistakes() {
    let page_of = |k: usize| {
        let mut confusion = Confusion::new((0..k).map(|class| format!("<{class}>")).collect());
        for class in 0..k {
            for _ in 0..50 + class {
                confusion.add(class, class);
            }
            confusion.add(class, (class + 1) % k);
        }
        let mut report = Report::new("t", "c", "v");
        let row = Accuracy { subject: "int8 on pi".into(), confusion: Some(confusion), ..Accuracy::default() };
        report.accuracy.push(row);
        page(&report)
    };
    let few = page_of(3);
    holds(&few, &["1 &lt;0&gt;<", "shade-4\"><b>50</b>", "<b>52</b>", "shade-1\">1<", ">98.0 %<"]);
    let many = page_of(100);
    holds(&many, &["&lt;0&gt;", "&lt;1&gt;", "100 classes: the 20 commonest of 100 kinds of mistake"]);
    assert!(!many.contains("shade-4\">"));
}

#[test]
fn the_front_holds_what_nothing_beats_and_no_time_of_an_emulator() {
    let mut report = Report::new("t", "c", "v");
    for (role, bytes, correct) in [("small", 10_000, 80), ("large", 90_000, 90), ("beaten", 95_000, 85)] {
        report.models.push(Model { role: role.into(), bytes, ..Model::default() });
        let top1 = Some(correct as f64 / 100.0);
        report.accuracy.push(Accuracy { subject: role.into(), top1, correct, n: 100, ..Accuracy::default() });
    }
    let section = page(&report);
    let section = panel(&section, "Accuracy against cost");
    let rows: Vec<&str> =
        section.split("<th scope=\"row\">").skip(1).map(|r| r.split("</tr>").next().unwrap()).collect();
    let front: Vec<bool> = rows.iter().map(|row| row.contains("● yes")).collect();
    assert_eq!(front, [true, true, false], "{rows:?}");
    assert_eq!(section.matches("hollow").count(), 1);

    let sample = page(&sample());
    let section = panel(&sample, "Accuracy against cost");
    let (_, latency) = section.split_once("Score of one inference</figcaption>").unwrap();
    assert!(latency.contains("int8 on pi4") && !latency.contains("qemu"));
}

#[test]
fn a_time_series_marks_where_the_board_held_itself_back() {
    let minutes = |report: &Report| {
        page(report).split("id=\"minutes-0-t\"").nth(1).map(|p| p.split("</svg></figure>").next().unwrap().to_owned())
    };
    let mut report = sample();
    assert_eq!(minutes(&report).unwrap().matches('▼').count(), 4);
    report.boards[0].sustained.as_mut().unwrap().minutes.iter_mut().for_each(|minute| minute.throttled = None);
    assert_eq!(minutes(&report).unwrap().matches('▼').count(), 0);
    report.boards[0].sustained = None;
    assert!(minutes(&report).is_none());
    for window in &mut report.boards[0].latency.as_mut().unwrap().windows {
        window.start_s = None;
    }
    assert!(!page(&report).contains("time-0-t"), "without times there is no axis of time");
}

#[test]
fn float_outputs_stand_beside_what_is_allowed() {
    let mut report = sample();
    report.accuracy[0].host_difference = Some(HostDifference { max_abs: 3.5e-6, tolerance: 1e-4 });
    holds(&page(&report), &[">3.50e-6<", ">0.0001<", ">1,665<", ">0.412<", ">0.941<"]);
}

/// Every number of the record that `of` gives something else for.
fn with_numbers(report: &Report, of: &dyn Fn(&serde_json::Number) -> Option<Value>) -> Report {
    fn walk(value: &mut Value, of: &dyn Fn(&serde_json::Number) -> Option<Value>) {
        let small = ["exit_code", "schema_version"];
        match value {
            Value::Number(number) => {
                if let Some(other) = of(number) {
                    *value = other;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, of)),
            Value::Object(fields) => {
                fields
                    .iter_mut()
                    .filter(|(key, _)| !small.contains(&key.as_str()))
                    .for_each(|(_, field)| walk(field, of));
            }
            _ => {}
        }
    }
    let mut json = serde_json::to_value(report).unwrap();
    walk(&mut json, of);
    serde_json::from_value(json).unwrap()
}

#[test]
fn no_number_breaks_a_view() {
    let floats = [0.0, -1.0, 1e300, -1e300, 1e-300, f64::MAX].map(|odd| (Some(odd), None));
    for (float, whole) in floats.into_iter().chain([(None, Some(0)), (None, Some(u64::MAX))]) {
        let odd = with_numbers(&sample(), &|number| match (number.is_f64(), float, whole) {
            (true, Some(float), _) => Some(float.into()),
            (false, _, Some(whole)) => Some(whole.into()),
            _ => None,
        });
        let page = html::render(&odd);
        let drawn: String = page.split('<').skip(1).map(|tag| tag.split('>').next().unwrap()).collect();
        for attribute in ["\"NaN", "\"inf", "\"-inf", "NaN%", "inf%"] {
            assert!(!drawn.contains(attribute), "{float:?} {whole:?}: {attribute}");
        }
        summary(&odd);
        judge(&odd);
        let comparison = compare_runs(&sample(), &odd, &Thresholds::default());
        assert!(!run_comparison_table(&comparison).contains("NaN"));
        assert!(metrics_csv(&odd).lines().count() > 100);
    }
}

/// Rows and cells of a CSV text, as RFC 4180 defines them.
fn cells(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (vec![], vec![], String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => cell.extend(chars.next()),
            ('"', _) => quoted = !quoted,
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) => {}
            ('\n', false) => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (c, _) => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "the last row ends");
    rows
}

#[test]
fn tables_have_a_row_a_figure_whatever_the_names() {
    let mut report = sample();
    let hostile = "=cmd(\"x\"),1\r\n@next";
    report.boards[0].board = hostile.into();
    report.accuracy[0].subject = hostile.into();
    let dir = tempfile::tempdir().unwrap();
    write_csv(&report, dir.path().join("report.json")).unwrap();
    for (name, least) in [("report.csv", 200), ("raw.csv", 2000)] {
        let rows = cells(&std::fs::read_to_string(dir.path().join(name)).unwrap());
        assert!(rows.len() > least && rows.iter().all(|row| row.len() == 5), "{name}: {}", rows.len());
        let dangerous = |cell: &String| cell.starts_with(['=', '@', '+']);
        assert!(!rows.iter().flatten().any(dangerous), "{name}");
    }
    let metrics = cells(&metrics_csv(&report));
    let score = metrics.iter().find(|row| row[0].contains("cmd") && row[2] == "score").unwrap();
    let want = report.boards[0].latency.as_ref().unwrap().score_us;
    assert_eq!((score[3].parse::<f64>().unwrap(), score[4].as_str()), (want, "us"));
    assert!(score[0].starts_with("'=cmd(\"x\"),1"));
    let samples: usize = report.boards.iter().filter_map(|b| b.latency.as_ref()).map(|l| l.samples_us.len()).sum();
    let rows = cells(&samples_csv(&report));
    assert_eq!(rows.iter().filter(|row| row[1] == "latency").count(), samples);
}

#[test]
fn a_report_from_before_these_fields_reads_and_shows_as_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    let older = r#"{"schema_version":1,"title":"t","created":"c","tool_version":"v","verdict":"PASS",
        "accuracy":[{"subject":"int8 on pi","correct":0,"n":3,"how":""}],
        "bundle":{"name":"b","sha256":"","bytes":5},
        "boards":[{"board":"pi","title":"","latency":{"protocol":"single-stream v1","quick":true,"warm_up_runs":1,
        "warm_up_seconds":1.0,"first_us":9.0,"score_us":7.5,"p50_us":7.0,"min_us":6.0,"max_us":9.0,"n":3,
        "windows":[{"n":3,"min_us":6.0,"p50_us":7.0,"max_us":9.0}]},"peak_rss_bytes":1000000,"arena_bytes":2000}]}"#;
    std::fs::write(&path, older).unwrap();
    let report = Report::read_json(&path).unwrap();
    assert_eq!(report.boards[0].peak_rss(), Some(1_000_000));
    let board: &Board = &report.boards[0];
    assert!(board.memory.is_none() && board.validity.is_none() && !board.is_invalid());
    let page = page(&report);
    holds(panel(&page, "pi"), &[">7.50 µs<", "<b>1.00 MB</b>", "<b>2.00 kB</b>"]);
    for absent in
        ["Cold starts", "Preflight", "Slowest operators", "<h2>Budgets", "Against the baseline", "over the windows"]
    {
        assert!(!page.contains(absent), "{absent}");
    }
}
