//! Fuzz targets: what reads bytes of strangers, as functions of bytes that must neither panic nor hang, whatever they are given; and
//! a mutator that wears whole files down bit by bit, repeatable from a seed.
//!
//! `tests/fuzz.rs` gives each target a few thousand inputs; `cargo run -p limbeck-tests --example fuzz` goes on for as long as one
//! likes, and takes single files, as AFL++ hands them over.

use std::path::Path;

use limbeck_answers::rng::Stream;
use limbeck_answers::{Answers, Card};
use limbeck_boards::Board;
use limbeck_bundle::{Budgets, Bundle, PublicKey, Trust};
use limbeck_engine::{Isa, Student};

/// Keeps these draws apart from any other use of a seed.
const DRAWS: u32 = 0x6675_7a7a;
/// What a plan may ask for here.
const PLANNED_BYTES: u64 = 64 << 20;

/// Reads bytes of a stranger.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 5] =
    [("bundle", bundle), ("plan", plan), ("answers", answers), ("board", board), ("text", text)];

/// A bundle: as it is, and with hashes that fit, so that what lies behind them is reached.
fn bundle(bytes: &[u8]) {
    let key = PublicKey::parse("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3").expect("minisign's own key");
    let trust = Trust { key: Some(key), version: Some(1) };
    for bytes in [bytes.to_vec(), resealed(bytes)] {
        if let Ok(bundle) = Bundle::parse(&bytes, Path::new("fuzzed")) {
            let again = Bundle::parse(&bundle.emit(), Path::new("again")).expect("what was read can be written");
            assert_eq!(again.manifest, bundle.manifest);
            let _ = trust.admit(&bundle, Path::new("fuzzed"));
        }
    }
}

/// The same archive with every hash in its manifest, and that of the manifest, made to fit. Bytes that are no archive stay as they are.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    let mut members = members(bytes);
    let hash_of = |members: &[(usize, usize, String)], name: &str| {
        let found = members.iter().find(|(_, _, n)| n == name)?;
        Some(limbeck_files::sha256_hex(bytes.get(found.0..found.0 + found.1)?))
    };
    let mut sealed = bytes.to_vec();
    members.retain(|(at, size, _)| at + size <= sealed.len());
    let Some((at, size, _)) = members.iter().find(|(_, _, name)| name == "manifest.json").cloned() else {
        return sealed;
    };
    let mut manifest = String::from_utf8_lossy(&sealed[at..at + size]).into_owned();
    for name in ["student.onnx", "student.plan", "card.toml", "samples.bin", "replay.bin"] {
        let (Some(hash), Some(key)) = (hash_of(&members, name), manifest.find(&format!("\"{name}\": \""))) else {
            continue;
        };
        let start = key + name.len() + 5;
        if manifest.is_char_boundary(start) && manifest.is_char_boundary(start + 64) && start + 64 <= manifest.len() {
            manifest.replace_range(start..start + 64, &hash);
        }
    }
    if manifest.len() == size {
        sealed[at..at + size].copy_from_slice(manifest.as_bytes());
        let hash = limbeck_files::sha256_hex(manifest.as_bytes());
        if let Some((at, 64, _)) = members.iter().find(|(_, _, name)| name == "manifest.sha256") {
            sealed[*at..at + 64].copy_from_slice(hash.as_bytes());
        }
    }
    sealed
}

/// Where the members of a tar archive lie: offset, size, name.
fn members(bytes: &[u8]) -> Vec<(usize, usize, String)> {
    let mut found = vec![];
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + 512) {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&header[range]).trim_end_matches(['\0', ' ']).to_owned()
        };
        let (name, Ok(size)) = (text(0..100), usize::from_str_radix(&text(124..136), 8)) else { break };
        if name.is_empty() || size > bytes.len() {
            break;
        }
        found.push((at + 512, size, name));
        at += 512 + size.next_multiple_of(512);
    }
    found
}

/// A plan, which is run where it opens.
fn plan(bytes: &[u8]) {
    let Ok(student) = Student::from_plan(bytes.to_vec(), Isa::PORTABLE, PLANNED_BYTES) else { return };
    if student.input_len().max(student.output_len()) > 1 << 20 {
        return;
    }
    let x: Vec<f32> = (0..student.input_len()).map(|i| (i % 17) as f32 - 8.0).collect();
    let mut y = vec![0.0; student.output_len()];
    if let Ok(mut worker) = student.worker() {
        let _ = worker.run(&x, &mut y);
    }
}

/// A file of answers, which is read to its end where it opens.
fn answers(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("fuzzed.answers");
    std::fs::write(&path, bytes).expect("a file");
    if let Ok(answers) = Answers::open(&path) {
        let _ = answers.verify();
    }
}

/// A board's file.
fn board(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("fuzzed.toml");
    std::fs::write(&path, bytes).expect("a file");
    if let Ok(board) = Board::find(&path.to_string_lossy()) {
        let _ = (board.workdir_path(), board.ssh_host().map(|_| ()));
    }
}

/// Small texts: cards, budgets, keys.
fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Card::parse(&text, Path::new("fuzzed.toml"));
    let _ = Budgets::parse(&text);
    let _ = PublicKey::parse(&text);
}

/// Inputs made of seeds, one after the other, the same for the same seed.
pub struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
    random: Stream,
}

impl<'a> Mutator<'a> {
    /// From whole files, at least one.
    pub fn new(seeds: &'a [Vec<u8>], seed: u64) -> Mutator<'a> {
        Mutator { seeds, random: Stream::new(seed, 0, DRAWS) }
    }

    /// The next input: a seed after one to eight changes.
    pub fn input(&mut self) -> Vec<u8> {
        let mut bytes = self.seeds[self.below(self.seeds.len())].clone();
        for _ in 0..=self.below(7) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let (at, length) = (self.below(bytes.len() + 1), 1 + self.below(16));
        let end = (at + length).min(bytes.len());
        match self.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.random.next_u32() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            5 => {
                // Lengths, counts and offsets at their ends.
                let ends = [0u64, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
                let value = ends[self.below(ends.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&value[..width]);
            }
            6 => {
                let other = &self.seeds[self.below(self.seeds.len())];
                let from = self.below(other.len() + 1);
                let to = (from + length).min(other.len());
                drop(bytes.splice(at..at, other[from..to].to_vec()));
            }
            _ => bytes[at..end].reverse(),
        }
    }

    /// Evenly from 0 to `n` - 1; 0 for 0.
    fn below(&mut self, n: usize) -> usize {
        (u64::from(self.random.next_u32()) * n as u64 >> 32) as usize
    }
}
