//! `limbeck distill`: float student + answers → better float student.

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_adapt::{Loss, Rule, Selection};
use limbeck_data::Dataset;
use limbeck_distill::{Recipe, Target, distill};
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

/// Fine-tune a float student against the teacher's answers: forward and backward through tract.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The student (ONNX, float); its card is the .toml beside it.
    #[arg(long)]
    pub student: PathBuf,
    /// Another card.
    #[arg(long)]
    pub card: Option<PathBuf>,
    /// The answers file.
    #[arg(long)]
    pub answers: PathBuf,
    #[command(flatten)]
    pub data: DataArguments,
    /// The student to write.
    #[arg(long)]
    pub out: PathBuf,
    /// What is trained: all, last:8, biases, name:fc.*,block3.*
    #[arg(long, default_value = "all", value_parser = clap::value_parser!(Selection))]
    pub select: Selection,
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
    /// Peak learning rate; a cosine brings it to zero.
    #[arg(long, default_value_t = 1e-3)]
    pub rate: f32,
    /// Update rule.
    #[arg(long, value_enum, default_value = "adam")]
    pub optimiser: OptimiserName,
    /// Temperature of the softened distributions.
    #[arg(long, default_value_t = 4.0)]
    pub temperature: f32,
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
            rate: recipe.rate,
            optimiser: OptimiserName::Adam,
            temperature: recipe.loss.temperature,
            label_weight: recipe.loss.label_weight,
            weight_decay: recipe.weight_decay,
            clip: recipe.clip,
            ema: recipe.ema,
            seed: recipe.seed,
        }
    }
}

impl RecipeArguments {
    fn recipe(&self, threads: usize) -> Result<Recipe> {
        let positive = [("--rate", self.rate), ("--temperature", self.temperature), ("--clip", self.clip)];
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
            loss: Loss { temperature: self.temperature, teacher_weight: 1.0, label_weight: self.label_weight },
            epochs: self.epochs,
            batch: self.batch,
            rate: self.rate,
            rule: self.optimiser.rule(),
            weight_decay: self.weight_decay,
            clip: self.clip,
            ema: self.ema,
            seed: self.seed,
            threads,
            ..Recipe::default()
        })
    }
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let recipe = arguments.recipe.recipe(threads(arguments.threads))?;
    prepare_out(&arguments.out)?;
    let student = ModelFile::read(&arguments.student, arguments.card.as_deref())?;
    let dataset = arguments.data.open(&student.card, console)?;
    let answers = student.answers(&arguments.answers, &dataset)?;
    let stage = console.stage("distill", "images");
    let target = Target::Answers(&answers);
    let mut distilled = distill(&student.model, &student.card, &dataset, target, &arguments.select, &recipe, &stage)
        .with_context(|| format!("student {}", student.path.display()))?;
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
