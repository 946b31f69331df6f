//! The card of a model: a TOML file beside the ONNX file that says what its input means.
//!
//! ```toml
//! version = 1
//! task = "classification"
//! labels = ["airplane", "automobile", "bird"]     # in the order of the logits
//!
//! [input]
//! name = "image"              # optional: the ONNX input this is for
//! width = 32
//! height = 32
//! layout = "nchw"             # or "nhwc"
//! colour = "rgb"              # or "bgr", "gray": the order of the channels
//! resize = "exact"            # refuse images of another size; or "stretch"
//! scale = 0.003921569         # value = (pixel * scale - mean[c]) / std[c], pixel 0..=255
//! mean = [0.485, 0.456, 0.406]
//! std = [0.229, 0.224, 0.225]
//! ```
//!
//! Read strictly: a key that is not in this list is an error that names the nearest one that is.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use limbeck_files::FileError;
use limbeck_files::nearest::least_unlike;
use serde::{Deserialize, Serialize};

/// The card version this build reads and writes.
pub const VERSION: u32 = 1;
/// Longest side of an input.
pub const MAX_SIDE: u32 = 16_384;

const KEYS: [&str; 4] = ["version", "task", "labels", "input"];
const INPUT_KEYS: [&str; 9] = ["name", "width", "height", "layout", "colour", "resize", "scale", "mean", "std"];

/// What a model is for and what it eats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Format of the card; 1.
    pub version: u32,
    /// What the outputs mean.
    pub task: Task,
    /// Class names, in the order of the logits.
    pub labels: Vec<String>,
    /// How pixels become the input.
    pub input: InputCard,
}

/// What the outputs mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// One label an image.
    Classification,
    /// Boxes.
    Detection,
    /// One label a pixel.
    Segmentation,
}

/// How pixels become the input: `value = (pixel * scale - mean[c]) / std[c]`, each operation rounded once to f32, in
/// this order. `c` counts channels as the model sees them (0 is blue when `colour` is `bgr`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputCard {
    /// The ONNX input this is for; checked by whoever loads the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// W
    pub width: u32,
    /// H
    pub height: u32,
    /// Order of the axes.
    pub layout: Layout,
    /// Order of the channels.
    pub colour: Colour,
    /// What to do with an image of another size.
    pub resize: Resize,
    /// Factor on the pixel, which is 0..=255.
    pub scale: f32,
    /// Subtracted, one a channel.
    pub mean: Vec<f32>,
    /// Divided by, one a channel.
    pub std: Vec<f32>,
}

/// Order of the axes of the input tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// (N, C, H, W)
    Nchw,
    /// (N, H, W, C)
    Nhwc,
}

/// Order of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
    /// One channel, BT.601 luma.
    Gray,
}

/// What to do with an image whose size is not the input's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Refuse it.
    Exact,
    /// Stretch it to the input's size, sides independently (antialiased bilinear).
    Stretch,
}

