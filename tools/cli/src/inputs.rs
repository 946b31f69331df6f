//! What verbs are given: data sets, models with cards, threads.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use limbeck_answers::rng::Stream;
use limbeck_answers::{Answers, Card, Expected, Preprocess, Resize, Task};
use limbeck_data::{Dataset, FolderOptions, ImageFolder, MemoryDataset, OnCorrupt, SceneConfig, Scenes, Shift, Watch};
use limbeck_engine::{Student, onnx::Model};
use limbeck_store::{is_url, open_images};

use crate::console::Console;
use crate::exit::usage;

/// Where samples come from.
#[derive(clap::Args, Clone, Debug)]
pub struct DataArguments {
    /// Image folder (`<class>/*.jpg|png`, or unlabelled), here or in an object store (`s3://bucket/train`, `gs://`, `az://`), or
    /// `scenes[:seed=1,samples=2000,size=32,shift=strong]`.
    #[arg(long, value_name = "FOLDER|URL|scenes")]
    pub data: String,
    /// Use the first N images only (classes in turn).
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Leave corrupt images out, and say which, instead of stopping at the first.
    #[arg(long)]
    pub skip_corrupt: bool,
}

impl DataArguments {
    /// All of a data set, as `--data` names it.
    pub fn of(data: &str) -> DataArguments {
        DataArguments { data: data.into(), limit: None, skip_corrupt: false }
    }

    /// Open the data set for a model with this card, decoded into memory.
    pub fn open(&self, card: &Card, console: &Console) -> Result<MemoryDataset> {
        let stage = console.stage("read", "images");
        let dataset = self.open_each(card, false, console)?;
        console.check()?;
        let total = dataset.len();
        let memory = MemoryDataset::load(&*dataset, &|done| stage.progress(done, total))?;
        stage.done(dataset.name());
        Ok(memory)
    }

    /// The same, each sample decoded when it is asked for. `is_part`: only some of the samples will be, so that no file is
    /// looked into before.
    pub fn open_each(&self, card: &Card, is_part: bool, console: &Console) -> Result<Box<dyn Dataset>> {
        Ok(match self.data.strip_prefix("scenes") {
            Some(settings) if !Path::new(&self.data).exists() => Box::new(self.scenes(settings)?),
            _ => Box::new(self.folder(card, is_part, console)?),
        })
    }

    fn folder(&self, card: &Card, is_part: bool, console: &Console) -> Result<ImageFolder> {
        let on_corrupt = if self.skip_corrupt { OnCorrupt::Skip } else { OnCorrupt::Refuse };
        let options = FolderOptions { on_corrupt, labels: Some(card.labels.clone()), limit: self.limit };
        let mut folder = match is_url(&self.data) {
            true => open_images(&self.data, &options)?,
            false => ImageFolder::open(Path::new(&self.data), &options)?,
        };
        if self.skip_corrupt {
            let (whole, skipped) = folder.verify(&|_| ())?;
            folder = whole;
            for image in &skipped {
                console.say(format!("skipped    {}: {}", image.id, image.why));
            }
            if !skipped.is_empty() {
                console.say(format!("skipped    {} corrupt images, {} are left", skipped.len(), folder.len()));
            }
        }
        if card.input.resize == Resize::Exact && !is_part {
            let wanted = (card.input.width, card.input.height);
            if let Some(other) = folder.sizes()?.iter().find(|s| (s.width, s.height) != wanted) {
                return Err(usage(format!(
                    "{}: {} is {}×{}, the card wants exactly {}×{}; set `resize = \"stretch\"` in the card, or resize the images",
                    self.data, other.id, other.width, other.height, wanted.0, wanted.1
                )));
            }
        }
        Ok(folder)
    }

    fn scenes(&self, settings: &str) -> Result<Scenes> {
        let mut config = SceneConfig { seed: 1, size: 32, samples: 2000, shift: Shift::default() };
        let bad = |what: &str| {
            usage(format!("--data {}: {what}; write scenes:seed=1,samples=2000,size=32,shift=strong", self.data))
        };
        let settings = settings.strip_prefix(':').unwrap_or(settings);
        for setting in settings.split(',').filter(|s| !s.is_empty()) {
            let (key, value) = setting.split_once('=').ok_or_else(|| bad(&format!("`{setting}` is not key=value")))?;
            let number = || value.parse::<u64>().map_err(|_| bad(&format!("`{value}` is not a number")));
            match key {
                "seed" => config.seed = number()?,
                "size" => config.size = u32::try_from(number()?).map_err(|_| bad("the size is too large"))?,
                "samples" => config.samples = usize::try_from(number()?).map_err(|_| bad("too many samples"))?,
                "shift" if value == "strong" => config.shift = Shift::strong(),
                "shift" if value == "none" => config.shift = Shift::default(),
                _ => return Err(bad(&format!("`{setting}` is not known"))),
            }
        }
        if let Some(limit) = self.limit {
            config.samples = config.samples.min(limit);
        }
        Ok(Scenes::new(config)?)
    }
}

