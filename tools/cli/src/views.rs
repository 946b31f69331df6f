//! Which views of every image are shown, and what drawn ones are drawn from.

use std::path::Path;

use anyhow::{Context, Result};
use limbeck_answers::{Augment, View};

use crate::exit::usage;

/// Views, as `teach` and `pipeline` take them.
#[derive(clap::Args, Clone, Debug)]
pub struct ViewArguments {
    /// Views of every image: `identity`, `flip`, and with --augment `drawn:N` or a range of them, `drawn:0..8`.
    #[arg(long, default_value = "identity")]
    pub views: String,
    /// What drawn views are drawn from: `light`, `standard`, `strong`, or a TOML file.
    #[arg(long, value_name = "PRESET|FILE.toml")]
    pub augment: Option<String>,
    /// Another seed of the drawn views (default: the file's; 0 for a preset).
    #[arg(long, value_name = "N")]
    pub augment_seed: Option<u64>,
}

impl Default for ViewArguments {
    fn default() -> ViewArguments {
        ViewArguments { views: View::Identity.to_string(), augment: None, augment_seed: None }
    }
}

impl ViewArguments {
    /// The views, and the recipe if any of them is drawn.
    pub fn read(&self) -> Result<(Vec<View>, Option<Augment>)> {
        let views = View::list(&self.views).map_err(|e| usage(format!("--views {}: {e}", self.views)))?;
        let drawn = views.iter().find(|view| view.is_drawn());
        let Some(augment) = &self.augment else {
            if let Some(view) = drawn {
                let presets = Augment::PRESETS.join(", ");
                return Err(usage(format!(
                    "--views: {view} must be drawn; say from what with --augment: {presets}, or a TOML file"
                )));
            }
            if self.augment_seed.is_some() {
                return Err(usage("--augment-seed: nothing is drawn; give --augment and a drawn view, as drawn:0..8"));
            }
            return Ok((views, None));
        };
        if drawn.is_none() {
            let list = &self.views;
            return Err(usage(format!("--augment {augment}: no view of `{list}` is drawn; add some, as drawn:0..8")));
        }
        let mut recipe = if Augment::PRESETS.contains(&augment.as_str()) {
            Augment::preset(augment, 0)?
        } else {
            from_file(augment)?
        };
        recipe.seed = self.augment_seed.unwrap_or(recipe.seed);
        Ok((views, Some(recipe)))
    }
}

fn from_file(augment: &str) -> Result<Augment> {
    if !augment.ends_with(".toml") {
        return Err(usage(format!("--augment {augment}: use {}, or a file.toml", Augment::PRESETS.join(", "))));
    }
    let bytes = limbeck_files::read(Path::new(augment)).context("--augment")?;
    let text = String::from_utf8(bytes).map_err(|_| usage(format!("--augment {augment}: not text, so not TOML")))?;
    Augment::parse(&text).map_err(|e| usage(format!("--augment {augment}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(views: &str, augment: Option<&str>, augment_seed: Option<u64>) -> Result<(Vec<View>, Option<Augment>)> {
        ViewArguments { views: views.into(), augment: augment.map(str::to_owned), augment_seed }.read()
    }

    #[test]
    fn presets_and_files_are_read_and_a_seed_replaces_theirs() {
        assert_eq!(read("identity", None, None).unwrap(), (vec![View::Identity], None));
        let (views, recipe) = read("identity,drawn:0..2", Some("light"), Some(9)).unwrap();
        assert_eq!(views, [View::Identity, View::Drawn(0), View::Drawn(1)]);
        assert_eq!(recipe, Augment::preset("light", 9).ok());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.toml");
        std::fs::write(&file, "version = 1\nseed = 5\n[flip]\nchance_per_mille = 500\n").unwrap();
        let (_, recipe) = read("drawn:3", file.to_str(), None).unwrap();
        assert_eq!(recipe.unwrap().seed, 5);
    }

    #[test]
    fn what_does_not_go_together_is_told_what_to_give() {
        let cases = [
            ("mirror", None, None, "use identity, flip, drawn:N"),
            ("drawn:0..8", None, None, "say from what with --augment: light, standard, strong"),
            ("identity", Some("light"), None, "no view of `identity` is drawn; add some"),
            ("identity", None, Some(3), "--augment-seed: nothing is drawn"),
            ("drawn:0", Some("mild"), None, "use light, standard, strong, or a file.toml"),
            ("drawn:0", Some("missing.toml"), None, "missing.toml"),
        ];
        for (views, augment, seed, expected) in cases {
            let said = format!("{:#}", read(views, augment, seed).unwrap_err());
            assert!(said.contains(expected), "{said}");
        }
    }
}
