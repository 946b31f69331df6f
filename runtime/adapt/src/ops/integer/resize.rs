//! Nearest-neighbour change of size: y[r, c] = x[rows[r], columns[c]]; what was read several times sums its gradients.

use tract_core::internal::*;

use super::{Form, Operand};

/// Operand x (1, C, H, W).
#[derive(Debug)]
pub(crate) struct ResizeNearest {
    /// Row of x that each row of y is.
    pub rows: Vec<u16>,
    /// Column of x that each column of y is.
    pub columns: Vec<u16>,
}

impl ResizeNearest {
    /// f(index in y, index in x) for every element.
    fn each(&self, shape: &[usize], mut f: impl FnMut(usize, usize)) {
        let [h, w] = [shape[2], shape[3]];
        let mut at = 0;
        for plane in 0..shape[0] * shape[1] {
            for &row in &self.rows {
                for &column in &self.columns {
                    f(at, (plane * h + row as usize) * w + column as usize);
                    at += 1;
                }
            }
        }
    }
}

impl Form for ResizeNearest {
    fn name(&self) -> &'static str {
        "Resize"
    }

    fn y_shape(&self, x: &[&[usize]]) -> TVec<usize> {
        tvec!(x[0][0], x[0][1], self.rows.len(), self.columns.len())
    }

    fn forward(&self, x: &[Operand<'_>], y: &mut [f32]) {
        self.each(x[0].shape, |to, from| y[to] = x[0].data[from]);
    }

    fn backward(&self, _slot: usize, x: &[Operand<'_>], dy: &[f32], dx: &mut [f32]) {
        self.each(x[0].shape, |to, from| dx[from] += dy[to]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::integer::both;

    #[test]
    fn gradients_of_what_is_read_twice_are_summed() {
        let form = ResizeNearest { rows: vec![0], columns: vec![1, 1, 0] };
        let x = Operand { shape: &[1, 1, 2, 2], data: &[1.0, 2.0, 3.0, 4.0] };
        let (y, dx) = both(&form, &[x], &[1.0, 2.0, 4.0]);
        assert_eq!(y, [2.0, 2.0, 1.0]);
        assert_eq!(dx[0], [4.0, 3.0, 0.0, 0.0]);
    }
}
