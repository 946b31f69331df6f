//! Test samples as bytes.
//!
//! Little-endian, one record after the other:
//!
//! ```text
//!        0       1       2       3       4       5       6       7
//!    +---------------------------------------------------------------+
//!  0 |    samples (u32)              |    record 0 …                 |
//!    +---------------------------------------------------------------+
//!    record:
//!    +---------------------------------------------------------------+
//!  0 |    width (u32)                |    height (u32)               |
//!  8 |    label (u16) |  teacher (u16)   |  pixels: H × W × 3 bytes   |
//!    +---------------------------------------------------------------+
//! ```
//!
//! `label` and `teacher` (the class that the teacher chose) are 0xffff where there is none.

use limbeck_answers::Image;

/// Stands for "no class".
pub(crate) const NONE: u16 = u16::MAX;

/// One test sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundledSample {
    /// Decoded pixels, before preprocessing.
    pub image: Image,
    /// The true class.
    pub label: Option<u16>,
    /// The class that the teacher chose.
    pub teacher: Option<u16>,
}

/// Test samples in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Samples(Vec<BundledSample>);

impl Samples {
    /// Append one.
    pub fn push(&mut self, sample: BundledSample) {
        self.0.push(sample);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The `i`-th.
    pub fn get(&self, i: usize) -> Option<&BundledSample> {
        self.0.get(i)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &BundledSample> {
        self.0.iter()
    }

    pub(crate) fn emit(&self) -> Vec<u8> {
        let mut bytes = (self.0.len() as u32).to_le_bytes().to_vec();
        for sample in &self.0 {
            bytes.extend(sample.image.width.to_le_bytes());
            bytes.extend(sample.image.height.to_le_bytes());
            bytes.extend(sample.label.unwrap_or(NONE).to_le_bytes());
            bytes.extend(sample.teacher.unwrap_or(NONE).to_le_bytes());
            bytes.extend(&sample.image.rgb);
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Samples, String> {
        const CUT: &str = "its samples are cut short";
        let mut rest = bytes;
        let number = |rest: &mut &[u8]| take(rest).map(u32::from_le_bytes).ok_or(CUT);
        let count = number(&mut rest)? as usize;
        let mut samples = vec![];
        for _ in 0..count {
            let (width, height) = (number(&mut rest)?, number(&mut rest)?);
            let class = |bytes| Some(u16::from_le_bytes(bytes)).filter(|&c| c != NONE);
            let (label, teacher) = (class(take(&mut rest).ok_or(CUT)?), class(take(&mut rest).ok_or(CUT)?));
            let length = (width as u64).saturating_mul(height as u64).saturating_mul(3);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let (pixels, after) = rest.split_at_checked(length).ok_or(CUT)?;
            rest = after;
            samples.push(BundledSample { image: Image { width, height, rgb: pixels.to_vec() }, label, teacher });
        }
        if rest.is_empty() { Ok(Samples(samples)) } else { Err(format!("{} bytes follow its samples", rest.len())) }
    }
}

/// The next `N` bytes; `None` where fewer are left.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