/// Why a card cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// No such file.
    #[error(
        "{}: a model needs its card, and there is none; write one with version, task, labels and \
         [input] width, height, layout, colour, resize, scale, mean, std", path.display()
    )]
    Missing {
        /// Where the card should be.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not TOML, or a value of the wrong type.
    #[error("{}, line {line}: {why}; the line is `{text}`", path.display())]
    Syntax {
        /// The card.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser expected.
        why: String,
        /// The line itself.
        text: String,
    },
    /// A key that no card has.
    #[error("{}: unknown key `{key}`; did you mean `{nearest}`?", path.display())]
    UnknownKey {
        /// The card.
        path: PathBuf,
        /// The key, with its table.
        key: String,
        /// The valid key that is spelled most like it.
        nearest: String,
    },
    /// A key that every card has.
    #[error("{}: `{key}` is missing; add `{example}`", path.display())]
    MissingKey {
        /// The card.
        path: PathBuf,
        /// The key, with its table.
        key: String,
        /// A line that would do.
        example: &'static str,
    },
    /// A value that makes no sense.
    #[error("{}: `{key}` {why}", path.display())]
    Invalid {
        /// The card.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
}

impl Card {
    /// Read the card at `path`.
    pub fn read(path: &Path) -> Result<Card, CardError> {
        if !path.exists() {
            return Err(CardError::Missing { path: path.to_owned() });
        }
        Card::parse(&limbeck_files::read_to_string(path)?, path)
    }

    /// Parse `text`; `named` is the file in messages.
    pub fn parse(text: &str, named: &Path) -> Result<Card, CardError> {
        let table: toml::Table = toml::from_str(text).map_err(|e| syntax(&e, text, named))?;
        check_keys(&table, named)?;
        let card: Card = toml::from_str(text).map_err(|e| syntax(&e, text, named))?;
        card.validate(named)?;
        Ok(card)
    }

    /// The values make sense together; `named` is the file in messages. [`Card::parse`] has done this; call it on a
    /// card made in code.
    pub fn validate(&self, named: &Path) -> Result<(), CardError> {
        let bad = |key, why: String| Err(CardError::Invalid { path: named.to_owned(), key, why });
        let input = &self.input;
        if self.version != VERSION {
            return bad("version", format!("is {}, but this build reads {VERSION}; update limbeck", self.version));
        }
        if self.labels.is_empty() && self.task == Task::Classification {
            return bad("labels", "is empty; name every class, in the order of the logits".into());
        }
        if self.labels.len() > u16::MAX as usize {
            return bad("labels", format!("has {} names; at most {} are supported", self.labels.len(), u16::MAX));
        }
        let mut seen = HashSet::new();
        for label in &self.labels {
            if label.trim().is_empty() {
                return bad("labels", "has an empty name; give every class a name".into());
            }
            if !seen.insert(label) {
                return bad("labels", format!("has `{label}` twice; give every class its own name"));
            }
        }
        for (key, side) in [("input.width", input.width), ("input.height", input.height)] {
            if side == 0 || side > MAX_SIDE {
                return bad(key, format!("is {side}; it must be 1 to {MAX_SIDE}"));
            }
        }
        if !(input.scale.is_finite() && input.scale != 0.0) {
            return bad(
                "input.scale",
                format!("is {}; it must be a number other than 0 (1/255 is 0.003921569)", input.scale),
            );
        }
        for (key, values) in [("input.mean", &input.mean), ("input.std", &input.std)] {
            let (have, need) = (values.len(), self.channels());
            if have != need {
                let colour = input.colour.name();
                return bad(key, format!("has {have} values, but colour `{colour}` has {need} channels; give {need}"));
            }
        }
        if let Some(mean) = input.mean.iter().find(|m| !m.is_finite()) {
            return bad("input.mean", format!("has {mean}; every mean must be a finite number"));
        }
        if let Some(std) = input.std.iter().find(|s| !s.is_finite() || **s == 0.0) {
            return bad(
                "input.std",
                format!("has {std}, and values are divided by it; use 1.0 to leave them as they are"),
            );
        }
        for pixel in [0.0, 255.0_f32] {
            for c in 0..self.channels() {
                if !((pixel * input.scale - input.mean[c]) / input.std[c]).is_finite() {
                    return bad(
                        "input.std",
                        format!("overflows for pixel {pixel} in channel {c}; check scale, mean, std"),
                    );
                }
            }
        }
        Ok(())
    }

    /// The canonical text: every key, in a fixed order, shortest numbers that read back as the same f32.
    pub fn to_toml(&self) -> String {
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        let numbers = |values: &[f32]| list(values.iter().map(|v| format!("{v:?}")).collect());
        let input = &self.input;
        let mut text = format!("version = {}\ntask = \"{}\"\n", self.version, self.task.name());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "labels = {}", list(self.labels.iter().map(|l| quoted(l)).collect()));
        let _ = writeln!(text, "\n[input]");
        if let Some(name) = &input.name {
            let _ = writeln!(text, "name = {}", quoted(name));
        }
        let _ = writeln!(text, "width = {}\nheight = {}", input.width, input.height);
        let _ = writeln!(text, "layout = \"{}\"", input.layout.name());
        let _ = writeln!(text, "colour = \"{}\"", input.colour.name());
        let _ = writeln!(text, "resize = \"{}\"", input.resize.name());
        let _ = writeln!(text, "scale = {:?}", input.scale);
        let _ = writeln!(text, "mean = {}\nstd = {}", numbers(&input.mean), numbers(&input.std));
        text
    }

    /// SHA-256 of the canonical text, so that comments and spacing do not matter.
    pub fn sha256(&self) -> String {
        limbeck_files::sha256_hex(self.to_toml().as_bytes())
    }

    /// Where the card of `model` stands: `student.onnx` has `student.toml`.
    pub fn beside(model: &Path) -> PathBuf {
        model.with_extension("toml")
    }

    /// Channels of the input: 3, or 1 for gray.
    pub fn channels(&self) -> usize {
        match self.input.colour {
            Colour::Rgb | Colour::Bgr => 3,
            Colour::Gray => 1,
        }
    }

    /// Pixels of the input, H W.
    pub fn pixels(&self) -> usize {
        self.input.width as usize * self.input.height as usize
    }

    /// Shape of the input tensor for a batch of `n`, in the card's layout.
    pub fn shape(&self, n: usize) -> [usize; 4] {
        let (h, w, c) = (self.input.height as usize, self.input.width as usize, self.channels());
        match self.input.layout {
            Layout::Nchw => [n, c, h, w],
            Layout::Nhwc => [n, h, w, c],
        }
    }
}

