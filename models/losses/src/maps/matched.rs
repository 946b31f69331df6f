//! The maps of student and teacher, at one size.

use std::borrow::Cow;

use serde::Deserialize;

use super::pool::{average, average_backward, chw};
use crate::batch::Batch;
use crate::error::LossError;
use crate::given::Given;

/// What is done where the maps of student and teacher differ in height or width.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Average pooling of the larger to the size of the smaller, where that divides it.
    #[default]
    Pool,
    /// It is an error.
    None,
}

/// The student's tap `i` as a map; a vector is a map of one pixel.
pub(super) fn student<'a>(kind: &'static str, given: &Given<'a>, i: usize) -> Result<Cow<'a, Batch>, LossError> {
    let tap = given.student.get(i).ok_or_else(|| LossError::Options {
        kind,
        why: format!("reads {} student taps and is given {}; name them in `student`", i + 1, given.student.len()),
    })?;
    as_map(kind, "student", tap)
}

/// The teacher's key `i` as a map, of as many samples as the student's first tap.
pub(super) fn teacher<'a>(kind: &'static str, given: &Given<'a>, i: usize) -> Result<Cow<'a, Batch>, LossError> {
    let map = as_map(kind, "teacher", given.dense(kind, i)?)?;
    let samples = given.student.first().map_or(0, Batch::samples);
    if map.samples() != samples {
        let why = format!("the student has {samples} samples and the teacher {}", map.samples());
        return Err(LossError::Shapes { kind, why });
    }
    Ok(map)
}

fn as_map<'a>(kind: &'static str, who: &str, batch: &'a Batch) -> Result<Cow<'a, Batch>, LossError> {
    if batch.values.is_empty() {
        return Err(LossError::Shapes { kind, why: format!("the {who}'s batch is empty") });
    }
    match batch.dims[..] {
        [_, _, _] => Ok(Cow::Borrowed(batch)),
        [c] => Ok(Cow::Owned(Batch { dims: vec![c, 1, 1], values: batch.values.clone() })),
        _ => {
            let why = format!("the {who} has values of the shape {:?}; it compares maps (C, H, W)", batch.dims);
            Err(LossError::Shapes { kind, why })
        }
    }
}

/// Refuse maps of different numbers of channels.
pub(super) fn same_channels(kind: &'static str, s: &Batch, t: &Batch) -> Result<(), LossError> {
    if s.dims[0] == t.dims[0] {
        return Ok(());
    }
    let why = format!(
        "the student has {} channels and the teacher {}; put connector = \"conv1x1\" at the student's tap",
        s.dims[0], t.dims[0]
    );
    Err(LossError::Shapes { kind, why })
}

/// A student's map and the teacher's, (B, C, h, w) and (B, C', h, w).
pub(super) struct Matched<'a> {
    /// The student's.
    pub s: Cow<'a, Batch>,
    /// The teacher's.
    pub t: Cow<'a, Batch>,
    /// Shape of the tap.
    tap: &'a [usize],
    /// Height and width of the student's map before pooling.
    size: [usize; 2],
}

impl<'a> Matched<'a> {
    /// Student tap and teacher key `i`.
    pub fn new(kind: &'static str, given: &Given<'a>, i: usize, resize: Resize) -> Result<Matched<'a>, LossError> {
        let (s, t) = (student(kind, given, i)?, teacher(kind, given, i)?);
        if s.samples() != t.samples() {
            let why = format!("tap {i} of the student has {} samples and the teacher {}", s.samples(), t.samples());
            return Err(LossError::Shapes { kind, why });
        }
        let ([_, s_h, s_w], [_, t_h, t_w]) = (chw(&s), chw(&t));
        let (h, w) = (s_h.min(t_h), s_w.min(t_w));
        let whole = [s_h, t_h].iter().all(|n| n.is_multiple_of(h)) && [s_w, t_w].iter().all(|n| n.is_multiple_of(w));
        if (s_h, s_w) != (t_h, t_w) && (resize == Resize::None || !whole) {
            let way_out = match (resize, whole) {
                (Resize::None, true) => "set resize = \"pool\" or put connector = \"resize\" at the student's tap",
                _ => "pooling needs whole multiples: put connector = \"resize\" at the student's tap",
            };
            let why = format!("the student's map is {s_h} x {s_w} and the teacher's {t_h} x {t_w}; {way_out}");
            return Err(LossError::Shapes { kind, why });
        }
        let at_size = |x: Cow<'a, Batch>| match chw(&x) {
            [_, x_h, x_w] if (x_h, x_w) == (h, w) => x,
            _ => Cow::Owned(average(&x, h, w)),
        };
        Ok(Matched { s: at_size(s), t: at_size(t), tap: &given.student[i].dims, size: [s_h, s_w] })
    }

    /// The gradient of the tap from that of `s`.
    pub fn tap_gradient(&self, ds: Batch) -> Batch {
        let [h, w] = self.size;
        let ds = if ds.dims[1..] == self.size { ds } else { average_backward(&ds, h, w) };
        Batch { dims: self.tap.to_vec(), values: ds.values }
    }
}
