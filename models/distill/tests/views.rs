//! Teacher and student are shown the same drawn views, told by the loss of a student that is its own teacher.

use limbeck_adapt::Loss;
use limbeck_answers::{Answers, AnswersError, Augment, Card, View};
use limbeck_data::{Dataset, SceneConfig, Scenes, Shift, Unwatched};
use limbeck_distill::{Recipe, Target, What, distill};
use limbeck_engine::onnx::Model;
use limbeck_teacher::{HeadSpec, TeachError, TeachOptions, teach};
use limbeck_zoo::{scenes_card, shipped};

const SAMPLES: usize = 48;

fn scenes(seed: u64) -> Scenes {
    Scenes::new(SceneConfig { seed, size: 32, samples: SAMPLES, shift: Shift::default() }).unwrap()
}

fn options(views: &str, augment: Option<Augment>) -> TeachOptions {
    let heads = vec![HeadSpec::logits_f32()];
    TeachOptions { views: View::list(views).unwrap(), augment, heads, part: None, threads: 2 }
}

struct Setting {
    folder: tempfile::TempDir,
    model: Model,
    card: Card,
}

impl Setting {
    fn new() -> Setting {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::parse(shipped::STUDENT.onnx, shipped::STUDENT.name.as_ref()).unwrap();
        model.write(folder.path().join("teacher.onnx")).unwrap();
        let card = scenes_card(scenes(11).labels());
        Setting { folder, model, card }
    }

    fn answers(&self, data: &Scenes, options: &TeachOptions) -> Result<Answers, TeachError> {
        let (teacher, out) = (self.folder.path().join("teacher.onnx"), self.folder.path().join("answers"));
        teach(&teacher, &self.card, data, &out, options, &Unwatched)?;
        Ok(Answers::open(&out).unwrap())
    }

    /// Mean loss of the teacher as its own student, over passes in which nothing is learnt.
    fn loss(&self, data: &Scenes, answers: &Answers, label_weight: f32) -> f64 {
        let loss = Loss { temperature: 1.0, teacher_weight: 1.0, label_weight };
        let recipe = Recipe { loss, epochs: 6, batch: 16, rate: 1e-12, ..Recipe::default() };
        let target = Target::Answers(answers);
        let distilled = distill(&self.model, &self.card, data, target, &What::ALL, &recipe, &Unwatched).unwrap();
        distilled.epochs.iter().map(|e| e.loss).sum::<f64>() / distilled.epochs.len() as f64
    }
}

#[test]
fn a_student_is_shown_the_pictures_that_its_answers_are_for() {
    let (setting, data) = (Setting::new(), scenes(11));
    for preset in Augment::PRESETS {
        let options = options("identity,flip,drawn:0..4", Augment::preset(preset, 7).ok());
        let answers = setting.answers(&data, &options).unwrap();
        assert_eq!(answers.manifest().augment, options.augment);
        let same = setting.loss(&data, &answers, 0.0);
        // Batch norm is folded and inputs are scaled before training: a few roundings, no more.
        assert!(same < 1e-6, "{preset}: {same}");
        let others = setting.loss(&scenes(12), &answers, 0.0);
        assert!(others > 0.05, "{preset}: other pictures cost {others} only");
    }
}

#[test]
fn labels_count_only_where_a_picture_has_one() {
    let (setting, data) = (Setting::new(), scenes(11));
    let always = Some(limbeck_answers::views::Mixing { chance_per_mille: 1000 });
    let mixed = options("drawn:0..2", Some(Augment { mixup: always, ..Augment::new(7) }));
    let answers = setting.answers(&data, &mixed).unwrap();
    assert!(setting.loss(&data, &answers, 1.0) < 1e-6, "a mixed picture has a label");
    let alone = options("drawn:0..2", Augment::preset("light", 7).ok());
    let answers = setting.answers(&data, &alone).unwrap();
    assert!(setting.loss(&data, &answers, 1.0) > 1e-3, "a picture of one sample lost its label");
}

#[test]
fn a_view_that_the_teacher_was_not_shown_is_an_error() {
    let (setting, data) = (Setting::new(), scenes(11));
    let answers = setting.answers(&data, &options("drawn:0..2", Augment::preset("light", 7).ok())).unwrap();
    let mut logits = vec![0.0; answers.classes()];
    answers.logits_into(0, View::Drawn(1), &mut logits).unwrap();
    for view in [View::Drawn(2), View::Identity] {
        let error = answers.logits_into(0, view, &mut logits).unwrap_err();
        assert!(matches!(error, AnswersError::NoSuchView { .. }), "{error}");
    }
    let error = setting.answers(&data, &options("drawn:0", None)).unwrap_err().to_string();
    assert!(error.contains("`augment` is missing, but the view drawn:0 must be drawn"), "{error}");
}