/// Names as the TOML spells them.
macro_rules! names {
    ($($kind:ident { $($variant:ident = $name:literal),+ })+) => {$(
        impl $kind {
            /// As the card spells it.
            pub fn name(self) -> &'static str {
                match self { $($kind::$variant => $name),+ }
            }
        }
    )+};
}

names! {
    Task { Classification = "classification", Detection = "detection", Segmentation = "segmentation" }
    Layout { Nchw = "nchw", Nhwc = "nhwc" }
    Colour { Rgb = "rgb", Bgr = "bgr", Gray = "gray" }
    Resize { Exact = "exact", Stretch = "stretch" }
}

/// Every key is known and every key that must be there is.
fn check_keys(table: &toml::Table, named: &Path) -> Result<(), CardError> {
    let unknown = |key: String, prefix: &str, known: &[&str]| {
        let nearest = least_unlike(&key, known.iter().copied()).unwrap_or_default();
        CardError::UnknownKey {
            path: named.to_owned(),
            nearest: format!("{prefix}{nearest}"),
            key: format!("{prefix}{key}"),
        }
    };
    let input = table.get("input").and_then(toml::Value::as_table);
    if let Some(key) = table.keys().find(|k| !KEYS.contains(&k.as_str())) {
        // A key of [input] written above the table header belongs below it.
        return Err(match INPUT_KEYS.iter().find(|k| **k == key.as_str()) {
            Some(k) => {
                CardError::UnknownKey { path: named.to_owned(), key: key.clone(), nearest: format!("input.{k}") }
            }
            None => unknown(key.clone(), "", &KEYS),
        });
    }
    if let Some(key) = input.and_then(|t| t.keys().find(|k| !INPUT_KEYS.contains(&k.as_str()))) {
        return Err(unknown(key.clone(), "input.", &INPUT_KEYS));
    }
    let top = [
        ("version", "version = 1"),
        ("task", "task = \"classification\""),
        ("labels", "labels = [\"cat\", \"dog\"]"),
        ("input", "[input]"),
    ];
    let below = [
        ("width", "width = 32"),
        ("height", "height = 32"),
        ("layout", "layout = \"nchw\""),
        ("colour", "colour = \"rgb\""),
        ("resize", "resize = \"exact\""),
        ("scale", "scale = 0.003921569"),
        ("mean", "mean = [0.0, 0.0, 0.0]"),
        ("std", "std = [1.0, 1.0, 1.0]"),
    ];
    let missing = |key: String, example| Err(CardError::MissingKey { path: named.to_owned(), key, example });
    if let Some((key, example)) = top.into_iter().find(|(k, _)| !table.contains_key(*k)) {
        return missing(key.into(), example);
    }
    if let Some((key, example)) = below.into_iter().find(|(k, _)| input.is_some_and(|t| !t.contains_key(*k))) {
        return missing(format!("input.{key}"), example);
    }
    Ok(())
}

