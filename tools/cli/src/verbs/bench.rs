//! `limbeck bench`: latency and memory of a bundle on a board; of an ONNX model, here ([`super::bench_here`]).

use std::path::PathBuf;

use anyhow::Result;
use limbeck_measure::{BenchRecord, Environment};
use limbeck_report::{KeyValue, Window};

use crate::console::Console;
use crate::record::ReportArguments;
use crate::verbs::bench_here;
use crate::verbs::deploy::{Deployed, OnBoard, deploy, put_board};
use crate::verbs::validate::agent_result;

/// Latency of one inference (protocol single-stream v1), and its memory.
///
/// A bundle is installed on a board and measured there. An ONNX file is measured here, in this process, on one thread; the last
/// word on stdout is then the score in milliseconds.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The bundle, which is installed first; or a model (*.onnx).
    #[arg(value_name = "BUNDLE|MODEL.onnx")]
    pub bundle: PathBuf,
    #[command(flatten)]
    pub on: OnBoard,
    /// The full protocol: 5 windows of 10 s (default: 3 windows of 2 s, marked quick).
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    pub report: ReportArguments,
}

/// See the module.
pub fn run(arguments: &Arguments, console: &Console) -> Result<()> {
    if arguments.bundle.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
        return bench_here::bench(arguments, console);
    }
    let deployed = deploy(&arguments.bundle, &arguments.on, console)?;
    bench(&deployed, arguments.full, &arguments.report, console)
}

/// Measure what is deployed.
pub fn bench(deployed: &Deployed, full: bool, report: &ReportArguments, console: &Console) -> Result<()> {
    let name = &deployed.board.name;
    console.say(format!("bench      {name}: {}", if full { "5 windows of 10 s" } else { "quick, 3 windows of 2 s" }));
    let verb: &[&str] = if full { &["bench", "--full"] } else { &["bench"] };
    let measured: BenchRecord = agent_result(deployed, verb, "bench")?;
    let BenchRecord { latency, validity, load_ms, arena_bytes, peak_rss_bytes, environment, .. } = measured;
    let all = &latency.all;
    let emulated = matches!(deployed.board.transport, limbeck_boards::Transport::Exec { .. });
    let or_dash = |v: Option<f64>| v.map_or("too few runs".into(), |v| format!("{v:.1}"));
    console.print(format!(
        "{name}: score {:.1} µs; p50 {:.1} p90 {} min {:.1} max {:.1} n {}; warm-up {} runs in {:.1} s; first {:.1}; load {load_ms:.1} ms{}",
        latency.score_us,
        all.p50_us,
        or_dash(all.p90_us),
        all.min_us,
        all.max_us,
        all.n,
        latency.warm_up.runs,
        latency.warm_up.seconds,
        latency.first_us,
        if emulated { " (emulated: not a board's time)" } else { "" }
    ))?;
    for reason in &validity.invalid {
        console.say(format!("  INVALID: {reason}"));
    }
    for warning in &latency.warnings {
        console.say(format!("  {warning}"));
    }
    let entry = limbeck_report::Latency {
        protocol: "single-stream v1".into(),
        quick: latency.protocol.quick,
        warm_up_runs: latency.warm_up.runs,
        warm_up_seconds: latency.warm_up.seconds,
        first_us: latency.first_us,
        score_us: latency.score_us,
        p50_us: all.p50_us,
        p90_us: all.p90_us,
        p95_us: all.p95_us,
        p99_us: all.p99_us,
        min_us: all.min_us,
        max_us: all.max_us,
        n: all.n,
        samples_us: latency.distribution_us.to_vec(),
        windows: latency
            .windows
            .iter()
            .map(|w| Window { n: w.n, min_us: w.min_us, p50_us: w.p50_us, max_us: w.max_us })
            .collect(),
        warnings: latency.warnings.iter().map(ToString::to_string).collect(),
    };
    let environment = cards(&environment);
    report.update(|report| {
        put_board(report, deployed);
        if let Some(board) = report.boards.iter_mut().find(|b| b.board == *name) {
            board.latency = Some(entry);
            board.environment = environment;
            board.peak_rss_bytes = peak_rss_bytes;
            board.arena_bytes = arena_bytes;
        }
    })
}

fn cards(environment: &Environment) -> Vec<KeyValue> {
    let known = |key: &str, value: Option<String>| KeyValue::new(key, value.unwrap_or_else(|| "unknown".into()));
    let e = environment.clone();
    vec![
        known("board", e.board_model),
        known("cpu", e.cpu_model),
        known("cores", e.cpus.map(|n| n.to_string())),
        known("compiled for", e.arch),
        known("kernel", e.kernel.zip(e.machine).map(|(k, m)| format!("{k} ({m})"))),
        known("governor", e.governor),
        known("frequency", e.frequency_khz.map(|f| format!("{} MHz", f / 1000))),
        known("temperature", e.temperature_c.map(|t| format!("{t:.0} °C"))),
        known("load average", e.load_average.map(|l| format!("{l:.2}"))),
        known("memory", e.memory_bytes.map(|b| format!("{} MiB", b >> 20))),
    ]
}
