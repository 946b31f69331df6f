//! What was taken for what: a table of counts.
//!
//! counts (K, K)   counts[i][j] = samples of class i that were answered j

use serde::{Deserialize, Serialize};

/// Counts of labels against answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Names of the classes; K of them.
    pub labels: Vec<String>,
    /// `counts[label][answer]`; K rows of K.
    pub counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Empty counts over `labels`.
    pub fn new(labels: Vec<String>) -> Confusion {
        let k = labels.len();
        Confusion { labels, counts: vec![vec![0; k]; k] }
    }

    /// Count one sample; false, and nothing is counted, if one of the classes has no name here.
    pub fn add(&mut self, label: usize, answer: usize) -> bool {
        match self.counts.get_mut(label).and_then(|row| row.get_mut(answer)) {
            Some(count) => {
                *count += 1;
                true
            }
            None => false,
        }
    }

    /// Samples of class `label`.
    pub fn of_class(&self, label: usize) -> u64 {
        self.counts.get(label).map_or(0, |row| total(row.iter()))
    }

    /// Samples of class `label` that were answered rightly.
    pub fn right(&self, label: usize) -> u64 {
        self.counts.get(label).and_then(|row| row.get(label)).copied().unwrap_or(0)
    }

    /// Samples that were answered `answer`, right or wrong.
    pub fn answered(&self, answer: usize) -> u64 {
        total(self.counts.iter().filter_map(|row| row.get(answer)))
    }
}

/// Counts come from a file: too large a sum is the largest count, and no panic.
fn total<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.fold(0, |sum, n| sum.saturating_add(*n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_counted_once_and_a_class_without_name_is_refused() {
        let mut confusion = Confusion::new(vec!["cat".into(), "dog".into()]);
        for (label, answer) in [(0, 0), (0, 1), (1, 1), (1, 1)] {
            assert!(confusion.add(label, answer));
        }
        assert!(!confusion.add(2, 0) && !confusion.add(0, 2));
        assert_eq!(confusion.counts, [[1, 1], [0, 2]]);
        assert_eq!((confusion.of_class(0), confusion.right(0), confusion.answered(1)), (2, 1, 3));
        assert_eq!((confusion.of_class(9), confusion.right(9), confusion.answered(9)), (0, 0, 0));
    }
}
