//! A recipe: which losses, over which tensors, how heavy and when. A TOML file; those of the field are shipped ([`Method recipes`](BUILTIN)).
//!
//! ```toml
//! version = 1
//! name = "at"
//! about = "Attention transfer with soft labels. Zagoruyko, Komodakis, ICLR 2017."
//!
//! [[loss]]
//! kind = "kd"                          # what it is, and its options
//! temperature = 4.0
//! weight = 1.0                         # default 1
//!
//! [[loss]]
//! kind = "at"
//! student = ["stage:1", "stage:2"]     # taps; a list longer than the loss needs is the loss once for each, summed
//! teacher = ["attention:stage:1", "attention:stage:2"]   # keys of the answers file
//! connector = "none"                   # or conv1x1, resize, pool, linear, vid, abf
//! weight = 1000.0
//! schedule = { rise = 2.0 }            # from 0 over so many epochs; or { fall = 0.0 }, { until = 0.5 }, { from = 0.5 }
//!
//! [[stage]]                            # optional: several runs, one after the other, each with losses of its own
//! ```
//!
//! A key is `name` or `source/name`. Sources: the answers file as `--answers` names it (`teacher` when it has no name); `self`, what the model
//! of the stage before answers; `history`, what this student answered the last time it saw the same picture; `average`, what the moving
//! average of its weights answers now; `peer`, what students on other nodes answered at the start of the epoch.

mod schedule;
mod term;

use std::path::{Path, PathBuf};

use limbeck_losses::LossError;
use serde::Deserialize;

pub use schedule::Schedule;
pub use term::{Key, Source, Term};

/// Format of a recipe.
pub const VERSION: u32 = 1;

/// A recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct DistillRecipe {
    /// What a table of results calls it.
    pub name: String,
    /// What it does, and whose it is.
    pub about: String,
    /// Runs, one after the other; at least one.
    pub stages: Vec<Stage>,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What is summed.
    pub terms: Vec<Term>,
    /// Share of the recipe's epochs.
    pub share: f64,
    /// Begin with the student as it was given, not as the stage before left it.
    pub restart: bool,
    /// Train another model: the number of an assistant (`--assistant`), from 0. The next stage begins with the student.
    pub assistant: Option<usize>,
    /// Factor on the learning rate.
    pub rate: f64,
    /// Decay of the moving average of the weights that results, if not what the caller says.
    pub ema: Option<f32>,
}

/// Why there is no recipe.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] limbeck_files::FileError),
    /// Not a shipped name, and no file.
    #[error("no recipe `{name}`; there are {known}, or name a TOML file")]
    Unknown {
        /// As asked for.
        name: String,
        /// The shipped ones.
        known: String,
    },
    /// Not TOML, or a key that no recipe has.
    #[error("{}: {why}", path.display())]
    Syntax {
        /// The recipe.
        path: PathBuf,
        /// Line, and what was expected.
        why: String,
    },
    /// A loss of it.
    #[error("{}, loss {number}: {source}", path.display())]
    Loss {
        /// The recipe.
        path: PathBuf,
        /// Counted from 1, over all stages.
        number: usize,
        /// What is wrong.
        source: LossError,
    },
    /// A loss of it, in its own words.
    #[error("{}, loss {number}: {why}", path.display())]
    Term {
        /// The recipe.
        path: PathBuf,
        /// Counted from 1, over all stages.
        number: usize,
        /// What is wrong, and what would be right.
        why: String,
    },
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// The recipes of the field, by name.
        pub const BUILTIN: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../recipes/", $name, ".toml")))),*];
    };
}

