//! `limbeck zoo`: train the two models that the demo ships, from nothing.
//!
//! With `--export`, write scenes as an image folder instead. The teacher learns clean and shifted scenes from their labels, the student clean scenes only.

use std::path::PathBuf;

use anyhow::Result;
use limbeck_adapt::{Loss, Rule};
use limbeck_answers::{Card, View};
use limbeck_data::{DataError, Dataset, MemoryDataset, Sample, SceneConfig, Scenes, Shift, Watch, export, scenes};
use limbeck_distill::{Recipe, Target, What, distill};
use limbeck_zoo::shipped::{STUDENT, TEACHER};
use limbeck_zoo::{build, scenes_card, scenes_student, scenes_teacher};

use crate::console::Console;
use crate::inputs::{DataArguments, threads};

/// Train the two models that the demo ships, from nothing.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Folder to write them to.
    #[arg(long)]
    pub out: PathBuf,
    /// Scenes to learn from, of each kind.
    #[arg(long, default_value_t = 10_000)]
    pub samples: usize,
    /// Passes.
    #[arg(long, default_value_t = 8)]
    pub epochs: usize,
    /// Train the student only.
    #[arg(long)]
    pub student_only: bool,
    /// Train nothing: write these scenes to the folder instead, as PNG files.
    #[arg(long, value_name = "scenes:…", conflicts_with = "student_only")]
    pub export: Option<String>,
}

/// Peak learning rates of Adam: of those tried (0.3, 1, 3, 6, 12 thousandths), the ones that learn fastest and steadily.
const TEACHER_RATE: f32 = 5e-3;
const STUDENT_RATE: f32 = 1e-2;

/// One model to train.
struct Job<'a> {
    name: &'a str,
    network: limbeck_zoo::Plan,
    dataset: &'a dyn Dataset,
    rate: f32,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    limbeck_files::create_dir(&arguments.out)?;
    let labels: Vec<String> = scenes::LABELS.iter().map(|l| l.to_string()).collect();
    let card = scenes_card(&labels);
    if let Some(data) = &arguments.export {
        let dataset = DataArguments::of(data).open(&card, console)?;
        let stage = console.stage("export", "images");
        export(&dataset, &arguments.out, &|done| stage.progress(done, dataset.len()))?;
        stage.done(&arguments.out.display().to_string());
        return Ok(());
    }
    let scenes = |seed, shift| Scenes::new(SceneConfig { seed, size: 32, samples: arguments.samples, shift });
    let clean = MemoryDataset::load(&scenes(11, Shift::default())?, &|_| ())?;
    if !arguments.student_only {
        let shifted = MemoryDataset::load(&scenes(12, Shift::strong())?, &|_| ())?;
        let dataset = &Both(&clean, &shifted);
        let teacher = Job { name: TEACHER.name, network: scenes_teacher(), dataset, rate: TEACHER_RATE };
        train(arguments, &teacher, &card, console)?;
    }
    let student = Job { name: STUDENT.name, network: scenes_student(), dataset: &clean, rate: STUDENT_RATE };
    train(arguments, &student, &card, console)
}

fn train(arguments: &Arguments, job: &Job, card: &Card, console: &Console) -> Result<()> {
    let recipe = Recipe {
        loss: Loss { temperature: 1.0, teacher_weight: 0.0, label_weight: 1.0 },
        epochs: arguments.epochs,
        rate: job.rate,
        rule: Rule::ADAM,
        weight_decay: 1e-3,
        threads: threads(None),
        ..Recipe::default()
    };
    let stage = console.stage("train", "images");
    let target = Target::Labels(&[View::Identity]);
    let trained = distill(&build(&job.network, 32, 1), card, job.dataset, target, &What::ALL, &recipe, &stage)?;
    let path = arguments.out.join(job.name);
    trained.model.write(&path)?;
    let losses: Vec<String> = trained.epochs.iter().map(|e| format!("{:.3}", e.loss)).collect();
    stage.done(&format!("{} loss by epoch {}", path.display(), losses.join(" ")));
    Ok(())
}

/// One data set after another.
struct Both<'a>(&'a MemoryDataset, &'a MemoryDataset);

impl Dataset for Both<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn labels(&self) -> &[String] {
        self.0.labels()
    }
    fn len(&self) -> usize {
        self.0.len() + self.1.len()
    }
    fn id(&self, i: usize) -> String {
        if i < self.0.len() { self.0.id(i) } else { self.1.id(i - self.0.len()) }
    }
    fn sample(&self, i: usize) -> Result<Sample, DataError> {
        if i < self.0.len() { self.0.sample(i) } else { self.1.sample(i - self.0.len()) }
    }
    fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
        if i < self.0.len() { self.0.leaf(i) } else { self.1.leaf(i - self.0.len()) }
    }
}
