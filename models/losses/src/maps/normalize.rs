//! A vector at length one, and the way back.
//!
//! q = x / max(‖x‖₂, 1e-12);  dx = (dq - q (q·dq)) / ‖x‖₂, and 0 where ‖x‖₂ ≤ 1e-12
//!
//! PyTorch's `normalize`, but for the gradient of a vector that is zero: there it is 1e12 dq, which would throw away the student for one
//! dead channel; here a vector without a direction is not pushed in any.

/// Shorter than this is zero (PyTorch's `eps`).
const SHORTEST: f64 = 1e-12;

/// Scale `x` to length one in place; the length it had.
pub(super) fn normalize(x: &mut [f64]) -> f64 {
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    x.iter_mut().for_each(|x| *x /= norm.max(SHORTEST));
    norm
}

/// Make dx of `dq` in place; `q` and `norm` are what [`normalize`] left.
pub(super) fn normalize_backward(q: &[f64], norm: f64, dq: &mut [f64]) {
    if norm <= SHORTEST {
        return dq.fill(0.0);
    }
    let along: f64 = q.iter().zip(&*dq).map(|(q, d)| q * d).sum();
    for (d, q) in dq.iter_mut().zip(q) {
        *d = (*d - q * along) / norm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_one_or_zero() {
        let mut x = [3.0, -4.0];
        assert_eq!((normalize(&mut x), x), (5.0, [0.6, -0.8]));
        let mut zero = [0.0; 3];
        assert_eq!((normalize(&mut zero), zero), (0.0, [0.0; 3]));
        let mut dq = [1.0; 3];
        normalize_backward(&zero, 0.0, &mut dq);
        assert_eq!(dq, [0.0; 3]);
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let x = [0.3, -1.2, 0.7, 2.0];
        let dq = [1.0, -0.5, 0.25, 2.0];
        let value = |x: [f64; 4]| {
            let mut q = x;
            normalize(&mut q);
            q.iter().zip(dq).map(|(q, d)| q * d).sum::<f64>()
        };
        let (mut q, mut dx) = (x, dq);
        let norm = normalize(&mut q);
        normalize_backward(&q, norm, &mut dx);
        for i in 0..4 {
            let (mut above, mut below) = (x, x);
            above[i] += 1e-5;
            below[i] -= 1e-5;
            assert!(((value(above) - value(below)) / 2e-5 - dx[i]).abs() < 1e-9);
        }
    }
}
