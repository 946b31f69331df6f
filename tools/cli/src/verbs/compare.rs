//! `limbeck compare`: one student, one budget, many recipes and seeds → a table.
//!
//! ```text
//! limbeck compare --student student.onnx --data train --answers train.answers --test test --test-answers test.answers \
//!     --recipes kd,dkd,at,fitnets --seeds 3 --epochs 2 --out compared --report compared/report.json
//! ```
//!
//! Every recipe sees the same samples as often, with the same options; seeds draw their order. Each run's result is a file of its own in
//! `--out`, so an interrupted comparison goes on where it was, and one more recipe or seed costs only its own runs. `kd@many` is the recipe
//! `kd` on the answers that `--answers many=FILE` names, to compare views and teachers.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use limbeck_adapt::{AdaptError, QuantizedOptions, Selection};
use limbeck_answers::{Answers, Card};
use limbeck_data::{Dataset, MemoryDataset};
use limbeck_distill::{BUILTIN, DistillError, DistillRecipe, Job, Pupil, QuantizedStudent, Recipe};
use limbeck_engine::EngineError;
use limbeck_engine::onnx::Model;
use limbeck_quantize::{QuantizeError, QuantizeOptions, quantize};
use limbeck_report::{ComparedRecipe, ComparedRun, Comparison, FailedRun, comparison_table};
use serde::{Deserialize, Serialize};

use crate::console::Console;
use crate::exit::usage;
use crate::inputs::{DataArguments, ModelFile, NamedFile, file_name, threads};
use crate::record::ReportArguments;
use crate::verbs::distill::{RecipeArguments, named_answers};
use crate::verbs::evaluate::evaluate;

/// Train one student by many recipes, with the same budget each, and compare what comes out.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The float student (ONNX); its card is the .toml beside it.
    #[arg(long)]
    pub student: PathBuf,
    /// Another card.
    #[arg(long)]
    pub card: Option<PathBuf>,
    /// Answers of a teacher over the training data; the first has no name, further ones do.
    #[arg(long, value_name = "[NAME=]FILE")]
    pub answers: Vec<NamedFile>,
    /// A model between teacher and student, for recipes that train one first.
    #[arg(long, value_name = "MODEL.onnx")]
    pub assistant: Vec<PathBuf>,
    #[command(flatten)]
    pub data: DataArguments,
    /// Labelled images that nothing was trained on.
    #[arg(long, value_name = "FOLDER|scenes")]
    pub test: String,
    /// The teacher's answers over them.
    #[arg(long, value_name = "FILE")]
    pub test_answers: Option<PathBuf>,
    /// Recipes: shipped names or TOML files, `@NAME` for other answers; `all` is every shipped one that fits.
    #[arg(long, value_delimiter = ',', default_value = "kd,dkd,dist,at,fitnets,sp,rkd")]
    pub recipes: Vec<String>,
    /// Runs of each recipe, with the seeds 0, 1, ...
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    #[command(flatten)]
    pub train: RecipeArguments,
    /// Compare the float students only.
    #[arg(long)]
    pub float_only: bool,
    /// Passes of distillation in integers after quantizing (T = 1, the teacher alone); 0 is none.
    #[arg(long, default_value_t = 0)]
    pub int8_epochs: usize,
    /// Folder for the results and the students.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Threads (default: all cores); no result depends on it.
    #[arg(long)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// What a run leaves behind.
#[derive(Debug, Serialize, Deserialize)]
struct RunFile {
    /// SHA-256 of all that decides the result.
    identity: String,
    result: ComparedRun,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// A recipe of the list.
struct Entry {
    /// As it was asked for.
    name: String,
    recipe: DistillRecipe,
    /// Which answers are the teacher's.
    teacher: Option<String>,
}

/// What all runs have in common.
struct Bench<'a> {
    arguments: &'a Arguments,
    console: &'a Console,
    student: ModelFile,
    dataset: MemoryDataset,
    test: MemoryDataset,
    answers: Vec<(String, Answers)>,
    test_answers: Option<Answers>,
    assistants: Vec<(Model, Card)>,
    /// Hash of student, data, test, answers, assistants, options.
    identity: String,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let usual = arguments.train.recipe(threads(arguments.threads), Recipe::default())?;
    if arguments.train.temperature.is_some() || arguments.train.label_weight != 0.0 {
        return Err(usage("--temperature and --label-weight are the recipes'; write them into a file"));
    }
    let entries = entries(arguments)?;
    limbeck_files::create_dir(&arguments.out)?;
    let mut bench = Bench::open(arguments, console)?;
    let entries = bench.those_that_fit(entries, &usual)?;
    let mut comparison = bench.untouched()?;
    comparison.epochs = usual.epochs as u64;
    comparison.recipes = entries.iter().map(compared).collect();
    for seed in 0..arguments.seeds {
        for (entry, compared) in entries.iter().zip(&mut comparison.recipes) {
            let file = bench.run(entry, seed, &usual)?;
            match file.failed {
                Some(why) => compared.failed.push(FailedRun { seed, why }),
                None => compared.runs.push(file.result),
            }
        }
        // What there is so far survives whatever comes.
        arguments.report.update(|report| report.comparison = Some(comparison.clone()))?;
    }
    console.print(comparison_table(&comparison))
}

