//! Average over a window, int8 in and out. A global average is a window of the whole image ([`Pool::global`]).
//!
//! ```text
//! x (H, W, C)   y (H', W', C)   r = fl(sx / sy)
//! acc[h,w,c] = sum over the window's real elements of (x - zx)         padding is the real number 0 and adds nothing
//! y[h,w,c]   = requantize(acc, fl(r / n), zy)
//! ```
//!
//! n counts the whole kernel ([`Count::Kernel`]) or the real elements only ([`Count::Real`]).
//! Versions: `reference`; `portable`, sixteen channels at a time.

#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64;

use crate::arithmetic::requantize;
use crate::image::{Image, Pool};
use crate::isa::Isa;

/// What the sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// All taps, padding included (ONNX `count_include_pad = 1`).
    Kernel,
    /// The elements inside the image (ONNX's default).
    Real,
}

/// What an average pool is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct AveragePool<'a> {
    /// Input, `H W C`.
    pub x: &'a [i8],
    /// Shape of `x`.
    pub x_shape: Image,
    /// Zero point of `x`.
    pub x_zero: i8,
    /// fl(sx / sy).
    pub ratio: f32,
    /// Zero point of the output.
    pub y_zero: i8,
    /// Kernel, stride, padding.
    pub pool: Pool,
    /// The divisor.
    pub count: Count,
}

impl AveragePool<'_> {
    /// Shape of the output.
    ///
    /// # Panics
    /// When the window does not fit the image.
    pub fn y_shape(&self) -> Image {
        let Some([h, w]) = self.pool.output(self.x_shape.h, self.x_shape.w) else {
            panic!("{:?} does not fit {:?}", self.pool, self.x_shape)
        };
        Image { h, w, c: self.x_shape.c }
    }

    fn check(&self, y: &[i8]) -> Image {
        let out = self.y_shape();
        assert_eq!(self.x.len(), self.x_shape.len(), "x against {:?}", self.x_shape);
        assert_eq!(y.len(), out.len(), "y against {out:?}");
        out
    }

    /// fl(r / n) of a window that covers `real` elements.
    fn scale(&self, real: usize) -> f32 {
        let n = match self.count {
            Count::Kernel => self.pool.kernel[0] * self.pool.kernel[1],
            Count::Real => real,
        };
        self.ratio / n as f32
    }
}

/// The definition; every faster version is tested against it.
pub fn reference(a: &AveragePool<'_>, y: &mut [i8]) {
    let out = a.check(y);
    for oy in 0..out.h {
        for ox in 0..out.w {
            for c in 0..out.c {
                let (mut acc, mut real) = (0i32, 0);
                for iy in a.pool.covers(0, oy, a.x_shape.h) {
                    for ix in a.pool.covers(1, ox, a.x_shape.w) {
                        acc += a.x[(iy * a.x_shape.w + ix) * out.c + c] as i32 - a.x_zero as i32;
                        real += 1;
                    }
                }
                y[(oy * out.w + ox) * out.c + c] = requantize(acc, a.scale(real), a.y_zero);
            }
        }
    }
}

/// Channels by sixteen, then one by one; the zero point is taken off once. Callers keep 256 * kh * kw below 2^31.
#[inline(always)]
pub fn portable(a: &AveragePool<'_>, y: &mut [i8]) {
    let out = a.check(y);
    for (pixel, y_pixel) in y.chunks_exact_mut(out.c).enumerate() {
        let at = [pixel / out.w, pixel % out.w];
        let mut c = 0;
        while c + 16 <= out.c {
            channels::<16>(a, at, c, y_pixel);
            c += 16;
        }
        while c < out.c {
            channels::<1>(a, at, c, y_pixel);
            c += 1;
        }
    }
}

#[inline(always)]
fn channels<const N: usize>(a: &AveragePool<'_>, [oy, ox]: [usize; 2], first: usize, y: &mut [i8]) {
    let (rows, columns) = (a.pool.covers(0, oy, a.x_shape.h), a.pool.covers(1, ox, a.x_shape.w));
    let real = rows.len() * columns.len();
    let mut acc = [0i32; N];
    for iy in rows {
        for ix in columns.clone() {
            let x = &a.x[(iy * a.x_shape.w + ix) * a.x_shape.c + first..][..N];
            for (acc, &x) in acc.iter_mut().zip(x) {
                *acc = acc.wrapping_add(x as i32);
            }
        }
    }
    let (scale, zeros) = (a.scale(real), (real as i32).wrapping_mul(a.x_zero as i32));
    for (y, acc) in y[first..][..N].iter_mut().zip(acc) {
        *y = requantize(acc.wrapping_sub(zeros), scale, a.y_zero);
    }
}

/// The same on a path: the fastest version that it has.
pub fn run(isa: Isa, a: &AveragePool<'_>, y: &mut [i8]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(have) = isa.avx2() {
        return x86_64::average_pool(have, a, y);
    }
    // NEON is part of plain aarch64, so the portable loops have it.
    let _ = isa;
    portable(a, y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn every_path_agrees_with_reference() {
        for isa in Isa::available() {
            suite::average_pool(|contract, y| run(isa, contract, y));
        }
    }

    #[test]
    fn portable_agrees_with_reference() {
        suite::average_pool(portable);
    }

    #[test]
    fn the_corner_divides_by_what_was_asked() {
        // 2 x 2 kernel, one row and column of padding: the first window holds one real element.
        let x_shape = Image { h: 2, w: 2, c: 1 };
        let pool = Pool { kernel: [2, 2], stride: [1, 1], pad: [1, 1, 0, 0] };
        let average = |count| AveragePool { x: &[8, 8, 8, 8], x_shape, x_zero: 0, ratio: 1.0, y_zero: 0, pool, count };
        let mut y = [0; 4];
        reference(&average(Count::Real), &mut y);
        assert_eq!(y, [8, 8, 8, 8]);
        reference(&average(Count::Kernel), &mut y);
        assert_eq!(y, [2, 4, 4, 8]);
    }
}
