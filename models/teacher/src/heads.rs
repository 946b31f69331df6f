//! Which heads are wanted, as people write them.
//!
//! | written | value | key in the file | stored (first: default) |
//! |---|---|---|---|
//! | `logits` | (C) what softmax reads | `logits` | up to 256 classes `:dense` (f16), above `:topk=10`; `:f32`, `:i8` |
//! | `pooled` | (D) what the last linear layer reads | `pooled` | `:f16`, `:i8`, `:f32` |
//! | `feat:TAP` | (C, H, W) a feature map | `feat:TAP` | `:i8`, `:f16`, `:f32` |
//! | `feat:TAP:pca=K` | (K, H, W) its K principal channels ([`limbeck_answers::Pca`]) | `feat:TAP` | the same |
//! | `attention:TAP` | (H, W) mean_c F² | `attention:TAP` | `:f16`, `:f32` |
//! | `sign:TAP` | (C, H, W) F > 0 | `sign:TAP` | one bit a value |
//!
//! TAP is one of [`limbeck_engine::Taps`]: `stage:2`, `stage:2:pre`, `last`, or an ONNX tensor.

use std::str::FromStr;

use limbeck_answers::{HeadKind, LOGITS};

/// Up to so many classes all logits are kept by default (reference: `dense_f16` for C ≤ 256).
const DENSE_CLASSES: usize = 256;
/// Logits kept above that (Dataset reinforcement, ICCV 2023: 50 views of 10 are as good as 400).
const TOP: u16 = 10;

/// A head that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadSpec {
    /// What is computed from the tap.
    pub(crate) what: What,
    /// Its tap: `logits`, `pooled`, `stage:3`, an ONNX tensor.
    pub(crate) tap: String,
    storage: Option<Storage>,
    pca: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Logits,
    Pooled,
    Feature,
    Attention,
    Sign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    F32,
    F16,
    I8,
    Top(u16),
}

/// Not a head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{asked}: {why}; heads are logits[:dense|f32|i8|topk=K], pooled[:f16|i8|f32], feat:TAP[:pca=K][:i8|f16|f32], \
     attention:TAP[:f16|f32] and sign:TAP, with a TAP as stage:2, stage:2:pre, last, or an ONNX tensor"
)]
pub struct HeadSpecError {
    /// As it was written.
    pub asked: String,
    /// What is wrong.
    pub why: String,
}

impl HeadSpec {
    /// The logits, as is usual for their number.
    pub fn logits() -> HeadSpec {
        HeadSpec { what: What::Logits, tap: LOGITS.into(), storage: None, pca: None }
    }

    /// The logits, bit for bit.
    pub fn logits_f32() -> HeadSpec {
        HeadSpec { storage: Some(Storage::F32), ..HeadSpec::logits() }
    }

    /// Its name in the file.
    pub fn key(&self) -> String {
        match self.what {
            What::Logits | What::Pooled => self.tap.clone(),
            What::Feature => format!("feat:{}", self.tap),
            What::Attention => format!("attention:{}", self.tap),
            What::Sign => format!("sign:{}", self.tap),
        }
    }

    /// Channels that are kept, if not all.
    pub(crate) fn components(&self) -> Option<usize> {
        self.pca.map(usize::from)
    }

    /// The map itself, bit for bit.
    pub(crate) fn without_pca(&self) -> HeadSpec {
        HeadSpec { pca: None, storage: Some(Storage::F32), ..self.clone() }
    }

    /// How it is stored, given how many classes the teacher has.
    pub(crate) fn kind(&self, classes: usize) -> HeadKind {
        match (self.what, self.storage) {
            (What::Logits, None) if classes > DENSE_CLASSES => HeadKind::TopKF16 { k: TOP },
            (What::Logits, None | Some(Storage::F16)) => HeadKind::DenseF16,
            (What::Logits, Some(Storage::F32)) => HeadKind::DenseF32,
            (What::Logits, Some(Storage::I8)) => HeadKind::DenseI8,
            (_, Some(Storage::Top(k))) => HeadKind::TopKF16 { k },
            (What::Pooled, None | Some(Storage::F16)) => HeadKind::VecF16,
            (What::Pooled, Some(Storage::F32)) => HeadKind::VecF32,
            (What::Pooled, Some(Storage::I8)) => HeadKind::VecI8,
            (What::Feature, None | Some(Storage::I8)) => HeadKind::FeatI8,
            (What::Feature, Some(Storage::F16)) => HeadKind::FeatF16,
            (What::Feature, Some(Storage::F32)) => HeadKind::FeatF32,
            (What::Attention, Some(Storage::F32)) => HeadKind::MapF32,
            (What::Attention, _) => HeadKind::MapF16,
            (What::Sign, _) => HeadKind::Sign,
        }
    }
}

impl FromStr for HeadSpec {
    type Err = HeadSpecError;