fn compared(entry: &Entry) -> ComparedRecipe {
    ComparedRecipe { name: entry.name.clone(), about: entry.recipe.about.clone(), ..ComparedRecipe::default() }
}

/// The recipes by name; `all` is every shipped one.
fn entries(arguments: &Arguments) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = vec![];
    for asked in &arguments.recipes {
        let names: Vec<String> = match asked.as_str() {
            "all" => BUILTIN.iter().map(|(name, _)| (*name).to_owned()).collect(),
            one => vec![one.to_owned()],
        };
        for name in names {
            let (of, teacher) = match name.rsplit_once('@') {
                Some((of, teacher)) => (of, Some(teacher.to_owned())),
                None => (name.as_str(), None),
            };
            if let Some(teacher) = teacher.as_ref().filter(|t| !arguments.answers.iter().any(|a| a.name == **t)) {
                return Err(usage(format!(
                    "--recipes {name}: no answers are called {teacher}; add --answers {teacher}=FILE"
                )));
            }
            let recipe = DistillRecipe::named(of)?;
            if entries.iter().any(|e| e.name == name) {
                return Err(usage(format!("--recipes: {name} is there twice")));
            }
            entries.push(Entry { recipe, teacher, name });
        }
    }
    Ok(entries)
}

/// A name for files: what a file system may not like is `_`.
fn plain(name: &str) -> String {
    let name = Path::new(name).file_name().map_or(name.into(), |n| n.to_string_lossy());
    name.chars().map(|c| if c.is_alphanumeric() || "-@.".contains(c) { c } else { '_' }).collect()
}

