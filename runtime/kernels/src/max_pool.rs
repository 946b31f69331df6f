//! Largest element of a window, int8 in and out. Scale and zero point pass unchanged; padding never wins.
//!
//! ```text
//! x (H, W, C)   y (H', W', C)
//! y[h,w,c] = max of x over the window's real elements
//! ```
//!
//! Versions: `reference`; `portable`, sixteen channels at a time.

#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64;

use crate::image::{Image, Pool};
use crate::isa::Isa;

/// What a max pool is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool<'a> {
    /// Input, `H W C`.
    pub x: &'a [i8],
    /// Shape of `x`.
    pub x_shape: Image,
    /// Kernel, stride, padding.
    pub pool: Pool,
}

impl MaxPool<'_> {
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
}

/// The definition; every faster version is tested against it.
pub fn reference(m: &MaxPool<'_>, y: &mut [i8]) {
    let out = m.check(y);
    for oy in 0..out.h {
        for ox in 0..out.w {
            for c in 0..out.c {
                let mut best = i8::MIN;
                for iy in m.pool.covers(0, oy, m.x_shape.h) {
                    for ix in m.pool.covers(1, ox, m.x_shape.w) {
                        best = best.max(m.x[(iy * m.x_shape.w + ix) * out.c + c]);
                    }
                }
                y[(oy * out.w + ox) * out.c + c] = best;
            }
        }
    }
}

/// Channels by sixteen, then one by one.
#[inline(always)]
pub fn portable(m: &MaxPool<'_>, y: &mut [i8]) {
    let out = m.check(y);
    for (pixel, y_pixel) in y.chunks_exact_mut(out.c).enumerate() {
        let at = [pixel / out.w, pixel % out.w];
        let mut c = 0;
        while c + 16 <= out.c {
            channels::<16>(m, at, c, y_pixel);
            c += 16;
        }
        while c < out.c {
            channels::<1>(m, at, c, y_pixel);
            c += 1;
        }
    }
}

#[inline(always)]
fn channels<const N: usize>(m: &MaxPool<'_>, [oy, ox]: [usize; 2], first: usize, y: &mut [i8]) {
    let columns = m.pool.covers(1, ox, m.x_shape.w);
    let mut best = [i8::MIN; N];
    for iy in m.pool.covers(0, oy, m.x_shape.h) {
        for ix in columns.clone() {
            let x = &m.x[(iy * m.x_shape.w + ix) * m.x_shape.c + first..][..N];
            for (best, &x) in best.iter_mut().zip(x) {
                *best = (*best).max(x);
            }
        }
    }
    y[first..][..N].copy_from_slice(&best);
}

/// The same on a path: the fastest version that it has.
pub fn run(isa: Isa, m: &MaxPool<'_>, y: &mut [i8]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(have) = isa.avx2() {
        return x86_64::max_pool(have, m, y);
    }
    // NEON is part of plain aarch64, so the portable loops have it.
    let _ = isa;
    portable(m, y)
}

#[cfg(test)]
mod tests {
    use crate::suite;

    #[test]
    fn every_path_agrees_with_reference() {
        for isa in crate::Isa::available() {
            suite::max_pool(|contract, y| super::run(isa, contract, y));
        }
    }

    #[test]
    fn portable_agrees_with_reference() {
        suite::max_pool(super::portable);
    }
}
