//! `limbeck recipes`: the distillation methods that are shipped.
//!
//! ```text
//! limbeck recipes            name and source of each
//! limbeck recipes at         its file, to copy and change
//! ```

use anyhow::Result;
use limbeck_distill::{BUILTIN, DistillRecipe};

use crate::console::Console;

/// List the shipped distillation recipes, or print one as a file to copy and change.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Print this one.
    pub name: Option<String>,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    if let Some(name) = &arguments.name {
        let shipped = BUILTIN.iter().find(|(known, _)| known == name);
        // An unknown name fails with the list of those that are there.
        return match shipped {
            Some((_, text)) => console.print(*text),
            None => DistillRecipe::named(name).map_err(Into::into).and_then(|recipe| console.print(recipe.about)),
        };
    }
    let width = BUILTIN.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, _) in BUILTIN {
        console.print(format!("{name:width$}  {}", DistillRecipe::named(name)?.about))?;
    }
    Ok(())
}