impl Bench<'_> {
    fn open<'a>(arguments: &'a Arguments, console: &'a Console) -> Result<Bench<'a>> {
        let student = ModelFile::read(&arguments.student, arguments.card.as_deref())?;
        if QuantizedStudent::is(&student.model) {
            let student = student.path.display();
            return Err(usage(format!(
                "{student}: is quantized; compare from the float student, int8 students are made of the results"
            )));
        }
        let dataset = arguments.data.open(&student.card, console)?;
        let test = DataArguments::of(&arguments.test).open(&student.card, console)?;
        if test.sample(0)?.label.is_none() {
            return Err(usage(format!("{}: has no labels; a comparison counts right answers", arguments.test)));
        }
        let answers = named_answers(&student, &arguments.answers, &dataset)?;
        let test_answers = arguments.test_answers.as_deref().map(|path| student.answers(path, &test)).transpose()?;
        let assistants = arguments.assistant.iter().map(|path| {
            let assistant = ModelFile::read(path, None)?;
            Ok((assistant.model, assistant.card))
        });
        let assistants = assistants.collect::<Result<Vec<_>>>()?;
        let mut made_of = vec![
            env!("CARGO_PKG_VERSION").to_owned(),
            limbeck_files::sha256_hex(&student.model.emit()),
            student.card.to_toml(),
            dataset.sha256()?,
            test.sha256()?,
            format!("{} {}", arguments.float_only, arguments.int8_epochs),
        ];
        made_of.extend(answers.iter().map(|(name, answers)| format!("{name} {}", answers.sha256())));
        made_of.extend(assistants.iter().map(|(model, _)| limbeck_files::sha256_hex(&model.emit())));
        let identity = limbeck_files::sha256_hex(made_of.join("\n").as_bytes());
        Ok(Bench { arguments, console, student, dataset, test, answers, test_answers, assistants, identity })
    }

    /// Says before the first run what would stop a later one. Under `all`, what does not fit is left out, and said.
    fn those_that_fit(&mut self, entries: Vec<Entry>, train: &Recipe) -> Result<Vec<Entry>> {
        let lenient = self.arguments.recipes.iter().any(|r| r == "all");
        let mut fit = vec![];
        for entry in entries {
            let fits = self.with_teacher(&entry, |bench| bench.job(&entry.recipe, train).fits());
            match fits {
                Ok(()) => fit.push(entry),
                Err(why) if lenient => self.console.say(format!("left out   {}: {why}", entry.name)),
                Err(why) => return Err(why).context(format!("recipe {}", entry.name)),
            }
        }
        if fit.is_empty() {
            return Err(usage("no recipe fits the answers; see `limbeck recipes` for the heads that each needs"));
        }
        Ok(fit)
    }

    fn job<'j>(&'j self, recipe: &'j DistillRecipe, train: &'j Recipe) -> Job<'j> {
        Job {
            student: Pupil::Float(&self.student.model),
            card: &self.student.card,
            dataset: &self.dataset,
            answers: &self.answers,
            assistants: &self.assistants,
            recipe,
            train,
            selection: &Selection::All,
            exchange: None,
        }
    }

    /// With the answers that the entry asks for as the teacher's.
    fn with_teacher<T>(&mut self, entry: &Entry, f: impl FnOnce(&Bench<'_>) -> T) -> T {
        let named = entry.teacher.as_ref().and_then(|t| self.answers.iter().position(|(name, _)| name == t));
        let Some(place) = named else { return f(self) };
        let own = self.answers[place].0.clone();
        self.answers.swap(0, place);
        let before = std::mem::replace(&mut self.answers[0].0, "teacher".into());
        let usual = (place != 0).then(|| std::mem::replace(&mut self.answers[place].0, own));
        let result = f(self);
        if let Some(usual) = usual {
            self.answers[place].0 = usual;
        }
        self.answers[0].0 = before;
        self.answers.swap(0, place);
        result
    }

    /// The student as it is, and the teacher.
    fn untouched(&self) -> Result<Comparison> {
        let stage = self.console.stage("evaluate", "images");
        let now =
            evaluate(&self.student, &self.test, self.test_answers.as_ref(), threads(self.arguments.threads), &stage)?;
        stage.done("the student as it is");
        let mut right = 0;
        if let Some(answers) = &self.test_answers {
            let mut logits = vec![0.0; answers.classes()];
            for i in 0..self.test.len() {
                answers.logits_into(i as u64, limbeck_answers::View::Identity, &mut logits)?;
                let label = self.test.get(i).label.map(usize::from);
                right += (label == Some(limbeck_engine::argmax(&logits))) as usize;
            }
        }
        let share = |right: usize| right as f64 / now.labelled.max(1) as f64;
        Ok(Comparison {
            student: file_name(&self.student.path),
            data: self.dataset.name().into(),
            test: self.test.name().into(),
            samples: self.dataset.len() as u64,
            tested: now.labelled as u64,
            teacher: self.test_answers.as_ref().map(|_| share(right)),
            untouched: Some(share(now.correct)),
            ..Comparison::default()
        })
    }

    /// One recipe with one seed: read what a run before left, or train.
    fn run(&mut self, entry: &Entry, seed: u64, usual: &Recipe) -> Result<RunFile> {
        let train = Recipe { seed: usual.seed + seed, ..usual.clone() };
        let made_of = format!("{}\n{:?}\n{:?}", self.identity, entry.recipe, Recipe { threads: 0, ..train.clone() });
        let made_of = format!("{made_of}\n{:?}", entry.teacher);
        let identity = limbeck_files::sha256_hex(made_of.as_bytes());
        let stem = format!("{}-{seed}", plain(&entry.name));
        let path = self.arguments.out.join(format!("{stem}.json"));
        if path.exists() {
            let text = limbeck_files::read_to_string(&path)?;
            let known: Option<RunFile> = serde_json::from_str(&text).ok();
            match known {
                Some(known) if known.identity == identity => return Ok(known),
                _ => {
                    let path = path.display();
                    return Err(usage(format!("{path}: is of another comparison; name another --out, or remove it")));
                }
            }
        }
        let file = match self.with_teacher(entry, |bench| bench.trained(entry, &train, &stem)) {
            Ok(result) => RunFile { identity, result, failed: None },
            // A rate that is too high for a recipe is a result, and no reason to lose the others.
            Err(e) if matches!(e.downcast_ref(), Some(DistillError::Adapt(AdaptError::Diverged { .. }))) => {
                let result = ComparedRun { seed, ..ComparedRun::default() };
                RunFile { identity, result, failed: Some(format!("{e:#}")) }
            }
            Err(e) => return Err(e).with_context(|| format!("recipe {}, seed {seed}", entry.name)),
        };
        let json = serde_json::to_vec_pretty(&file)?;
        limbeck_files::write_atomic(&path, |w| w.write_all(&json))?;
        Ok(file)
    }

    fn trained(&self, entry: &Entry, train: &Recipe, stem: &str) -> Result<ComparedRun> {
        let (start, threads) = (Instant::now(), train.threads);
        let stage = self.console.stage(&entry.name, "images");
        let distilled = self.job(&entry.recipe, train).run(&stage)?;
        let mut result = ComparedRun { seed: train.seed, ..ComparedRun::default() };
        result.seconds = start.elapsed().as_secs_f64();
        let model = |model: Model, suffix: &str| {
            let path = self.arguments.out.join(format!("{stem}{suffix}.onnx"));
            ModelFile { path, model, card: self.student.card.clone() }
        };
        let float = model(distilled.model, "");
        let top1 = |model: &ModelFile| -> Result<(f64, Option<f64>)> {
            let watch = limbeck_data::Unwatched;
            let found = evaluate(model, &self.test, self.test_answers.as_ref(), threads, &watch)?;
            Ok((found.correct as f64 / found.labelled.max(1) as f64, found.agreement))
        };
        let (of_float, agreement) = top1(&float)?;
        (result.float, result.agreement) = (Some(of_float), agreement);
        float.write_next_to(&float.model, &float.path)?;
        if !self.arguments.float_only {
            match self.quantized(&float, train, &stage) {
                Ok(int8) => {
                    let int8 = model(int8, ".int8");
                    result.int8 = Some(top1(&int8)?.0);
                    int8.write_next_to(&int8.model, &int8.path)?;
                }
                // A student that training left unfit for integers is a result of its recipe, and no reason to lose the others.
                Err(e) if e.chain().any(|e| e.is::<EngineError>() || e.is::<QuantizeError>()) => {
                    self.console.say(format!("{} seed {}: no int8 student: {e:#}", entry.name, train.seed));
                }
                Err(e) => return Err(e),
            }
        }
        let int8 = result.int8.map_or(String::new(), |share| format!(", int8 {:.2}%", share * 100.0));
        stage.done(&format!("seed {}: float {:.2}%{int8}", train.seed, of_float * 100.0));
        Ok(result)
    }

    /// The int8 student of a float one.
    fn quantized(&self, float: &ModelFile, train: &Recipe, watch: &dyn limbeck_data::Watch) -> Result<Model> {
        let options = QuantizeOptions { threads: train.threads, ..QuantizeOptions::default() };
        let made = quantize(&float.model, &float.card, &self.dataset, &options, &limbeck_data::Unwatched)?;
        // It must run, too.
        limbeck_engine::Student::load(&made.model)?;
        match self.arguments.int8_epochs {
            0 => Ok(made.model),
            _ => self.in_integers(&made.model, &float.model, train, watch),
        }
    }

    /// What quantizing lost, taught back.
    fn in_integers(
        &self,
        file: &Model,
        float: &Model,
        train: &Recipe,
        watch: &dyn limbeck_data::Watch,
    ) -> Result<Model> {
        let usual = QuantizedStudent::recipe(file);
        let epochs = self.arguments.int8_epochs;
        let train = Recipe { epochs, seed: train.seed, threads: train.threads, batch: train.batch, ..usual };
        let recipe = DistillRecipe::named("kl")?;
        let options = QuantizedOptions { learned_scales: false, weight_bits: None };
        let pupil = Pupil::Quantized(QuantizedStudent { file, float: Some(float), options });
        Ok(Job { student: pupil, ..self.job(&recipe, &train) }.run(watch)?.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_has_a_file_name() {
        assert_eq!(plain("kd@many"), "kd@many");
        assert_eq!(plain("mine/at 2.toml"), "at_2.toml");
    }
}
