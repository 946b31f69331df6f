//! Promises of the page, tried on the sample report and on damaged ones.

#[allow(dead_code, reason = "the example's main is not used here")]
#[path = "../examples/sample.rs"]
mod sample;

use limbeck_report::{
    Accuracy, Adaptation, BeforeAfter, Board, Latency, Report, Score, Training, Verdict, Window, html, summary,
};
use sample::sample;
use serde_json::Value;

/// Apply `change` to every string of the report but the verdict.
fn with_every_string(report: &Report, change: impl Fn(&str) -> String) -> Report {
    fn walk(value: &mut Value, change: &dyn Fn(&str) -> String) {
        match value {
            Value::String(s) => *s = change(s),
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
            Value::Object(fields) => {
                fields.iter_mut().filter(|(key, _)| *key != "verdict").for_each(|(_, field)| walk(field, change));
            }
            _ => {}
        }
    }
    let mut json = serde_json::to_value(report).unwrap();
    walk(&mut json, &change);
    serde_json::from_value(json).unwrap()
}

/// The tags of the page, without the text between them and without the style sheet.
fn tags(page: &str) -> Vec<&str> {
    let (head, rest) = page.split_once("<style>").unwrap();
    let (_, body) = rest.split_once("</style>").unwrap();
    [head, body].into_iter().flat_map(|part| part.split('<').skip(1)).map(|t| t.split('>').next().unwrap()).collect()
}

#[test]
fn the_sample_survives_its_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    sample().write_json(&path).unwrap();
    assert!(Report::read_json(&path).unwrap() == sample());
}

#[test]
fn the_page_fetches_nothing_and_runs_nothing() {
    let page = html::render(&sample());
    for forbidden in
        ["http:", "https:", "//", "<script", "javascript:", "url(", "@import", " src=", " href=", "<link", " on"]
    {
        let found = tags(&page).into_iter().find(|tag| format!("<{tag}").contains(forbidden));
        assert_eq!(found, None, "{forbidden}");
    }
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    assert!(!style.contains("url(") && !style.contains("@import") && !style.contains("http"));
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "</style></title><script>alert(1)</script>\"'&<img src=x onerror=alert(1)>\u{0}\u{202e}";
    let clean = html::render(&with_every_string(&sample(), |_| "x".into()));
    let dirty = html::render(&with_every_string(&sample(), |_| hostile.into()));
    assert!(!dirty.contains("<script") && !dirty.contains("<img") && !dirty.contains('\u{0}'));
    assert!(dirty.contains("&lt;script&gt;alert(1)"));
    // No attribute was opened either: tag for tag, the same elements with the same attribute names.
    let shape = |page: &str| -> Vec<String> {
        let without_values = |tag: &str| tag.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
        tags(page).into_iter().map(without_values).filter(|tag| !tag.starts_with("code") && tag != "/code").collect()
    };
    assert_eq!(shape(&clean), shape(&dirty));
}

#[test]
fn every_number_of_the_accuracy_table_is_text() {
    let page = html::render(&sample()).replace('\u{a0}', " ");
    for row in sample().accuracy {
        let rates = [row.top1, row.agreement_with_teacher, row.agreement_with_host];
        for rate in rates.into_iter().flatten() {
            assert!(page.contains(&format!(">{:.2} %<", rate * 100.0)), "{} {rate}", row.subject);
        }
        assert!(page.contains(">1,630<") && page.contains(">2,000<") && page.contains(">79.7 – 83.1 %<"));
        assert!(page.contains(&row.integers_hash.unwrap_or_default()));
        assert!(page.contains(&row.how) && page.contains(&row.subject));
    }
}

#[test]
fn emulated_times_are_marked_and_never_head_the_page() {
    let mut report = sample();
    report.boards.retain(|board| board.emulated);
    let page = html::render(&report);
    assert!(page.contains("milliseconds are not a board's latency"));
    assert!(page.contains("qemu-aarch64 (emulated)"));
    assert!(!page.contains("One inference, p50"), "no card for an emulated time");
}

#[test]
fn thinned_and_quick_measurements_say_so() {
    let page = html::render(&sample());
    assert!(page.contains("Drawn from 1,000 of the 7,431 samples"));
    assert!(page.contains("fit for a look and not for a claim"));
}

#[test]
fn integers_that_differ_are_shouted() {
    let mut report = sample();
    report.verdict = Verdict::Fail;
    if let Some(last) = report.accuracy.last_mut() {
        last.integers_hash = Some("0".repeat(64));
    }
    let page = html::render(&report);
    assert!(page.contains("NOT equal") && page.contains("the hashes differ") && page.contains("FAIL"));
    assert!(summary(&report).contains("NOT equal"));
}

#[test]
fn every_part_can_be_missing() {
    let mut json = serde_json::to_value(sample()).unwrap();
    let fields: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
    for field in fields {
        let mut without = json.clone();
        without.as_object_mut().unwrap().remove(&field);
        if let Ok(report) = serde_json::from_value::<Report>(without) {
            assert!(html::render(&report).ends_with("</html>\n"), "{field}");
            summary(&report);
        }
    }
    // And inside a board.
    for field in ["environment", "agent", "latency", "peak_rss_bytes", "arena_bytes"] {
        json["boards"][1].as_object_mut().unwrap().remove(field);
        let report: Report = serde_json::from_value(json.clone()).unwrap();
        assert!(html::render(&report).contains("qemu-aarch64"), "{field}");
    }
    let page = html::render(&Report::new("nothing yet", "c", "v"));
    assert!(page.contains("INVALID") && page.contains("nothing yet"));
}

#[test]
fn odd_numbers_do_not_break_the_drawing() {
    let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300];
    for &value in &odd {
        let mut report = Report::new("odd", "c", "v");
        report.accuracy.push(Accuracy {
            subject: "int8".into(),
            top1: Some(value),
            correct: 9,
            n: 3,
            agreement_with_teacher: Some(value),
            ..Accuracy::default()
        });
        report.training = Some(Training { loss: vec![value, 1.0], agreement: vec![value], ..Training::default() });
        let score = Score { loss: value, agreement: value, top1: Some(value) };
        report.adaptation = Some(Adaptation {
            seconds: value,
            held_out: Some(BeforeAfter { shown: 1, before: score.clone(), after: score }),
            ..Adaptation::default()
        });
        report.boards.push(Board {
            latency: Some(Latency {
                p50_us: value,
                p90_us: Some(value),
                samples_us: vec![value, 5.0, value],
                windows: vec![Window { n: 1, min_us: value, p50_us: value, max_us: value }; 2],
                ..Latency::default()
            }),
            ..Board::default()
        });
        let page = html::render(&report);
        let drawn = tags(&page).join(" ");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{value}");
        summary(&report);
    }
}

#[test]
fn tags_are_closed_and_ids_are_unique() {
    let page = html::render(&sample());
    let void = ["meta", "br", "!DOCTYPE"];
    let mut open = Vec::new();
    for tag in tags(&page) {
        let name = tag.split_whitespace().next().unwrap().trim_end_matches('/');
        if let Some(name) = name.strip_prefix('/') {
            if name != "style" {
                assert_eq!(open.pop(), Some(name), "</{name}>");
            }
        } else if !tag.ends_with('/') && !void.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let mut ids: Vec<_> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert!(all > 5 && ids.len() == all);
}
