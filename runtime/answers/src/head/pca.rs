//! Principal channels of a feature map: what turned C channels into the K that are stored.
//!
//! y_kp = Σ_c w_kc (x_cp - mean_c)        x (C, H, W)   mean (C)   w (K, C)   y (K, H, W)
//!
//! It stands in the manifest, so that all parts of a file are of the same projection, and a student of C channels can be projected too.
//! There it is text: (K + 1)·C f32, little-endian, in hex, mean first.

use serde::{Deserialize, Serialize};

/// A projection of channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pca {
    /// C
    channels: u32,
    /// mean, then w row by row.
    f32_le: String,
}

impl Pca {
    /// Of `mean` (C) and `components` (K, C).
    ///
    /// # Panics
    /// Unless the components are rows of C values.
    pub fn new(mean: &[f32], components: &[f32]) -> Pca {
        let c = mean.len();
        assert!(c > 0 && components.len().is_multiple_of(c), "{} values in rows of {c}", components.len());
        let bytes: Vec<u8> = mean.iter().chain(components).flat_map(|v| v.to_le_bytes()).collect();
        Pca { channels: c as u32, f32_le: limbeck_files::hex(&bytes) }
    }

    /// C, of the map that it was made of.
    pub fn channels(&self) -> usize {
        self.channels as usize
    }

    /// K, of the map that is stored.
    pub fn kept(&self) -> usize {
        (self.f32_le.len() / 8 / self.channels().max(1)).saturating_sub(1)
    }

    /// (C)
    pub fn mean(&self) -> Vec<f32> {
        self.values().take(self.channels()).collect()
    }

    /// (K, C)
    pub fn components(&self) -> Vec<f32> {
        self.values().skip(self.channels()).collect()
    }

    fn values(&self) -> impl Iterator<Item = f32> {
        let digit = |d: u8| (d as char).to_digit(16).unwrap_or_default() as u8;
        let byte = move |pair: &[u8]| digit(pair[0]) << 4 | digit(pair[1]);
        let word = move |w: &[u8]| f32::from_le_bytes([byte(&w[0..2]), byte(&w[2..4]), byte(&w[4..6]), byte(&w[6..8])]);
        self.f32_le.as_bytes().chunks_exact(8).map(word)
    }

    /// It turns C channels into `kept`; else what is wrong.
    pub(super) fn validate(&self, kept: u32) -> Result<(), String> {
        let digits = self.f32_le.bytes().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'));
        let whole = self.channels > 0 && self.f32_le.len().is_multiple_of(8 * self.channels());
        if !digits || !whole || self.kept() != kept as usize || self.kept() > self.channels() {
            let (c, k) = (self.channels, self.kept());
            return Err(format!("has a projection of {c} channels to {k}, but {kept} channels"));
        }
        match self.values().all(f32::is_finite) {
            true => Ok(()),
            false => Err("has a projection that is not finite".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projection_comes_back_bit_for_bit() {
        let (mean, w) = ([1.5, -0.1, 3e-40], [0.6, -0.8, f32::MIN_POSITIVE, 0.0, 1.0, -1e30]);
        let pca = Pca::new(&mean, &w);
        let json = serde_json::to_string(&pca).unwrap();
        let back: Pca = serde_json::from_str(&json).unwrap();
        assert_eq!((back.channels(), back.kept()), (3, 2));
        assert_eq!((back.mean(), back.components()), (mean.to_vec(), w.to_vec()));
        assert_eq!(back.validate(2), Ok(()));
    }

    #[test]
    fn a_projection_that_does_not_fit_is_refused() {
        let pca = Pca::new(&[0.0; 2], &[1.0; 4]);
        assert!(pca.validate(3).unwrap_err().contains("2 channels to 2, but 3"));
        for damaged in ["", "0", "zz", &"0".repeat(8 * 7)] {
            assert!(Pca { channels: 2, f32_le: damaged.into() }.validate(2).is_err(), "{damaged}");
        }
        assert!(Pca { channels: 0, f32_le: String::new() }.validate(0).is_err());
        assert!(Pca::new(&[f32::NAN], &[1.0]).validate(1).unwrap_err().contains("finite"));
    }
}
