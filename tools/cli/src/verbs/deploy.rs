//! `limbeck deploy`: build the agent for a board, install it there with a bundle, let it prove itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use limbeck_boards::{Board, Transport};
use limbeck_bundle::{Bundle, PublicKey, Trust};
use limbeck_report::{Preflight, PreflightState};
use limbeck_runner::{Admission, Agent, BuildOptions, Installed, Remembered, Verdict, build_agent, install_admitted};

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
    /// Cargo profile of the agent (default: board; on this machine that of a `limbeck` built for development, too).
    #[arg(long)]
    pub profile: Option<String>,
    /// Limbeck's own source, which the agent is built from.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."), hide_default_value = true)]
    pub source: PathBuf,
    /// Only this key's bundles: the bundle must be signed by it, and the board takes no others from now on.
    #[arg(long, value_name = "FILE.pub")]
    pub trust: Option<PathBuf>,
    /// Install an older version than the board had.
    #[arg(long)]
    pub force_downgrade: bool,
}

impl OnBoard {
    /// The profile to build for `board`. A development build of `limbeck` has already compiled all that an agent for
    /// this machine needs; everything else gets what ships.
    fn profile(&self, board: &Board) -> String {
        let default = if cfg!(debug_assertions) && board.is_host_triple() { "dev" } else { "board" };
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
    // Refuse a damaged bundle, or one that is not signed as it should be, before anything is built for it.
    let read = Bundle::read(bundle)?;
    let key = on.trust.as_deref().map(PublicKey::read).transpose()?;
    Trust { key: key.clone(), version: None }.admit(&read, bundle)?;
    let probes = read.manifest.probes.len();
    let board = Board::find(&on.board)?;
    if !on.source.join("Cargo.toml").is_file() {
        let source = on.source.display();
        return Err(crate::exit::usage(format!("{source}: Limbeck's source is not here; name it with --source")));
    }
    if let Transport::Ssh { .. } = board.transport {
        // A board that is away, or will not do, says so now and not after minutes of building.
        limbeck_runner::preflight(&board, None)
            .and_then(|preflight| preflight.accept())
            .with_context(|| format!("board {}", board.name))?;
    }
    let source = on.source.canonicalize().unwrap_or_else(|_| on.source.clone());
    console.check()?;
    let profile = on.profile(&board);
    console.say(format!("build      agent for {} ({}, profile {profile})", board.name, board.triple));
    let options = BuildOptions { workspace: source, profile, quiet: true };
    let agent = build_agent(&board, &options).with_context(|| format!("board {}", board.name))?;
    console.check()?;
    let admit = |remembered: &Remembered| {
        let words = (remembered.key.as_deref(), remembered.version.as_deref());
        let mut trust = Trust::parse(words.0, words.1, Path::new(&board.name)).map_err(|e| e.to_string())?;
        if let (Some(asked), Some(trusted)) = (&key, &trust.key)
            && asked != trusted
        {
            return Err(format!("it trusts {} already; remove that file on the board to change it", trusted.text()));
        }
        if on.force_downgrade {
            trust.version = None;
        }
        trust.admit(&read, bundle).map_err(|e| e.to_string())
    };
    let version = Some(read.manifest.version).filter(|version| *version > 0 || on.force_downgrade);
    let key = key.as_ref().map(PublicKey::text);
    let admission = Admission { admit: &admit, key, version, downgrade: on.force_downgrade };
    let installed =
        install_admitted(&board, &agent, bundle, &admission).with_context(|| format!("board {}", board.name))?;
    console.say(format!(
        "deploy     {} slot {}: agent {} bytes, {probes} probes equal",
        board.name,
        installed.slot(),
        agent.bytes
    ));
    Ok(Deployed { board, agent, installed })
}

/// What was looked at before anything was copied.
fn preflight(installed: &Installed) -> Vec<Preflight> {
    let state = |verdict| match verdict {
        Verdict::Ok => PreflightState::Ok,
        Verdict::Warning => PreflightState::Warning,
        Verdict::Refused => PreflightState::Refused,
    };
    let checks = installed.preflight().map(|preflight| &preflight.checks[..]).unwrap_or_default();
    let one = |check: &limbeck_runner::Check| Preflight {
        name: check.what.to_owned(),
        state: state(check.verdict),
        text: check.fix.iter().fold(check.found.clone(), |text, fix| format!("{text}; {fix}")),
    };
    checks.iter().map(one).collect()
}

/// The report's entry of a board, which keeps what an earlier verb measured there.
pub fn put_board(report: &mut limbeck_report::Report, deployed: &Deployed) {
    let Deployed { board, agent, .. } = deployed;
    let old = report.boards.iter().find(|b| b.board == board.name).cloned().unwrap_or_default();
    let entry = limbeck_report::Board {
        board: board.name.clone(),
        title: board.title.clone(),
        emulated: board.is_emulated(),
        agent: Some(limbeck_report::Agent {
            sha256: agent.sha256.clone(),
            bytes: agent.bytes,
            toolchain: format!("{}, {}, profile {}", agent.toolchain, agent.triple, agent.profile),
            kernels: agent.kernels.clone().unwrap_or_default(),
        }),
        preflight: preflight(&deployed.installed),
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
