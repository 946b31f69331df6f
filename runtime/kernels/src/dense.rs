//! Fully connected layer, int8 in and out.
//!
//! ```text
//! x (I)   weights (O, I)   bias (O), folded   scale (O)   y (O)
//! y[o] = requantize(bias[o] + sum_i x[i] * weights[o,i], scale[o], zy)
//! ```
//!
//! x may be an image: `I` then runs in the stored order, `H W C`.
//! Versions: `reference`; `portable`, four rows of weights against one x.

use crate::arithmetic::requantize;

/// What a dense layer is asked to do. `I` is `x.len()`, `O` is `bias.len()`.
#[derive(Clone, Copy, Debug)]
pub struct Dense<'a> {
    /// Input, `I`.
    pub x: &'a [i8],
    /// `O I`.
    pub weights: &'a [i8],
    /// Folded bias, `O`.
    pub bias: &'a [i32],
    /// M, `O`.
    pub scale: &'a [f32],
    /// Zero point of the output.
    pub y_zero: i8,
}

impl Dense<'_> {
    fn check(&self, y: &[i8]) {
        let (i, o) = (self.x.len(), self.bias.len());
        assert!(i > 0, "x is empty");
        assert_eq!(self.weights.len(), i * o, "weights against O * I");
        assert_eq!(self.scale.len(), o, "scale against bias");
        assert_eq!(y.len(), o, "y against bias");
    }
}

/// The definition; every faster version is tested against it.
pub fn reference(d: &Dense<'_>, y: &mut [i8]) {
    d.check(y);
    for (((w_o, &bias), &scale), y_o) in d.weights.chunks_exact(d.x.len()).zip(d.bias).zip(d.scale).zip(y) {
        let dot: i32 = d.x.iter().zip(w_o).map(|(&x, &w)| x as i32 * w as i32).sum();
        *y_o = requantize(bias + dot, scale, d.y_zero);
    }
}

/// Rows of weights that `portable` takes together.
const ROWS: usize = 4;

/// Four rows share one pass over x; the last `O % 4` go alone. Sums wrap (see [`crate::conv::portable`]).
pub fn portable(d: &Dense<'_>, y: &mut [i8]) {
    d.check(y);
    let i = d.x.len();
    let whole = y.len() / ROWS * ROWS;
    for (o, w_4) in (0..whole).step_by(ROWS).zip(d.weights.chunks_exact(ROWS * i)) {
        for (r, acc) in dot_4(d.x, w_4).into_iter().enumerate() {
            y[o + r] = requantize(acc.wrapping_add(d.bias[o + r]), d.scale[o + r], d.y_zero);
        }
    }
    for (o, w_o) in (whole..y.len()).zip(d.weights[whole * i..].chunks_exact(i)) {
        let dot = d.x.iter().zip(w_o).fold(0i32, |acc, (&x, &w)| acc.wrapping_add(x as i32 * w as i32));
        y[o] = requantize(dot.wrapping_add(d.bias[o]), d.scale[o], d.y_zero);
    }
}

#[inline(always)]
fn dot_4(x: &[i8], w_4: &[i8]) -> [i32; ROWS] {
    let i = x.len();
    let (w_0, rest) = w_4.split_at(i);
    let (w_1, rest) = rest.split_at(i);
    let (w_2, w_3) = rest.split_at(i);
    let w_3 = &w_3[..i];
    let mut acc = [0i32; ROWS];
    for n in 0..i {
        let x_n = x[n] as i32;
        acc[0] = acc[0].wrapping_add(x_n * w_0[n] as i32);
        acc[1] = acc[1].wrapping_add(x_n * w_1[n] as i32);
        acc[2] = acc[2].wrapping_add(x_n * w_2[n] as i32);
        acc[3] = acc[3].wrapping_add(x_n * w_3[n] as i32);
    }
    acc
}

#[cfg(test)]
mod tests {
    use crate::suite;

    #[test]
    fn portable_agrees_with_reference() {
        suite::dense(super::portable);
    }
}
