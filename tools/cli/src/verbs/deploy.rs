//! `limbeck deploy`: build the agent for a board, install it there with a bundle, let it prove itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use limbeck_boards::Board;
use limbeck_bundle::Bundle;
use limbeck_runner::{Agent, BuildOptions, Installed, build_agent, install};

use crate::console::Console;
use crate::record::{ReportArguments, put};

/// Build the agent for a board and install it there with a bundle.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The bundle.
    pub bundle: PathBuf,
    #[command(flatten)]
    pub on: OnBoard,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// A board and how its agent is built.
#[derive(clap::Args, Clone, Debug)]
pub struct OnBoard {
    /// Board: a name (`limbeck board list`) or a TOML file.
    #[arg(long, default_value = "host")]
    pub board: String,
    /// Cargo profile of the agent (default: dist; on this machine that of a `limbeck` built for development, too).
    #[arg(long)]
    pub profile: Option<String>,
    /// Limbeck's own source, which the agent is built from.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."), hide_default_value = true)]
    pub source: PathBuf,
}

impl OnBoard {
    /// The profile to build for `board`. A development build of `limbeck` has already compiled all that an agent for
    /// this machine needs; everything else gets what ships.
    fn profile(&self, board: &Board) -> String {
        let default = if cfg!(debug_assertions) && board.is_host_triple() { "dev" } else { "dist" };
        self.profile.clone().unwrap_or_else(|| default.into())
    }
}

/// A bundle installed on a board and proved.
pub struct Deployed {
    /// The board.
    pub board: Board,
    /// The agent on it.
    pub agent: Agent,
    /// Holds the board until dropped.
    pub installed: Installed,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    let deployed = deploy(&arguments.bundle, &arguments.on, console)?;
    arguments.report.update(|report| put_board(report, &deployed))
}

/// Build, install, probe.
pub fn deploy(bundle: &Path, on: &OnBoard, console: &Console) -> Result<Deployed> {
    // Refuse a damaged bundle before anything is built for it.
    let probes = Bundle::read(bundle)?.manifest.probes.len();
    let board = Board::find(&on.board)?;
    if !on.source.join("Cargo.toml").is_file() {
        let source = on.source.display();
        return Err(crate::exit::usage(format!("{source}: Limbeck's source is not here; name it with --source")));
    }
    let source = on.source.canonicalize().unwrap_or_else(|_| on.source.clone());
    console.check()?;
    let profile = on.profile(&board);
    console.say(format!("build      agent for {} ({}, profile {profile})", board.name, board.triple));
    let options = BuildOptions { workspace: source, profile, quiet: true };
    let agent = build_agent(&board, &options).with_context(|| format!("board {}", board.name))?;
    console.check()?;
    let installed = install(&board, &agent, bundle).with_context(|| format!("board {}", board.name))?;
    installed.agent(&["probe"], installed.timeout(), &mut |_| ()).map_err(|error| {
        let what = if error.exit_code() == 3 { "its integers differ from this machine's" } else { "probe" };
        anyhow::Error::from(error).context(format!("board {}: {what}", board.name))
    })?;
    console.say(format!(
        "deploy     {} slot {}: agent {} bytes, {probes} probes equal",
        board.name,
        installed.slot(),
        agent.bytes
    ));
    Ok(Deployed { board, agent, installed })
}

/// The report's entry of a board, which keeps what an earlier verb measured there.
pub fn put_board(report: &mut limbeck_report::Report, deployed: &Deployed) {
    let Deployed { board, agent, .. } = deployed;
    let old = report.boards.iter().find(|b| b.board == board.name).cloned().unwrap_or_default();
    let entry = limbeck_report::Board {
        board: board.name.clone(),
        title: board.title.clone(),
        emulated: matches!(board.transport, limbeck_boards::Transport::Exec { .. }),
        agent: Some(limbeck_report::Agent {
            sha256: agent.sha256.clone(),
            bytes: agent.bytes,
            toolchain: format!("{}, {}, profile {}", agent.toolchain, agent.triple, agent.profile),
            ..limbeck_report::Agent::default()
        }),
        ..old
    };
    put(&mut report.boards, entry, |b| b.board == board.name);
    let size = limbeck_report::Size {
        name: format!("agent ({})", agent.triple),
        bytes: agent.bytes,
        note: format!("profile {}", agent.profile),
    };
    let name = size.name.clone();
    put(&mut report.sizes, size, |s| s.name == name);
}
