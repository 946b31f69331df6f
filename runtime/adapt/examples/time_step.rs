//! `cargo run --release -p limbeck-adapt --example time_step -- STUDENT.onnx`: time of a forward run and of a training
//! step (all tensors trained, batch 1, one thread), and their ratio.

use std::path::Path;
use std::time::Instant;

use limbeck_adapt::{Examples, Loss, Parameters, TrainingNet};
use limbeck_engine::{Net, normalise, onnx::Model};

struct Ramp;

impl Examples for Ramp {
    fn example(&self, _index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 255) as f32 / 255.0);
        teacher.iter_mut().enumerate().for_each(|(i, t)| *t = i as f32 / 10.0);
        Ok(None)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: time_step STUDENT.onnx")?;
    let model = normalise(&Model::read(Path::new(&path))?)?;
    let parameters = Parameters::of(&model)?;
    let start = Instant::now();
    let net = TrainingNet::new(&model, &parameters, &Loss::default(), 1)?;
    println!("{} parameters in {} tensors", parameters.count(), parameters.names().len());
    println!("training graph: {} nodes, made in {:.0} ms", net.nodes(), start.elapsed().as_secs_f64() * 1e3);
    let mut worker = Net::load(&model, 1)?.worker()?;
    let x = vec![0.5; net.input_len()];
    let mut best = [f64::INFINITY; 2];
    for _ in 0..50 {
        let start = Instant::now();
        worker.run(&x, |_, _| ())?;
        best[0] = best[0].min(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        net.gradient(&parameters, &Ramp, &[0])?;
        best[1] = best[1].min(start.elapsed().as_secs_f64() * 1e3);
    }
    println!("forward {:.3} ms, step {:.3} ms, ratio {:.2}", best[0], best[1], best[1] / best[0]);
    Ok(())
}
