//! `limbeck bench MODEL.onnx`: latency and memory of a model in this process, for comparison with other runtimes.
//!
//! The file is read once; loading is everything from its first byte to a model that can run: parsing, compiling, packing the
//! weights for the path, taking the arena. Only inferences are in the score.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use limbeck_engine::{Memory, Student, onnx::Model};
use limbeck_measure::{
    Clock, Conditions, Environment, Instruments, Latency, Limits, Protocol, Validity, measure_watched, monotonic_clock,
    peak_rss_bytes,
};

use super::Arguments;
use crate::console::Console;
use crate::exit::{judged, usage};
use crate::inputs::noise;

/// A model, what loading it took, and what it holds.
pub struct Loaded {
    /// Ready to run.
    pub student: Student,
    /// The graph it came from.
    pub model: Model,
    /// Bytes of its file.
    pub file_bytes: usize,
    /// Milliseconds from the file to here.
    pub load_ms: f64,
}

impl Loaded {
    /// Read a file once and prepare what is in it.
    pub fn read(path: &Path) -> Result<Loaded> {
        let start = Instant::now();
        let bytes = limbeck_files::read(path)?;
        let model = Model::parse(&bytes, path)?;
        let student = Student::load(&model).with_context(|| format!("model {}", path.display()))?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(Loaded { student, model, file_bytes: bytes.len(), load_ms })
    }

    /// "load 3.2 ms, file 99219 bytes; path avx2, plan … bytes, packed weights …, arena …".
    pub fn facts(&self) -> String {
        let Memory { plan, packed, arena } = self.student.memory();
        let read = format!("load {:.1} ms, file {} bytes", self.load_ms, self.file_bytes);
        match self.student.integer_operators() {
            0 => format!("{read}; float, on tract"),
            _ => format!(
                "{read}; path {}: plan {plan} bytes, packed weights {packed}, arena {arena}",
                self.student.isa().name()
            ),
        }
    }
}

/// Measure a model here.
pub fn bench(arguments: &Arguments, console: &Console) -> Result<()> {
    let path = &arguments.bundle;
    if arguments.on.board != "host" || arguments.report.report.is_some() {
        let what = format!("{}: a model is measured in this process, without --board and --report", path.display());
        return Err(usage(format!("{what}; `limbeck bundle` makes what a board can measure")));
    }
    if arguments.passes.sustained.is_some() || !arguments.circumstances.is_usual() {
        let what = format!("{}: a model is measured here by --full, --max-temp-c and nothing else", path.display());
        return Err(usage(format!("{what}; the other options are for bundles on boards, `--board host` among them")));
    }
    let loaded = Loaded::read(path)?;
    if cfg!(debug_assertions) && loaded.student.arena_bytes().is_none() {
        console.say("a development build: float parts are slower than those of `--profile dist`");
    }
    console.say(format!(
        "bench      here: {}",
        if arguments.passes.full { "5 windows of 10 s" } else { "quick, 3 windows of 2 s" }
    ));
    let protocol = if arguments.passes.full { Protocol::full() } else { Protocol::quick(2.0) };
    let x = noise(loaded.student.input_len());
    let mut logits = vec![0.0; loaded.student.output_len()];
    let mut worker = loaded.student.worker()?;
    let mut run = || -> Result<()> {
        console.check()?;
        Ok(worker.run(&x, &mut logits)?)
    };
    let read = || Conditions::read_from(Path::new("/"));
    let before = Environment::read().before(read());
    let mut instruments = Instruments { clock: monotonic_clock(), conditions: |_| read() };
    let latency = measure_watched(&mut instruments, &mut run, &protocol)?;
    // A look at a model on whatever machine: its governor and load are the user's to know; heat and throttling are not.
    let usual = Limits { max_load_average: f64::MAX, clock: Clock::Any, ..Limits::default() };
    let max_temperature_c = arguments.circumstances.max_temp_c().unwrap_or(usual.max_temperature_c);
    let validity = Validity::judge(&Limits { max_temperature_c, ..usual }, &before, &latency.edges);
    for warning in &latency.warnings {
        console.say(format!("  {warning}"));
    }
    let rss = peak_rss_bytes().map_or("unknown".into(), |bytes| format!("{bytes} bytes"));
    console.print(format!(
        "{}: {}; peak memory of the process {rss}\n{}",
        path.display(),
        loaded.facts(),
        line(&latency)
    ))?;
    let invalid: Vec<String> = validity.invalid.iter().map(ToString::to_string).collect();
    let code = if validity.valid { 0 } else { super::INVALID };
    judged(code, format!("{}: INVALID: {}", path.display(), invalid.join("; ")))
}

/// The score is the last word, in milliseconds.
fn line(latency: &Latency) -> String {
    let all = &latency.all;
    let or_dash = |v: Option<f64>| v.map_or("too few runs".into(), |v| format!("{:.3}", v / 1e3));
    format!(
        "{}{}: first {:.3} ms, warm-up {} runs; p50 {:.3} p90 {} min {:.3} max {:.3} n {}; median of window medians, ms: {:.4}",
        latency.rule,
        if latency.protocol.quick { " (quick)" } else { "" },
        latency.first_us / 1e3,
        latency.warm_up.runs,
        all.p50_us / 1e3,
        or_dash(all.p90_us),
        all.min_us / 1e3,
        all.max_us / 1e3,
        all.n,
        latency.score_us / 1e3
    )
}

#[cfg(test)]
mod tests {
    use limbeck_measure::measure;

    use super::*;

    #[test]
    fn the_last_word_is_the_score_in_milliseconds() {
        let mut now = 0u64;
        let mut clock = || {
            now += 1_250_000;
            now
        };
        let mut run = || -> Result<()> { Ok(()) };
        let latency = measure(&mut clock, &mut run, &Protocol::quick(0.01)).unwrap();
        assert_eq!(line(&latency).split_whitespace().last(), Some("1.2500"));
    }
}
