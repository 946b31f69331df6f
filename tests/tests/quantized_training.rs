//! What training sees of a quantized model is what the int8 plan computes: every integer of every tensor, before training and after.
//!
//! The models of `tests/golden` are the cases: each operator that has an integer form, in files of our quantizer and of others.

use std::path::{Path, PathBuf};

use limbeck_adapt::{
    Examples, Loss, Opened, QuantizedOptions, Recipe, Rule, Selection, Session, Simulation, TrainingNet, Visits,
};
use limbeck_answers::rng::Stream;
use limbeck_answers::{Preprocess, View};
use limbeck_data::{Dataset, SceneConfig, Scenes, Shift, Unwatched};
use limbeck_engine::Student;
use limbeck_engine::onnx::Model;
use limbeck_quantize::{QuantizeOptions, quantize};

/// Inputs a model.
const SAMPLES: usize = 4;

fn golden() -> Vec<(String, Model)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let entries = std::fs::read_dir(folder).expect("the golden folder").map(|entry| entry.unwrap().path());
    let is_model = |path: &PathBuf| path.extension().is_some_and(|e| e == "onnx");
    let mut models: Vec<PathBuf> = entries.filter(is_model).collect();
    models.sort();
    let read = |path: PathBuf| (path.file_stem().unwrap().to_string_lossy().into_owned(), Model::read(&path).unwrap());
    models.into_iter().map(read).collect()
}

/// Inputs in ±2, as the golden files' own.
fn input(sample: usize, len: usize) -> Vec<f32> {
    let mut random = Stream::new(41, sample as u64, 0);
    (0..len).map(|_| random.below(256) as f32 / 64.0 - 2.0).collect()
}

/// Training's integers of `values` are those of the plan of `file`, for every sample.
fn same(name: &str, simulation: &mut Simulation, values: &[Vec<f32>], file: &Model) {
    let student = Student::load(file).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut worker = student.worker().unwrap();
    let mut logits = vec![0.0; student.output_len()];
    let mut compared = 0;
    for sample in 0..SAMPLES {
        let x = input(sample, student.input_len());
        let mut plan = worker.run_recorded(&x, &mut logits).unwrap();
        let mut simulated = simulation.run(values, &x).unwrap_or_else(|e| panic!("{name}: {e}"));
        plan.sort();
        simulated.integers.sort();
        for ((tensor, want), (same, have)) in plan.iter().zip(&simulated.integers) {
            assert_eq!((tensor, want), (same, have), "{name}, sample {sample}");
            compared += want.len();
        }
        assert_eq!(plan.len(), simulated.integers.len(), "{name}");
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&logits), bits(&simulated.logits), "{name}, sample {sample}: logits");
    }
    assert!(compared > 0, "{name}: no integer was compared");
}

/// Golden models that no layer with weights is in.
const NOTHING_TO_TRAIN: [&str; 1] = ["average_pool"];

#[test]
fn every_integer_of_a_golden_model_is_that_of_its_plan() {
    let models = golden();
    assert!(models.len() >= 33, "{} golden models", models.len());
    for (name, model) in models {
        let mut simulation = Simulation::of_file(&model).unwrap_or_else(|e| panic!("{name}: {e}"));
        same(&name, &mut simulation, &[], &model);
    }
}

#[test]
fn a_model_that_is_opened_and_closed_is_the_same_to_the_byte() {
    let mut nothing = vec![];
    for (name, model) in golden() {
        for learned_scales in [false, true] {
            let options = QuantizedOptions { learned_scales, ..QuantizedOptions::default() };
            let opened = match Opened::quantized(&model, None, &options, &Selection::All) {
                Ok(opened) => opened,
                Err(error) => {
                    assert!(error.to_string().contains("no weights to train"), "{name}: {error}");
                    nothing.push(name.clone());
                    continue;
                }
            };
            let values = &opened.parameters.values;
            let closed = opened.close(values).unwrap();
            assert!(learned_scales || closed.emit() == model.emit(), "{name}: opened and closed");
            let mut simulation = Simulation::new(&opened).unwrap_or_else(|e| panic!("{name}: {e}"));
            same(&name, &mut simulation, values, &closed);
        }
    }
    nothing.dedup();
    assert_eq!(nothing, NOTHING_TO_TRAIN);
}

