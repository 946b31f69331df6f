//! Principal components of a feature map's channels: C channels become K, with little lost where channels repeat each other.
//!
//! x (C, P) the map of a sample, P = H·W    mean (C)    w (K, C)    y (K, P)
//! y_kp = Σ_c w_kc (x_cp - mean_c), sums over c in order, in f64
//!
//! w: the K eigenvectors of Σ_samples Σ_p (x_p - mean)(x_p - mean)ᵀ with the largest eigenvalues, of length 1, each with the sign that makes
//! its largest entry positive. Fitted in f64 on the first samples as they are, in order, so that every part of a data set has the same.

use std::path::Path;
use std::sync::Mutex;

use limbeck_answers::{Card, Pca, Preprocess, View};
use limbeck_data::{Dataset, Viewed, Watch, parallel};
use limbeck_engine::onnx::Model;

use crate::asked::Asked;
use crate::eigen::symmetric_eigen;
use crate::error::TeachError;
use crate::heads::HeadSpec;
use crate::lesson::{check, lock};

/// Samples that it is fitted on, where there are as many.
const SAMPLES: usize = 256;
/// Maps that are in memory at a time.
const TOGETHER: usize = 16;

/// Fit the K components of the map that `spec` names.
pub(crate) fn fit(
    model: &Model,
    path: &Path,
    spec: &HeadSpec,
    card: &Card,
    dataset: &dyn Dataset,
    threads: usize,
    watch: &dyn Watch,
) -> Result<Pca, TeachError> {
    let asked = Asked::new(model, path, &[spec.without_pca()], &[None])?;
    check(path, &asked, card, dataset)?;
    let c = asked.heads()[0].dims[0] as usize;
    let k = spec.components().unwrap_or(c);
    if k == 0 || k > c {
        let (key, path) = (spec.key(), path.display());
        return Err(TeachError::Mismatch(format!(
            "{path}: {key}: has {c} channels; pca=1 to pca={c} can be had of them"
        )));
    }
    let failed = |source| TeachError::Engine { path: path.to_owned(), source };
    let (preprocess, viewed) = (Preprocess::new(card), Viewed::new(dataset, None));
    let mut moments = Moments { count: 0.0, sum: vec![0.0; c], products: vec![0.0; c * c] };
    let samples = SAMPLES.min(dataset.len());
    for first in (0..samples).step_by(TOGETHER) {
        let count = TOGETHER.min(samples - first);
        let maps = Mutex::new(vec![vec![]; count]);
        let done = parallel::for_each(
            count,
            threads,
            &Quiet(watch),
            || asked.asker(&preprocess).map_err(failed),
            |asker, i| {
                viewed.input(&preprocess, first + i, View::Identity, &mut asker.input)?;
                asker.ask().map_err(failed)?;
                lock(&maps)[i] = asker.values[0].clone();
                Ok::<_, TeachError>(())
            },
        )?;
        if !done {
            return Err(TeachError::NotBegun);
        }
        for map in maps.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            moments.add(&map);
        }
    }
    Ok(moments.components(k))
}

/// Passes Ctrl-C on, but no progress: this is not what the stage counts.
struct Quiet<'a>(&'a dyn Watch);

impl Watch for Quiet<'_> {
    fn progress(&self, _done: usize, _total: usize) {}
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Sums over pixels, added in the order of samples.
struct Moments {
    count: f64,
    sum: Vec<f64>,
    /// (C, C) Σ x xᵀ, its lower half.
    products: Vec<f64>,
}

impl Moments {
    fn add(&mut self, map: &[f32]) {
        let c = self.sum.len();
        let pixels = map.len() / c;
        let rows = map.chunks_exact(pixels);
        self.count += pixels as f64;
        for (i, x_i) in rows.clone().enumerate() {
            self.sum[i] += x_i.iter().map(|v| f64::from(*v)).sum::<f64>();
            for (j, x_j) in rows.clone().enumerate().take(i + 1) {
                let product = x_i.iter().zip(x_j).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                self.products[i * c + j] += product;
            }
        }
    }

