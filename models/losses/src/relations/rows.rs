//! One vector a sample: products, distances and lengths of rows, and how gradients go back through them.

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::Given;
use crate::logits::soft::student;

/// Below this length a row has no direction: it stays as it is, and gets no gradient.
pub(crate) const LEAST: f64 = 1e-12;

/// Σ a b, as eight sums side by side: one alone would wait for each addition before it.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, b) = (&a[..a.len().min(b.len())], b);
    let whole = a.len() / 8 * 8;
    for (a, b) in a[..whole].chunks_exact(8).zip(b.chunks_exact(8)) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    let rest: f64 = a[whole..].iter().zip(&b[whole..]).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// y += a x
pub(crate) fn add_scaled(y: &mut [f64], a: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// Student tap and teacher key `i` of the same samples; maps are taken as long vectors.
pub(crate) fn pair<'a>(kind: &'static str, given: &Given<'a>, i: usize) -> Result<(&'a Batch, &'a Batch), LossError> {
    let s = student(kind, given, i)?;
    let t = given.dense(kind, i)?;
    if t.samples() != s.samples() {
        let why = format!("the student has {} values, the teacher {}; give one a sample", s.samples(), t.samples());
        return Err(LossError::Shapes { kind, why });
    }
    Ok((s, t))
}

/// The same where vectors are compared value by value.
pub(crate) fn equal_pair<'a>(
    kind: &'static str,
    given: &Given<'a>,
    i: usize,
) -> Result<(&'a Batch, &'a Batch), LossError> {
    let (s, t) = pair(kind, given, i)?;
    if s.len() != t.len() {
        let why = format!("the student's {:?} and the teacher's {:?} must be equal; add a connector", s.dims, t.dims);
        return Err(LossError::Shapes { kind, why });
    }
    Ok((s, t))
}

/// G = F Fᵀ (B, B)
pub(crate) fn gram(f: &Batch) -> Vec<f64> {
    let n = f.samples();
    let mut g = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let product = dot(f.sample(i), f.sample(j));
            g[i * n + j] = product;
            g[j * n + i] = product;
        }
    }
    g
}

/// dF of G = F Fᵀ: (dG + dGᵀ) F
pub(crate) fn gram_backward(f: &Batch, dg: &[f64]) -> Batch {
    let n = f.samples();
    let mut df = f.zeros_like();
    for i in 0..n {
        let df_i = df.sample_mut(i);
        for j in 0..n {
            add_scaled(df_i, dg[i * n + j] + dg[j * n + i], f.sample(j));
        }
    }
    df
}

/// Squared Euclidean distances (B, B).
pub(crate) fn squared_distances(f: &Batch) -> Vec<f64> {
    let n = f.samples();
    let mut d = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..i {
            let square = f.sample(i).iter().zip(f.sample(j)).map(|(a, b)| (a - b) * (a - b)).sum();
            d[i * n + j] = square;
            d[j * n + i] = square;
        }
    }
    d
}

/// dF of D_ij = ‖f_i - f_j‖²: Σ_j 2 (dD_ij + dD_ji) (f_i - f_j)
pub(crate) fn squared_distances_backward(f: &Batch, dd: &[f64]) -> Batch {
    let n = f.samples();
    let mut df = f.zeros_like();
    for i in 0..n {
        let df_i = df.sample_mut(i);
        for j in (0..n).filter(|&j| j != i) {
            let both = 2.0 * (dd[i * n + j] + dd[j * n + i]);
            for ((d, a), b) in df_i.iter_mut().zip(f.sample(i)).zip(f.sample(j)) {
                *d += both * (a - b);
            }
        }
    }
    df
}

/// Rows over their lengths, as `y = x / max(‖x‖, 1e-12)`.
pub(crate) struct Unit {
    /// y
    pub rows: Batch,
    /// ‖x‖
    pub lengths: Vec<f64>,
}

/// Rows of length one.
pub(crate) fn normalise(x: &Batch) -> Unit {
    let mut rows = x.clone();
    let lengths = (0..x.samples())
        .map(|b| {
            let length = dot(x.sample(b), x.sample(b)).sqrt();
            rows.sample_mut(b).iter_mut().for_each(|v| *v /= length.max(LEAST));
            length
        })
        .collect();
    Unit { rows, lengths }
}

impl Unit {
    /// dx = (dy - y (y·dy)) / ‖x‖
    pub fn backward(&self, dy: &Batch) -> Batch {
        let mut dx = dy.zeros_like();
        for (b, &length) in self.lengths.iter().enumerate().filter(|&(_, &length)| length > LEAST) {
            let (y, dy) = (self.rows.sample(b), dy.sample(b));
            let along = dot(y, dy);
            for ((dx, dy), y) in dx.sample_mut(b).iter_mut().zip(dy).zip(y) {
                *dx = (dy - y * along) / length;
            }
        }
        dx
    }
}
