//! `time_step STUDENT.onnx [--batch 1,8,64] [--last N] [--threads 1] [--path fma|tract] [-n 20]`: what a training step costs.
//!
//! For each batch: processor time per image (the median step; with several threads the time that passes), its ratio to a forward run,
//! where it goes by kind of operator, allocations of a step and the most memory it held above what was there before, and the most that the process ever held. All tensors,
//! or the last N, are trained; the optimiser's step (SGD with momentum) counts. The last line of each batch is for programs: `key=value`, one blank
//! between them.

use std::path::Path;
use std::time::Instant;

use limbeck_adapt::{Examples, Loss, Optimiser, Parameters, Rule, Selection, TrainingNet};
use limbeck_engine::{FloatIsa, Net, normalise, onnx::Model};

const USAGE: &str =
    "usage: time_step STUDENT.onnx [--batch 1,8,64] [--last N] [--threads 1] [--path fma|neon|portable|tract] [-n 20]";

/// Seconds between two looks at the clock.
const AT_LEAST: f64 = 0.01;

struct Ramp;

impl Examples for Ramp {
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = ((i + 17 * index) % 255) as f32 / 255.0);
        teacher.iter_mut().enumerate().for_each(|(i, t)| *t = (i % 10) as f32 / 10.0);
        Ok(None)
    }
}

/// Processor time of this thread, where Linux says it, else the time that passed: seconds. Linux brings its sum up to date when a thread
/// yields.
fn processor_time(start: Instant) -> f64 {
    std::thread::yield_now();
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = nanoseconds.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |ns| ns as f64 * 1e-9)
}

/// Most memory that this process ever held, MiB.
fn peak_rss() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut path, mut batches, mut threads, mut n) = (None, vec![1, 8, 64], 1, 20);
    let mut selection = Selection::All;
    let mut isa = FloatIsa::detect_fast();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match argument.as_str() {
            "--batch" => batches = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--last" => selection = Selection::Last(value()?.parse()?),
            "--threads" => threads = value()?.parse()?,
            "-n" => n = value()?.parse::<usize>()?.max(1),
            "--path" => {
                let name = value()?;
                isa = FloatIsa::available().find(|isa| isa.name() == name);
                if isa.is_none() && name != "tract" {
                    return Err(format!("this CPU has no path {name}\n{USAGE}").into());
                }
            }
            _ if path.is_none() && !argument.starts_with('-') => path = Some(argument),
            _ => return Err(USAGE.into()),
        }
    }
    let path = path.ok_or(USAGE)?;
    let model = normalise(&Model::read(Path::new(&path))?)?;
    let mut parameters = Parameters::of(&model)?.select(&selection)?;
    let start = Instant::now();
    let net = TrainingNet::on_path(&model, &parameters, &Loss::default(), threads, isa)?;
    let made = start.elapsed().as_secs_f64() * 1e3;
    let path_name = isa.map_or("tract", FloatIsa::name);
    println!("{} parameters in {} tensors", parameters.count(), parameters.names().len());
    println!("training graph: {} nodes, path {path_name}, made in {made:.0} ms", net.nodes());
    let mut worker = Net::load(&model, 1)?.worker()?;
    drop(model);
    let x = vec![0.5; net.input_len()];
    let decays = parameters.decays();
    let time = |start: Instant| if threads == 1 { processor_time(start) } else { start.elapsed().as_secs_f64() };
    let mut optimiser = Optimiser::new(Rule::SGD, 0.0);
    for batch in batches {
        let indices: Vec<usize> = (0..batch).collect();
        let mut step = || -> Result<(), Box<dyn std::error::Error>> {
            let gradient = net.gradient(&parameters, &Ramp, &indices)?;
            // No rate: the values stay what they are, however many steps are timed.
            optimiser.step(0.0, &mut parameters.values, &gradient.gradients, &decays);
            Ok(())
        };
        (0..3).try_for_each(|_| step())?;
        let mut result = Ok(());
        let counted = allocation_counter::measure(|| result = step());
        result?;
        // Several runs between two looks at the clock: looking yields, and what follows finds its caches cold.
        let timed = |run: &mut dyn FnMut() -> Result<(), Box<dyn std::error::Error>>| {
            let clock = Instant::now();
            run()?;
            let repeats = (AT_LEAST / clock.elapsed().as_secs_f64()).clamp(1.0, 100.0) as usize;
            let before = time(start);
            (0..repeats).try_for_each(|_| run())?;
            Ok::<f64, Box<dyn std::error::Error>>((time(start) - before) * 1e3 / repeats as f64)
        };
        let (mut forward, mut steps) = (vec![], vec![]);
        for _ in 0..n {
            forward.push(timed(&mut || Ok(worker.run(&x, |_, _| ())?))?);
            steps.push(timed(&mut step)? / batch as f64);
        }
        let (forward, step) = (median(forward), median(steps));
        let (heap, rss) = (counted.bytes_max as f64 / 1048576.0, peak_rss());
        println!("batch {batch}: {step:.3} ms an image, {:.2} forward runs of {forward:.3} ms", step / forward);
        println!(
            "    a step: {} allocations, {heap:.2} MiB of heap at most; process {rss:.1} MiB at most",
            counted.count_total
        );
        for kind in net.profile(&parameters, &Ramp, &indices[..batch.min(8)])?.iter().take(8) {
            let each = kind.time.as_secs_f64() * 1e3 / batch.min(8) as f64;
            println!("    {each:8.3} ms an image in {} {}", kind.calls / batch.min(8), kind.kind);
        }
        println!(
            "batch={batch} threads={threads} ms_per_image={step:.4} forward_ms={forward:.4} ratio={:.3} allocations={} \
             heap_mib={heap:.3} rss_mib={rss:.1}",
            step / forward,
            counted.count_total
        );
    }
    Ok(())
}
