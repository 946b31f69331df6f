//! `limbeck distill`: student + answers → better student, float or int8.
//!
//! ```text
//! limbeck distill --student student.onnx --data photos --answers train.answers --out better.onnx
//! limbeck distill --student student.int8.onnx --float student.onnx --data photos --answers train.answers --out better.int8.onnx
//! ```
//!
//! An int8 student (ONNX QDQ) is trained in the integers that its plan computes, so what is written answers every sample as the
//! last step of training saw it. The defaults are then those that recover the loss of quantization: T = 1, the teacher alone, a small
//! rate. The teacher may be the float student itself: answer with `limbeck teach --teacher student.onnx` first.

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_adapt::{Loss, QuantizedOptions, Rule, Selection};
use limbeck_data::Dataset;
use limbeck_distill::{QuantizedStudent, Recipe, Target, What, distill, distill_quantized};
use limbeck_engine::onnx::Model;
use limbeck_report::Training;

use crate::console::Console;
use crate::inputs::{DataArguments, ModelFile, prepare_out, threads};
use crate::record::{ReportArguments, put_model};

/// Which update rule.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimiserName {
    /// Adam (decoupled weight decay).
    Adam,
    /// SGD with Nesterov momentum 0.9.
    Sgd,
    /// SGD without momentum: keeps nothing between steps.
    PlainSgd,
    /// Adafactor: keeps row and column means where Adam keeps two copies of every weight.
    Adafactor,
}

impl OptimiserName {
    /// The rule of this name.
    pub fn rule(self) -> Rule {
        match self {
            OptimiserName::Adam => Rule::ADAM,
            OptimiserName::Sgd => Rule::SGD,
            OptimiserName::PlainSgd => Rule::Sgd { momentum: 0.0, nesterov: false },
            OptimiserName::Adafactor => Rule::Adafactor,
        }
    }
}

/// Fine-tune a student, float or int8, against the teacher's answers: forward and backward through tract.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The student (ONNX, float or QDQ); its card is the .toml beside it.
    #[arg(long)]
    pub student: PathBuf,
    /// The float student that an int8 student was quantized from: weights are trained from there, not from their integers.
    #[arg(long, value_name = "STUDENT.onnx")]
    pub float: Option<PathBuf>,
    /// Train the scales of an int8 student's weights too (LSQ).
    #[arg(long)]
    pub learn_scales: bool,
    /// Another card.
    #[arg(long)]
    pub card: Option<PathBuf>,
    /// The answers file. Without another teacher the float student is one: `limbeck teach --teacher student.onnx`.
    #[arg(long)]
    pub answers: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArguments,
    /// The student to write.
    #[arg(long)]
    pub out: PathBuf,
    /// What is trained: all, last:8, biases, name:fc.*,block3.*
    #[arg(long, default_value = "all", value_parser = clap::value_parser!(Selection))]
    pub select: Selection,
    /// Keep what the frozen part of the model makes of each sample in this file, if that pays; useful with --select.
    #[arg(long, value_name = "FILE")]
    pub frozen_cache: Option<PathBuf>,
    #[command(flatten)]
    pub recipe: RecipeArguments,
    /// Threads (default: all cores); the result is the same for any number.
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// How to train.
#[derive(clap::Args, Clone, Debug)]
pub struct RecipeArguments {
    /// Passes over the data.
    #[arg(long, default_value_t = 4)]
    pub epochs: usize,
    /// Samples a step.
    #[arg(long, default_value_t = 64, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub batch: usize,
    /// Peak learning rate; a cosine brings it to zero (default: 1e-3; for an int8 student 1e-4).
    #[arg(long)]
    pub rate: Option<f32>,
    /// Update rule.
    #[arg(long, value_enum, default_value = "adam")]
    pub optimiser: OptimiserName,
    /// Temperature of the softened distributions (default: 4, int8 students 1).
    #[arg(long)]
    pub temperature: Option<f32>,
    /// Weight of the cross-entropy with the labels; 0 needs no labels.
    #[arg(long, default_value_t = 0.0)]
    pub label_weight: f32,
    /// Weight decay.
    #[arg(long, default_value_t = 0.0)]
    pub weight_decay: f32,
    /// Largest L2 norm of a step's gradients.
    #[arg(long, default_value_t = 5.0)]
    pub clip: f32,
    /// Take the moving average of the weights with this decay (0.99, say) instead of the last ones.
    #[arg(long)]
    pub ema: Option<f32>,
    /// Draws the order of samples and views.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Default for RecipeArguments {
    fn default() -> Self {
        let recipe = Recipe::default();
        RecipeArguments {
            epochs: recipe.epochs,
            batch: recipe.batch,
            rate: None,
            optimiser: OptimiserName::Adam,
            temperature: None,
            label_weight: recipe.loss.label_weight,
            weight_decay: recipe.weight_decay,
            clip: recipe.clip,
            ema: recipe.ema,
            seed: recipe.seed,
        }
    }
}

