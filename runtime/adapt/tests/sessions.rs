//! A run is its recipe's: stopped anywhere, on any number of threads, with or without a file of what the frozen part made.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{net, noise};
use limbeck_adapt::{CutFormat, CutOptions, Examples, Opened, Recipe, Rule, Selection, Session, Visits};
use limbeck_engine::onnx::Model;

/// Counts how often inputs were asked for.
#[derive(Default)]
struct Counted {
    inputs: AtomicUsize,
}

impl Examples for Counted {
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        self.inputs.fetch_add(1, Ordering::Relaxed);
        x.copy_from_slice(&noise(index + 100, x.len()));
        self.answer(index, x, teacher)
    }

    fn answer(&self, index: usize, _x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        teacher.copy_from_slice(&noise(index + 5000, teacher.len()));
        teacher.iter_mut().for_each(|t| *t *= 3.0);
        Ok(None)
    }
}

fn recipe(rule: Rule, threads: usize) -> Recipe {
    Recipe { epochs: 3, batch: 7, rate: 0.01, rule, seed: 5, threads, ema: Some(0.9), ..Recipe::default() }
}

const SAMPLES: usize = 19;

fn session(selection: &str, recipe: &Recipe, cuts: Option<&CutOptions>) -> Session {
    let opened = Opened::float(&net(), &selection.parse().unwrap(), 1.0).unwrap();
    Session::new(opened, recipe, Visits::all(SAMPLES, 2), "noise", cuts).unwrap()
}

fn finish(mut session: Session) -> Model {
    while !session.is_done() {
        session.step(&Counted::default()).unwrap();
    }
    session.model().unwrap()
}

fn cuts(path: &Path, format: CutFormat) -> CutOptions {
    CutOptions { path: path.to_owned(), identity: [7; 32], records: 2 * SAMPLES as u64, format, limit: 1 << 20 }
}

#[test]
fn a_run_resumed_at_any_step_ends_with_the_same_bits() {
    for rule in [Rule::ADAM, Rule::SGD, Rule::Adafactor] {
        let recipe = recipe(rule, 1);
        let whole = finish(session("all", &recipe, None));
        let total = session("all", &recipe, None).total();
        assert_eq!(total, 9, "19 samples in batches of 7, three times");
        for stop in 0..total {
            let mut first = session("all", &recipe, None);
            (0..stop).for_each(|_| assert!(first.step(&Counted::default()).is_ok()));
            let bytes = first.checkpoint();
            let epochs = first.epochs().to_vec();
            let mut second = session("all", &Recipe { threads: 2, ..recipe.clone() }, None);
            second.resume(&bytes).unwrap();
            assert_eq!((second.steps(), second.epochs()), (stop, &epochs[..]));
            assert_eq!(finish(second), whole, "{rule:?} stopped after {stop} steps");
        }
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let mine = recipe(Rule::ADAM, 1);
    let mut run = session("all", &mine, None);
    run.step(&Counted::default()).unwrap();
    let bytes = run.checkpoint();
    let other_recipe = Recipe { rate: 0.02, ..mine.clone() };
    for mut other in [session("last:2", &mine, None), session("all", &other_recipe, None)] {
        let error = other.resume(&bytes).unwrap_err().to_string();
        assert!(error.contains("another model, selection, recipe or data"), "{error}");
        assert_eq!(other.steps(), 0);
    }
    assert!(run.resume(b"LBCHKPT1").unwrap_err().to_string().contains("damaged"));
}

#[test]
fn what_is_frozen_stays_and_what_is_trained_moves() {
    let before = Opened::float(&net(), &Selection::All, 1.0).unwrap().model;
    let after = finish(session("name:c.*,fc.bias", &recipe(Rule::ADAM, 1), None));
    for (name, tensor) in &before.graph.initializers {
        let moved = after.graph.initializers[name] != *tensor;
        assert_eq!(moved, name.starts_with("c.") || name == "fc.bias", "{name}");
    }
}

#[test]
fn the_frozen_part_runs_once_an_index_and_changes_no_bit() {
    let dir = tempfile::tempdir().unwrap();
    // c is trained: its input and the residual that goes round it cross the cut.
    let selection = "name:c.*,fc.*";
    let exact = cuts(&dir.path().join("f32"), CutFormat::F32);
    let recipe = recipe(Rule::SGD, 2);
    let without = finish(session(selection, &recipe, None));
    let mut run = session(selection, &recipe, Some(&exact));
    assert_eq!(run.net().shape().cut, [4 * 36, 4 * 36], "two values cross");
    let counted = Counted::default();
    while !run.is_done() {
        run.step(&counted).unwrap();
    }
    let visited: std::collections::BTreeSet<usize> =
        (0..3).flat_map(|epoch| Visits::all(SAMPLES, 2).epoch(5, epoch)).collect();
    assert_eq!(counted.inputs.load(Ordering::Relaxed), visited.len(), "inputs are read once an index");
    assert_eq!(run.net().cut_counts(), (3 * SAMPLES - visited.len(), visited.len()));
    assert_eq!(run.model().unwrap(), without, "as if nothing were kept");

    // A second run finds them all; half precision moves little.
    let again = session(selection, &recipe, Some(&exact));
    let counted = Counted::default();
    let mut run = again;
    while !run.is_done() {
        run.step(&counted).unwrap();
    }
    assert_eq!((run.model().unwrap(), counted.inputs.load(Ordering::Relaxed)), (without.clone(), 0));
    for (format, tolerance) in [(CutFormat::F16, 1e-3), (CutFormat::I8, 2e-2)] {
        let kept = cuts(&dir.path().join(format!("{format:?}")), format);
        let other = finish(session(selection, &recipe, Some(&kept)));
        let distance = |name: &str| {
            let of = |m: &Model| m.graph.initializers[name].as_f32().unwrap().to_vec();
            let pairs = of(&other).into_iter().zip(of(&without));
            pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max)
        };
        assert!(distance("c.weight") < tolerance && distance("c.weight") > 0.0, "{format:?}: {}", distance("c.weight"));
    }
}

