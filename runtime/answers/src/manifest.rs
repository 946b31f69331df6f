//! What an answers file says about itself: the JSON after its header.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::card::Card;
use crate::head::Head;
use crate::view::View;
use crate::views::Augment;

/// Key of the head that holds the teacher's logits.
pub const LOGITS: &str = "logits";

/// Where the answers come from and what they look like. The bytes in the file are this, as serde writes it, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Program and version that wrote the file.
    pub tool: String,
    /// The teacher's ONNX file, and what ran it.
    pub teacher: Teacher,
    /// The teacher's card: its labels and its preprocessing.
    pub card: Card,
    /// [`Card::sha256`] of `card`.
    pub card_sha256: String,
    /// The samples.
    pub dataset: DatasetId,
    /// Views with a record for every sample, in file order.
    pub views: Vec<View>,
    /// What drawn views are drawn from; `None` without drawn views.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<Augment>,
    /// What is kept of every answer, in file order.
    pub heads: Vec<Head>,
    /// Set when the file holds a part of the samples only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// A few answers in full, to run the teacher against later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// The model that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// File name, without folders.
    pub name: String,
    /// Of the ONNX file, 64 hex digits.
    pub sha256: String,
    /// Of ONNX's own operators.
    pub opset: u64,
    /// What ran it: "tract 0.23.9".
    pub runtime: String,
    /// Of its arithmetic: "f32".
    pub precision: String,
}

/// The samples, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetId {
    /// For people.
    pub name: String,
    /// N, how many the whole data set has.
    pub samples: u64,
    /// [`limbeck_files::merkle_root`] over one leaf a sample, 64 hex digits; in a shard, over the shard's samples only.
    pub sha256: String,
    /// Class names of the data; empty when unlabeled.
    pub labels: Vec<String>,
}

/// Samples `first .. first + count` of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Number of the first sample.
    pub first: u64,
    /// How many samples.
    pub count: u64,
    /// N, samples of the whole data set.
    pub of: u64,
}

impl Shard {
    /// Part `index` of `parts` (from 0) of `samples`: sizes differ by at most one, larger parts first.
    pub fn part(index: u64, parts: u64, samples: u64) -> Shard {
        assert!(index < parts, "part {index} of {parts}");
        let (size, larger) = (samples / parts, samples % parts);
        let first = index * size + index.min(larger);
        Shard { first, count: size + u64::from(index < larger), of: samples }
    }
}

/// Which answers are kept as f32 as well, in the first view, whatever the head's kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Key of the head.
    pub head: String,
    /// Numbers of the samples, ascending.
    pub samples: Vec<u64>,
}

impl Probe {
    /// Samples of a probe, where there are as many.
    pub const SAMPLES: u64 = 16;

    /// At most [`Probe::SAMPLES`] samples, evenly over a data set of `samples`.
    pub fn of(head: &str, samples: u64) -> Probe {
        let count = samples.min(Probe::SAMPLES);
        let at = |i: u64| (u128::from(i) * u128::from(samples) / u128::from(count)) as u64;
        Probe { head: head.to_owned(), samples: (0..count).map(at).collect() }
    }
}

impl Manifest {
    /// Numbers of the samples that have records here.
    pub fn range(&self) -> Range<u64> {
        match self.shard {
            Some(shard) => shard.first..shard.first.saturating_add(shard.count),
            None => 0..self.dataset.samples,
        }
    }

    /// Number of the head with this key.
    pub fn head(&self, key: &str) -> Option<usize> {
        self.heads.iter().position(|h| h.key == key)
    }

    /// The samples of the probe that are in [`Manifest::range`].
    pub fn probed(&self) -> impl Iterator<Item = u64> {
        let range = self.range();
        self.probe.iter().flat_map(|p| &p.samples).copied().filter(move |s| range.contains(s))
    }