fn syntax(error: &toml::de::Error, text: &str, named: &Path) -> CardError {
    let start = error.span().map_or(0, |s| s.start.min(text.len()));
    let line = text.as_bytes()[..start].iter().filter(|b| **b == b'\n').count();
    CardError::Syntax {
        path: named.to_owned(),
        line: line + 1,
        why: error.message().to_owned(),
        text: text.lines().nth(line).unwrap_or_default().trim().to_owned(),
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for ch in text.chars() {
        match ch {
            '"' | '\\' => out.extend(['\\', ch]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
version = 1
task = "classification"
labels = ["airplane", "bird"]   # in the order of the logits

[input]
name = "image"
width = 32
height = 24
layout = "nchw"
colour = "rgb"
resize = "exact"
scale = 0.003921569
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"#;

    fn parse(text: &str) -> Result<Card, CardError> {
        Card::parse(text, Path::new("student.toml"))
    }

    #[test]
    fn a_card_reads_back_as_itself() {
        let card = parse(GOOD).unwrap();
        assert_eq!(parse(&card.to_toml()).unwrap(), card);
        assert_eq!((card.channels(), card.pixels(), card.shape(5)), (3, 768, [5, 3, 24, 32]));
        let mut odd = card.clone();
        odd.labels = vec!["a \"quote\"".into(), "back\\slash\n\u{7f}".into(), "größe".into()];
        odd.input.name = None;
        odd.input.mean = vec![-0.0, 1e-30, 1.0e20];
        odd.input.scale = 1.0 / 255.0;
        assert_eq!(parse(&odd.to_toml()).unwrap(), odd);
        let json = serde_json::to_string(&odd).unwrap();
        assert_eq!(serde_json::from_str::<Card>(&json).unwrap(), odd);
    }

    #[test]
    fn whole_numbers_are_numbers() {
        let card = parse(&GOOD.replace("scale = 0.003921569", "scale = 1").replace("0.485", "0")).unwrap();
        assert_eq!((card.input.scale, card.input.mean[0]), (1.0, 0.0));
    }

    #[test]
    fn comments_and_spacing_do_not_change_the_hash() {
        let spaced = GOOD.replace(" = ", "=").replace("[input]", "# the input\n[input]");
        assert_eq!(parse(&spaced).unwrap().sha256(), parse(GOOD).unwrap().sha256());
        let other = GOOD.replace("0.485", "0.486");
        assert_ne!(parse(&other).unwrap().sha256(), parse(GOOD).unwrap().sha256());
    }

    #[test]
    fn errors_name_the_file_the_key_and_a_way_out() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("colour = ", "color = ", &["unknown key `input.color`", "`input.colour`"]),
            ("labels", "lables", &["unknown key `lables`", "`labels`"]),
            ("task = ", "width = 3\ntask = ", &["unknown key `width`", "`input.width`"]),
            ("scale = 0.003921569\n", "", &["`input.scale` is missing", "scale = 0.003921569"]),
            ("\"rgb\"", "\"rbg\"", &["line 11", "rbg", "`bgr`"]),
            ("width = 32", "width = \"32\"", &["line 8", "width = \"32\""]),
            ("width = 32", "width = -1", &["line 8", "width = -1"]),
            ("width = 32", "width = 0", &["`input.width` is 0", "1 to 16384"]),
            ("0.229", "0.0", &["`input.std`", "use 1.0"]),
            ("0.229", "nan", &["`input.std`", "NaN"]),
            ("0.229", "1e-60", &["`input.std`"]),
            ("0.003921569", "inf", &["`input.scale`"]),
            ("[0.485, 0.456, 0.406]", "[0.5]", &["`input.mean` has 1 values", "give 3"]),
            ("\"rgb\"", "\"gray\"", &["`input.mean` has 3 values", "give 1"]),
            ("\"bird\"", "\"airplane\"", &["`labels` has `airplane` twice"]),
            ("[\"airplane\", \"bird\"]", "[]", &["`labels` is empty"]),
            ("version = 1", "version = 2", &["`version` is 2", "update"]),
            ("[input]", "[input", &["line 6"]),
        ];
        for (from, to, expected) in cases {
            assert!(GOOD.contains(from), "{from}");
            let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            for part in expected.iter().chain(&["student.toml"]) {
                assert!(error.contains(part), "{to}: `{part}` not in: {error}");
            }
        }
    }

    #[test]
    fn a_missing_card_says_where_and_what() {
        let path = Card::beside(Path::new("/no/such/student.onnx"));
        let error = Card::read(&path).unwrap_err().to_string();
        assert!(error.contains("/no/such/student.toml") && error.contains("labels"), "{error}");
    }
}
