//! A data set decoded once and kept.

use limbeck_answers::Image;

use crate::parallel::{self, Progress};
use crate::{DataError, Dataset, Sample};

/// Every sample of another data set, decoded: training reads each of them every epoch.
#[derive(Clone, Debug)]
pub struct MemoryDataset {
    name: String,
    labels: Vec<String>,
    ids: Vec<String>,
    samples: Vec<Sample>,
    leaves: Vec<[u8; 32]>,
}

impl MemoryDataset {
    /// Decode all of `dataset` on all cores. The first sample that fails is the error.
    pub fn load(dataset: &dyn Dataset, progress: Progress<'_>) -> Result<MemoryDataset, DataError> {
        Ok(MemoryDataset {
            name: dataset.name().to_owned(),
            labels: dataset.labels().to_vec(),
            ids: (0..dataset.len()).map(|i| dataset.id(i)).collect(),
            samples: parallel::try_map(dataset.len(), progress, |i| dataset.sample(i))?,
            leaves: parallel::try_map(dataset.len(), &|_| (), |i| dataset.leaf(i))?,
        })
    }

    /// Sample `i` without a copy; panics past the end.
    pub fn get(&self, i: usize) -> &Sample {
        &self.samples[i]
    }

    fn none(&self, i: usize) -> DataError {
        DataError::NoSample { name: self.name.clone(), index: i, len: self.samples.len() }
    }

    /// All images, in order.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &Image> {
        self.samples.iter().map(|s| &s.image)
    }

    /// Bytes that pixels, masks and boxes take.
    pub fn bytes(&self) -> usize {
        let of = |s: &Sample| s.image.rgb.len() + s.mask.as_ref().map_or(0, Vec::len) + size_of_val(&s.objects[..]);
        self.samples.iter().map(of).sum::<usize>() + self.samples.len() * size_of::<Sample>()
    }
}

impl Dataset for MemoryDataset {
    fn name(&self) -> &str {
        &self.name
    }
    fn labels(&self) -> &[String] {
        &self.labels
    }
    fn len(&self) -> usize {
        self.samples.len()
    }
    fn id(&self, i: usize) -> String {
        self.ids.get(i).cloned().unwrap_or_else(|| format!("sample {i}"))
    }
    fn sample(&self, i: usize) -> Result<Sample, DataError> {
        self.samples.get(i).cloned().ok_or_else(|| self.none(i))
    }
    fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
        self.leaves.get(i).copied().ok_or_else(|| self.none(i))
    }
    fn sha256(&self) -> Result<String, DataError> {
        Ok(limbeck_files::hex(&limbeck_files::merkle_root(self.leaves.iter().copied())))
    }
}
