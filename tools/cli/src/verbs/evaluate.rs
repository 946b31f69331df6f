//! `limbeck evaluate`: accuracy of one model, float or int8, on this machine.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result};
use limbeck_answers::{Answers, View};
use limbeck_data::{Dataset, Viewed, parallel};
use limbeck_engine::{Integers, Student, argmax, combined_digest};
use limbeck_report::Accuracy;

use crate::console::Console;
use crate::inputs::{DataArguments, ModelFile, threads};
use crate::record::{ReportArguments, put_accuracy};

/// Accuracy of any model on this machine: top-1, and agreement with the teacher where its answers are given.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The model (ONNX); its card is the .toml beside it.
    #[arg(long)]
    pub model: PathBuf,
    /// Another card.
    #[arg(long)]
    pub card: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArguments,
    /// The teacher's answers over the same data.
    #[arg(long)]
    pub answers: Option<PathBuf>,
    /// What the model is in the report: teacher, student before, student after, int8.
    #[arg(long = "as", value_name = "ROLE", default_value = "model")]
    pub role: String,
    /// Threads (default: all cores).
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// What a model did on every sample of a data set.
pub struct Evaluation {
    /// Class chosen, by sample.
    pub classes: Vec<usize>,
    /// Samples with a label.
    pub labelled: usize,
    /// Of those, right.
    pub correct: usize,
    /// Share of samples on which the teacher chose the same.
    pub agreement: Option<f64>,
    /// Are the integers the same on every machine ([`Student::integers_are_exact`])?
    pub exact: bool,
    /// Integers computed, and their digest; none for a float model.
    pub integers: Option<(u64, String)>,
    /// Outputs, by sample, of the first [`SHOWN`].
    pub outputs: Vec<Vec<f32>>,
}

/// Samples whose outputs are kept.
pub const SHOWN: usize = 64;

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let model = ModelFile::read(&arguments.model, arguments.card.as_deref())?;
    let dataset = arguments.data.open(&model.card, console)?;
    let answers = arguments.answers.as_deref().map(|path| model.answers(path, &dataset)).transpose()?;
    let stage = console.stage("evaluate", "images");
    let evaluation = evaluate(&model, &dataset, answers.as_ref(), threads(arguments.threads), &stage)?;
    stage.done(&arguments.role);
    console.print(evaluation.text(&arguments.role))?;
    let row = evaluation.row(&arguments.role, &format!("limbeck evaluate on this machine, {}", dataset.name()));
    arguments.report.update(|report| put_accuracy(report, row))
}

/// Run `model` over `dataset` on this machine.
pub fn evaluate(
    model: &ModelFile,
    dataset: &dyn Dataset,
    answers: Option<&Answers>,
    threads: usize,
    watch: &dyn limbeck_data::Watch,
) -> Result<Evaluation> {
    let about = || format!("model {}", model.path.display());
    let student = Student::load(&model.model).with_context(about)?;
    let preprocess = model.preprocess(&student)?;
    let viewed = Viewed::new(dataset, None);
    struct One {
        class: usize,
        integers: Integers,
        label: Option<u16>,
        teacher: Option<usize>,
        outputs: Option<Vec<f32>>,
    }
    let results: Mutex<Vec<(usize, One)>> = Mutex::new(Vec::with_capacity(dataset.len()));
    let done = parallel::for_each(
        dataset.len(),
        threads,
        watch,
        || Ok((student.worker()?, vec![0.0; preprocess.len()], vec![0.0; student.output_len()])),
        |(worker, x, logits), i| -> Result<()> {
            let shown = viewed.input(&preprocess, i, View::Identity, x)?;
            let integers = worker.run_hashed(x, logits)?;
            let class = argmax(logits);
            let teacher = match answers {
                Some(answers) => {
                    let mut spoken = vec![0.0; answers.classes()];
                    answers.logits_into(i as u64, View::Identity, &mut spoken)?;
                    Some(argmax(&spoken))
                }
                None => None,
            };
            let outputs = (i < SHOWN).then(|| logits.clone());
            let one = One { class, integers, label: shown.label, teacher, outputs };
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((i, one));
            Ok(())
        },
    )?;
    if !done {
        return Err(crate::exit::interrupted("interrupted"));
    }
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_by_key(|(i, _)| *i);
    let results: Vec<One> = results.into_iter().map(|(_, one)| one).collect();
    let count = |f: &dyn Fn(&One) -> bool| results.iter().filter(|one| f(one)).count();
    let integers: u64 = results.iter().map(|one| one.integers.count).sum();
    let agreeing = count(&|one| one.teacher == Some(one.class));
    Ok(Evaluation {
        classes: results.iter().map(|one| one.class).collect(),
        labelled: count(&|one| one.label.is_some()),
        correct: count(&|one| one.label.map(usize::from) == Some(one.class)),
        exact: student.integers_are_exact(),
        agreement: answers.map(|_| agreeing as f64 / results.len().max(1) as f64),
        integers: (integers > 0).then(|| (integers, combined_digest(results.iter().map(|one| one.integers)))),
        outputs: results.into_iter().map_while(|one| one.outputs).collect(),
    })
}

impl Evaluation {
    /// The line that people read.
    pub fn text(&self, role: &str) -> String {
        let mut text = format!("{role}: ");
        match self.labelled {
            0 => text += "no labels",
            n => text += &format!("top-1 {:.2}% ({} of {n})", self.correct as f64 / n as f64 * 100.0, self.correct),
        }
        if let Some(agreement) = self.agreement {
            text += &format!(", agrees with the teacher on {:.2}%", agreement * 100.0);
        }
        if let Some((count, digest)) = &self.integers {
            text += &format!(", {count} integers {digest}");
        }
        text
    }

    /// The report's row.
    pub fn row(&self, subject: &str, how: &str) -> Accuracy {
        Accuracy {
            subject: subject.into(),
            top1: (self.labelled > 0).then(|| self.correct as f64 / self.labelled as f64),
            correct: self.correct as u64,
            n: self.labelled as u64,
            agreement_with_teacher: self.agreement,
            integers_hash: self.integers.as_ref().map(|(_, digest)| digest.clone()),
            how: how.into(),
            ..Accuracy::default()
        }
    }
}
