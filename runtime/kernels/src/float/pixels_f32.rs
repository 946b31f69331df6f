//! The two ops of squeeze-and-excitation that are no convolution: the sum over an image, and a factor a channel.
//!
//! ```text
//! x (H, W, C)   sums (C): sums[c] = sum_y (sum_x x[y,x,c])        s (C)   y (H, W, C): y[y,x,c] = x[y,x,c] * s[c]
//! ```
//! Sums go row by row, so that no chain of additions is longer than an edge of the image. Versions: reference, and the fast one in plain
//! Rust, whose vectors lie along the channels; each gives the bits of the other.

use crate::image::Image;

/// Channels that are summed side by side, in registers.
const BLOCK: usize = 32;

/// The definition of [`sums`].
pub fn sums_reference(shape: Image, x: &[f32], y: &mut [f32]) {
    for (c, y) in y.iter_mut().enumerate() {
        let row = |row: &[f32]| row.iter().skip(c).step_by(shape.c).fold(0.0, |sum, x| sum + x);
        *y = x.chunks_exact(shape.w * shape.c).map(row).fold(0.0, |sum, row| sum + row);
    }
}

/// Sums over all pixels.
///
/// # Panics
/// When a length contradicts the shape.
pub fn sums(shape: Image, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), shape.len(), "x against {shape:?}");
    assert_eq!(y.len(), shape.c, "y against {shape:?}");
    y.fill(0.0);
    if shape.is_empty() {
        return;
    }
    for x in x.chunks_exact(shape.w * shape.c) {
        let (blocks, rest) = y.as_chunks_mut::<BLOCK>();
        let tail = blocks.len() * BLOCK;
        for (n, y) in blocks.iter_mut().enumerate() {
            let mut row = [0.0; BLOCK];
            for pixel in x.chunks_exact(shape.c) {
                add(&mut row, &pixel[n * BLOCK..][..BLOCK]);
            }
            add(y, &row);
        }
        let mut row = [0.0; BLOCK];
        let row = &mut row[..rest.len()];
        for pixel in x.chunks_exact(shape.c) {
            add(row, &pixel[tail..]);
        }
        add(rest, row);
    }
}

#[inline(always)]
fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// The definition of [`scale`].
pub fn scale_reference(x: &[f32], s: &[f32], y: &mut [f32]) {
    for (n, y) in y.iter_mut().enumerate() {
        *y = x[n] * s[n % s.len()];
    }
}

/// Multiplies each channel by its factor.
///
/// # Panics
/// When `x` is not whole pixels of `s.len()` channels, or `y` is not as long.
pub fn scale(x: &[f32], s: &[f32], y: &mut [f32]) {
    assert!(!s.is_empty() && x.len().is_multiple_of(s.len()), "{} values in pixels of {}", x.len(), s.len());
    assert_eq!(x.len(), y.len(), "y against x");
    for (x, y) in x.chunks_exact(s.len()).zip(y.chunks_exact_mut(s.len())) {
        for ((y, x), s) in y.iter_mut().zip(x).zip(s) {
            *y = x * s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::suite;

    #[test]
    fn both_agree_with_their_references() {
        suite::pixels_f32(sums, scale);
    }
}
