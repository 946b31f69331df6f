//! Small answers files to break.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};

use limbeck_answers::rng::Stream;
use limbeck_answers::{
    Answers, AnswersError, AnswersWriter, Card, DatasetId, Head, HeadKind, LOGITS, Manifest, Probe, Shard, Teacher,
    View,
};
use limbeck_files::{merkle, merkle_root};

/// A head of some kind.
pub fn head(key: &str, kind: HeadKind, dims: &[u32]) -> Head {
    Head { key: key.into(), tensor: format!("{key}_output"), dims: dims.to_vec(), kind, pca: None }
}

/// One head of each kind, all small.
pub fn every_head() -> Vec<Head> {
    vec![
        head(LOGITS, HeadKind::DenseF32, &[3]),
        head("logits:f16", HeadKind::DenseF16, &[3]),
        head("logits:i8", HeadKind::DenseI8, &[3]),
        head("logits:top", HeadKind::TopKF16 { k: 2 }, &[3]),
        head("pooled", HeadKind::VecF32, &[5]),
        head("pooled:f16", HeadKind::VecF16, &[5]),
        head("pooled:i8", HeadKind::VecI8, &[5]),
        head("at", HeadKind::MapF32, &[2, 3]),
        head("at:f16", HeadKind::MapF16, &[2, 3]),
        head("feat", HeadKind::FeatF32, &[2, 2, 1]),
        head("feat:f16", HeadKind::FeatF16, &[2, 2, 1]),
        head("feat:i8", HeadKind::FeatI8, &[2, 2, 1]),
        head("sign", HeadKind::Sign, &[2, 3, 2]),
    ]
}

/// The leaf of a sample.
pub fn leaf(sample: u64) -> [u8; 32] {
    merkle::leaf(&sample.to_le_bytes())
}

/// A valid manifest of all views over `samples` samples, 3 classes.
pub fn manifest(samples: u64, heads: Vec<Head>) -> Manifest {
    let text = "version = 1\ntask = \"classification\"\nlabels = [\"a\", \"b\", \"c\"]\n[input]\nwidth = 2\nheight = 2\n\
                layout = \"nchw\"\ncolour = \"gray\"\nresize = \"exact\"\nscale = 0.003921569\nmean = [0.1]\nstd = [0.3]\n";
    let card = Card::parse(text, Path::new("teacher.toml")).unwrap();
    Manifest {
        tool: "limbeck 0.1.0".into(),
        teacher: Teacher {
            name: "teacher.onnx".into(),
            sha256: "1".repeat(64),
            opset: 17,
            runtime: "tract 0.23.9".into(),
            precision: "f32".into(),
        },
        card_sha256: card.sha256(),
        card,
        dataset: DatasetId {
            name: "some".into(),
            samples,
            sha256: limbeck_files::hex(&merkle_root((0..samples).map(leaf))),
            labels: vec![],
        },
        views: View::ALL.to_vec(),
        augment: None,
        probe: Some(Probe::of(&heads[0].key, samples)),
        heads,
        shard: None,
    }
}

/// The same for a part of the samples, and the leaves of that part.
pub fn shard(whole: &Manifest, first: u64, count: u64) -> (Manifest, Vec<[u8; 32]>) {
    let leaves: Vec<_> = (first..first + count).map(leaf).collect();
    let mut m = whole.clone();
    m.shard = Some(Shard { first, count, of: whole.dataset.samples });
    m.dataset.sha256 = limbeck_files::hex(&merkle_root(leaves.iter().copied()));
    (m, leaves)
}

/// Number of a view in the manifest.
pub fn number(m: &Manifest, view: View) -> u32 {
    m.views.iter().position(|v| *v == view).unwrap() as u32
}

/// What the teacher says.
pub fn value(m: &Manifest, h: usize, sample: u64, view: View) -> Vec<f32> {
    let mut random = Stream::new(3, sample, 100 * number(m, view) + h as u32);
    (0..m.heads[h].len()).map(|_| (random.next_u32() as f32 / 2.0_f32.powi(31) - 1.0) * 20.0).collect()
}

/// The true class; every third sample has none.
pub fn label(sample: u64) -> Option<u16> {
    (sample % 3 != 2).then_some((sample % 3) as u16)
}

/// Give one answer.
pub fn put(writer: &mut AnswersWriter, sample: u64, view: View) -> Result<(), AnswersError> {
    let m = writer.manifest().clone();
    let values: Vec<Vec<f32>> = (0..m.heads.len()).map(|h| value(&m, h, sample, view)).collect();
    let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
    writer.put(sample, view, label(sample), &values)
}

/// Begin or go on with a file, whole or shard.
pub fn writer(path: &Path, m: &Manifest) -> Result<AnswersWriter, AnswersError> {
    match m.shard {
        None => AnswersWriter::create_or_resume(path, m.clone()),
        Some(s) => {
            let leaves: Vec<_> = (s.first..s.first + s.count).map(leaf).collect();
            AnswersWriter::create_or_resume_shard(path, m.clone(), &leaves)
        }
    }
}

/// Write a whole file.
pub fn write(path: &Path, m: &Manifest) -> String {
    let mut writer = writer(path, m).unwrap();
    for sample in m.range() {
        for &view in &m.views {
            put(&mut writer, sample, view).unwrap();
        }
    }
    writer.finish().unwrap()
}

/// The bytes of a whole file.
pub fn bytes(m: &Manifest) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.answers");
    write(&path, m);
    std::fs::read(path).unwrap()
}

/// Open bytes as `t.answers`.
pub fn open(bytes: &[u8]) -> Result<Answers, AnswersError> {
    Answers::from_bytes(bytes.to_vec(), Path::new("t.answers"))
}

/// Read every record and the probe.
pub fn read_all(answers: &Answers) -> Result<Vec<f32>, AnswersError> {
    let mut all = vec![];
    for head in answers.heads() {
        let id = answers.head(&head.key)?;
        for &view in answers.views() {
            for sample in answers.manifest().range() {
                if head.is_dense() {
                    let mut out = vec![0.0; head.len()];
                    answers.values_into(id, sample, view, &mut out)?;
                    all.extend(out);
                } else {
                    let top = answers.top_k(id, sample, view)?;
                    all.extend(top.index.iter().map(|i| f32::from(*i)));
                    all.extend(top.z);
                }
            }
        }
    }
    for (_, values) in answers.probe()? {
        all.extend(values);
    }
    Ok(all)
}

/// Names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `t.answers` in a folder.
pub fn in_folder(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("t.answers")
}
