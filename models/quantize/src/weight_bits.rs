//! How many bits a weight has, and the range that its channel is given.
//!
//! 8 bits: ±127, and the channel's largest weight lies on the end. 4 bits: ±7 in the same s8 container, so every reader of QDQ runs
//! the file; a step is 18 times as wide, and a channel loses less by saturating its few largest weights: the range is the
//! one of least squared error.

use std::fmt;

use crate::weights::WeightIndex;

/// Bits of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightBits {
    /// Integers within ±7.
    Four,
    /// Integers within ±127.
    #[default]
    Eight,
}

impl WeightBits {
    /// The largest integer.
    pub fn limit(self) -> f32 {
        match self {
            WeightBits::Four => 7.0,
            WeightBits::Eight => 127.0,
        }
    }

    /// The weight that becomes the largest integer, for every output channel.
    pub(crate) fn largest(self, values: &[f32], index: &WeightIndex) -> Vec<f32> {
        let mut largest = vec![0f32; index.outputs];
        let each = || values.iter().enumerate().map(|(at, w)| (index.output(at), w));
        each().for_each(|(c, w)| largest[c] = largest[c].max(w.abs()));
        if self == WeightBits::Eight {
            return largest;
        }
        /// Ranges that are tried: these many 64ths of the largest weight, and more.
        const NARROWEST: u32 = 16;
        let mut best: Vec<(f64, f32)> = vec![(f64::INFINITY, 0.0); index.outputs];
        for part in (NARROWEST..=64).rev() {
            let ranges: Vec<f32> = largest.iter().map(|l| l * part as f32 / 64.0).collect();
            let mut errors = vec![0f64; index.outputs];
            for (c, w) in each() {
                let scale = ranges[c] / self.limit();
                let q = (w / scale).round_ties_even().clamp(-self.limit(), self.limit());
                // A channel of zeros has no scale and no error.
                errors[c] += if scale > 0.0 { ((w - q * scale) as f64).powi(2) } else { 0.0 };
            }
            for ((best, error), range) in best.iter_mut().zip(errors).zip(ranges) {
                if error < best.0 {
                    *best = (error, range);
                }
            }
        }
        best.into_iter().map(|(_, range)| range).collect()
    }
}

impl fmt::Display for WeightBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WeightBits::Four => "4",
            WeightBits::Eight => "8",
        })
    }
}

#[cfg(test)]
mod tests {
    use limbeck_engine::onnx::{Graph, Node, Tensor};

    use super::*;

    fn largest(bits: WeightBits, values: Vec<f32>) -> Vec<f32> {
        let dims = [2, values.len() / 2];
        let node = Node::new("Gemm", "n", &["x", "w"], &["y"]);
        let node = node.with("transB", limbeck_engine::onnx::Attribute::Int(1));
        let initializers = [("w".to_owned(), Tensor::f32(&dims, values.clone()))].into();
        let graph = Graph { initializers, ..Graph::default() };
        bits.largest(&values, &WeightIndex::of(&graph, &node).unwrap())
    }

    #[test]
    fn eight_bits_reach_the_largest_weight_and_four_give_it_up_for_the_others() {
        let mut values: Vec<f32> = (0..200).map(|i| ((i % 20) as f32 - 9.5) / 10.0).collect();
        values[7] = 3.0;
        assert_eq!(largest(WeightBits::Eight, values.clone()), [3.0, 0.95]);
        let four = largest(WeightBits::Four, values);
        assert!(four[0] < 2.9 && four[0] > 0.95 && four[1] > 0.8, "{four:?}");
        assert_eq!(largest(WeightBits::Four, vec![0.0; 4]), [0.0, 0.0]);
    }
}
