//! A bundle, read and checked, its student ready to run: within the memory and the time that this board has for it.

use std::path::Path;

use anyhow::{Context, Result};
use limbeck_answers::{Preprocess, View};
use limbeck_bundle::Bundle;
use limbeck_engine::{EngineError, Student, onnx::Model};

use crate::guard::{self, Deadline};
use crate::output::Refused;

/// A bundle with its student ready to run.
pub struct Loaded {
    pub bundle: Bundle,
    pub student: Student,
    pub preprocess: Preprocess,
}

impl Loaded {
    /// Read a bundle and prepare its student.
    ///
    /// # Errors
    /// [`Refused`], exit code 9: a damaged bundle, a model that cannot run or plans more memory than there is.
    pub fn read(path: &Path) -> Result<Loaded> {
        let bundle = Bundle::read(path).map_err(|e| Refused(e.to_string()))?;
        Loaded::of(bundle, path)
    }

    /// The same, the student compiled from its ONNX: for whoever goes on with the graph. What that takes (pages of the program above
    /// all) is then there before anything is measured.
    pub fn compiled(path: &Path) -> Result<Loaded> {
        let mut bundle = Bundle::read(path).map_err(|e| Refused(e.to_string()))?;
        bundle.plan = None;
        Loaded::of(bundle, path)
    }

    /// Prepare the student of a bundle that was read; `path` is the file that errors name.
    pub fn of(bundle: Bundle, path: &Path) -> Result<Loaded> {
        let _deadline = Deadline::start(format!("{}: student", path.display()));
        let student = student(&bundle).map_err(|e| Refused(format!("{}: student: {e}", path.display())))?;
        let preprocess = Preprocess::new(&bundle.card);
        if preprocess.len() != student.input_len() {
            let (card, model) = (preprocess.len(), student.input_len());
            let what = format!("{}: the card describes {card} values, the student takes {model}", path.display());
            return Err(Refused(what).into());
        }
        Ok(Loaded { bundle, student, preprocess })
    }

    /// One sample, preprocessed.
    pub fn input(&self, sample: usize) -> Result<Vec<f32>> {
        let mut x = vec![0.0; self.preprocess.len()];
        let count = self.bundle.samples.len();
        let bundled = self.bundle.samples.get(sample).with_context(|| format!("no sample {sample} of {count}"))?;
        let run = self.preprocess.run(&bundled.image, View::Identity, &mut x);
        run.with_context(|| format!("sample {sample}"))?;
        Ok(x)
    }
}

/// The student from its plan, or compiled from its ONNX.
fn student(bundle: &Bundle) -> Result<Student, EngineError> {
    let (isa, planned) = (limbeck_engine::path()?, guard::planned_bytes());
    if let Some(plan) = &bundle.plan {
        match Student::from_plan(plan.clone(), isa, planned) {
            // A plan of another format than this agent's; its student is in the bundle too.
            Err(EngineError::Plan(why)) => log::warn!("the bundle's plan is not used ({why}); compiling the student"),
            ready => return ready,
        }
    }
    let model = Model::parse(&bundle.student, Path::new("student.onnx"))?;
    Student::load_within(&model, isa, planned)
}
