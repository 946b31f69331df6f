//! What is kept of one teacher output: a record of fixed size, one a (view, sample).
//!
//! Little-endian. `C` classes or channels, `D` length of a vector, `P` = H·W pixels of a map, `K` largest logits.
//!
//! | kind | values | record | bytes |
//! |---|---|---|---|
//! | `dense_f32` | (C) | f32\[C\] z | 4C |
//! | `dense_f16` | (C) | f16\[C\] z - max z | 2C |
//! | `dense_i8` | (C) | f16 scale, i8\[C\] (z - max z) / scale | C + 2 |
//! | `top_k_f16` | (C) | see [`TopK`] | 4K + 14 |
//! | `vec_f32`, `vec_f16` | (D) | f32\[D\], f16\[D\] | 4D, 2D |
//! | `vec_i8` | (D) | f16 scale, i8\[D\] v / scale | D + 2 |
//! | `map_f32`, `map_f16` | (H, W) | f32\[P\], f16\[P\] | 4P, 2P |
//! | `feat_f32`, `feat_f16` | (C, H, W) | f32\[CP\], f16\[CP\] | 4CP, 2CP |
//! | `feat_i8` | (C, H, W) | f16 scale\[C\], i8\[CP\] v / its channel's scale | C(P + 2) |
//! | `sign` | any | bit i is v_i > 0, lowest first | ⌈values / 8⌉ |
//!
//! f16 is rounded to nearest, ties to even; what lies outside ±65504 becomes ±65504. Logits relative to the largest give the
//! same softmax at every temperature, with an error of at most 2^-11 |z - max z|.

mod pca;
mod plain;
mod scaled;
mod top_k;

pub use pca::Pca;
pub use top_k::{TAIL_TEMPERATURES, TopK};

use serde::{Deserialize, Serialize};

/// One output of the teacher, and how its values are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What losses and options call it: "logits", "pooled", "feat:stage:3". Unique in a file.
    pub key: String,
    /// The tensor of the teacher's ONNX graph.
    pub tensor: String,
    /// Shape of one sample's value, as it is stored: (C), (H, W) or (C, H, W).
    pub dims: Vec<u32>,
    /// How it is stored.
    pub kind: HeadKind,
    /// What made a feature map's channels fewer before they were stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pca: Option<Pca>,
}

/// How the value of one answer is stored; the records are in the table of [`crate::head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// Logits, bit for bit.
    DenseF32,
    /// Logits relative to the largest.
    DenseF16,
    /// Logits relative to the largest, in steps of 1/127 of their range.
    DenseI8,
    /// The K largest logits, and what is known of the rest.
    TopKF16 {
        /// K
        k: u16,
    },
    /// A vector, bit for bit.
    VecF32,
    /// A vector.
    VecF16,
    /// A vector, in steps of 1/127 of its largest magnitude.
    VecI8,
    /// A map of one channel (attention), bit for bit.
    MapF32,
    /// A map of one channel.
    MapF16,
    /// A feature map, bit for bit.
    FeatF32,
    /// A feature map.
    FeatF16,
    /// A feature map, each channel in steps of 1/127 of its largest magnitude.
    FeatI8,
    /// What is above zero.
    Sign,
}

impl std::fmt::Display for HeadKind {
    /// The name in the manifest, with K: `top_k_f16(10)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HeadKind::DenseF32 => "dense_f32",
            HeadKind::DenseF16 => "dense_f16",
            HeadKind::DenseI8 => "dense_i8",
            HeadKind::TopKF16 { k } => return write!(f, "top_k_f16({k})"),
            HeadKind::VecF32 => "vec_f32",
            HeadKind::VecF16 => "vec_f16",
            HeadKind::VecI8 => "vec_i8",
            HeadKind::MapF32 => "map_f32",
            HeadKind::MapF16 => "map_f16",
            HeadKind::FeatF32 => "feat_f32",
            HeadKind::FeatF16 => "feat_f16",
            HeadKind::FeatI8 => "feat_i8",
            HeadKind::Sign => "sign",
        })
    }
}

