//! `limbeck profile`: where the time of an inference goes, on this machine.
//!
//! ```text
//! model.onnx ──profile──► a table, or JSON, on stdout; with --trace a Chrome trace
//! ```
//!
//! Every step of a run is timed: ops of int8 plans, nodes of tract, and the crossings between floats and integers. The last
//! table sums them up by kind and holds each kind against this machine's practical peak ([`limbeck_engine::Peak`]).

mod json;
mod table;
mod trace;

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_engine::{Isa, Peak, Profile, Student, onnx::Model};

use crate::console::Console;
use crate::exit::usage;
use crate::inputs::noise;

/// Time, multiply-accumulates and bytes of every step of an inference, on this machine.
///
/// The path is the fastest of this CPU, or the one that LIMBECK_ISA names. One thread. Quote a profile only from a quiet machine
/// and an optimised build: `cargo build --profile dist`; float steps of a development build are slower than tract is.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The model (ONNX), float or int8.
    pub model: PathBuf,
    /// Inferences that are timed step by step; times are medians over them.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// Also write the run of median length as a Chrome trace (chrome://tracing, Perfetto).
    #[arg(long, value_name = "FILE.json")]
    pub trace: Option<PathBuf>,
    /// JSON instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// What is shown.
struct Shown {
    model: String,
    isa: Isa,
    profile: Profile,
    peak: Peak,
}

/// A kind of work and what it took.
struct Kind {
    class: String,
    integer: bool,
    count: usize,
    ns: u64,
    macs: u64,
}

impl Shown {
    fn has_integers(&self) -> bool {
        self.profile.steps.iter().any(|s| s.integer)
    }

    /// The path of its integers, or what runs a model without.
    fn path(&self) -> &'static str {
        if self.has_integers() { self.isa.name() } else { "tract" }
    }

    /// Kinds, the longest first.
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = vec![];
        for (step, &ns) in self.profile.steps.iter().zip(&self.profile.median_ns) {
            let at = kinds.iter().position(|k| k.class == step.class).unwrap_or_else(|| {
                let (class, integer) = (step.class.clone(), step.integer);
                kinds.push(Kind { class, integer, count: 0, ns: 0, macs: 0 });
                kinds.len() - 1
            });
            let kind = &mut kinds[at];
            (kind.count, kind.ns, kind.macs) = (kind.count + 1, kind.ns + ns, kind.macs + step.macs);
        }
        kinds.sort_by_key(|k| std::cmp::Reverse(k.ns));
        kinds
    }

    /// Part of this machine's practical peak that a kind reaches; none for float work, and where nothing is multiplied.
    fn of_peak(&self, kind: &Kind) -> Option<f64> {
        let peak = if kind.class.starts_with("depthwise") { self.peak.depthwise } else { self.peak.conv };
        let rate = per_second(kind.macs, kind.ns)?;
        kind.integer.then_some(rate / peak)
    }

    fn share(&self, ns: u64) -> f64 {
        ns as f64 / self.profile.steps_ns().max(1) as f64
    }
}

/// Multiply-accumulates a second; none where there are none.
fn per_second(macs: u64, ns: u64) -> Option<f64> {
    (macs > 0 && ns > 0).then(|| macs as f64 * 1e9 / ns as f64)
}

/// How many times the fastest inference the median took, where that says that other programs ran.
fn disturbed(profile: &Profile) -> Option<f64> {
    /// A quiet machine stays below; turns of clock frequency do, too.
    const QUIET: f64 = 1.25;
    let times = profile.undisturbed_ns as f64 / profile.fastest_ns.max(1) as f64;
    (times > QUIET).then_some(times)
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    if let Some(trace) = &arguments.trace {
        // Before the work, not after it.
        if trace.is_dir() {
            return Err(usage(format!("{}: is a folder; name the file to write", trace.display())));
        }
    }
    let path = &arguments.model;
    let student = Student::load(&Model::read(path)?).with_context(|| format!("model {}", path.display()))?;
    console.check()?;
    if cfg!(debug_assertions) && student.arena_bytes().is_none() {
        console.say("a development build: its float steps are slower than those of `--profile dist`");
    }
    let x = noise(student.input_len());
    let profile = student.profile(&x, arguments.runs as usize).with_context(|| format!("model {}", path.display()))?;
    console.check()?;
    if let Some(times) = disturbed(&profile) {
        console.say(format!(
            "  the median inference took {times:.1} times the fastest; stop other programs, measure again"
        ));
    }
    let isa = student.isa();
    let shown = Shown { model: path.display().to_string(), isa, profile, peak: Peak::measure(isa) };
    if let Some(trace) = &arguments.trace {
        let text = trace::of(&shown)?;
        limbeck_files::write_atomic(trace, |w| w.write_all(text.as_bytes()))?;
        console.say(format!("trace      {}", trace.display()));
    }
    match arguments.json {
        true => console.print(json::of(&shown)?),
        false => console.print(table::of(&shown)),
    }
}

#[cfg(test)]
mod tests {
    use limbeck_engine::{Span, Step};

    use super::*;

    /// A step of 1 ms and one of 3 ms of the same kind, then one without products.
    pub(super) fn shown() -> Shown {
        let step = |name: &str, class: &str, macs| Step {
            name: name.into(),
            class: class.into(),
            path: "portable",
            integer: true,
            macs,
            bytes: 2048,
            packed_bytes: 0,
            output: "8×8×16".into(),
        };
        let steps =
            vec![step("a", "conv 1x1", 2_000_000), step("b", "conv 1x1", 2_000_000), step("c \"quoted\"", "add", 0)];
        let ends = [0, 1_000_000, 4_000_000, 5_000_000];
        let span = |w: &[u64]| Span { start_ns: w[0], end_ns: w[1], own_ns: w[1] - w[0] };
        let spans: Vec<Span> = ends.windows(2).map(span).collect();
        let median_ns = spans.iter().map(|s| s.own_ns).collect();
        let profile = Profile {
            steps,
            median_ns,
            runs: 7,
            inference_ns: 5_100_000,
            undisturbed_ns: 5_000_000,
            fastest_ns: 4_900_000,
            spans,
        };
        let peak = Peak { conv: 4e9, depthwise: 1e9 };
        Shown { model: "m.onnx".into(), isa: Isa::PORTABLE, profile, peak }
    }

    #[test]
    fn kinds_sum_their_steps() {
        let shown = shown();
        let kinds = shown.kinds();
        let [conv, add] = &kinds[..] else { panic!("{}", kinds.len()) };
        assert_eq!((conv.count, conv.ns, conv.macs), (2, 4_000_000, 4_000_000));
        assert_eq!(per_second(conv.macs, conv.ns), Some(1e9));
        assert_eq!((shown.of_peak(conv), shown.of_peak(add)), (Some(0.25), None));
        assert_eq!(shown.share(conv.ns), 0.8);
    }

    #[test]
    fn a_busy_machine_is_called_out() {
        let mut profile = shown().profile;
        assert_eq!(disturbed(&profile), None);
        profile.undisturbed_ns = 2 * profile.fastest_ns;
        assert_eq!(disturbed(&profile), Some(2.0));
    }
}