#[test]
fn what_the_frozen_part_makes_is_kept_where_that_pays() {
    let dir = tempfile::tempdir().unwrap();
    let options = cuts(&dir.path().join("cuts"), CutFormat::F16);
    let base = recipe(Rule::SGD, 1);
    let why = |selection: &str, recipe: &Recipe, options: &CutOptions| {
        let choice = session(selection, recipe, Some(options)).cut_choice().unwrap().clone();
        (choice.kept, choice.why)
    };
    assert!(why("name:c.*", &base, &options).0);
    let cases = [
        (why("all", &base, &options), "no part of the model is frozen"),
        (why("name:c.*", &Recipe { epochs: 1, ..base.clone() }, &options), "shown once"),
        (why("name:c.*", &base, &CutOptions { limit: 100, ..options.clone() }), "may take 100"),
        // a is next to nothing of the whole, and its output is larger than the input.
        (why("name:b.*,c.*", &base, &options), "% of a step"),
    ];
    for ((kept, why), says) in cases {
        assert!(!kept && why.contains(says), "{kept} {why}");
    }
}

#[test]
fn a_moving_average_is_what_results() {
    let plain = finish(session("all", &Recipe { ema: None, ..recipe(Rule::SGD, 1) }, None));
    let start = finish(session("all", &Recipe { ema: Some(1.0), ..recipe(Rule::SGD, 1) }, None));
    let last = finish(session("all", &Recipe { ema: Some(0.0), ..recipe(Rule::SGD, 1) }, None));
    assert_eq!(last, plain, "decay 0 is the last weights");
    assert_eq!(start, Opened::float(&net(), &Selection::All, 1.0).unwrap().model, "decay 1 is the first");
}

#[test]
fn a_run_that_diverges_says_so_and_gives_no_model() {
    let wild = Recipe { rate: f32::MAX, clip: f32::MAX, ..recipe(Rule::SGD, 1) };
    let mut run = session("all", &wild, None);
    let error = loop {
        match run.step(&Counted::default()) {
            Err(error) => break error.to_string(),
            Ok(_) => assert!(!run.is_done(), "it ended"),
        }
    };
    assert!(error.contains("diverged") && error.contains("learning rate"), "{error}");
    assert!(run.model().is_err());
}

#[test]
fn a_limit_ends_the_schedule_there() {
    let mut run = session("all", &Recipe { warm_up: 0.0, ..recipe(Rule::SGD, 1) }, None);
    run.limit(4);
    let rates: Vec<f32> = (0..4).map(|_| run.step(&Counted::default()).unwrap().rate).collect();
    assert!(run.is_done() && rates[0] == 0.01 && rates[3] < 0.002, "{rates:?}");
    assert_eq!(run.epochs().len(), 2);
}