impl Head {
    /// Values of one answer, before they are stored.
    #[allow(clippy::len_without_is_empty, reason = "a head has at least one value")]
    pub fn len(&self) -> usize {
        self.values().and_then(|v| usize::try_from(v).ok()).unwrap_or(usize::MAX)
    }

    fn values(&self) -> Option<u64> {
        self.dims.iter().try_fold(1_u64, |product, &d| product.checked_mul(d.into()))
    }

    /// Bytes of one record.
    pub fn stride(&self) -> u64 {
        let values = self.len() as u64;
        let channels = u64::from(self.dims.first().copied().unwrap_or(0));
        match self.kind {
            HeadKind::DenseF32 | HeadKind::VecF32 | HeadKind::MapF32 | HeadKind::FeatF32 => values.saturating_mul(4),
            HeadKind::DenseF16 | HeadKind::VecF16 | HeadKind::MapF16 | HeadKind::FeatF16 => values.saturating_mul(2),
            HeadKind::DenseI8 | HeadKind::VecI8 => values.saturating_add(2),
            HeadKind::TopKF16 { k } => 4 * u64::from(k) + 14,
            HeadKind::FeatI8 => values.saturating_add(2 * channels),
            HeadKind::Sign => values.div_ceil(8),
        }
    }

    /// Every value can be had back with [`Head::parse`].
    pub fn is_dense(&self) -> bool {
        !matches!(self.kind, HeadKind::TopKF16 { .. })
    }

    /// Key, shape and kind belong together; else what is wrong.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.key.is_empty() || self.key.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("needs a key without spaces".into());
        }
        let values = self.values().unwrap_or(u64::MAX);
        if self.dims.is_empty() || values == 0 {
            return Err(format!("has no values (shape {:?})", self.dims));
        }
        if values > u64::from(u32::MAX) || self.stride() > u64::from(u32::MAX) {
            return Err(format!("has records of more than 4 GiB (shape {:?})", self.dims));
        }
        let wants = |shape: &str| Err(format!("has the shape {:?}, but {} is of {shape}", self.dims, self.kind));
        if let Some(pca) = &self.pca {
            if self.dims.len() != 3 {
                return Err(format!("has a projection of channels, but the shape {:?}", self.dims));
            }
            pca.validate(self.dims[0])?;
        }
        match (self.kind, self.dims.len()) {
            (HeadKind::TopKF16 { k }, 1) => match self.dims[0] {
                c if c > 1 << 16 => Err(format!("has {c} classes; {} counts to 65536", self.kind)),
                c if k == 0 || u32::from(k) > c => Err(format!("keeps the largest {k} of {c} logits")),
                _ => Ok(()),
            },
            (HeadKind::DenseF32 | HeadKind::DenseF16 | HeadKind::DenseI8, 1) => Ok(()),
            (HeadKind::DenseF32 | HeadKind::DenseF16 | HeadKind::DenseI8 | HeadKind::TopKF16 { .. }, _) => wants("(C)"),
            (HeadKind::VecF32 | HeadKind::VecF16 | HeadKind::VecI8, 1) => Ok(()),
            (HeadKind::VecF32 | HeadKind::VecF16 | HeadKind::VecI8, _) => wants("(D)"),
            (HeadKind::MapF32 | HeadKind::MapF16, 2) => Ok(()),
            (HeadKind::MapF32 | HeadKind::MapF16, _) => wants("(H, W)"),
            (HeadKind::FeatF32 | HeadKind::FeatF16 | HeadKind::FeatI8, 3) => Ok(()),
            (HeadKind::FeatF32 | HeadKind::FeatF16 | HeadKind::FeatI8, _) => wants("(C, H, W)"),
            (HeadKind::Sign, _) => Ok(()),
        }
    }

    /// Fill the record of `values`, which are finite. `label` matters to `top_k_f16` alone: that class is always kept.
    ///
    /// # Panics
    /// Unless `values` has [`Head::len`] values and `record` [`Head::stride`] bytes.
    pub fn emit(&self, values: &[f32], label: Option<u16>, record: &mut [u8]) {
        assert_eq!(
            (values.len(), record.len() as u64),
            (self.len(), self.stride()),
            "values and bytes of {}",
            self.key
        );
        match self.kind {
            HeadKind::DenseF32 | HeadKind::VecF32 | HeadKind::MapF32 | HeadKind::FeatF32 => {
                plain::emit_f32(values, record);
            }
            HeadKind::VecF16 | HeadKind::MapF16 | HeadKind::FeatF16 => plain::emit_f16(values, 0.0, record),
            HeadKind::DenseF16 => plain::emit_f16(values, max(values), record),
            HeadKind::DenseI8 => scaled::emit(values, 1, max(values), record),
            HeadKind::VecI8 => scaled::emit(values, 1, 0.0, record),
            HeadKind::FeatI8 => scaled::emit(values, self.dims[0] as usize, 0.0, record),
            HeadKind::TopKF16 { k } => TopK::of(values, k.into(), label).emit(record),
            HeadKind::Sign => plain::emit_sign(values, record),
        }
    }

    /// Read a record back into `values`: logits relative to the largest except with `dense_f32`, signs as 1 and -1.
    ///
    /// # Panics
    /// Unless the head is [dense](Head::is_dense), `values` has [`Head::len`] values and `record` [`Head::stride`] bytes.
    pub fn parse(&self, record: &[u8], values: &mut [f32]) {
        assert_eq!(
            (values.len(), record.len() as u64),
            (self.len(), self.stride()),
            "values and bytes of {}",
            self.key
        );
        match self.kind {
            HeadKind::DenseF32 | HeadKind::VecF32 | HeadKind::MapF32 | HeadKind::FeatF32 => {
                plain::parse_f32(record, values);
            }
            HeadKind::DenseF16 | HeadKind::VecF16 | HeadKind::MapF16 | HeadKind::FeatF16 => {
                plain::parse_f16(record, values);
            }
            HeadKind::DenseI8 | HeadKind::VecI8 => scaled::parse(record, 1, values),
            HeadKind::FeatI8 => scaled::parse(record, self.dims[0] as usize, values),
            HeadKind::Sign => plain::parse_sign(record, values),
            HeadKind::TopKF16 { .. } => panic!("{} keeps the largest logits only", self.key),
        }
    }
}

