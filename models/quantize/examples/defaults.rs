//! The measurement behind the defaults: every way to choose ranges, with and without equalisation and bias correction.
//!
//! `cargo run --release -p limbeck-quantize --example defaults -- STUDENT.onnx CALIBRATE_ON TEST_ON`, the card beside the student;
//! a data set is an image folder, or `scenes:SEED` for 2,000 shifted scenes.

use std::error::Error;
use std::path::Path;

use limbeck_answers::Card;
use limbeck_data::{FolderOptions, ImageFolder, MemoryDataset, SceneConfig, Scenes, Shift, Unwatched};
use limbeck_engine::onnx::Model;
use limbeck_quantize::{QuantizeOptions, RangeMethod, compare, quantize};

/// Images of a folder that are read at most, classes in turn.
const LIMIT: usize = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [student, train, test] = &arguments[..] else {
        return Err("usage: defaults STUDENT.onnx CALIBRATE_ON TEST_ON".into());
    };
    let path = Path::new(student);
    let (model, card) = (Model::read(path)?, Card::read(&Card::beside(path))?);
    let (train, test) = (open(train, &card)?, open(test, &card)?);
    let both = [(false, false), (false, true), (true, false), (true, true)];
    println!(
        "{:18} {:9} {:9} {:>8} {:>8} {:>8} {:>8}",
        "ranges", "equalised", "corrected", "SQNR dB", "KL", "agrees", "top-1"
    );
    for method in
        [RangeMethod::MinMax, RangeMethod::Percentile(RangeMethod::PERCENTILE), RangeMethod::Entropy, RangeMethod::Mse]
    {
        for (equalise, bias_correction) in both {
            let options = QuantizeOptions { method, equalise, bias_correction, ..QuantizeOptions::default() };
            let quantized = quantize(&model, &card, &train, &options, &Unwatched)?;
            let loss = compare(&model, &quantized.model, &card, &test, options.threads, &Unwatched)?;
            let [e, b] = [equalise, bias_correction].map(|on| if on { "yes" } else { "no" });
            let sqnr = loss.sqnr_db.unwrap_or(f64::INFINITY);
            let top1 = loss.right.map_or("-".into(), |r| format!("{:.2}%", r.quantized as f64 * 100.0 / r.of as f64));
            let agrees = loss.agreement() * 100.0;
            println!("{:18} {e:9} {b:9} {sqnr:8.2} {:8.1e} {agrees:7.2}% {top1:>8}", method.to_string(), loss.kl);
        }
    }
    Ok(())
}

fn open(name: &str, card: &Card) -> Result<MemoryDataset, Box<dyn Error>> {
    let all = &|_| ();
    if let Some(seed) = name.strip_prefix("scenes:") {
        let config = SceneConfig { seed: seed.parse()?, size: 32, samples: 2000, shift: Shift::strong() };
        return Ok(MemoryDataset::load(&Scenes::new(config)?, all)?);
    }
    let options = FolderOptions { labels: Some(card.labels.clone()), limit: Some(LIMIT), ..FolderOptions::default() };
    Ok(MemoryDataset::load(&ImageFolder::open(Path::new(name), &options)?, all)?)
}
