//! Every shipped recipe trains the demo's student against answers that hold what it needs; what an answers file lacks is said with the head
//! to add.

use std::time::Duration;

use limbeck_adapt::{QuantizedOptions, Selection};
use limbeck_answers::{Answers, Augment, Card, View};
use limbeck_data::{Dataset, SceneConfig, Scenes, Shift, Unwatched};
use limbeck_distill::{BUILTIN, DistillRecipe, Exchange, Job, Pupil, QuantizedStudent, Recipe};
use limbeck_engine::onnx::Model;
use limbeck_quantize::{QuantizeOptions, quantize};
use limbeck_teacher::{HeadSpec, TeachOptions, teach};
use limbeck_zoo::{scenes_card, shipped};

const SAMPLES: usize = 64;

/// All that any recipe asks for.
const HEADS: [&str; 9] = [
    "logits:f32",
    "pooled",
    "feat:stage:2",
    "feat:stage:3",
    "feat:last",
    "feat:last:pre",
    "attention:stage:2",
    "attention:stage:3",
    "sign:last",
];

struct World {
    folder: tempfile::TempDir,
    student: Model,
    card: Card,
    scenes: Scenes,
}

impl World {
    fn new() -> World {
        let scenes = Scenes::new(SceneConfig { seed: 5, size: 32, samples: SAMPLES, shift: Shift::strong() }).unwrap();
        let card = scenes_card(scenes.labels());
        let student = Model::parse(shipped::STUDENT.onnx, shipped::STUDENT.name.as_ref()).unwrap();
        World { folder: tempfile::tempdir().unwrap(), student, card, scenes }
    }

    fn answers(&self, name: &str, heads: &[&str]) -> Answers {
        self.answers_of(name, heads, vec![View::Identity, View::Flip], None)
    }

    fn answers_of(&self, name: &str, heads: &[&str], views: Vec<View>, augment: Option<Augment>) -> Answers {
        let (teacher, out) = (self.folder.path().join("teacher.onnx"), self.folder.path().join(name));
        Model::parse(shipped::TEACHER.onnx, shipped::TEACHER.name.as_ref()).unwrap().write(&teacher).unwrap();
        let heads = heads.iter().map(|head| head.parse::<HeadSpec>().unwrap()).collect();
        let options = TeachOptions { views, augment, heads, part: None, threads: 2 };
        teach(&teacher, &self.card, &self.scenes, &out, &options, &Unwatched).unwrap();
        Answers::open(&out).unwrap()
    }

    fn job<'a>(
        &'a self,
        student: Pupil<'a>,
        answers: &'a [(String, Answers)],
        assistants: &'a [(Model, Card)],
        recipe: &'a DistillRecipe,
        train: &'a Recipe,
    ) -> Job<'a> {
        let (card, dataset, selection) = (&self.card, &self.scenes, &Selection::All);
        Job { student, card, dataset, answers, assistants, recipe, train, selection, exchange: None }
    }
}

fn train() -> Recipe {
    Recipe { epochs: 4, batch: 16, rate: 3e-4, seed: 1, threads: 2, ..Recipe::default() }
}

#[test]
fn every_shipped_recipe_trains_the_float_student() {
    let world = World::new();
    let answers = || {
        let all = world.answers("all.answers", &HEADS);
        [("teacher".to_owned(), all), ("early".to_owned(), world.answers("early.answers", &["logits"]))]
    };
    let answers = answers();
    let assistants = [(world.student.clone(), world.card.clone())];
    // Whoever learns from peers needs some: see below.
    for (name, _) in BUILTIN.iter().filter(|(name, _)| *name != "mutual") {
        let recipe = DistillRecipe::named(name).unwrap();
        let train = train();
        let job = world.job(Pupil::Float(&world.student), &answers, &assistants, &recipe, &train);
        job.fits().unwrap_or_else(|e| panic!("{name}: {e}"));
        let result = job.run(&Unwatched).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(result.steps, 16, "{name}: four epochs of four steps, however they are staged");
        assert!(result.epochs.iter().all(|e| e.loss.is_finite()), "{name}: {:?}", result.epochs);
        let (before, after) = (&world.student.graph, &result.model.graph);
        assert_eq!((&before.inputs, &before.outputs), (&after.inputs, &after.outputs), "{name}");
        let names = |m: &limbeck_engine::onnx::Graph| m.nodes.iter().filter(|n| n.op == "Conv").count();
        assert_eq!(names(before), names(after), "{name}: no connector is left");
        assert_ne!(result.model, world.student, "{name}");
    }
}

#[test]
fn losses_over_logits_train_an_int8_student() {
    let world = World::new();
    let options = QuantizeOptions { calibration: 32, ..QuantizeOptions::default() };
    let file = quantize(&world.student, &world.card, &world.scenes, &options, &Unwatched).unwrap().model;
    let answers = [("teacher".to_owned(), world.answers("all.answers", &["logits"]))];
    let options = QuantizedOptions { learned_scales: false, weight_bits: None };
    let student = QuantizedStudent { file: &file, float: Some(&world.student), options };
    for name in ["kl", "dkd", "dist", "logit-std", "apprentice", "ps-kd", "born-again"] {
        let (recipe, train) = (DistillRecipe::named(name).unwrap(), train());
        let result = world.job(Pupil::Quantized(student), &answers, &[], &recipe, &train).run(&Unwatched).unwrap();
        assert!(QuantizedStudent::is(&result.model), "{name}");
        assert_eq!(result.steps, 16, "{name}");
    }
    let (recipe, train) = (DistillRecipe::named("fitnets").unwrap(), train());
    let answers = [("teacher".to_owned(), world.answers("all.answers", &HEADS))];
    let error = world.job(Pupil::Quantized(student), &answers, &[], &recipe, &train).run(&Unwatched).unwrap_err();
    assert!(error.to_string().contains("int8 student"), "{error}");
}

