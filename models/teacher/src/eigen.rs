//! Eigenvalues and eigenvectors of a symmetric matrix by Jacobi's rotations (Golub and Van Loan, Matrix Computations, 4th ed., 8.5).
//!
//! a (N, N) symmetric = Σ_i λ_i v_i v_iᵀ
//!
//! A rotation by θ in the plane (p, q) makes a_pq zero: tan θ = t with t² + 2 τ t - 1 = 0, τ = (a_qq - a_pp) / (2 a_pq), the root of
//! smaller size. Sweeps over all pairs converge quadratically. Only +, ×, /, √, in a fixed order: the same bits everywhere.

/// Sweeps after which it is done; about 10 are needed.
const SWEEPS: usize = 60;

/// Eigenvalues (N), and eigenvectors as the rows of (N, N), each of length 1.
pub(crate) fn symmetric_eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(a.len(), n * n, "a square of {n}");
    let mut v: Vec<f64> = (0..n * n).map(|ij| if ij / n == ij % n { 1.0 } else { 0.0 }).collect();
    let whole = a.iter().map(|x| x * x).sum::<f64>();
    for _ in 0..SWEEPS {
        let off = (0..n * n).filter(|ij| ij / n != ij % n).map(|ij| a[ij] * a[ij]).sum::<f64>();
        if off <= whole * 1e-30 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, p, q);
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), v)
}

/// a ← Jᵀ a J, v ← Jᵀ v, with the rotation J in the plane (p, q), p < q, that makes a_pq zero.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let a_pq = a[p * n + q];
    if a_pq == 0.0 {
        return;
    }
    let tau = (a[q * n + q] - a[p * n + p]) / (2.0 * a_pq);
    let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
    let c = 1.0 / (1.0 + t * t).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
    let rows = |m: &mut [f64]| {
        let (above, below) = m.split_at_mut(q * n);
        for (x, y) in above[p * n..(p + 1) * n].iter_mut().zip(&mut below[..n]) {
            (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
        }
    };
    rows(a);
    rows(v);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_values_make_the_matrix_again() {
        for n in [1, 2, 5, 16] {
            let entry = |i: usize, j: usize| ((i * j + i + j) % 7) as f64 - 3.0 + if i == j { 4.0 } else { 0.0 };
            let a: Vec<f64> = (0..n * n).map(|ij| entry(ij / n, ij % n)).collect();
            let (values, v) = symmetric_eigen(a.clone(), n);
            let sum = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
            for i in 0..n {
                for j in 0..n {
                    let again = sum(&|k| values[k] * v[k * n + i] * v[k * n + j]);
                    assert!((again - a[i * n + j]).abs() < 1e-12 * n as f64, "n {n}, ({i}, {j}): {again}");
                    let dot = sum(&|k| v[i * n + k] * v[j * n + k]);
                    assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-13 * n as f64);
                }
            }
        }
        assert_eq!(symmetric_eigen(vec![0.0; 9], 3).0, [0.0; 3]);
    }

    #[test]
    fn a_known_matrix_has_its_known_values() {
        // [[2, 1], [1, 2]]: 1 and 3, along (1, -1) and (1, 1).
        let (mut values, _) = symmetric_eigen(vec![2.0, 1.0, 1.0, 2.0], 2);
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-15 && (values[1] - 3.0).abs() < 1e-15, "{values:?}");
    }
}
