//! The samples that were asked for last, kept: the views of one sample are asked for one after the other, and a sample may be far away.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use limbeck_data::{DataError, Dataset, Sample};

/// Pixels that are kept, in bytes.
const KEPT: usize = 256 << 20;

/// A data set that reads a sample once while it is needed.
pub(crate) struct Recent<'a> {
    dataset: &'a dyn Dataset,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    samples: HashMap<usize, Arc<Sample>>,
    /// Oldest first.
    order: VecDeque<usize>,
    bytes: usize,
}

impl<'a> Recent<'a> {
    pub(crate) fn of(dataset: &'a dyn Dataset) -> Recent<'a> {
        Recent { dataset, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Dataset for Recent<'_> {
    fn name(&self) -> &str {
        self.dataset.name()
    }
    fn labels(&self) -> &[String] {
        self.dataset.labels()
    }
    fn len(&self) -> usize {
        self.dataset.len()
    }
    fn id(&self, i: usize) -> String {
        self.dataset.id(i)
    }
    fn sample(&self, i: usize) -> Result<Sample, DataError> {
        let found = self.kept().samples.get(&i).cloned();
        if let Some(sample) = found {
            return Ok((*sample).clone());
        }
        let sample = self.dataset.sample(i)?;
        let bytes = |sample: &Sample| sample.image.rgb.len();
        let mut kept = self.kept();
        if kept.samples.insert(i, Arc::new(sample.clone())).is_none() {
            kept.order.push_back(i);
            kept.bytes += bytes(&sample);
        }
        while kept.bytes > KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            let gone = kept.samples.remove(&oldest);
            kept.bytes -= gone.map_or(0, |s| bytes(&s));
        }
        Ok(sample)
    }
    fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
        self.dataset.leaf(i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbeck_data::{SceneConfig, Scenes, Shift};
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Counted(Scenes, AtomicUsize);

    impl Dataset for Counted {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn labels(&self) -> &[String] {
            self.0.labels()
        }
        fn len(&self) -> usize {
            self.0.len()
        }
        fn id(&self, i: usize) -> String {
            self.0.id(i)
        }
        fn sample(&self, i: usize) -> Result<Sample, DataError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.sample(i)
        }
        fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
            self.0.leaf(i)
        }
    }

    #[test]
    fn a_sample_is_read_once_for_all_its_views() {
        let scenes = Scenes::new(SceneConfig { seed: 1, size: 32, samples: 4, shift: Shift::default() }).unwrap();
        let counted = Counted(scenes, AtomicUsize::new(0));
        let recent = Recent::of(&counted);
        for i in [0, 0, 1, 0, 1, 3, 3] {
            assert_eq!(recent.sample(i).unwrap(), counted.0.sample(i).unwrap());
        }
        assert_eq!(counted.1.into_inner(), 3);
    }
}
