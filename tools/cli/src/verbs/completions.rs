//! `limbeck completions`: what a shell needs to complete verbs and options.

use anyhow::Result;
use clap_complete::Shell;

/// Completions for a shell, on stdout: `limbeck completions bash > ~/.local/share/bash-completion/completions/limbeck`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The shell.
    pub shell: Shell,
}

/// See the module.
pub fn run(arguments: &Arguments, command: &mut clap::Command) -> Result<()> {
    use std::io::Write;

    let mut text = vec![];
    clap_complete::generate(arguments.shell, command, "limbeck", &mut text);
    let mut out = std::io::stdout().lock();
    out.write_all(&text)?;
    Ok(out.flush()?)
}
