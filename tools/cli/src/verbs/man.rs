//! `limbeck man`: manual pages from the same source as `--help`.

use std::path::PathBuf;

use anyhow::Result;

use crate::console::Console;

/// Write the manual pages of limbeck and each of its verbs: `man -l man/limbeck-bench.1`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Folder of the pages.
    #[arg(long, default_value = "man")]
    pub out: PathBuf,
}

/// See the module.
pub fn run(arguments: &Arguments, command: clap::Command, console: &Console) -> Result<()> {
    limbeck_files::create_dir(&arguments.out)?;
    let mut pages = 0;
    page(&command.disable_help_subcommand(true), "limbeck", arguments, &mut pages)?;
    console.say(format!("man        {pages} pages in {}", arguments.out.display()));
    Ok(())
}

/// The page of a command, and those of its verbs.
fn page(command: &clap::Command, name: &str, arguments: &Arguments, pages: &mut usize) -> Result<()> {
    // clap's names live as long as the program.
    let shown: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let mut text = vec![];
    clap_mangen::Man::new(command.clone().name(shown)).render(&mut text)?;
    limbeck_files::write_atomic(arguments.out.join(format!("{name}.1")), |w| w.write_all(&text))?;
    *pages += 1;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        page(verb, &format!("{name}-{}", verb.get_name()), arguments, pages)?;
    }
    Ok(())
}
