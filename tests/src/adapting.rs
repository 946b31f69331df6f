//! What an adaptation needs, small: a bundle with a replay set, local images, and what the teacher says of them; and the agent itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::limbeck::{Ended, build, started_in};
use crate::world::World;

/// Images that the board sees.
pub const LOCAL: &str = "scenes:seed=31,samples=24,shift=strong";
/// What the student was distilled on.
const SOURCE: &str = "scenes:seed=1,samples=40";

/// The agent of profile `dev`, built if need be.
pub fn agent() -> &'static Path {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    AGENT.get_or_init(|| build("limbeck-agent", "limbeck-agent", &["-p", "limbeck-cli", "--bin", "limbeck-agent"], &[]))
}

/// `student.limbeck`, `local/` and `local.answers` (two views) in a new world.
pub fn world() -> World {
    let world = World::new();
    let run = |args: &str| world.run(args).expect(0, &[]);
    run(&format!("zoo --export {LOCAL} --out local"));
    run("teach --teacher teacher.onnx --data local --views identity,flip --out local.answers");
    run(&format!("teach --teacher teacher.onnx --data {SOURCE} --out source.answers"));
    let replay = format!("--replay {SOURCE} --replay-answers source.answers --replay-count 16");
    run(&format!("bundle --student student.onnx --data scenes:seed=2,samples=16 {replay} --out student.limbeck"));
    world
}

/// The options that every adaptation here begins with; `margin` is wide, because an untrained student has nothing to forget.
pub const ADAPT: &str =
    "adapt student.limbeck --images local --answers local.answers --margin 5 --batch 4 --checkpoint-every 2";

/// `agent <args>` in the world; `args` are separated by spaces.
pub fn agent_command(world: &World, args: &str) -> Command {
    started_in(&world.path("."), agent(), &args.split_whitespace().collect::<Vec<_>>())
}

/// The same, run to its end.
pub fn agent_run(world: &World, args: &str) -> Ended {
    Ended::of(&mut agent_command(world, args))
}

/// The last line of this kind.
pub fn line(stdout: &str, kind: &str) -> serde_json::Value {
    let mut lines = stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.rfind(|line| line["kind"] == kind).unwrap_or_else(|| panic!("no `{kind}` line in\n{stdout}"))
}
