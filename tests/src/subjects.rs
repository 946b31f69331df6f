//! The models whose instructions are counted and whose integers are compared: each a whole int8 plan.
//!
//! Those of this repository are always there; the published ones, which other runtimes were counted on too, lie in
//! `../shared/data/models/timing` where that is at hand.

use std::path::{Path, PathBuf};

use limbeck_data::scenes::LABELS;
use limbeck_data::{SceneConfig, Scenes, Shift, Unwatched};
use limbeck_engine::onnx::Model;
use limbeck_engine::{Student, compile};
use limbeck_plan::Plan;
use limbeck_quantize::{QuantizeOptions, quantize};
use limbeck_zoo::{scenes_card, shipped};

/// Two whole networks of `tests/golden`: residual, and depthwise separable.
const GOLDEN: [&str; 2] = ["residual_net", "separable_net"];

/// Quantized networks that other runtimes were counted on (`peers`).
const PUBLISHED: [&str; 4] = ["dscnn", "resnet8", "mobilenetv2_96", "mobilenetv2_224"];

/// Samples that the demo's student is calibrated on. Ranges do not change how many instructions run.
const CALIBRATION: usize = 16;

/// A model as its plan.
pub struct Subject {
    /// Name in the record.
    pub name: &'static str,
    /// Its quantized model, for the engine of this process.
    pub model: Model,
    /// The bytes of its plan.
    pub plan: Vec<u8>,
}

impl Subject {
    /// # Panics
    /// When part of the model would run in float: the guest runs plans alone.
    fn new(name: &'static str, model: Model) -> Subject {
        let compiled = compile(&model).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(compiled.rest.is_none(), "{name} is not one plan; in float: {:?}", compiled.float_nodes);
        let plan = compiled.regions.into_iter().next().unwrap_or_else(|| panic!("{name} has no integers")).plan;
        Subject { name, model, plan }
    }

    /// Multiply-accumulates of one inference.
    pub fn macs(&self) -> u64 {
        Plan::new_checked(&self.plan).expect("a plan that was just made").ops().map(|op| op.macs).sum()
    }

    /// Integers of one inference and their digest, computed by the engine in this process from the guest's input.
    pub fn integers_here(&self) -> (u64, String) {
        let student = Student::load(&self.model).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let x: Vec<f32> = (0..student.input_len()).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
        let mut logits = vec![0.0; student.output_len()];
        let mut worker = student.worker().unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let integers = worker.run_hashed(&x, &mut logits).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        (integers.count, format!("{:032x}", integers.digest))
    }
}

/// Models of this repository.
pub fn own() -> Vec<Subject> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut subjects: Vec<Subject> =
        GOLDEN.iter().map(|name| Subject::new(name, read(&golden.join(format!("{name}.onnx"))))).collect();
    subjects.push(Subject::new("scenes_student", scenes_student()));
    subjects
}

/// Published models, and the files of those that are not here.
pub fn published() -> (Vec<Subject>, Vec<PathBuf>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/models/timing");
    let file = |name: &str| folder.join(format!("{name}.qdq.onnx"));
    let (here, missing): (Vec<_>, Vec<_>) = PUBLISHED.into_iter().partition(|name| file(name).is_file());
    let subjects = here.into_iter().map(|name| Subject::new(name, read(&file(name)))).collect();
    let shown = |name| Path::new("../shared/data/models/timing").join(format!("{name}.qdq.onnx"));
    (subjects, missing.into_iter().map(shown).collect())
}

fn read(path: &Path) -> Model {
    Model::read(path).unwrap_or_else(|e| panic!("{e}"))
}

/// The demo's student, quantized on scenes.
fn scenes_student() -> Model {
    let labels: Vec<String> = LABELS.iter().map(ToString::to_string).collect();
    let student = Model::parse(shipped::STUDENT.onnx, Path::new(shipped::STUDENT.name)).expect("a model of ours");
    let scenes = Scenes::new(SceneConfig { seed: 1, size: 32, samples: CALIBRATION, shift: Shift::default() })
        .expect("scenes of this size");
    let options = QuantizeOptions { calibration: CALIBRATION, ..QuantizeOptions::default() };
    quantize(&student, &scenes_card(&labels), &scenes, &options, &Unwatched).expect("the demo's student").model
}