    fn components(&self, k: usize) -> Pca {
        let c = self.sum.len();
        let mean: Vec<f64> = self.sum.iter().map(|s| s / self.count).collect();
        let at = |i: usize, j: usize| self.products[i.max(j) * c + i.min(j)] / self.count - mean[i] * mean[j];
        let covariance = (0..c * c).map(|ij| at(ij / c, ij % c)).collect();
        let (values, vectors) = symmetric_eigen(covariance, c);
        let mut order: Vec<usize> = (0..c).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
        let mut w = Vec::with_capacity(k * c);
        for &i in &order[..k] {
            let vector = &vectors[i * c..(i + 1) * c];
            let largest = vector.iter().fold(0.0_f64, |most, v| if v.abs() > most.abs() { *v } else { most });
            let sign = if largest < 0.0 { -1.0 } else { 1.0 };
            w.extend(vector.iter().map(|v| (v * sign) as f32));
        }
        Pca::new(&mean.iter().map(|m| *m as f32).collect::<Vec<_>>(), &w)
    }
}

/// A projection, read once.
pub(crate) struct Projection {
    mean: Vec<f32>,
    w: Vec<f32>,
}

impl Projection {
    pub(crate) fn of(pca: &Pca) -> Projection {
        Projection { mean: pca.mean(), w: pca.components() }
    }

    /// x (C, P) → y (K, P)
    pub(crate) fn apply(&self, x: &[f32], y: &mut [f32]) {
        let c = self.mean.len();
        let pixels = x.len() / c;
        let mut sums = vec![0.0_f64; pixels];
        for (w_k, y_k) in self.w.chunks_exact(c).zip(y.chunks_exact_mut(pixels)) {
            sums.fill(0.0);
            for ((w, mean), x_c) in w_k.iter().zip(&self.mean).zip(x.chunks_exact(pixels)) {
                for (sum, x) in sums.iter_mut().zip(x_c) {
                    *sum += f64::from(*w) * (f64::from(*x) - f64::from(*mean));
                }
            }
            y_k.iter_mut().zip(&sums).for_each(|(y, sum)| *y = *sum as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three channels that are multiples of one, and a little of another direction.
    fn map(seed: usize) -> Vec<f32> {
        let main: Vec<f32> = (0..16).map(|i| ((i * 7 + seed * 5) % 11) as f32 - 5.0).collect();
        let other: Vec<f32> = (0..16).map(|i| ((i * 3 + seed) % 5) as f32 * 0.1).collect();
        let channel = |m: f32, o: f32, shift: f32| {
            main.iter().zip(&other).map(move |(a, b)| m * a + o * b + shift).collect::<Vec<_>>()
        };
        [channel(2.0, 0.0, 1.0), channel(-1.0, 1.0, 0.0), channel(2.0, 1.0, -3.0)].concat()
    }

    #[test]
    fn the_first_components_keep_what_varies() {
        let mut moments = Moments { count: 0.0, sum: vec![0.0; 3], products: vec![0.0; 9] };
        (0..8).for_each(|seed| moments.add(&map(seed)));
        let pca = moments.components(2);
        let (mean, w) = (pca.mean(), pca.components());
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert!((dot(&w[..3], &w[..3]) - 1.0).abs() < 1e-6 && dot(&w[..3], &w[3..]).abs() < 1e-6);
        // Rank two: two components give every map back.
        let (x, mut y) = (map(3), vec![0.0; 32]);
        Projection::of(&pca).apply(&x, &mut y);
        for c in 0..3 {
            for p in 0..16 {
                let back = mean[c] + w[c] * y[p] + w[3 + c] * y[16 + p];
                assert!((back - x[c * 16 + p]).abs() < 1e-4, "channel {c}, pixel {p}: {back} of {}", x[c * 16 + p]);
            }
        }
        // The first direction is (2, -1, 2) / 3 but for the other one's part, its largest entry positive.
        assert!(w[0] > 0.6 && w[1] < -0.2 && w[2] > 0.6, "{w:?}");
    }
}
