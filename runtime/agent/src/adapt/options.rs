//! The options of `adapt`, and the recipe they make.

use std::path::PathBuf;
use std::time::Duration;

use limbeck_adapt::{Loss, Recipe, Rule, Selection};

/// What to adapt, on what, within which limits.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The bundle to start from; it is never changed.
    pub bundle: PathBuf,
    /// Folder of images that are here (`<class>/*.jpg|png`, or unlabelled).
    #[arg(long)]
    pub images: PathBuf,
    /// The teacher's answers over those images.
    #[arg(long)]
    pub answers: PathBuf,
    /// Folder for checkpoints and caches; the same one again goes on where a killed run stopped.
    #[arg(long)]
    pub work: PathBuf,
    /// Write the accepted bundle here.
    #[arg(long, required_unless_present = "install")]
    pub out: Option<PathBuf>,
    /// Make the accepted bundle the current install below this folder (that of `limbeck deploy`).
    #[arg(long, value_name = "WORKDIR")]
    pub install: Option<PathBuf>,
    /// Tensors to train: all, last:N, biases, or name:PATTERN,…  (default: all; with --memory, what fits and matters most).
    #[arg(long, value_parser = selection)]
    pub select: Option<Selection>,
    /// Most memory that training may take, such as 24MiB.
    #[arg(long, value_parser = bytes)]
    pub memory: Option<u64>,
    /// Largest file for what the frozen part of the student makes of the images.
    #[arg(long, default_value = "256MiB", value_parser = bytes)]
    pub cache_limit: u64,
    /// Longest the whole run may take, such as 60s or 10m.
    #[arg(long, value_parser = duration)]
    pub time: Option<Duration>,
    /// Passes over the images.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub epochs: u32,
    /// Samples a step.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch: u32,
    /// Peak learning rate; a cosine brings it to zero.
    #[arg(long, default_value_t = 5e-4, value_parser = positive)]
    pub rate: f32,
    /// Update rule.
    #[arg(long, value_enum, default_value = "adam")]
    pub optimiser: RuleName,
    /// Temperature of the softened distributions.
    #[arg(long, default_value_t = 4.0, value_parser = positive)]
    pub temperature: f32,
    /// Weight of the cross-entropy with the folder's labels; 0 needs no labels.
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    pub label_weight: f32,
    /// Weight decay.
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    pub weight_decay: f32,
    /// Largest L2 norm of a step's gradients.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub clip: f32,
    /// Share of the images that only judge.
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    pub hold_out: f64,
    /// How much the loss on the bundle's replay set may rise, as a share of what it was.
    #[arg(long, default_value_t = 0.1, value_parser = not_negative_f64)]
    pub margin: f64,
    /// Do not train on any of the replay set; else every other of its samples is rehearsed, and the rest judge.
    #[arg(long)]
    pub no_rehearsal: bool,
    /// Draws the split, and the order of samples and views.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads; the result is the same for any number.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Stop above this temperature, in °C.
    #[arg(long, default_value_t = 80.0)]
    pub max_temperature: f64,
    /// Steps from one checkpoint to the next.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    pub checkpoint_every: u32,
    /// Where the file systems that tell the temperature are mounted.
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// Update rules by name.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleName {
    /// Adam (decoupled weight decay).
    Adam,
    /// SGD with Nesterov momentum 0.9.
    Sgd,
    /// SGD without momentum: keeps nothing between steps.
    PlainSgd,
    /// Adafactor: keeps row and column means where Adam keeps two copies of every weight.
    Adafactor,
}

impl Options {
    /// How to train.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            loss: Loss { temperature: self.temperature, teacher_weight: 1.0, label_weight: self.label_weight },
            epochs: self.epochs as usize,
            batch: self.batch as usize,
            rate: self.rate,
            rule: match self.optimiser {
                RuleName::Adam => Rule::ADAM,
                RuleName::Sgd => Rule::SGD,
                RuleName::PlainSgd => Rule::Sgd { momentum: 0.0, nesterov: false },
                RuleName::Adafactor => Rule::Adafactor,
            },
            weight_decay: self.weight_decay,
            clip: self.clip,
            seed: self.seed,
            threads: self.threads as usize,
            ..Recipe::default()
        }
    }

    /// All that decides the trained bits, besides bundle, images and answers: for people, and for the checkpoint's identity.
    /// Threads are not in it.
    pub fn recipe_text(&self, selection: &str) -> String {
        let Options { epochs, batch, rate, temperature, label_weight, weight_decay, clip, hold_out, seed, .. } = self;
        let rule = format!("{:?}", self.optimiser).to_lowercase();
        let rehearsal = if self.no_rehearsal { "no rehearsal" } else { "half of the replay set rehearsed" };
        format!(
            "{rule}, rate {rate}, {epochs} epochs, batch {batch}, temperature {temperature}, label weight {label_weight}, \
             weight decay {weight_decay}, clip {clip}, hold-out {hold_out}, {rehearsal}, seed {seed}, trained {selection}"
        )
    }
}

fn selection(text: &str) -> Result<Selection, String> {
    text.parse::<Selection>().map_err(|e| e.to_string())
}

/// "24MiB", "512kB", "1000000".
fn bytes(text: &str) -> Result<u64, String> {
    let units =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1000), ("MB", 1_000_000), ("B", 1), ("", 1)];
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim();
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let value = digits.parse::<f64>().ok().filter(|v| v.is_finite() && *v > 0.0);
    match value.zip(factor) {
        Some((value, factor)) => Ok((value * factor as f64) as u64),
        None => Err("write a size such as 24MiB".into()),
    }
}

/// "60s", "10m", "1h", "60".
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let seconds = digits.parse::<f64>().map_or(f64::NAN, |v| v * factor);
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => Err("write a time such as 60s".into()),
    }
}

fn positive(text: &str) -> Result<f32, String> {
    number(text).filter(|v| *v > 0.0).map(|v| v as f32).ok_or_else(|| "must be above 0".into())
}

fn not_negative(text: &str) -> Result<f32, String> {
    not_negative_f64(text).map(|v| v as f32)
}

fn not_negative_f64(text: &str) -> Result<f64, String> {
    number(text).filter(|v| *v >= 0.0).ok_or_else(|| "must not be below 0".into())
}

fn share(text: &str) -> Result<f64, String> {
    number(text).filter(|v| *v > 0.0 && *v < 1.0).ok_or_else(|| "must lie between 0 and 1".into())
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|v: &f64| v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_with_their_units() {
        let sizes = [("24MiB", 24 << 20), ("1.5 KiB", 1536), ("2MB", 2_000_000), ("77", 77)];
        assert!(sizes.into_iter().all(|(text, value)| bytes(text) == Ok(value)));
        assert!(["", "MiB", "-1MiB", "3 parsec", "inf", "0"].into_iter().all(|text| bytes(text).is_err()));
        let times = [("60s", 60.0), ("1.5m", 90.0), ("2h", 7200.0), ("7", 7.0)];
        assert!(times.into_iter().all(|(text, value)| duration(text).unwrap().as_secs_f64() == value));
        assert!(["", "s", "-1s", "3 weeks", "0", "1e99h"].into_iter().all(|text| duration(text).is_err()));
    }
}