/// Inputs of [`input`], with the answers of a teacher: `offset` added to every other logit of the model itself.
struct Answered {
    inputs: Vec<Vec<f32>>,
    logits: Vec<Vec<f32>>,
    offset: f32,
}

impl Answered {
    fn by(file: &Model, offset: f32) -> Answered {
        let student = Student::load(file).unwrap();
        let mut worker = student.worker().unwrap();
        let inputs: Vec<Vec<f32>> = (0..SAMPLES).map(|sample| input(sample, student.input_len())).collect();
        let mut logits = vec![vec![0.0; student.output_len()]; SAMPLES];
        inputs.iter().zip(&mut logits).for_each(|(x, y)| worker.run(x, y).unwrap());
        Answered { inputs, logits, offset }
    }
}

impl Examples for Answered {
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        x.copy_from_slice(&self.inputs[index]);
        teacher.copy_from_slice(&self.logits[index]);
        teacher.iter_mut().step_by(2).for_each(|t| *t += self.offset);
        Ok(None)
    }
}

#[test]
fn the_trained_graph_is_that_of_the_plan_and_so_is_the_file_that_it_leaves() {
    let loss = Loss { temperature: 1.0, teacher_weight: 1.0, label_weight: 0.0 };
    let (mut models, mut moved, mut scales) = (0, 0, 0);
    for (name, model) in golden() {
        for (learned_scales, weight_bits) in [(false, None), (true, None), (true, Some(8))] {
            let options = QuantizedOptions { learned_scales, weight_bits };
            let Ok(opened) = Opened::quantized(&model, None, &options, &Selection::All) else {
                assert!(NOTHING_TO_TRAIN.contains(&name.as_str()), "{name}");
                continue;
            };
            // The loss of the training graph towards the plan's own logits is nothing at all.
            let net = TrainingNet::of(&opened, &loss, 1).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(net.unlowered_nodes(), 0, "{name}: nodes that build a model on every call");
            let all: Vec<usize> = (0..SAMPLES).collect();
            let own = net.gradient(&opened.parameters, &Answered::by(&model, 0.0), &all).unwrap();
            assert_eq!((own.teacher_loss, own.agreement), (0.0, 1.0), "{name}");

            let rate = if weight_bits.is_none() { 0.02 } else { 0.3 };
            let recipe = Recipe { loss, epochs: 3, batch: 2, rate, rule: Rule::ADAM, threads: 1, ..Recipe::default() };
            let mut session = Session::new(opened, &recipe, Visits::all(SAMPLES, 1), "golden", None).unwrap();
            let answered = Answered::by(&model, 1.0);
            while !session.is_done() {
                session.step(&answered).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            let file = session.model().unwrap();
            let mut simulation = Simulation::new(session.opened()).unwrap();
            same(&name, &mut simulation, &session.opened().parameters.values, &file);
            let changed = |name: &str| file.graph.initializers.get(name) != model.graph.initializers.get(name);
            models += 1;
            moved += usize::from(file != model);
            scales += usize::from(file.graph.initializers.keys().any(|k| k.ends_with("/scale") && changed(k)));
        }
    }
    assert!(
        models > 80 && moved == models && scales * 2 > models,
        "{models} models, {moved} moved, {scales} with other scales"
    );
}

#[test]
fn what_is_frozen_stays_and_float_layers_are_trained_with_the_others() {
    let (_, model) = golden().into_iter().find(|(name, _)| name == "residual_net").unwrap();
    let all = Opened::quantized(&model, None, &QuantizedOptions::default(), &Selection::All).unwrap();
    let last = Opened::quantized(&model, None, &QuantizedOptions::default(), &Selection::Last(2)).unwrap();
    assert_eq!(last.parameters.names(), &all.parameters.names()[all.parameters.names().len() - 2..]);
    let recipe = Recipe { epochs: 2, batch: 2, rate: 0.05, threads: 1, ..Recipe::default() };
    let mut session = Session::new(last, &recipe, Visits::all(SAMPLES, 1), "", None).unwrap();
    let answered = Answered::by(&model, 1.0);
    while !session.is_done() {
        session.step(&answered).unwrap();
    }
    let file = session.model().unwrap();
    let mut simulation = Simulation::new(session.opened()).unwrap();
    same("residual_net, last 2", &mut simulation, &session.opened().parameters.values, &file);
    let changed: Vec<&String> = (file.graph.initializers.iter())
        .filter(|(name, tensor)| model.graph.initializers[*name] != **tensor)
        .map(|(name, _)| name)
        .collect();
    assert!(!changed.is_empty() && changed.len() <= 2, "{changed:?}");
}

/// Scenes with their labels.
struct Labelled {
    inputs: Vec<Vec<f32>>,
    labels: Vec<usize>,
}

impl Labelled {
    fn scenes(samples: usize) -> Labelled {
        let scenes = scenes(21, samples);
        let preprocess = Preprocess::new(&limbeck_zoo::scenes_card(scenes.labels()));
        let mut labelled = Labelled { inputs: vec![], labels: vec![] };
        for i in 0..samples {
            let (mut x, sample) = (vec![0.0; preprocess.len()], scenes.sample(i).unwrap());
            preprocess.run(&sample.image, View::Identity, &mut x).unwrap();
            labelled.inputs.push(x);
            labelled.labels.push(usize::from(sample.label.unwrap()));
        }
        labelled
    }
}

impl Examples for Labelled {
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        x.copy_from_slice(&self.inputs[index]);
        teacher.fill(0.0);
        Ok(Some(self.labels[index]))
    }
}