    fn from_str(asked: &str) -> Result<HeadSpec, HeadSpecError> {
        let wrong = |why: &str| HeadSpecError { asked: asked.into(), why: why.into() };
        let (name, rest) = asked.split_once(':').unwrap_or((asked, ""));
        let what = match name {
            "logits" => What::Logits,
            "pooled" => What::Pooled,
            "feat" => What::Feature,
            "attention" => What::Attention,
            "sign" => What::Sign,
            _ => return Err(wrong(&format!("`{name}` is no head"))),
        };
        let is_tapped = matches!(what, What::Feature | What::Attention | What::Sign);
        let number = |text: &str| text.parse::<u16>().ok().filter(|n| *n > 0);
        let (mut tap, mut storage, mut pca) = (rest, None, None);
        // A tap has colons of its own: what follows the last one is an option if it is known.
        loop {
            let (before, last) = match tap.rsplit_once(':') {
                Some(split) => split,
                None if is_tapped => break,
                None => ("", tap),
            };
            match last {
                "f32" => storage = Some(Storage::F32),
                "f16" => storage = Some(Storage::F16),
                "dense" if what == What::Logits => storage = Some(Storage::F16),
                "i8" => storage = Some(Storage::I8),
                "" if !is_tapped => break,
                _ => match (last.strip_prefix("topk="), last.strip_prefix("pca=")) {
                    (Some(k), _) => match number(k) {
                        Some(k) => storage = Some(Storage::Top(k)),
                        None => return Err(wrong(&format!("`{k}` is no number of logits"))),
                    },
                    (_, Some(k)) => match number(k) {
                        Some(k) => pca = Some(k),
                        None => return Err(wrong(&format!("`{k}` is no number of channels"))),
                    },
                    _ if is_tapped => break,
                    _ => return Err(wrong(&format!("`{last}` is no way to store it"))),
                },
            }
            tap = before;
        }
        let refused = match (what, storage) {
            (What::Attention, Some(Storage::I8)) => Some("an attention map is stored as f16 or f32"),
            (What::Sign, Some(_)) => Some("signs are bits"),
            _ if pca.is_some() && what != What::Feature => Some("only feature maps have principal channels"),
            (What::Logits, _) => None,
            (_, Some(Storage::Top(_))) => Some("only logits have a top K"),
            _ => None,
        };
        match refused {
            Some(why) => Err(wrong(why)),
            None if is_tapped && tap.is_empty() => Err(wrong("the tap is missing")),
            None => {
                let tap = if is_tapped { tap.to_owned() } else { name.to_owned() };
                Ok(HeadSpec { what, tap, storage, pca })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_what_is_written() {
        let cases = [
            ("logits", "logits", "logits", HeadKind::DenseF16),
            ("logits:dense", "logits", "logits", HeadKind::DenseF16),
            ("logits:f32", "logits", "logits", HeadKind::DenseF32),
            ("logits:i8", "logits", "logits", HeadKind::DenseI8),
            ("logits:topk=5", "logits", "logits", HeadKind::TopKF16 { k: 5 }),
            ("pooled", "pooled", "pooled", HeadKind::VecF16),
            ("pooled:i8", "pooled", "pooled", HeadKind::VecI8),
            ("feat:stage:3", "feat:stage:3", "stage:3", HeadKind::FeatI8),
            ("feat:stage:3:pre", "feat:stage:3:pre", "stage:3:pre", HeadKind::FeatI8),
            ("feat:stage:3:f16", "feat:stage:3", "stage:3", HeadKind::FeatF16),
            ("feat:last:f32", "feat:last", "last", HeadKind::FeatF32),
            ("feat:/layer4/conv:0", "feat:/layer4/conv:0", "/layer4/conv:0", HeadKind::FeatI8),
            ("attention:stage:2", "attention:stage:2", "stage:2", HeadKind::MapF16),
            ("sign:stage:3:pre", "sign:stage:3:pre", "stage:3:pre", HeadKind::Sign),
        ];
        for (text, key, tap, kind) in cases {
            let head: HeadSpec = text.parse().unwrap();
            assert_eq!((head.key().as_str(), head.tap.as_str(), head.kind(10)), (key, tap, kind), "{text}");
        }
        for text in ["feat:stage:3:pca=32", "feat:stage:3:pca=32:i8", "feat:stage:3:i8:pca=32"] {
            let head: HeadSpec = text.parse().unwrap();
            assert_eq!(
                (head.key().as_str(), head.components(), head.kind(10)),
                ("feat:stage:3", Some(32), HeadKind::FeatI8)
            );
        }
        assert_eq!(HeadSpec::logits().kind(257), HeadKind::TopKF16 { k: 10 });
        assert_eq!("logits:dense".parse::<HeadSpec>().unwrap().kind(1000), HeadKind::DenseF16);
    }

    #[test]
    fn what_is_no_head_is_told_what_is() {
        let wrong = [
            "",
            "logit",
            "logits:topk=0",
            "logits:f8",
            "pooled:topk=3",
            "feat",
            "feat:",
            "feat:f16",
            "sign:last:i8",
            "feat:last:pca=0",
            "logits:pca=3",
        ];
        for text in wrong {
            if text == "feat:f16" {
                // An ONNX tensor may have this name.
                assert_eq!(text.parse::<HeadSpec>().unwrap().tap, "f16");
                continue;
            }
            let error = text.parse::<HeadSpec>().unwrap_err().to_string();
            assert!(error.contains("heads are logits"), "{error}");
        }
    }
}