#[test]
fn what_the_answers_lack_is_said_before_training() {
    let world = World::new();
    let answers = [("teacher".to_owned(), world.answers("logits.answers", &["logits"]))];
    let train = train();
    let cases = [
        ("at", "attention:stage:2"),
        ("fitnets", "feat:last"),
        ("sp", "pooled"),
        ("route", "--answers early="),
        ("teacher-assistant", "--assistant"),
    ];
    for (name, what) in cases {
        let recipe = DistillRecipe::named(name).unwrap();
        let job = world.job(Pupil::Float(&world.student), &answers, &[], &recipe, &train);
        let (fits, run) = (job.fits().unwrap_err().to_string(), job.run(&Unwatched).unwrap_err().to_string());
        assert!(fits.contains(what) && run.contains(what), "{name}: {fits}; {run}");
    }
}

#[test]
fn what_a_student_cannot_be_asked_is_said_before_training() {
    let world = World::new();
    let answers = [("teacher".to_owned(), world.answers("logits.answers", &["logits"]))];
    let train = train();
    let mut other = world.card.clone();
    other.labels.reverse();
    let assistants = [(world.student.clone(), other)];
    let cases = [
        ("teacher = \"self/pooled\"", "only `logits`"),
        ("teacher = \"average/logits\"", "--ema"),
        ("teacher = \"logits\"", "an assistant's labels"),
    ];
    for (i, (key, what)) in cases.into_iter().enumerate() {
        let text = format!("version = 1\nname = \"x\"\n[[loss]]\nkind = \"kd\"\n{key}\n");
        let recipe = DistillRecipe::parse(&text, "x.toml".as_ref()).unwrap();
        let assistants = if i == 2 { &assistants[..] } else { &[] };
        let job = world.job(Pupil::Float(&world.student), &answers, assistants, &recipe, &train);
        let error = job.fits().unwrap_err().to_string();
        assert!(error.contains(what), "{key}: {error}");
    }
}

#[test]
fn two_files_that_draw_their_views_apart_do_not_meet() {
    let world = World::new();
    let drawn = |name: &str, seed| {
        let views = vec![View::Identity, View::Drawn(0)];
        world.answers_of(name, &["logits"], views, Augment::preset("light", seed).ok())
    };
    let recipe = DistillRecipe::named("route").unwrap();
    let train = train();
    let of = |early_seed| {
        let answers = [("teacher".to_owned(), drawn("a", 1)), ("early".to_owned(), drawn("b", early_seed))];
        world.job(Pupil::Float(&world.student), &answers, &[], &recipe, &train).fits()
    };
    of(1).unwrap();
    let error = of(2).unwrap_err().to_string();
    assert!(error.contains("augment"), "{error}");
}

#[test]
fn peers_teach_each_other_through_a_folder() {
    let world = World::new();
    let answers = [("teacher".to_owned(), world.answers("all.answers", &["logits"]))];
    let recipe = DistillRecipe::named("mutual").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let node = |name: &str, peers: &[&str], seed, patience| {
        let peers = peers.iter().map(|p| p.to_string()).collect();
        let patience = Duration::from_secs(patience);
        let exchange = Exchange { folder: folder.path().into(), node: name.into(), peers, patience };
        let train = Recipe { epochs: 2, seed, threads: 1, ..train() };
        let job = world.job(Pupil::Float(&world.student), &answers, &[], &recipe, &train);
        Job { exchange: Some(&exchange), ..job }.run(&Unwatched)
    };
    let (a, b) = std::thread::scope(|scope| {
        let a = scope.spawn(|| node("a", &["b"], 1, 600));
        let b = scope.spawn(|| node("b", &["a"], 2, 600));
        (a.join().unwrap().unwrap(), b.join().unwrap().unwrap())
    });
    assert_ne!(a.model, b.model);
    for file in ["a.0.answers", "a.1.answers", "b.0.answers", "b.1.answers"] {
        Answers::open(&folder.path().join(file)).unwrap().verify().unwrap();
    }
    // A node that nobody answers says so, and one that was here before is not taken for a new one.
    let error = node("c", &["nobody"], 3, 0).unwrap_err().to_string();
    assert!(error.contains("nobody.0.answers") && error.contains("0 s"), "{error}");
    let error = node("a", &["b"], 1, 0).unwrap_err().to_string();
    assert!(error.contains("a.0.answers: is there already"), "{error}");
}

#[test]
fn a_recipe_gives_the_same_student_for_any_number_of_threads() {
    let world = World::new();
    let answers = [("teacher".to_owned(), world.answers("all.answers", &HEADS))];
    for name in ["at", "crd", "review-kd", "mean-teacher"] {
        let recipe = DistillRecipe::named(name).unwrap();
        let of = |threads| {
            let train = Recipe { epochs: 1, threads, ..train() };
            world.job(Pupil::Float(&world.student), &answers, &[], &recipe, &train).run(&Unwatched).unwrap().model
        };
        assert_eq!(of(1), of(3), "{name}");
    }
}