    /// The fields agree with each other; else the field and what is wrong with it.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let hashes = [
            ("teacher.sha256", &self.teacher.sha256),
            ("card_sha256", &self.card_sha256),
            ("dataset.sha256", &self.dataset.sha256),
        ];
        for (field, hash) in hashes {
            if hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err((field, format!("is `{hash}`, not 64 lower-case hex digits")));
            }
        }
        self.card.validate(std::path::Path::new("the teacher's card")).map_err(|e| ("card", e.to_string()))?;
        if self.card.sha256() != self.card_sha256 {
            return Err(("card_sha256", format!("is {}, but the card's is {}", self.card_sha256, self.card.sha256())));
        }
        if self.dataset.samples == 0 {
            return Err(("dataset.samples", "is 0; answers need at least one sample".into()));
        }
        if self.views.is_empty() {
            return Err(("views", "is empty; answers need at least one view".into()));
        }
        if u32::try_from(self.views.len()).is_err() {
            return Err(("views", "has more views than a file can have".into()));
        }
        if (1..self.views.len()).any(|i| self.views[..i].contains(&self.views[i])) {
            return Err(("views", "names a view twice".into()));
        }
        Augment::check_views(self.augment.as_ref(), &self.views).map_err(|why| ("augment", why))?;
        self.validate_heads()?;
        self.validate_shard()?;
        self.validate_probe()
    }

    fn validate_heads(&self) -> Result<(), (&'static str, String)> {
        if self.heads.is_empty() {
            return Err(("heads", "is empty; keep at least one".into()));
        }
        for (i, head) in self.heads.iter().enumerate() {
            head.validate().map_err(|why| ("heads", format!("has `{}`, which {why}", head.key)))?;
            if self.heads[..i].iter().any(|h| h.key == head.key) {
                return Err(("heads", format!("has `{}` twice", head.key)));
            }
            let (values, labels) = (head.len(), self.card.labels.len());
            if head.key == LOGITS && labels != 0 && values != labels {
                let why = format!("has `{LOGITS}` of {values} classes, but the teacher's card names {labels} labels");
                return Err(("heads", why));
            }
        }
        Ok(())
    }

    fn validate_shard(&self) -> Result<(), (&'static str, String)> {
        let Some(Shard { first, count, of }) = self.shard else { return Ok(()) };
        if of != self.dataset.samples {
            return Err(("shard.of", format!("is {of}, but the data set has {} samples", self.dataset.samples)));
        }
        if count == 0 || first.checked_add(count).is_none_or(|end| end > of) {
            return Err(("shard", format!("has {count} samples from sample {first} on, of {of}")));
        }
        Ok(())
    }

    fn validate_probe(&self) -> Result<(), (&'static str, String)> {
        let Some(probe) = &self.probe else { return Ok(()) };
        if self.head(&probe.head).is_none() {
            return Err(("probe.head", format!("is `{}`, which is no head", probe.head)));
        }
        let ascending = probe.samples.windows(2).all(|w| w[0] < w[1]);
        if !ascending || probe.samples.last().is_none_or(|&last| last >= self.dataset.samples) {
            return Err(("probe.samples", "are not ascending numbers of samples".into()));
        }
        Ok(())
    }

    /// The file's bytes of it; the error is the field that JSON does not give back.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, (&'static str, String)> {
        let json = serde_json::to_vec(self).map_err(|e| ("json", e.to_string()))?;
        if serde_json::from_slice::<Manifest>(&json).ok().as_ref() != Some(self) {
            return Err(("card", "has a number that JSON does not give back; use fewer digits".into()));
        }
        Ok(json)
    }

    /// The manifest that these bytes are, checked.
    pub(crate) fn from_json(json: &[u8]) -> Result<Manifest, (&'static str, String)> {
        let manifest: Manifest = serde_json::from_slice(json).map_err(|e| ("json", format!("does not parse: {e}")))?;
        manifest.validate()?;
        if manifest.to_json()? != json {
            return Err(("json", "is not written as this build writes it".into()));
        }
        Ok(manifest)
    }

    /// The first field in which `other` differs: its path, what is here, what is there.
    pub(crate) fn difference(&self, other: &Manifest) -> Option<(String, String, String)> {
        let value = |m: &Manifest| serde_json::to_value(m).unwrap_or_default();
        difference("", &value(self), &value(other))
    }
}

