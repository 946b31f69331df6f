//! Peers that teach each other: after every epoch each writes its own answers into a shared folder and reads those of the others.
//!
//! `<folder>/<node>.<epoch>.answers`, an answers file like any other: whole or absent, tied to its data, checked when it is read
//!
//! Deep mutual learning (Zhang et al., CVPR 2018) and codistillation (Anil et al., ICLR 2018): the peers' answers are those of the start of the
//! epoch, not of the same step; Anil et al. found that predictions this old do as well. Nodes need nothing of each other but the folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use limbeck_answers::{Answers, AnswersWriter, Head, HeadKind, Manifest, Teacher, View};
use limbeck_data::{Dataset, Watch};
use limbeck_engine::onnx::Model;

use crate::DistillError;
use crate::own::OwnAnswers;

/// Who exchanges with whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Seen by all.
    pub folder: PathBuf,
    /// What this one is called.
    pub node: String,
    /// What the others are called.
    pub peers: Vec<String>,
    /// How long to wait for each of them in an epoch.
    pub patience: Duration,
}

/// How often to look.
const PAUSE: Duration = Duration::from_millis(200);

impl Exchange {
    fn file(&self, node: &str, epoch: usize) -> PathBuf {
        self.folder.join(format!("{node}.{epoch}.answers"))
    }

    /// Write what this node answers at the start of `epoch`. `like` says of which data, card and views.
    pub(crate) fn publish(
        &self,
        epoch: usize,
        own: &OwnAnswers,
        model: &Model,
        like: &Manifest,
    ) -> Result<(), DistillError> {
        let path = self.file(&self.node, epoch);
        // What an earlier run left is of another student; a file that is there already would be taken for this one's.
        if path.exists() {
            let what = format!("{}: is there already; empty the folder, or name another node", path.display());
            return Err(DistillError::Mismatch(what));
        }
        let head = Head {
            key: "logits".into(),
            tensor: model.graph.outputs.first().map(|o| o.name.clone()).unwrap_or_default(),
            dims: vec![own.classes() as u32],
            kind: HeadKind::DenseF32,
            pca: None,
        };
        let teacher = Teacher {
            name: self.node.clone(),
            sha256: limbeck_files::sha256_hex(&model.emit()),
            opset: model.opset.max(0) as u64,
            ..like.teacher.clone()
        };
        let manifest = Manifest { teacher, heads: vec![head], shard: None, probe: None, ..like.clone() };
        let (samples, views) = (manifest.dataset.samples, manifest.views.clone());
        let mut writer = AnswersWriter::create_or_resume(&path, manifest)?;
        for (v, &view) in views.iter().enumerate() {
            for sample in 0..samples {
                if !writer.is_done(sample, view) {
                    writer.put(sample, view, None, &[own.of(sample as usize * views.len() + v)])?;
                }
            }
        }
        writer.finish()?;
        Ok(())
    }

    /// Wait for what every peer answers at the start of `epoch`.
    ///
    /// # Errors
    /// A peer that is not heard of in time, or whose answers are of other data, views or labels.
    pub(crate) fn collect(
        &self,
        epoch: usize,
        like: &Manifest,
        dataset: &dyn Dataset,
        watch: &dyn Watch,
    ) -> Result<Vec<OwnAnswers>, DistillError> {
        self.peers.iter().map(|peer| self.wait_for(peer, epoch, like, dataset, watch)).collect()
    }

    fn wait_for(
        &self,
        peer: &str,
        epoch: usize,
        like: &Manifest,
        dataset: &dyn Dataset,
        watch: &dyn Watch,
    ) -> Result<OwnAnswers, DistillError> {
        let (path, start) = (self.file(peer, epoch), Instant::now());
        while !path.exists() {
            if watch.cancelled() {
                return Err(DistillError::Cancelled { steps: 0 });
            }
            if start.elapsed() > self.patience {
                let (path, seconds) = (path.display(), self.patience.as_secs());
                let what = format!("{path}: not there after {seconds} s; is the peer running with the same epochs?");
                return Err(DistillError::Mismatch(what));
            }
            std::thread::sleep(PAUSE);
        }
        let answers = Answers::open(&path)?;
        let other = |what: &str| {
            Err(DistillError::Mismatch(format!("{}: is of other {what}; peers see the same samples", path.display())))
        };
        let theirs = answers.manifest();
        if theirs.dataset.sha256 != like.dataset.sha256 || theirs.dataset.samples != dataset.len() as u64 {
            return other("data");
        }
        if theirs.views != like.views || theirs.augment != like.augment {
            return other("views");
        }
        if theirs.card.labels != like.card.labels {
            return other("labels");
        }
        read(&answers, dataset.len(), &like.views, &path)
    }
}

/// All logits of a file, in the order of visits.
fn read(answers: &Answers, samples: usize, views: &[View], path: &Path) -> Result<OwnAnswers, DistillError> {
    let classes = answers.classes();
    let mut logits = vec![0.0; samples * views.len() * classes];
    for (visit, out) in logits.chunks_exact_mut(classes).enumerate() {
        answers.logits_into((visit / views.len()) as u64, views[visit % views.len()], out)?;
    }
    log::info!("{}: {samples} samples in {} views", path.display(), views.len());
    Ok(OwnAnswers::of_logits(classes, logits))
}
