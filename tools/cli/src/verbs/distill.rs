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
//!
//! ```text
//! limbeck teach --teacher teacher.onnx --data photos --head logits --head attention:stage:2 --head attention:stage:3 --out photos.answers
//! limbeck distill --recipe at --student student.onnx --data photos --answers photos.answers --out better.onnx
//! ```
//!
//! A recipe says which losses: `limbeck recipes` lists those that are shipped and what each needs of the answers file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use limbeck_adapt::{Loss, QuantizedOptions, Rule, Selection};
use limbeck_answers::Answers;
use limbeck_data::Dataset;
use limbeck_distill::{
    DistillRecipe, Exchange, Job, Pupil, QuantizedStudent, Recipe, Target, What, distill, distill_quantized,
};
use limbeck_engine::onnx::Model;
use limbeck_report::Training;

use crate::console::Console;
use crate::inputs::{DataArguments, ModelFile, NamedFile, prepare_out, threads};
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
    /// The answers file. Without another teacher the float student is one: `limbeck teach --teacher student.onnx`. Once more with a name
    /// in front for a recipe that reads several.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub answers: Vec<NamedFile>,
    /// Which losses: a shipped recipe (kd, at, dist, ...; see `limbeck recipes`) or a TOML file (default: soft labels).
    #[arg(long = "recipe", value_name = "NAME|FILE.toml")]
    pub method: Option<String>,
    /// A model between teacher and student (ONNX with its card), for a recipe that trains one first.
    #[arg(long, value_name = "MODEL.onnx")]
    pub assistant: Vec<PathBuf>,
    /// For a recipe in which students on several machines teach each other: a folder that all of them see.
    #[arg(long, value_name = "FOLDER", requires = "node", requires = "peers")]
    pub exchange: Option<PathBuf>,
    /// What this machine is called there.
    #[arg(long, value_name = "NAME", requires = "exchange")]
    pub node: Option<String>,
    /// What the others are called.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "exchange")]
    pub peers: Vec<String>,
    /// Seconds to wait for each of them in an epoch.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub patience: u64,
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
    pub fn recipe(&self, threads: usize, usual: Recipe) -> Result<Recipe> {
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

const NO_ANSWERS: &str =
    "--answers is missing; answer with a teacher, or with the float student: limbeck teach --teacher student.onnx";

impl Arguments {
    /// Options that do not go together.
    fn check(&self, by_recipe: Option<&DistillRecipe>) -> Result<()> {
        let wrong = |what: &str| Err(crate::exit::usage(what));
        let mut names: Vec<&str> = self.answers.iter().map(|a| a.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong(&format!(
                "--answers: two files are called `{}`; give each a name: --answers NAME=FILE",
                twice[0]
            ));
        }
        match by_recipe {
            None if self.answers.is_empty() => wrong(NO_ANSWERS),
            None if !self.assistant.is_empty() => wrong("--assistant is for a recipe; add --recipe teacher-assistant"),
            Some(_) if self.recipe.temperature.is_some() || self.recipe.label_weight != 0.0 => {
                wrong("--temperature and --label-weight are the recipe's; write them into its file")
            }
            Some(_) if self.frozen_cache.is_some() => {
                wrong("--frozen-cache goes with soft labels only; leave --recipe out")
            }
            _ => Ok(()),
        }
    }
}

/// Open answers files, which must be of this data set and speak of the student's labels.
pub fn named_answers(
    student: &ModelFile,
    files: &[NamedFile],
    dataset: &dyn Dataset,
) -> Result<Vec<(String, Answers)>> {
    files.iter().map(|file| Ok((file.name.clone(), student.answers(&file.path, dataset)?))).collect()
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let by_recipe = arguments.method.as_deref().map(DistillRecipe::named).transpose()?;
    arguments.check(by_recipe.as_ref())?;
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
    let answers = named_answers(&student, &arguments.answers, &dataset)?;
    let assistants = arguments.assistant.iter().map(|path| {
        let assistant = ModelFile::read(path, None)?;
        Ok((assistant.model, assistant.card))
    });
    let assistants = assistants.collect::<Result<Vec<_>>>()?;
    let exchange = arguments.exchange.as_ref().map(|folder| Exchange {
        folder: folder.clone(),
        node: arguments.node.clone().unwrap_or_default(),
        peers: arguments.peers.clone(),
        patience: Duration::from_secs(arguments.patience),
    });
    let stage = console.stage("distill", "images");
    let what = What { selection: &arguments.select, frozen_cache: arguments.frozen_cache.as_deref() };
    let options = QuantizedOptions { learned_scales: arguments.learn_scales, weight_bits: None };
    let in_integers = QuantizedStudent { file: &student.model, float: float.as_ref(), options };
    let distilled = match (&by_recipe, &answers[..]) {
        (Some(by_recipe), _) => {
            let pupil = if quantized { Pupil::Quantized(in_integers) } else { Pupil::Float(&student.model) };
            let job = Job {
                student: pupil,
                card: &student.card,
                dataset: &dataset,
                answers: &answers,
                assistants: &assistants,
                recipe: by_recipe,
                train: &recipe,
                selection: &arguments.select,
                exchange: exchange.as_ref(),
            };
            job.run(&stage)
        }
        (None, [(_, answers), ..]) if quantized => {
            distill_quantized(&in_integers, &student.card, &dataset, Target::Answers(answers), &what, &recipe, &stage)
        }
        (None, [(_, answers), ..]) => {
            distill(&student.model, &student.card, &dataset, Target::Answers(answers), &what, &recipe, &stage)
        }
        (None, []) => return Err(crate::exit::usage(NO_ANSWERS)),
    };
    let mut distilled = distilled.with_context(|| format!("student {}", student.path.display()))?;
    // It travels on into the int8 student's file.
    if let Some((_, answers)) = answers.first() {
        distilled.model.metadata.insert("limbeck.answers.sha256".into(), answers.sha256().into());
    }
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
            method: by_recipe.as_ref().map(|r| r.name.clone()),
            samples: Some(dataset.len() as u64),
            loss: distilled.epochs.iter().map(|e| e.loss).collect(),
            agreement: distilled.epochs.iter().map(|e| e.agreement).collect(),
            agreement_on: "the training samples, while training".into(),
        });
    })?;
    outcome
}
