//! Promises of the page, tried on the sample report and on damaged ones.

#[path = "../examples/sample/report.rs"]
mod sample;

use limbeck_report::{
    Accuracy, Adaptation, BeforeAfter, Board, ComparedRecipe, ComparedRun, Comparison, FailedRun, Latency, Report,
    Score, Training, Verdict, Window, html, summary,
};
use sample::sample;
use serde_json::Value;

/// Fields that hold one of a few words, and no text.
const WORDS: [&str; 4] = ["verdict", "state", "kind", "movement"];

/// Apply `change` to every string of the report but those words.
fn with_every_string(report: &Report, change: impl Fn(&str) -> String) -> Report {
    fn walk(value: &mut Value, change: &dyn Fn(&str) -> String) {
        match value {
            Value::String(s) => *s = change(s),
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
            Value::Object(fields) => {
                let text = fields.iter_mut().filter(|(key, _)| !WORDS.contains(&key.as_str()));
                text.for_each(|(_, field)| walk(field, change));
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
    let fields = json["boards"][0].as_object().unwrap().keys();
    let optional = fields.filter(|key| *key != "board" && *key != "title").cloned();
    for field in optional.collect::<Vec<_>>() {
        json["boards"][0].as_object_mut().unwrap().remove(&field);
        let report: Report = serde_json::from_value(json.clone()).unwrap();
        assert!(html::render(&report).contains("<h2>pi4</h2>"), "{field}");
        summary(&report);
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
        let run =
            |seed| ComparedRun { seed, float: Some(value), int8: Some(value), agreement: Some(value), seconds: value };
        let recipe = |name: &str| ComparedRecipe {
            name: name.into(),
            runs: vec![run(0), run(1), ComparedRun { float: Some(0.5), ..run(2) }],
            ..ComparedRecipe::default()
        };
        report.comparison = Some(Comparison {
            teacher: Some(value),
            untouched: Some(value),
            recipes: vec![recipe("kd"), recipe("dist"), ComparedRecipe::default()],
            ..Comparison::default()
        });
        report.boards.push(Board {
            latency: Some(Latency {
                p50_us: value,
                p90_us: Some(value),
                samples_us: vec![value, 5.0, value],
                windows: vec![Window { n: 1, min_us: value, p50_us: value, max_us: value, ..Window::default() }; 2],
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

/// The section of the page about recipes.
fn compared(comparison: Comparison) -> String {
    let mut report = Report::new("compared", "c", "v");
    report.comparison = Some(comparison);
    let page = html::render(&report).replace('\u{a0}', " ");
    assert!(
        !page.contains("class=\"verdict") && !summary(&report).contains("INVALID"),
        "nothing was measured on a board"
    );
    let (_, section) = page.split_once("<h2>Recipes compared</h2>").unwrap();
    section.split_once("</section>").unwrap().0.to_owned()
}

/// A recipe whose runs had these float results, a tenth less in int8.
fn recipe(name: &str, floats: &[f64]) -> ComparedRecipe {
    let run = |(seed, &float)| ComparedRun {
        seed,
        float: Some(float),
        int8: Some(float - 0.1),
        seconds: 61.0,
        ..ComparedRun::default()
    };
    ComparedRecipe { name: name.into(), runs: (0..).zip(floats).map(run).collect(), ..ComparedRecipe::default() }
}

#[test]
fn recipes_are_shown_best_first_with_every_seed_and_what_noise_allows_to_say() {
    // Edge of noise at three seeds of sd 1 point: 2.776 · √(2/3) = 2.27 points.
    let recipes = vec![
        recipe("sp", &[0.82, 0.83, 0.84]),
        recipe("kd", &[0.83, 0.84, 0.85]),
        recipe("dist", &[0.86, 0.87, 0.88]),
        recipe("rkd", &[0.79]),
    ];
    let section = compared(Comparison { teacher: Some(0.9), untouched: Some(0.7), recipes, ..Comparison::default() });
    let heads: Vec<&str> =
        section.split("<th scope=\"row\">").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(heads, ["teacher", "untouched student", "dist", "kd", "sp", "rkd"]);
    for cell in [
        ">87.00 ± 1.00 %<",
        ">77.00 ± 1.00 %<",
        ">79.00 %<",
        "<b>+3.00 higher</b>",
        ">−1.00 within noise<",
        ">−5.00 no claim<",
        ">baseline<",
        ">90.00 %<",
        ">70.00 %<",
        "Welch",
    ] {
        assert!(section.contains(cell), "{cell}");
    }
    assert_eq!(section.matches("class=\"dot c-float\"").count(), 10);
    assert_eq!(section.matches("class=\"dot c-int8\"").count(), 10);
    assert_eq!(section.matches("class=\"mean c-float\"").count(), 4);
    assert_eq!(section.matches("class=\"sd c-float\"").count(), 3, "one seed has no deviation");
    assert_eq!(section.matches("class=\"reference\"").count(), 2);
}

#[test]
fn a_far_reference_is_named_at_the_edge_and_does_not_squeeze_the_runs() {
    let recipes = vec![recipe("dist", &[0.86, 0.87, 0.88])];
    let section = compared(Comparison { teacher: Some(0.9), untouched: Some(0.1), recipes, ..Comparison::default() });
    assert!(section.contains("← untouched student 10.00 %") && section.contains(">teacher 90.00 %<"));
    assert_eq!(section.matches("class=\"reference\"").count(), 1);
    assert!(!section.contains("kd"), "nothing is said of a baseline that is not there");
}

#[test]
fn recipes_without_runs_are_a_table_with_reasons_and_no_drawing() {
    let mut failed = recipe("at", &[]);
    failed.failed = vec![FailedRun { seed: 3, why: "the loss is <not> finite".into() }];
    let section = compared(Comparison { recipes: vec![failed], ..Comparison::default() });
    assert!(!section.contains("<svg"));
    assert!(
        section.contains("0 of 1") && section.contains("the loss is &lt;not&gt; finite") && section.contains(">3<")
    );
    assert!(compared(Comparison::default()).contains("untouched student"));
}

#[test]
fn forty_recipes_have_a_row_each_and_long_names_do_not_leave_theirs() {
    let long = "a recipe with a name as long as a path may be/and <longer>";
    let many = (0..40).map(|i| recipe(&format!("{i} {long}"), &[0.8 + f64::from(i) * 1e-3, 0.81]));
    let section = compared(Comparison { recipes: many.collect(), ..Comparison::default() });
    let height: usize = section.split(" height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    let names = section.split("x=\"-10\" y=\"").skip(1);
    let names: Vec<(usize, &str)> = names
        .map(|rest| {
            let (y, rest) = rest.split_once('"').unwrap();
            (y.parse().unwrap(), rest.split_once('>').unwrap().1.split_once('<').unwrap().0)
        })
        .collect();
    assert_eq!(names.len(), 40);
    assert!(names.windows(2).all(|pair| pair[1].0 >= pair[0].0 + 20) && names[39].0 < height);
    assert!(names.iter().all(|(_, name)| name.chars().count() <= 22 && name.ends_with('…')));
    assert_eq!(section.matches("and &lt;longer&gt;</th>").count(), 40, "the table has the whole name");
}

#[test]
fn training_names_its_recipe() {
    let mut report = sample();
    assert!(html::render(&report).contains("<dt>recipe</dt><dd>kd</dd>"));
    report.training.as_mut().unwrap().method = None;
    assert!(!html::render(&report).contains("<dt>recipe</dt>"));
}

#[test]
fn tags_are_closed_and_ids_are_unique() {
    let mut report = sample();
    report.boards.extend(sample().boards);
    let page = html::render(&report);
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
