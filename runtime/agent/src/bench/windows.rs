//! The latency pass: conditions, first run, warm-up, windows.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use limbeck_answers::View;
use limbeck_engine::argmax;
use limbeck_measure::energy::{Meter, Recorder};
use limbeck_measure::{
    BenchRecord, Conditions, Edge, Environment, Instruments, Processing, Validity, measure_watched, monotonic_clock,
    peak_rss_bytes, raw_now_ns,
};

use super::options::EnergyOptions;
use super::{Inferences, Options, code};
use crate::loaded::Loaded;
use crate::output::{Line, emit};

/// Times that preprocessing and argmax are run, at most, and how long.
const PROCESSING_RUNS: u32 = 101;
const PROCESSING_TIME: Duration = Duration::from_millis(500);

/// Load the bundle and measure it.
pub fn windows(bundle: &Path, options: &Options) -> Result<ExitCode> {
    let protocol = options.protocol()?;
    let (conditions, root) = (&options.conditions, options.conditions.root());
    conditions.settle();
    // Before it is pinned: the thread that reads a meter must not share the core.
    let mut beside = Beside::start(&options.energy, root)?;
    conditions.pin()?;
    let environment = Environment::read_from(root);
    let before = environment.before(Conditions::read_from(root));

    let start = Instant::now();
    let loaded = Loaded::read(bundle)?;
    let worker = loaded.student.worker()?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let mut inferences = Inferences::of(&loaded, worker)?;
    let watch = |edge| beside.watch(edge, root);
    let mut instruments = Instruments { clock: monotonic_clock(), conditions: watch };
    let latency = measure_watched(&mut instruments, &mut || inferences.run(), &protocol)?;

    let validity = Validity::judge(&conditions.setting().limits, &before, &latency.edges);
    let code = code(&validity);
    let energy = beside.recorder.map(|recorder| recorder.finish(&latency)).transpose()?;
    let record = BenchRecord {
        latency,
        validity,
        setting: conditions.setting(),
        load_ms,
        processing: processing(&loaded, &inferences.logits)?,
        energy,
        arena_bytes: loaded.student.arena_bytes().map(|bytes| bytes as u64),
        peak_rss_bytes: peak_rss_bytes(),
        environment,
    };
    emit(&Line { kind: "bench", record })?;
    Ok(code)
}

/// What is done at the edges of windows besides reading the machine.
struct Beside {
    recorder: Option<Recorder>,
    mark: Option<File>,
}

impl Beside {
    fn start(options: &EnergyOptions, root: &Path) -> Result<Beside> {
        let open = |path: &std::path::PathBuf| {
            let file = File::options().write(true).open(path);
            file.with_context(|| format!("--mark {}: it must exist and be writable", path.display()))
        };
        let mark = options.mark.as_ref().map(open).transpose()?;
        let meter = options.energy.as_deref().map(|name| Meter::named(name, root)).transpose()?;
        let recorder = meter.map(|meter| Recorder::start(meter, options.idle)).transpose()?;
        Ok(Beside { recorder, mark })
    }

    /// The machine at this edge. Meter and mark come closest to the window.
    fn watch(&mut self, edge: Edge, root: &Path) -> Conditions {
        match edge {
            Edge::Start(_) => {
                let conditions = Conditions::read_from(root);
                self.tell(edge, b"1");
                conditions
            }
            Edge::End(_) => {
                self.tell(edge, b"0");
                Conditions::read_from(root)
            }
        }
    }

    fn tell(&mut self, edge: Edge, level: &[u8]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.mark(edge);
        }
        if let Some(file) = &mut self.mark
            && let Err(error) = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(level))
        {
            log::warn!("--mark: {error}; the meter's export will lack a window");
        }
    }
}

/// Time the work around an inference.
fn processing(loaded: &Loaded, logits: &[f32]) -> Result<Processing> {
    let mut x = vec![0.0; loaded.preprocess.len()];
    let image = loaded.bundle.samples.get(0).context("the bundle has no samples")?.image.clone();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while before.is_empty() || (before.len() < PROCESSING_RUNS as usize && start.elapsed() < PROCESSING_TIME) {
        let at = raw_now_ns();
        loaded.preprocess.run(&image, View::Identity, &mut x)?;
        before.push(raw_now_ns() - at);
        let at = raw_now_ns();
        std::hint::black_box(argmax(std::hint::black_box(logits)));
        after.push(raw_now_ns() - at);
    }
    let median_us = |mut ns: Vec<u64>| {
        ns.sort_unstable();
        ns[ns.len() / 2] as f64 / 1e3
    };
    let runs = before.len() as u32;
    Ok(Processing { preprocess_us: median_us(before), argmax_us: median_us(after), runs })
}
