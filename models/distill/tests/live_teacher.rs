//! A file of answers is the teacher: training from it is training with the teacher beside, to the last bit where nothing was rounded.

use std::sync::Mutex;

use limbeck_adapt::{Examples, Loss, Opened, Recipe, Selection, Session, Visits};
use limbeck_answers::{Answers, Card, Preprocess, View};
use limbeck_data::{Dataset, SceneConfig, Scenes, Shift, Unwatched, Viewed};
use limbeck_engine::Net;
use limbeck_engine::onnx::Model;
use limbeck_teacher::{HeadSpec, TeachOptions, teach};
use limbeck_zoo::{scenes_card, shipped};

const VIEWS: [View; 2] = [View::Identity, View::Flip];
const SAMPLES: usize = 160;
const STEPS: usize = 50;

fn teacher() -> Model {
    Model::parse(shipped::TEACHER.onnx, shipped::TEACHER.name.as_ref()).unwrap()
}

/// Pictures, and answers either from a file or from the teacher as it runs.
struct Shown<'a> {
    scenes: &'a Scenes,
    preprocess: &'a Preprocess,
    answers: Option<&'a Answers>,
    live: Mutex<limbeck_engine::Worker>,
}

impl Examples for Shown<'_> {
    fn example(&self, visit: usize, x: &mut [f32], logits: &mut [f32]) -> Result<Option<usize>, String> {
        let (index, view) = (visit / VIEWS.len(), VIEWS[visit % VIEWS.len()]);
        let labels =
            Viewed::new(self.scenes, None).input(self.preprocess, index, view, x).map_err(|e| e.to_string())?;
        match self.answers {
            Some(answers) => answers.logits_into(index as u64, view, logits).map_err(|e| e.to_string())?,
            None => {
                let take = |output: usize, y: &[f32]| {
                    if output == 0 {
                        logits.copy_from_slice(y)
                    }
                };
                self.live.lock().unwrap().run(x, take).map_err(|e| e.to_string())?;
            }
        }
        Ok(labels.only())
    }
}

struct World {
    folder: tempfile::TempDir,
    scenes: Scenes,
    card: Card,
    student: Model,
}

impl World {
    fn new() -> World {
        let scenes = Scenes::new(SceneConfig { seed: 9, size: 32, samples: SAMPLES, shift: Shift::strong() }).unwrap();
        let card = scenes_card(scenes.labels());
        let student = Model::parse(shipped::STUDENT.onnx, shipped::STUDENT.name.as_ref()).unwrap();
        World { folder: tempfile::tempdir().unwrap(), scenes, card, student }
    }

    fn answers(&self, head: &str) -> Answers {
        let (path, out) = (self.folder.path().join("teacher.onnx"), self.folder.path().join(head.replace(':', "-")));
        teacher().write(&path).unwrap();
        let heads = vec![head.parse::<HeadSpec>().unwrap()];
        let options = TeachOptions { views: VIEWS.to_vec(), augment: None, heads, part: None, threads: 2 };
        teach(&path, &self.card, &self.scenes, &out, &options, &Unwatched).unwrap();
        Answers::open(&out).unwrap()
    }

    /// Fifty steps; the losses of each and the student.
    fn trained(&self, answers: Option<&Answers>) -> (Vec<f64>, Model) {
        let loss = Loss { temperature: 4.0, teacher_weight: 1.0, label_weight: 0.1 };
        let recipe = Recipe { loss, epochs: STEPS, batch: 16, threads: 2, seed: 3, ..Recipe::default() };
        let opened = Opened::float(&self.student, &Selection::All, 1.0).unwrap();
        let mut session = Session::new(opened, &recipe, Visits::all(SAMPLES, VIEWS.len()), "", None).unwrap();
        session.limit(STEPS);
        let live = Mutex::new(Net::load(&teacher(), 1).unwrap().worker().unwrap());
        let preprocess = Preprocess::new(&self.card);
        let shown = Shown { scenes: &self.scenes, preprocess: &preprocess, answers, live };
        let mut losses = vec![];
        while !session.is_done() {
            losses.push(session.step(&shown).unwrap().so_far.loss);
        }
        assert_eq!(losses.len(), STEPS);
        (losses, session.model().unwrap())
    }
}

#[test]
fn a_file_of_f32_answers_is_the_live_teacher_bit_for_bit() {
    let world = World::new();
    let answers = world.answers("logits:f32");
    let (live, of_file) = (world.trained(None), world.trained(Some(&answers)));
    assert_eq!(live.0, of_file.0, "fifty losses");
    assert_eq!(live.1, of_file.1, "the students");
}

#[test]
fn answers_in_f16_change_the_loss_by_less_than_a_hundredth() {
    let world = World::new();
    let answers = world.answers("logits:dense");
    let (live, rounded) = (world.trained(None).0, world.trained(Some(&answers)).0);
    let apart = live.iter().zip(&rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 1e-2, "{apart}");
}
