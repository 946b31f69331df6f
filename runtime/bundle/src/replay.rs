//! The source replay set as bytes: a few samples of the data that the student was distilled on, and all that the teacher said.
//!
//! A student that is adapted on a board is held against these, so that what it learns there does not cost what it knew.
//! Little-endian, one record after the other:
//!
//! ```text
//!        0       1       2       3       4       5       6       7
//!    +---------------------------------------------------------------+
//!  0 |    samples (u32)              |    classes K (u32)            |
//!  8 |    record 0 …                                                 |
//!    +---------------------------------------------------------------+
//!    record:
//!    +---------------------------------------------------------------+
//!  0 |    width (u32)                |    height (u32)               |
//!  8 |    label (u16) |  0 (u16)     |  teacher's logits: K × f32    |
//!    |    pixels: H × W × 3 bytes                                    |
//!    +---------------------------------------------------------------+
//! ```
//!
//! `label` is 0xffff where there is none. Logits are finite.

use limbeck_answers::Image;

use crate::samples::{NONE, take};

/// One sample that the student was distilled on.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplaySample {
    /// Decoded pixels, before preprocessing.
    pub image: Image,
    /// The true class.
    pub label: Option<u16>,
    /// The teacher's logits, (K); only their differences count.
    pub teacher: Vec<f32>,
}

/// Samples with a teacher's answer each, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    classes: usize,
    samples: Vec<ReplaySample>,
}

impl Replay {
    /// Empty, for answers of `classes` logits.
    pub fn new(classes: usize) -> Replay {
        Replay { classes, samples: vec![] }
    }

    /// Append one.
    ///
    /// # Panics
    /// When the answer has not as many logits as there are classes.
    pub fn push(&mut self, sample: ReplaySample) {
        assert_eq!(sample.teacher.len(), self.classes, "logits of an answer");
        self.samples.push(sample);
    }

    /// K
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// In order.
    pub fn samples(&self) -> &[ReplaySample] {
        &self.samples
    }

    pub(crate) fn emit(&self) -> Vec<u8> {
        let mut bytes = (self.samples.len() as u32).to_le_bytes().to_vec();
        bytes.extend((self.classes as u32).to_le_bytes());
        for sample in &self.samples {
            bytes.extend(sample.image.width.to_le_bytes());
            bytes.extend(sample.image.height.to_le_bytes());
            bytes.extend(sample.label.unwrap_or(NONE).to_le_bytes());
            bytes.extend(0u16.to_le_bytes());
            bytes.extend(sample.teacher.iter().flat_map(|z| z.to_le_bytes()));
            bytes.extend(&sample.image.rgb);
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Replay, String> {
        const CUT: &str = "its replay set is cut short";
        let mut rest = bytes;
        let number = |rest: &mut &[u8]| take(rest).map(u32::from_le_bytes).ok_or(CUT);
        let (count, classes) = (number(&mut rest)?, number(&mut rest)? as usize);
        let mut samples = vec![];
        for i in 0..count {
            let (width, height) = (number(&mut rest)?, number(&mut rest)?);
            let label = take(&mut rest).map(u16::from_le_bytes).ok_or(CUT)?;
            take::<2>(&mut rest).ok_or(CUT)?;
            let (logits, after) = rest.split_at_checked(classes.saturating_mul(4)).ok_or(CUT)?;
            let pixels = (width as u64).saturating_mul(height as u64).saturating_mul(3);
            let pixels = usize::try_from(pixels).unwrap_or(usize::MAX);
            let (pixels, after) = after.split_at_checked(pixels).ok_or(CUT)?;
            rest = after;
            let teacher: Vec<f32> =
                logits.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            if teacher.iter().any(|z| !z.is_finite()) {
                return Err(format!("the teacher's answer for replay sample {i} is not finite"));
            }
            let label = Some(label).filter(|&l| l != NONE);
            if label.is_some_and(|l| l as usize >= classes) {
                return Err(format!("replay sample {i} has a label beyond its {classes} classes"));
            }
            let image = Image { width, height, rgb: pixels.to_vec() };
            samples.push(ReplaySample { image, label, teacher });
        }
        match rest.is_empty() {
            true => Ok(Replay { classes, samples }),
            false => Err(format!("{} bytes follow its replay set", rest.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay() -> Replay {
        let mut replay = Replay::new(2);
        let image = Image { width: 2, height: 1, rgb: vec![1, 2, 3, 4, 5, 6] };
        replay.push(ReplaySample { image: image.clone(), label: Some(1), teacher: vec![0.5, -2.0] });
        replay.push(ReplaySample { image, label: None, teacher: vec![0.0, 7.0] });
        replay
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Replay::parse(&replay().emit()).unwrap(), replay());
    }

    #[test]
    fn every_truncation_and_every_addition_is_refused() {
        let bytes = replay().emit();
        for length in 0..bytes.len() {
            assert!(Replay::parse(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(Replay::parse(&[&bytes[..], b"x"].concat()).unwrap_err().contains("1 bytes follow"));
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let mut not_finite = replay();
        not_finite.samples[1].teacher[0] = f32::NAN;
        assert!(Replay::parse(&not_finite.emit()).unwrap_err().contains("replay sample 1"));
        let mut beyond = replay();
        beyond.samples[0].label = Some(2);
        assert!(Replay::parse(&beyond.emit()).unwrap_err().contains("replay sample 0"));
        let huge = [1u32, u32::MAX, u32::MAX, u32::MAX, 0].map(u32::to_le_bytes).concat();
        assert!(Replay::parse(&huge).is_err());
    }
}