/// Walk two JSON values together.
fn difference(at: &str, a: &serde_json::Value, b: &serde_json::Value) -> Option<(String, String, String)> {
    use serde_json::Value::{Array, Null, Object};
    let inside = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match (a, b) {
        (Object(x), Object(y)) => {
            let keys = x.keys().chain(y.keys().filter(|k| !x.contains_key(*k)));
            keys.into_iter().find_map(|k| difference(&inside(k), x.get(k).unwrap_or(&Null), y.get(k).unwrap_or(&Null)))
        }
        (Array(x), Array(y)) if x.len() == y.len() => {
            x.iter().zip(y).enumerate().find_map(|(i, (x, y))| difference(&format!("{at}[{i}]"), x, y))
        }
        _ if a == b => None,
        _ => Some((at.to_owned(), a.to_string(), b.to_string())),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::head::HeadKind;

    /// A manifest of 5 samples, both views, 3 classes.
    pub(crate) fn manifest(kind: HeadKind) -> Manifest {
        let text = "version = 1\ntask = \"classification\"\nlabels = [\"a\", \"b\", \"c\"]\n[input]\nwidth = 2\nheight = 2\n\
                    layout = \"nchw\"\ncolour = \"gray\"\nresize = \"exact\"\nscale = 0.003921569\nmean = [0.1]\nstd = [0.3]\n";
        let card = Card::parse(text, std::path::Path::new("teacher.toml")).unwrap();
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
            dataset: DatasetId { name: "five".into(), samples: 5, sha256: "2".repeat(64), labels: vec![] },
            views: View::ALL.to_vec(),
            augment: None,
            heads: vec![Head { key: LOGITS.into(), tensor: "y".into(), dims: vec![3], kind, pca: None }],
            shard: None,
            probe: Some(Probe::of(LOGITS, 5)),
        }
    }

    #[test]
    fn manifests_that_contradict_themselves_are_refused_by_field() {
        type Break = fn(&mut Manifest);
        let cases: &[(&str, Break)] = &[
            ("teacher.sha256", |m| m.teacher.sha256 = "abc".into()),
            ("card_sha256", |m| m.card_sha256 = "0".repeat(64)),
            ("card_sha256", |m| m.card.input.mean[0] = 0.2),
            ("card", |m| m.card.input.std[0] = 0.0),
            ("dataset.sha256", |m| m.dataset.sha256 = "G".repeat(64)),
            ("dataset.samples", |m| m.dataset.samples = 0),
            ("views", |m| m.views.clear()),
            ("views", |m| m.views.push(m.views[0])),
            ("augment", |m| m.views.push(View::Drawn(0))),
            ("augment", |m| m.augment = Augment::preset("light", 0).ok()),
            ("augment", |m| {
                m.views.push(View::Drawn(0));
                m.augment = Some(Augment::new(0));
            }),
            ("heads", |m| m.heads.clear()),
            ("heads", |m| m.heads.push(m.heads[0].clone())),
            ("heads", |m| m.heads[0].dims = vec![4]),
            ("heads", |m| m.heads[0].dims = vec![0]),
            ("shard.of", |m| m.shard = Some(Shard { first: 0, count: 1, of: 6 })),
            ("shard", |m| m.shard = Some(Shard { first: 3, count: 3, of: 5 })),
            ("shard", |m| m.shard = Some(Shard { first: 0, count: 0, of: 5 })),
            ("shard", |m| m.shard = Some(Shard { first: u64::MAX, count: 2, of: 5 })),
            ("probe.head", |m| m.probe = Some(Probe { head: "pooled".into(), samples: vec![0] })),
            ("probe.samples", |m| m.probe = Some(Probe { head: LOGITS.into(), samples: vec![] })),
            ("probe.samples", |m| m.probe = Some(Probe { head: LOGITS.into(), samples: vec![2, 2] })),
            ("probe.samples", |m| m.probe = Some(Probe { head: LOGITS.into(), samples: vec![1, 5] })),
        ];
        assert_eq!(manifest(HeadKind::DenseF32).validate(), Ok(()));
        for (i, (field, damage)) in cases.iter().enumerate() {
            let mut m = manifest(HeadKind::DenseF32);
            damage(&mut m);
            assert_eq!(m.validate().unwrap_err().0, *field, "case {i}");
        }
    }

    #[test]
    fn parts_cover_every_sample_once() {
        for (parts, samples) in [(1, 5), (3, 5), (5, 5), (4, 1000), (7, 1001)] {
            let mut next = 0;
            for index in 0..parts {
                let part = Shard::part(index, parts, samples);
                assert_eq!(part.first, next);
                next += part.count;
            }
            assert_eq!(next, samples);
        }
    }

    #[test]
    fn a_probe_is_spread_evenly() {
        assert_eq!(Probe::of(LOGITS, 5).samples, [0, 1, 2, 3, 4]);
        assert_eq!(Probe::of(LOGITS, 1600).samples, (0..16).map(|i| i * 100).collect::<Vec<_>>());
        assert_eq!(Probe::of(LOGITS, u64::MAX).samples.len(), 16);
    }

    #[test]
    fn a_difference_has_a_path() {
        let (a, mut b) = (manifest(HeadKind::DenseF32), manifest(HeadKind::DenseF32));
        assert_eq!(a.difference(&b), None);
        b.heads[0].kind = HeadKind::TopKF16 { k: 2 };
        let (path, here, there) = a.difference(&b).unwrap();
        assert_eq!((path.as_str(), here.as_str()), ("heads[0].kind", "\"dense_f32\""));
        assert_eq!(there, "{\"top_k_f16\":{\"k\":2}}");
    }
}
