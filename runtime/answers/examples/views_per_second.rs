//! How many inputs a second one thread makes of decoded images, by preset, against the image as it is.
//!
//! views_per_second            prints: image -> card, preset, views a second (best of the rounds), against `identity`
//!
//! cargo run --release -p limbeck-answers --example views_per_second

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Instant;

use limbeck_answers::rng::Stream;
use limbeck_answers::{Augment, Card, CardError, Image, Preprocess, PreprocessError, View};

/// Images that are gone through, so that no single one stays in the first cache.
const IMAGES: u64 = 16;
/// Rounds; the best counts, the others met other work on the machine.
const ROUNDS: usize = 5;

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
}

fn main() -> Result<(), Failed> {
    for (from, to) in [(32, 32), (224, 224), (500, 224)] {
        let preprocess = Preprocess::new(&card(to)?);
        let images: Vec<Image> = (0..IMAGES).map(|i| random(from, i)).collect();
        let plain = speed(&preprocess, &images, None)?;
        println!("{from}x{from} to {to}x{to}  identity  {plain:>8.0} views/s");
        for name in Augment::PRESETS {
            let Ok(recipe) = Augment::preset(name, 0) else { continue };
            let drawn = speed(&preprocess, &images, Some(&recipe))?;
            println!("{from}x{from} to {to}x{to}  {name:<8}  {drawn:>8.0} views/s  {:.2} of identity", drawn / plain);
        }
    }
    Ok(())
}

fn speed(preprocess: &Preprocess, images: &[Image], recipe: Option<&Augment>) -> Result<f64, PreprocessError> {
    let mut x = vec![0.0; preprocess.len()];
    let views = (8 * 224 * 224 / x.len() as u32).max(2);
    let mut best = 0_f64;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for view in 0..views {
            for (sample, image) in images.iter().enumerate() {
                match recipe {
                    None => preprocess.run(image, View::Identity, &mut x)?,
                    Some(recipe) => {
                        let plan = recipe.draw(sample as u64, IMAGES, View::Drawn(view));
                        let partner = plan.mix.map(|mix| &images[mix.partner as usize]);
                        preprocess.run_plan(&plan, image, partner, &mut x)?;
                    }
                }
            }
        }
        best = best.max((views as u64 * IMAGES) as f64 / start.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn random(side: u32, seed: u64) -> Image {
    let mut s = Stream::new(seed, 0, 0);
    Image { width: side, height: side, rgb: (0..3 * side * side).map(|_| s.next_u32() as u8).collect() }
}

fn card(side: u32) -> Result<Card, CardError> {
    let text = format!(
        "version = 1\ntask = \"classification\"\nlabels = [\"a\"]\n[input]\nwidth = {side}\nheight = {side}\nlayout = \"nchw\"\n\
         colour = \"rgb\"\nresize = \"stretch\"\nscale = 0.003921569\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n"
    );
    Card::parse(&text, Path::new("card.toml"))
}
