//! Quantization-aware distillation of the demo's student, whose weights were cut to 4 bits and to 8: its teacher is the float student.

use limbeck_adapt::QuantizedOptions;
use limbeck_answers::{Answers, Card, View};
use limbeck_data::{Dataset, SceneConfig, Scenes, Shift, Unwatched};
use limbeck_distill::{QuantizedStudent, Recipe, Target, What, distill_quantized};
use limbeck_engine::Student;
use limbeck_engine::onnx::{Data, Model};
use limbeck_quantize::{DropOf, MaxDrop, QuantizeOptions, RangeMethod, WeightBits, compare, quantize};
use limbeck_teacher::{HeadSpec, TeachOptions, teach};
use limbeck_zoo::{scenes_card, shipped};

fn scenes(seed: u64, samples: usize) -> Scenes {
    Scenes::new(SceneConfig { seed, size: 32, samples, shift: Shift::default() }).unwrap()
}

struct Setting {
    folder: tempfile::TempDir,
    float: Model,
    card: Card,
    train: Scenes,
    held_out: Scenes,
}

impl Setting {
    fn new() -> Setting {
        let train = scenes(11, 1200);
        let card = scenes_card(train.labels());
        let float = Model::parse(shipped::STUDENT.onnx, shipped::STUDENT.name.as_ref()).unwrap();
        Setting { folder: tempfile::tempdir().unwrap(), float, card, train, held_out: scenes(12, 256) }
    }

    fn quantized(&self, options: QuantizeOptions) -> Model {
        let options = QuantizeOptions { calibration: 64, ..options };
        quantize(&self.float, &self.card, &self.train, &options, &Unwatched).unwrap().model
    }

    fn answers(&self) -> Answers {
        let (teacher, out) = (self.folder.path().join("teacher.onnx"), self.folder.path().join("answers"));
        self.float.write(&teacher).unwrap();
        let options = TeachOptions {
            views: vec![View::Identity],
            augment: None,
            heads: vec![HeadSpec::logits_f32()],
            part: None,
            threads: 2,
        };
        teach(&teacher, &self.card, &self.train, &out, &options, &Unwatched).unwrap();
        Answers::open(&out).unwrap()
    }

    fn distilled(&self, file: &Model, learned_scales: bool, recipe: &Recipe) -> Model {
        let options = QuantizedOptions { learned_scales, weight_bits: None };
        let student = QuantizedStudent { file, float: Some(&self.float), options };
        let answers = self.answers();
        let target = Target::Answers(&answers);
        let result = distill_quantized(&student, &self.card, &self.train, target, &What::ALL, recipe, &Unwatched);
        result.unwrap().model
    }

    /// Divergence from the float student on these scenes.
    fn kl(&self, file: &Model, scenes: &Scenes) -> f64 {
        compare(&self.float, file, &self.card, scenes, 2, &Unwatched).unwrap().kl
    }
}

#[test]
fn four_bits_come_back_towards_the_float_student() {
    let setting = Setting::new();
    let before = setting.quantized(QuantizeOptions { weight_bits: WeightBits::Four, ..QuantizeOptions::default() });
    let recipe = Recipe { epochs: 2, batch: 16, ..QuantizedStudent::recipe(&before) };
    let (loss, mut after) = (setting.kl(&before, &setting.held_out), vec![]);
    for learned_scales in [false, true] {
        let file = setting.distilled(&before, learned_scales, &recipe);
        for (name, tensor) in &file.graph.initializers {
            if let (Data::I8(weights), true) = (&tensor.data, name.ends_with("weight/q")) {
                assert!(weights.iter().all(|w| w.unsigned_abs() <= 7), "{name}");
            }
        }
        assert_eq!(file.metadata["limbeck.weight_bits"], "4");
        assert!(Student::load(&file).unwrap().float_nodes().is_empty());
        after.push(setting.kl(&file, &setting.held_out));
    }
    assert!(after.iter().all(|after| *after < 0.9 * loss), "held-out KL {loss:.4} before, {after:.4?} after");
}

#[test]
fn eight_bits_that_nobody_corrected_come_nearer_too() {
    let setting = Setting::new();
    // What 8 bits lose after correction is within the noise of rounding on these scenes.
    let plain = QuantizeOptions {
        method: RangeMethod::MinMax,
        equalise: false,
        bias_correction: false,
        ..QuantizeOptions::default()
    };
    let before = setting.quantized(plain);
    let recipe = Recipe { epochs: 1, batch: 32, ..QuantizedStudent::recipe(&before) };
    let after = setting.distilled(&before, false, &recipe);
    let (loss, trained) = (setting.kl(&before, &setting.held_out), setting.kl(&after, &setting.held_out));
    assert!(trained < loss, "held-out KL {loss:.5} before, {trained:.5} after");
    assert_eq!(before.graph.nodes, after.graph.nodes, "only constants change");
}

#[test]
fn layers_left_in_float_are_trained_with_the_others() {
    let setting = Setting::new();
    let max_drop = Some(MaxDrop { points: 1.0, of: DropOf::Agreement });
    let mixed = QuantizeOptions {
        weight_bits: WeightBits::Four,
        max_drop,
        held_out: 128,
        equalise: false,
        bias_correction: false,
        ..QuantizeOptions::default()
    };
    let before = setting.quantized(mixed);
    let student = Student::load(&before).unwrap();
    assert!(student.integer_operators() > 0 && !student.float_nodes().is_empty(), "{:?}", student.float_nodes());
    let recipe = Recipe { epochs: 1, batch: 32, ..QuantizedStudent::recipe(&before) };
    let after = setting.distilled(&before, false, &recipe);
    assert_eq!(before.graph.nodes, after.graph.nodes, "only constants change");
    assert_eq!(Student::load(&after).unwrap().float_nodes(), student.float_nodes());
    let mut changed = [0, 0];
    for (name, tensor) in after.graph.initializers.iter().filter(|(name, t)| before.graph.initializers[*name] != **t) {
        match &tensor.data {
            Data::F32(_) => changed[0] += 1,
            Data::I8(_) | Data::I32(_) => changed[1] += 1,
            other => panic!("{name} changed: {other:?}"),
        }
    }
    assert!(changed.iter().all(|n| *n > 0), "float and integer constants that changed: {changed:?}");
    let (loss, trained) = (setting.kl(&before, &setting.train), setting.kl(&after, &setting.train));
    assert!(trained < loss, "KL {loss:.5} before, {trained:.5} after");
}
