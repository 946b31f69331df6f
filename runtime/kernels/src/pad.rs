//! Rows and columns of one value round an image, int8 in and out. Scale and zero point pass unchanged; only bytes move.
//!
//! ```text
//! x (H, W, C)   pad top, left, bottom, right   y (top + H + bottom, left + W + right, C)
//! y[h,w,c] = x[h - top, w - left, c] inside the image, `value` outside
//! ```
//!
//! Padding by the real number 0 is `value` = the zero point. Versions: `reference`; `portable`, a copy a row.

use crate::image::Image;

/// What a padding is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Pad<'a> {
    /// Input, `H W C`.
    pub x: &'a [i8],
    /// Shape of `x`.
    pub x_shape: Image,
    /// Rows and columns added: top, left, bottom, right (ONNX order).
    pub pad: [usize; 4],
    /// What they hold, as stored.
    pub value: i8,
}

impl Pad<'_> {
    /// Shape of the output, or `None` where a size overflows.
    pub const fn output(x: Image, [top, left, bottom, right]: [usize; 4]) -> Option<[usize; 2]> {
        let (Some(h), Some(w)) = (x.h.checked_add(top), x.w.checked_add(left)) else { return None };
        let (Some(h), Some(w)) = (h.checked_add(bottom), w.checked_add(right)) else { return None };
        Some([h, w])
    }

    fn check(&self, y: &[i8]) -> Image {
        let Some([h, w]) = Pad::output(self.x_shape, self.pad) else { panic!("{:?} overflows", self.pad) };
        let out = Image { h, w, c: self.x_shape.c };
        assert!(!self.x_shape.is_empty(), "{:?} is empty", self.x_shape);
        assert_eq!(self.x.len(), self.x_shape.len(), "x against {:?}", self.x_shape);
        assert_eq!(y.len(), out.len(), "y against {out:?}");
        out
    }
}

/// The definition; every other version is tested against it.
pub fn reference(p: &Pad<'_>, y: &mut [i8]) {
    let out = p.check(y);
    let [top, left, ..] = p.pad;
    for (i, y) in y.iter_mut().enumerate() {
        let (row, column, c) = (i / out.c / out.w, i / out.c % out.w, i % out.c);
        let inside = |at: usize, before: usize, size: usize| at.checked_sub(before).filter(|&at| at < size);
        *y = match (inside(row, top, p.x_shape.h), inside(column, left, p.x_shape.w)) {
            (Some(row), Some(column)) => p.x[(row * p.x_shape.w + column) * out.c + c],
            _ => p.value,
        };
    }
}

/// Rows above, then each row between its two ends, then rows below.
pub fn portable(p: &Pad<'_>, y: &mut [i8]) {
    let out = p.check(y);
    let [top, left, ..] = p.pad;
    let (row, x_row, before) = (out.w * out.c, p.x_shape.w * out.c, left * out.c);
    let (above, rest) = y.split_at_mut(top * row);
    let (within, below) = rest.split_at_mut(p.x_shape.h * row);
    above.fill(p.value);
    for (x, y) in p.x.chunks_exact(x_row).zip(within.chunks_exact_mut(row)) {
        y[..before].fill(p.value);
        y[before..before + x_row].copy_from_slice(x);
        y[before + x_row..].fill(p.value);
    }
    below.fill(p.value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn portable_agrees_with_reference() {
        suite::pad(portable);
    }

    #[test]
    fn the_image_lies_where_the_pads_say() {
        let mut y = [0; 6];
        let x_shape = Image { h: 1, w: 1, c: 1 };
        reference(&Pad { x: &[7], x_shape, pad: [1, 0, 0, 2], value: -3 }, &mut y);
        assert_eq!(y, [-3, -3, -3, 7, -3, -3]);
    }

    #[test]
    fn sizes_that_overflow_are_none() {
        let x = Image { h: 2, w: 2, c: 1 };
        assert_eq!(Pad::output(x, [1, 2, 3, 4]), Some([6, 8]));
        assert_eq!(Pad::output(x, [usize::MAX, 0, 0, 0]), None);
        assert_eq!(Pad::output(x, [0, 1, 0, usize::MAX - 2]), None);
    }
}
