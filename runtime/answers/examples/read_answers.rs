//! How fast an answers file is read: `cargo run --release -p limbeck-answers --example read_answers -- FILE [MiB]`.
//!
//! Writes FILE (pooled vectors of 512 f32, 1024 MiB unless given) if it is not there, then times opening, reading every record in
//! a scattered order for the first time (each block is checked) and again (only the record is read), and `verify`. With a file
//! in the page cache these are the costs of checking and of system calls, not those of a disk.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Instant;

use limbeck_answers::rng::Stream;
use limbeck_answers::{Answers, AnswersWriter, Card, DatasetId, Head, HeadKind, Manifest, Teacher, View};
use limbeck_files::{merkle, merkle_root};

const D: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name the file")?;
    let mib: u64 = arguments.next().map_or(Ok(1024), |m| m.parse())?;
    let path = Path::new(&path);
    if !path.exists() {
        let begun = Instant::now();
        write(path, mib * (1 << 20) / (4 * D as u64))?;
        println!("write    {:8.0} MB/s", megabytes(path)? / begun.elapsed().as_secs_f64());
    }
    let begun = Instant::now();
    let answers = Answers::open(path)?;
    println!("open     {:8.2} ms for {:.0} MB", 1e3 * begun.elapsed().as_secs_f64(), megabytes(path)?);
    let (head, samples, mut out) = (answers.head("pooled")?, answers.samples(), vec![0.0; D]);
    for round in ["cold", "warm"] {
        let begun = Instant::now();
        for i in 0..samples {
            // Odd, so it meets every sample once when their number is a power of two.
            answers.values_into(head, i.wrapping_mul(2_654_435_761) % samples, View::Identity, &mut out)?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let megabytes = (samples * 4 * D as u64) as f64 / 1e6;
        println!("{round}     {:8.0} MB/s, {:.0} records/s", megabytes / seconds, samples as f64 / seconds);
    }
    let begun = Instant::now();
    answers.verify()?;
    println!("verify   {:8.0} MB/s", megabytes(path)? / begun.elapsed().as_secs_f64());
    Ok(())
}

fn megabytes(path: &Path) -> std::io::Result<f64> {
    Ok(std::fs::metadata(path)?.len() as f64 / 1e6)
}

fn write(path: &Path, samples: u64) -> Result<(), Box<dyn std::error::Error>> {
    let text = "version = 1\ntask = \"classification\"\nlabels = [\"a\", \"b\"]\n[input]\nwidth = 2\nheight = 2\n\
                layout = \"nchw\"\ncolour = \"gray\"\nresize = \"exact\"\nscale = 0.003921569\nmean = [0.1]\nstd = [0.3]\n";
    let card = Card::parse(text, Path::new("card.toml"))?;
    let zeros = limbeck_files::hex(&[0; 32]);
    let root = merkle_root((0..samples).map(|i| merkle::leaf(&i.to_le_bytes())));
    let manifest = Manifest {
        tool: "read_answers".into(),
        teacher: Teacher {
            name: "none".into(),
            sha256: zeros,
            opset: 17,
            runtime: "none".into(),
            precision: "f32".into(),
        },
        card_sha256: card.sha256(),
        card,
        dataset: DatasetId { name: "none".into(), samples, sha256: limbeck_files::hex(&root), labels: vec![] },
        views: vec![View::Identity],
        augment: None,
        heads: vec![Head {
            key: "pooled".into(),
            tensor: "pooled".into(),
            dims: vec![D as u32],
            kind: HeadKind::VecF32,
            pca: None,
        }],
        shard: None,
        probe: None,
    };
    let mut writer = AnswersWriter::create_or_resume(path, manifest)?;
    let mut values = vec![0.0; D];
    for sample in 0..samples {
        if !writer.is_done(sample, View::Identity) {
            let mut random = Stream::new(1, sample, 0);
            values.iter_mut().for_each(|v| *v = random.next_u32() as f32);
            writer.put(sample, View::Identity, None, &[&values])?;
        }
    }
    writer.finish()?;
    Ok(())
}
