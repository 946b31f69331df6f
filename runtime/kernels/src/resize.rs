//! Nearest-neighbour change of size, int8 in and out. Scale and zero point pass unchanged; only bytes move.
//!
//! ```text
//! x (H, W, C)   rows (H')   columns (W')   y (H', W', C)
//! y[h,w,c] = x[rows[h], columns[w], c]        rows[h] < H, columns[w] < W
//! ```
//!
//! ONNX has six ways to place the samples and four to round; all of them come down to one row of the input for each row of the
//! output, and one column for each column. Whoever builds the plan resolves them, so there is one kernel and no rounding here.
//!
//! Indices are little-endian u16, as a plan stores them: nothing has to be unpacked.
//! Versions: `reference`; `portable`, which copies pixels, and whole rows where a row repeats.

use crate::image::Image;

/// What a resize is asked to do. `H'` is `rows.len()`, `W'` is `columns.len()`.
#[derive(Clone, Copy, Debug)]
pub struct Resize<'a> {
    /// Input, `H W C`.
    pub x: &'a [i8],
    /// Shape of `x`.
    pub x_shape: Image,
    /// Row of `x` that each row of the output is.
    pub rows: &'a [[u8; 2]],
    /// Column of `x` that each column of the output is.
    pub columns: &'a [[u8; 2]],
}

/// An index as stored.
fn index(stored: &[u8; 2]) -> usize {
    u16::from_le_bytes(*stored) as usize
}

impl Resize<'_> {
    /// Does every index lie inside an image of this size?
    pub fn inside(rows: &[[u8; 2]], columns: &[[u8; 2]], x: Image) -> bool {
        rows.iter().all(|r| index(r) < x.h) && columns.iter().all(|c| index(c) < x.w)
    }

    fn check(&self, y: &[i8]) {
        let Resize { x, x_shape, rows, columns } = *self;
        assert!(Resize::inside(rows, columns, x_shape), "an index outside {x_shape:?}");
        assert_eq!(x.len(), x_shape.len(), "x against {x_shape:?}");
        assert_eq!(y.len(), rows.len() * columns.len() * x_shape.c, "y against rows * columns * C");
    }
}

/// The definition; every other version is tested against it.
pub fn reference(r: &Resize<'_>, y: &mut [i8]) {
    r.check(y);
    let (w, c) = (r.columns.len(), r.x_shape.c);
    for (i, y) in y.iter_mut().enumerate() {
        let (row, column) = (index(&r.rows[i / c / w]), index(&r.columns[i / c % w]));
        *y = r.x[(row * r.x_shape.w + column) * c + i % c];
    }
}

/// A copy a pixel; a row that repeats the one above is copied whole.
pub fn portable(r: &Resize<'_>, y: &mut [i8]) {
    r.check(y);
    let c = r.x_shape.c;
    let (x_row, y_row) = (r.x_shape.w * c, r.columns.len() * c);
    if y_row == 0 {
        return;
    }
    for (at, row) in r.rows.iter().enumerate() {
        let (done, rest) = y.split_at_mut(at * y_row);
        let y_h = &mut rest[..y_row];
        if at > 0 && r.rows[at - 1] == *row {
            y_h.copy_from_slice(&done[(at - 1) * y_row..]);
            continue;
        }
        let x_h = &r.x[index(row) * x_row..][..x_row];
        for (y_p, column) in y_h.chunks_exact_mut(c).zip(r.columns) {
            y_p.copy_from_slice(&x_h[index(column) * c..][..c]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn portable_agrees_with_reference() {
        suite::resize(portable);
    }

    #[test]
    fn rows_and_columns_come_from_where_the_lists_say() {
        let mut y = [0; 6];
        let x_shape = Image { h: 2, w: 2, c: 1 };
        let (rows, columns) = ([[1, 0], [0, 0]], [[1, 0], [1, 0], [0, 0]]);
        reference(&Resize { x: &[1, 2, 3, 4], x_shape, rows: &rows, columns: &columns }, &mut y);
        assert_eq!(y, [4, 4, 3, 2, 2, 1]);
        assert!(!Resize::inside(&rows, &[[2, 0]], x_shape));
        assert!(!Resize::inside(&[[0, 1]], &columns, x_shape));
    }
}
