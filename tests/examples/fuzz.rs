//! `cargo run --release -p limbeck-tests --example fuzz -- TARGET SEED-FILE…`: give a target worn-down files for ever; the seed of each
//! round is printed, and a panic ends the program. With one file and `--once`, that file as it is: for AFL++, or to see a panic again.

use limbeck_tests::fuzz::{Mutator, TARGETS};

/// Inputs of one seed.
const ROUND: usize = 10_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--once").collect();
    let once = std::env::args().any(|word| word == "--once");
    let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let target = words.first().and_then(|word| TARGETS.iter().find(|(name, _)| name == word));
    let (Some((_, target)), Some(files @ [_, ..])) = (target, words.get(1..)) else {
        eprintln!("fuzz TARGET SEED-FILE… [--once]; targets: {}", known.join(", "));
        std::process::exit(2);
    };
    let read = |file: &String| std::fs::read(file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let seeds: Vec<Vec<u8>> = files.iter().map(read).collect();
    if once {
        return seeds.iter().for_each(|seed| target(seed));
    }
    for seed in 0.. {
        println!("seed {seed}");
        let mut mutator = Mutator::new(&seeds, seed);
        (0..ROUND).for_each(|_| target(&mutator.input()));
    }
}
