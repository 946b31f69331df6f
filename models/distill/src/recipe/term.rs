//! One loss of a recipe.

use std::path::Path;

use limbeck_losses::{Connector, LossError, Method};
use serde::Deserialize;

use super::{RecipeError, Schedule};

/// A loss, what it reads, how heavy it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Name of the loss.
    pub kind: String,
    /// The loss.
    pub method: Method,
    /// Taps of the student, a whole number of times what the loss needs.
    pub student: Vec<String>,
    /// Keys of answers, as many times what the loss needs.
    pub teacher: Vec<Key>,
    /// What stands behind each tap.
    pub connector: Connector,
    /// Length of an embedding (`crd`), or channels in the middle of a connector.
    pub middle: Option<usize>,
    /// Of the sum.
    pub weight: f64,
    /// When.
    pub schedule: Schedule,
}

/// Where a teacher's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Whose.
    pub source: Source,
    /// Key of the answers file, or tap of the student.
    pub name: String,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An answers file, by the name that the command line gives it.
    File(String),
    /// The model of the stage before, or the student as it is given.
    Own,
    /// The student when it last saw the same picture.
    History,
    /// The moving average of the student's weights.
    Average,
    /// Other nodes, which learn at the same time ([`crate::Exchange`]); the loss is the mean over them.
    Peer,
}

/// What is wrong with a term; the recipe adds where.
pub(super) enum TermError {
    Loss(LossError),
    Other(String),
}

impl TermError {
    pub fn at(self, path: &Path, number: usize) -> RecipeError {
        let path = path.to_owned();
        match self {
            TermError::Loss(source) => RecipeError::Loss { path, number, source },
            TermError::Other(why) => RecipeError::Term { path, number, why },
        }
    }
}

/// The keys of a loss's table that are the recipe's; the rest are the loss's own.
const OWN: [&str; 6] = ["student", "teacher", "connector", "middle", "weight", "schedule"];

#[derive(Deserialize)]
struct Common {
    student: Option<OneOrMany>,
    teacher: Option<OneOrMany>,
    connector: Option<String>,
    middle: Option<usize>,
    weight: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

impl Key {
    /// `name`, or `source/name`.
    pub fn parse(text: &str) -> Key {
        let (source, name) = text.split_once('/').unwrap_or(("teacher", text));
        let source = match source {
            "self" => Source::Own,
            "history" => Source::History,
            "average" => Source::Average,
            "peer" => Source::Peer,
            file => Source::File(file.to_owned()),
        };
        Key { source, name: name.to_owned() }
    }
}

impl Term {
    pub(super) fn parse(mut table: toml::Table) -> Result<Term, TermError> {
        let other = |why: String| Err(TermError::Other(why));
        let mut common = toml::Table::new();
        for key in OWN {
            if let Some(value) = table.remove(key) {
                common.insert(key.into(), value);
            }
        }
        let schedule = match common.remove("schedule") {
            Some(value) => Schedule::parse(value).map_err(TermError::Other)?,
            None => Schedule::Constant,
        };
        let described = common.keys().cloned().collect::<Vec<_>>().join(", ");
        let common: Common = common
            .try_into()
            .map_err(|e: toml::de::Error| TermError::Other(format!("{described}: {}", e.message())))?;
        let kind = table.get("kind").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let method = Method::parse(table).map_err(TermError::Loss)?;
        let connector = common.connector.as_deref().map_or(Ok(Connector::None), Connector::parse);
        let connector = connector.map_err(|e| TermError::Other(e.to_string()))?;
        let weight = common.weight.unwrap_or(1.0);
        if !(weight.is_finite() && weight >= 0.0) {
            return other(format!("weight = {weight}; write a number that is not below 0"));
        }
        let needs = method.needs();
        let (tap, key) = usual(needs.head);
        let student = common.student.map_or_else(|| vec![tap.to_owned(); taps(&method)], OneOrMany::into_vec);
        let teacher = match common.teacher {
            Some(keys) => keys.into_vec(),
            None => vec![key.to_owned(); keys(&method)],
        };
        let term = Term {
            kind,
            student,
            teacher: teacher.iter().map(|key| Key::parse(key)).collect(),
            connector,
            middle: common.middle,
            weight,
            schedule,
            method,
        };
        let (taps, keys) = (taps(&term.method), keys(&term.method));
        let (have_taps, have_keys) = (term.student.len(), term.teacher.len());
        let whole = have_taps > 0 && have_taps.is_multiple_of(taps);
        if !whole || have_keys != have_taps / taps * keys {
            return other(format!(
                "{have_taps} taps of the student and {have_keys} keys of the teacher; this loss reads {taps} and {keys} \
                 (or both a whole number of times)"
            ));
        }
        Ok(term)
    }

    /// How often the loss is there, and how many taps and keys each has.
    pub fn groups(&self) -> impl Iterator<Item = (&[String], &[Key])> {
        let (taps, keys) = (taps(&self.method), keys(&self.method));
        let of = move |i: usize| (&self.student[i * taps..][..taps], &self.teacher[i * keys..][..keys]);
        (0..self.student.len() / taps).map(of)
    }
}

/// Taps that a loss is written with. The second output of `vid` is its connector's, that of `crd` the teacher's embedding.
fn taps(method: &Method) -> usize {
    if matches!(method, Method::Vid(_) | Method::Crd(_)) { 1 } else { method.needs().student }
}

/// Keys that a loss is written with. `crd` embeds the teacher's vector in the student's graph.
fn keys(method: &Method) -> usize {
    if matches!(method, Method::Crd(_)) { 1 } else { method.needs().teacher }
}

/// Tap and key where a recipe names none.
fn usual(head: &str) -> (&'static str, &'static str) {
    match head {
        "pooled" => ("pooled", "pooled"),
        "feat" => ("last", "feat:last"),
        "attention" => ("last", "attention:last"),
        "sign" => ("last:pre", "sign:last"),
        _ => ("logits", "logits"),
    }
}