fn scenes(seed: u64, samples: usize) -> Scenes {
    Scenes::new(SceneConfig { seed, size: 32, samples, shift: Shift::default() }).unwrap()
}

#[test]
fn straight_through_gradients_are_nearly_those_of_the_float_student() {
    let shipped = limbeck_zoo::shipped::STUDENT;
    let float = Model::parse(shipped.onnx, shipped.name.as_ref()).unwrap();
    let set = scenes(22, 64);
    let card = limbeck_zoo::scenes_card(set.labels());
    let options = QuantizeOptions { equalise: false, bias_correction: false, ..QuantizeOptions::default() };
    let file = quantize(&float, &card, &set, &options, &Unwatched).unwrap().model;
    let options = QuantizedOptions::default();
    let quantized = Opened::quantized(&file, Some(&float), &options, &Selection::All).unwrap();
    let float = Opened::float(&float, &Selection::All, 1.0).unwrap();
    assert_eq!(float.parameters.names(), quantized.parameters.names());
    assert_eq!(float.parameters.values, quantized.parameters.values, "masters are the float student's own");

    // The shipped student is sure of itself: at T = 8 every sample has a gradient.
    let loss = Loss { temperature: 8.0, teacher_weight: 1.0, label_weight: 0.0 };
    let (examples, all) = (Labelled::scenes(32), (0..32).collect::<Vec<usize>>());
    let gradients = |opened: &Opened| {
        let net = TrainingNet::of(opened, &loss, 1).unwrap();
        net.gradient(&opened.parameters, &examples, &all).unwrap().gradients
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum::<f64>();
    for ((name, a), b) in float.parameters.names().iter().zip(gradients(&float)).zip(gradients(&quantized)) {
        let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
        let ratio = (dot(&b, &b) / dot(&a, &a)).sqrt();
        assert!(cosine > 0.95 && (0.8..1.25).contains(&ratio), "{name}: cosine {cosine:.4}, ratio {ratio:.3}");
    }
}