impl RecipeArguments {
    /// What is asked for; `usual` has the rate and the temperature of a student of this kind.
    fn recipe(&self, threads: usize, usual: Recipe) -> Result<Recipe> {
        let rate = self.rate.unwrap_or(usual.rate);
        let temperature = self.temperature.unwrap_or(usual.loss.temperature);
        let positive = [("--rate", rate), ("--temperature", temperature), ("--clip", self.clip)];
        if let Some((name, value)) = positive.into_iter().find(|(_, v)| !(v.is_finite() && *v > 0.0)) {
            return Err(crate::exit::usage(format!("{name} {value}: must be above 0")));
        }
        let shares = [("--label-weight", self.label_weight), ("--weight-decay", self.weight_decay)];
        if let Some((name, value)) = shares.into_iter().find(|(_, v)| !(v.is_finite() && *v >= 0.0)) {
            return Err(crate::exit::usage(format!("{name} {value}: must not be below 0")));
        }
        if let Some(ema) = self.ema.filter(|ema| !(0.0..1.0).contains(ema)) {
            return Err(crate::exit::usage(format!("--ema {ema}: must be at least 0 and below 1")));
        }
        Ok(Recipe {
            loss: Loss { temperature, teacher_weight: 1.0, label_weight: self.label_weight },
            epochs: self.epochs,
            batch: self.batch,
            rate,
            rule: self.optimiser.rule(),
            weight_decay: self.weight_decay,
            clip: self.clip,
            ema: self.ema,
            seed: self.seed,
            threads,
            ..usual
        })
    }
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let Some(answers) = &arguments.answers else {
        return Err(crate::exit::usage(
            "--answers is missing; answer with a teacher, or with the float student: limbeck teach --teacher student.onnx",
        ));
    };
    // Wrong numbers are said before anything is read.
    arguments.recipe.recipe(1, Recipe::default())?;
    prepare_out(&arguments.out)?;
    let student = ModelFile::read(&arguments.student, arguments.card.as_deref())?;
    let quantized = QuantizedStudent::is(&student.model);
    if !quantized && (arguments.float.is_some() || arguments.learn_scales) {
        return Err(crate::exit::usage(format!(
            "--float and --learn-scales are for an int8 student, and {} is float; quantize it first",
            student.path.display()
        )));
    }
    let usual = if quantized { QuantizedStudent::recipe(&student.model) } else { Recipe::default() };
    let recipe = arguments.recipe.recipe(threads(arguments.threads), usual)?;
    let float = arguments.float.as_deref().map(Model::read).transpose()?;
    let dataset = arguments.data.open(&student.card, console)?;
    let answers = student.answers(answers, &dataset)?;
    let stage = console.stage("distill", "images");
    let target = Target::Answers(&answers);
    let what = What { selection: &arguments.select, frozen_cache: arguments.frozen_cache.as_deref() };
    let distilled = if quantized {
        let options = QuantizedOptions { learned_scales: arguments.learn_scales, weight_bits: None };
        let opened = QuantizedStudent { file: &student.model, float: float.as_ref(), options };
        distill_quantized(&opened, &student.card, &dataset, target, &what, &recipe, &stage)
    } else {
        distill(&student.model, &student.card, &dataset, target, &what, &recipe, &stage)
    };
    let mut distilled = distilled.with_context(|| format!("student {}", student.path.display()))?;
    // It travels on into the int8 student's file.
    distilled.model.metadata.insert("limbeck.answers.sha256".into(), answers.sha256().into());
    student.write_next_to(&distilled.model, &arguments.out)?;
    let last = distilled.epochs.last();
    let result = last.map_or("no epochs".into(), |e| format!("loss {:.4}, agrees {:.2}%", e.loss, e.agreement * 100.0));
    let seconds = stage.done(&format!("{} {result}", arguments.out.display()));
    let mut outcome = Ok(());
    arguments.report.update(|report| {
        outcome = put_model(report, "student before", &student.path, Some(student.model.parameters() as u64)).and_then(
            |()| put_model(report, "student after", &arguments.out, Some(distilled.model.parameters() as u64)),
        );
        report.training = Some(Training {
            epochs: distilled.epochs.len() as u64,
            steps: distilled.steps as u64,
            seconds,
            optimiser: format!("{:?}", arguments.recipe.optimiser).to_lowercase(),
            learning_rate: recipe.rate as f64,
            temperature: recipe.loss.temperature as f64,
            samples: Some(dataset.len() as u64),
            loss: distilled.epochs.iter().map(|e| e.loss).collect(),
            agreement: distilled.epochs.iter().map(|e| e.agreement).collect(),
            agreement_on: "the training samples, while training".into(),
        });
    })?;
    outcome
}
