//! A tensor of a plan: what a caller sees of it, and where it lies in the arena and in time.

use core::ops::Range;

use limbeck_kernels::Image;
use limbeck_kernels::arithmetic::is_multiplier;

use crate::layout::{ALIGN, MAX_BYTES, size_at, tensor, u32_at};

/// Height, width and channels. A tensor (N, C) is `h = w = 1`; batch is always 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows.
    pub h: u32,
    /// Columns.
    pub w: u32,
    /// Channels, or features.
    pub c: u32,
}

impl Shape {
    /// Number of elements. Exact for every tensor of a checked plan; saturates for a shape that no plan can hold.
    pub const fn elements(self) -> usize {
        (self.h as usize).saturating_mul(self.w as usize).saturating_mul(self.c as usize)
    }

    pub(crate) const fn image(self) -> Image {
        Image { h: self.h as usize, w: self.w as usize, c: self.c as usize }
    }

    /// Number of elements, when it is one that an arena can hold: 1 ..= 2^31 - 1.
    pub(crate) fn checked_elements(self) -> Option<usize> {
        let elements = (self.h as u64 * self.w as u64).checked_mul(self.c as u64)?;
        (1..=MAX_BYTES as u64).contains(&elements).then_some(elements as usize)
    }
}

impl core::fmt::Display for Shape {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}x{}x{} (h w c)", self.h, self.w, self.c)
    }
}

/// One integer tensor, as the plan describes it. Real value = (stored - zero) * scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// Name in the model it came from.
    pub name: &'a str,
    /// Shape.
    pub shape: Shape,
    /// Scale, positive.
    pub scale: f32,
    /// Zero point of the stored i8: the u8 zero point minus 128.
    pub zero: i8,
}

/// Where a tensor lies: bytes of the arena, steps of the plan.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) at: usize,
    pub(crate) len: usize,
    pub(crate) born: u32,
    pub(crate) dies: u32,
}

impl Place {
    /// `None` when the shape or the arena offset cannot be.
    pub(crate) fn parse(record: &[u8; tensor::LEN]) -> Option<Place> {
        let len = shape(record).checked_elements()?;
        let at = size_at(record, tensor::AT);
        let inside = at.is_multiple_of(ALIGN) && at <= MAX_BYTES - len;
        let (born, dies) = (u32_at(record, tensor::BORN), u32_at(record, tensor::DIES));
        (inside && born <= dies).then_some(Place { at, len, born, dies })
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.at..self.at + self.len
    }

    /// True when both ever hold their values at the same step, in the same byte.
    pub(crate) fn clashes(self, other: Place) -> bool {
        let in_time = self.born <= other.dies && other.born <= self.dies;
        in_time && self.at < other.at + other.len && other.at < self.at + self.len
    }

    /// True when an op at `step` may read the tensor.
    pub(crate) fn readable_at(self, step: u32) -> bool {
        self.born < step && step <= self.dies
    }
}

/// A tensor record, taken apart and checked by itself.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) tensor: Tensor<'a>,
    pub(crate) image: Image,
    pub(crate) place: Place,
}

impl<'a> Stored<'a> {
    /// `plan` is what the offset of the name counts from.
    pub(crate) fn parse(record: &[u8; tensor::LEN], plan: &'a [u8]) -> Result<Stored<'a>, &'static str> {
        let place = Place::parse(record).ok_or("its shape, arena offset or life cannot be")?;
        let scale = f32::from_bits(u32_at(record, tensor::SCALE));
        if !is_multiplier(scale) {
            return Err("its scale is not a positive normal number");
        }
        let name = name(plan, size_at(record, tensor::NAME), size_at(record, tensor::NAME_LEN))?;
        let shape = shape(record);
        let tensor = Tensor { name, shape, scale, zero: record[tensor::ZERO] as i8 };
        Ok(Stored { tensor, image: shape.image(), place })
    }

    /// Ops that only move values need the same scale and zero point on both sides.
    pub(crate) fn same_scale(self, other: Stored<'_>) -> bool {
        self.tensor.scale == other.tensor.scale && self.tensor.zero == other.tensor.zero
    }
}

fn shape(record: &[u8; tensor::LEN]) -> Shape {
    Shape { h: u32_at(record, tensor::H), w: u32_at(record, tensor::W), c: u32_at(record, tensor::C) }
}

/// The name at `at`, UTF-8.
pub(crate) fn name(plan: &[u8], at: usize, len: usize) -> Result<&str, &'static str> {
    let bytes = slice(plan, at, len).ok_or("its name lies outside the plan")?;
    core::str::from_utf8(bytes).map_err(|_| "its name is not UTF-8")
}

/// `len` bytes at `at`, if the plan has them.
pub(crate) fn slice(plan: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    plan.get(at..at.checked_add(len)?)
}