shipped![
    "kd",
    "kl",
    "logit-mse",
    "dkd",
    "dist",
    "logit-std",
    "wsld",
    "noisy-teacher",
    "fading-teacher",
    "fitnets",
    "fitnets-staged",
    "at",
    "fsp",
    "nst",
    "ft",
    "ab",
    "ofd",
    "review-kd",
    "ickd",
    "vid",
    "sp",
    "rkd",
    "cc",
    "pkt",
    "irg",
    "srd",
    "crd",
    "ps-kd",
    "mean-teacher",
    "snapshot",
    "born-again",
    "teacher-assistant",
    "route",
    "mutual",
    "adversarial",
    "apprentice",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    name: String,
    #[serde(default)]
    about: String,
    #[serde(default)]
    loss: Vec<toml::Table>,
    #[serde(default)]
    stage: Vec<StageFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StageFile {
    loss: Vec<toml::Table>,
    #[serde(default)]
    share: Option<f64>,
    #[serde(default)]
    restart: bool,
    #[serde(default)]
    assistant: Option<usize>,
    #[serde(default)]
    rate: Option<f64>,
    #[serde(default)]
    ema: Option<f32>,
}

impl DistillRecipe {
    /// A shipped recipe by its name, or else a file.
    pub fn named(name: &str) -> Result<DistillRecipe, RecipeError> {
        if let Some((name, text)) = BUILTIN.iter().find(|(known, _)| *known == name) {
            return DistillRecipe::parse(text, Path::new(name));
        }
        let path = Path::new(name);
        if !path.exists() {
            let known = BUILTIN.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
            return Err(RecipeError::Unknown { name: name.into(), known });
        }
        DistillRecipe::parse(&limbeck_files::read_to_string(path)?, path)
    }

    /// Read a recipe; `named` is the file in messages.
    pub fn parse(text: &str, named: &Path) -> Result<DistillRecipe, RecipeError> {
        let syntax = |why: String| RecipeError::Syntax { path: named.to_owned(), why };
        let file: File = toml::from_str(text).map_err(|e| syntax(e.to_string()))?;
        if file.version != VERSION {
            return Err(syntax(format!("version {}, and this build reads {VERSION}; update limbeck", file.version)));
        }
        let stages = match (file.loss.is_empty(), file.stage.is_empty()) {
            (false, true) => {
                vec![StageFile { loss: file.loss, share: None, restart: false, assistant: None, rate: None, ema: None }]
            }
            (true, false) => file.stage,
            (true, true) => return Err(syntax("no loss; add [[loss]] with a kind".into())),
            (false, false) => return Err(syntax("losses beside stages; put each [[loss]] into a [[stage]]".into())),
        };
        let count = stages.len();
        let mut number = 0;
        let stages = stages.into_iter().map(|stage| {
            let share = stage.share.unwrap_or(1.0 / count as f64);
            let rate = stage.rate.unwrap_or(1.0);
            let within = |what: &str, value: f64| {
                let right = value.is_finite() && value > 0.0 && (what == "rate" || value <= 1.0);
                if right { Ok(()) } else { Err(syntax(format!("{what} = {value} of a stage; write a share above 0"))) }
            };
            within("share", share)?;
            within("rate", rate)?;
            if let Some(ema) = stage.ema.filter(|ema| !(0.0..1.0).contains(ema)) {
                return Err(syntax(format!("ema = {ema} of a stage; it is at least 0 and below 1")));
            }
            if stage.loss.is_empty() {
                return Err(syntax("a stage without a loss; add [[stage.loss]]".into()));
            }
            let terms = stage.loss.into_iter().map(|table| {
                number += 1;
                Term::parse(table).map_err(|e| e.at(named, number))
            });
            let terms = terms.collect::<Result<Vec<_>, _>>()?;
            let (restart, assistant, ema) = (stage.restart, stage.assistant, stage.ema);
            Ok(Stage { terms, share, restart, assistant, rate, ema })
        });
        let stages = stages.collect::<Result<Vec<_>, _>>()?;
        Ok(DistillRecipe { name: file.name, about: file.about, stages })
    }

    /// Every answers file that it names, in order; `teacher` is the one without a name.
    pub fn files(&self) -> Vec<&str> {
        let mut files: Vec<&str> = vec![];
        let keys = self.stages.iter().flat_map(|s| &s.terms).flat_map(|t| &t.teacher);
        for key in keys {
            if let Source::File(name) = &key.source
                && !files.contains(&name.as_str())
            {
                files.push(name);
            }
        }
        files
    }

    /// How many assistants it trains.
    pub fn assistants(&self) -> usize {
        self.stages.iter().filter_map(|s| s.assistant).map(|n| n + 1).max().unwrap_or(0)
    }

    /// Does any loss read other nodes' answers?
    pub fn needs_peers(&self) -> bool {
        let mut keys = self.stages.iter().flat_map(|s| &s.terms).flat_map(|t| &t.teacher);
        keys.any(|key| key.source == Source::Peer)
    }

    /// Does any loss need a label?
    pub fn needs_labels(&self) -> bool {
        self.stages.iter().flat_map(|s| &s.terms).any(|t| t.method.needs().labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_recipe_is_read_and_says_whose_it_is() {
        for (name, text) in BUILTIN {
            let recipe = DistillRecipe::parse(text, Path::new(name)).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(recipe.name, *name);
            assert!(recipe.about.contains("19") || recipe.about.contains("20"), "{name}: a year in `about`");
        }
    }

    #[test]
    fn the_folder_has_the_recipes_that_are_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let mut listed: Vec<&str> = BUILTIN.iter().map(|(name, _)| *name).collect();
        listed.sort_unstable();
        assert_eq!(files, listed);
    }

    #[test]
    fn what_is_wrong_in_a_recipe_is_named() {
        let head = "version = 1\nname = \"x\"\n";
        let cases = [
            ("", "no loss"),
            ("[[loss]]\nkind = \"kdd\"\n", "did you mean"),
            ("[[loss]]\nkind = \"kd\"\ntemprature = 3\n", "loss 1"),
            ("[[loss]]\nkind = \"kd\"\nweight = \"much\"\n", "weight"),
            ("[[loss]]\nkind = \"kd\"\nweight = -1.0\n", "weight"),
            ("[[loss]]\nkind = \"at\"\nstudent = [\"stage:1\", \"stage:2\"]\nteacher = \"feat:last\"\n", "2 taps"),
            ("[[loss]]\nkind = \"kd\"\nschedule = { rise = 1.0, fall = 0.0 }\n", "schedule"),
            ("[[loss]]\nkind = \"at\"\nconnector = \"conv\"\n", "conv1x1"),
            ("[[stage]]\nshare = 2.0\nloss = [{ kind = \"kd\" }]\n", "share"),
            ("[[stage]]\nloss = []\n", "without a loss"),
            ("lr = 3\n[[loss]]\nkind = \"kd\"\n", "lr"),
        ];
        for (text, what) in cases {
            let error = DistillRecipe::parse(&format!("{head}{text}"), Path::new("r.toml")).unwrap_err().to_string();
            assert!(error.contains("r.toml") && error.contains(what), "{text}: {error}");
        }
        let error = DistillRecipe::named("attention").unwrap_err().to_string();
        assert!(error.contains("review-kd"), "{error}");
    }

    #[test]
    fn keys_say_where_they_come_from() {
        let text = "version = 1\nname = \"x\"\n[[loss]]\nkind = \"kd\"\nteacher = \"assistant/logits\"\n\
                    [[loss]]\nkind = \"kd\"\nteacher = \"self/logits\"\n[[loss]]\nkind = \"kd\"\n";
        let recipe = DistillRecipe::parse(text, Path::new("r.toml")).unwrap();
        assert_eq!(recipe.files(), ["assistant", "teacher"]);
        assert_eq!(recipe.stages[0].terms[1].teacher[0].source, Source::Own);
    }
}