/// The largest value.
fn max(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    fn head(kind: HeadKind, dims: &[u32]) -> Head {
        Head { key: "h".into(), tensor: "t".into(), dims: dims.to_vec(), kind, pca: None }
    }

    fn values(count: usize, seed: u64) -> Vec<f32> {
        let mut random = Stream::new(seed, 0, 0);
        (0..count).map(|_| (random.next_u32() as f32 / 2.0_f32.powi(31) - 1.0) * 20.0).collect()
    }

    /// Kind, shape, bytes by the formulas of the module's table.
    const CASES: [(HeadKind, &[u32], u64); 17] = [
        (HeadKind::DenseF32, &[10], 40),
        (HeadKind::DenseF16, &[10], 20),
        (HeadKind::DenseF16, &[100], 200),
        (HeadKind::DenseI8, &[19], 21),
        (HeadKind::TopKF16 { k: 10 }, &[1000], 54),
        (HeadKind::TopKF16 { k: 1 }, &[1], 18),
        (HeadKind::VecF32, &[256], 1024),
        (HeadKind::VecF16, &[256], 512),
        (HeadKind::VecI8, &[256], 258),
        (HeadKind::MapF32, &[8, 4], 128),
        (HeadKind::MapF16, &[8, 4], 64),
        (HeadKind::FeatF32, &[6, 4, 2], 192),
        (HeadKind::FeatF16, &[6, 4, 2], 96),
        (HeadKind::FeatI8, &[256, 8, 8], 256 * 66),
        (HeadKind::Sign, &[16, 4, 4], 32),
        (HeadKind::Sign, &[3, 3, 3], 4),
        (HeadKind::Sign, &[1], 1),
    ];

    #[test]
    fn every_kind_has_the_bytes_of_its_formula() {
        for (kind, dims, bytes) in CASES {
            let head = head(kind, dims);
            assert_eq!((head.validate(), head.stride()), (Ok(()), bytes), "{kind} {dims:?}");
        }
    }

    #[test]
    fn every_dense_kind_gives_back_its_values_within_its_step() {
        for (kind, dims, bytes) in CASES {
            let head = head(kind, dims);
            let v = values(head.len(), bytes);
            let (mut record, mut out) = (vec![0xAA; bytes as usize], vec![0.0; v.len()]);
            head.emit(&v, Some(0), &mut record);
            if !head.is_dense() {
                continue;
            }
            head.parse(&record, &mut out);
            let relative = matches!(kind, HeadKind::DenseF16 | HeadKind::DenseI8);
            let zero = if relative { max(&v) } else { 0.0 };
            for (v, out) in v.iter().zip(&out) {
                let v = v - zero;
                let (right, error) = match kind {
                    HeadKind::DenseF32 | HeadKind::VecF32 | HeadKind::MapF32 | HeadKind::FeatF32 => (v, 0.0),
                    HeadKind::Sign => (if v > 0.0 { 1.0 } else { -1.0 }, 0.0),
                    HeadKind::DenseI8 => (v, 0.5 * 40.1 / 127.0),
                    HeadKind::VecI8 | HeadKind::FeatI8 => (v, 0.5 * 20.1 / 127.0),
                    _ => (v, v.abs() / 2048.0 + 1e-7),
                };
                assert!((out - right).abs() <= error, "{kind} {dims:?}: {v} came back as {out}");
            }
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let cases: [(HeadKind, &[u32], &str); 12] = [
            (HeadKind::DenseF16, &[], "no values"),
            (HeadKind::DenseF16, &[3, 0], "no values"),
            (HeadKind::DenseF16, &[3, 1], "dense_f16 is of (C)"),
            (HeadKind::TopKF16 { k: 10 }, &[3, 1], "top_k_f16(10) is of (C)"),
            (HeadKind::TopKF16 { k: 0 }, &[3], "largest 0 of 3"),
            (HeadKind::TopKF16 { k: 4 }, &[3], "largest 4 of 3"),
            (HeadKind::TopKF16 { k: 4 }, &[65537], "counts to 65536"),
            (HeadKind::VecI8, &[3, 1], "vec_i8 is of (D)"),
            (HeadKind::MapF16, &[1, 3, 3], "map_f16 is of (H, W)"),
            (HeadKind::FeatI8, &[3], "feat_i8 is of (C, H, W)"),
            (HeadKind::FeatF32, &[1 << 15, 1 << 15, 1], "more than 4 GiB"),
            (HeadKind::Sign, &[u32::MAX, u32::MAX, u32::MAX], "more than 4 GiB"),
        ];
        for (kind, dims, why) in cases {
            let said = head(kind, dims).validate().unwrap_err();
            assert!(said.contains(why), "{kind} {dims:?}: {said}");
        }
        for key in ["", "a b", "a\n"] {
            let named = Head { key: key.into(), ..head(HeadKind::DenseF16, &[3]) };
            assert!(named.validate().unwrap_err().contains("key"));
        }
    }

    #[test]
    fn kinds_have_one_name_everywhere() {
        for (kind, ..) in CASES {
            let json = serde_json::to_string(&kind).unwrap();
            let name = kind.to_string();
            let name = name.split('(').next().unwrap();
            assert!(json.contains(&format!("\"{name}\"")), "{json} {name}");
            assert_eq!(serde_json::from_str::<HeadKind>(&json).unwrap(), kind);
        }
    }

    #[test]
    fn f16_is_relative_to_the_largest_logit() {
        let head = head(HeadKind::DenseF16, &[3]);
        let (mut record, mut out) = ([0; 6], [0.0; 3]);
        head.emit(&[1000.0, 999.0, -1e9], None, &mut record);
        head.parse(&record, &mut out);
        assert_eq!(out, [0.0, -1.0, -65504.0]);
    }
}
