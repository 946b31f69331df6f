//! Products of vectors in one order of additions, which a compiler can make wide.

/// Partial sums of [`dot`].
const LANES: usize = 8;

/// x·y: lane i sums the elements i, i + 8, ..., then the lanes are added in order, then what is left over.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let (x_wide, x_rest) = x.as_chunks::<LANES>();
    let (y_wide, y_rest) = y.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (x, y) in x_wide.iter().zip(y_wide) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f64>() + rest
}

/// to += by · from
pub(super) fn add(to: &mut [f64], by: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += by * from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_counts_once() {
        for count in [0, 1, 7, 8, 9, 16, 23] {
            let x: Vec<f64> = (0..count).map(f64::from).collect();
            let y: Vec<f64> = x.iter().map(|x| 2.0 * x + 1.0).collect();
            let expected: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
            assert_eq!(dot(&x, &y), expected, "{count}");
        }
    }
}