/// A file, and what it is called where several are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// `teacher` when it was given none.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

impl std::str::FromStr for NamedFile {
    type Err = std::convert::Infallible;

    /// `NAME=FILE` or `FILE`; what has a slash before its `=` is a file.
    fn from_str(text: &str) -> Result<NamedFile, Self::Err> {
        let word = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c));
        Ok(match text.split_once('=').filter(|(name, _)| word(name)) {
            Some((name, path)) => NamedFile { name: name.into(), path: path.into() },
            None => NamedFile { name: "teacher".into(), path: text.into() },
        })
    }
}

impl From<PathBuf> for NamedFile {
    fn from(path: PathBuf) -> NamedFile {
        NamedFile { name: "teacher".into(), path }
    }
}

/// A model file and its card.
pub struct ModelFile {
    /// The ONNX file.
    pub path: PathBuf,
    /// The model in it.
    pub model: Model,
    /// Its card.
    pub card: Card,
}

impl ModelFile {
    /// Read a model and the card beside it, or the one that is named.
    pub fn read(path: &Path, card: Option<&Path>) -> Result<ModelFile> {
        let model = Model::read(path)?;
        let beside = Card::beside(path);
        let card_path = card.unwrap_or(&beside);
        let card = Card::read(card_path).with_context(|| format!("the card of {}", path.display()))?;
        if card.task != Task::Classification {
            let (card, task) = (card_path.display(), card.task.name());
            return Err(crate::exit::rejected(format!(
                "{card}: task = \"{task}\" is not supported yet; only classification is"
            )));
        }
        if let (Some(wanted), Some(input)) = (&card.input.name, model.graph.inputs.first())
            && *wanted != input.name
        {
            return Err(crate::exit::rejected(format!(
                "{}: the card is for the input \"{wanted}\", but {} has \"{}\"; correct `input.name`",
                card_path.display(),
                path.display(),
                input.name
            )));
        }
        Ok(ModelFile { path: path.to_owned(), model, card })
    }

    /// The card's preprocessing, which must make as many values as the model takes.
    pub fn preprocess(&self, student: &Student) -> Result<Preprocess> {
        let preprocess = Preprocess::new(&self.card);
        if preprocess.len() != student.input_len() {
            let (card, input) = (preprocess.len(), student.input_len());
            let what = format!("{}: its card describes {card} values, its input has {input}", self.path.display());
            return Err(crate::exit::rejected(format!("{what}; correct the card")));
        }
        if student.output_len() != self.card.labels.len() {
            let (classes, labels) = (student.output_len(), self.card.labels.len());
            let what = format!("{}: it answers {classes} classes, its card names {labels}", self.path.display());
            return Err(crate::exit::rejected(format!("{what}; correct the card")));
        }
        Ok(preprocess)
    }

    /// Open an answers file, which must be of this data set and speak of this model's labels.
    pub fn answers(&self, path: &Path, dataset: &dyn Dataset) -> Result<Answers> {
        let answers = Answers::open(path)?;
        answers.check(&Expected {
            dataset_sha256: Some(dataset.sha256()?),
            labels: Some(self.card.labels.clone()),
            ..Expected::default()
        })?;
        Ok(answers)
    }

    /// Write a model, and this card beside it.
    pub fn write_next_to(&self, model: &Model, out: &Path) -> Result<()> {
        prepare_out(out)?;
        model.write(out)?;
        let card = self.card.to_toml();
        limbeck_files::write_atomic(Card::beside(out), |w| w.write_all(card.as_bytes()))?;
        Ok(())
    }
}

/// Make sure before the work begins that `out` can be written after it.
pub fn prepare_out(out: &Path) -> Result<()> {
    if out.is_dir() {
        return Err(usage(format!("{}: is a folder; name the file to write", out.display())));
    }
    match out.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(folder) => Ok(limbeck_files::create_dir(folder)?),
        None => Ok(()),
    }
}

/// An input for a model that is only timed: values evenly from -1 to 1, the same each time.
pub fn noise(len: usize) -> Vec<f32> {
    /// Keeps these draws apart from any other use of a seed.
    const STREAM: u32 = 0x6e6f_6973;
    let mut random = Stream::new(0, 0, STREAM);
    let half = (1 << 23) as f32;
    (0..len).map(|_| (random.next_u32() >> 8) as f32 / half - 1.0).collect()
}

/// `--threads`, or all cores.
pub fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// The name that people know a file by.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}
