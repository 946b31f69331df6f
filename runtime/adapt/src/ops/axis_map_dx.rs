//! Gradient of an operator along one axis each of whose outputs is a weighted sum of a few inputs: interpolation, margins
//! that mirror or repeat, gathering, tiling.
//!
//! y[.., o, ..] = Σ_j weight[o, j] · x[.., source[o, j], ..]    dx[.., i, ..] = Σ_{o, j: source[o, j] = i} weight[o, j] · dy[.., o, ..]

use tract_core::internal::*;

use super::{gradient_op, with_f32};

/// One input that one output reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tap {
    /// Coordinate in y.
    pub output: usize,
    /// Coordinate in x.
    pub source: usize,
    /// What x is multiplied by.
    pub weight: f32,
}

/// dy → dx of length `len` along `axis`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AxisMapDx {
    pub axis: usize,
    /// Length of x along the axis.
    pub len: usize,
    /// In the order in which they are summed.
    pub taps: Arc<Vec<Tap>>,
}

impl Eq for AxisMapDx {}
gradient_op!(AxisMapDx, "AxisMapDx");

impl AxisMapDx {
    /// Every output reads the one input `source(output)`, or none.
    pub fn of(axis: usize, len: usize, outputs: usize, source: impl Fn(usize) -> Option<usize>) -> AxisMapDx {
        let tap = |output| source(output).map(|source| Tap { output, source, weight: 1.0 });
        AxisMapDx { axis, len, taps: Arc::new((0..outputs).filter_map(tap).collect()) }
    }

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut fact = inputs[0].without_value();
        if let Some(outputs) = fact.shape[self.axis].as_i64() {
            let fits = |tap: &Tap| tap.source < self.len && (tap.output as i64) < outputs;
            ensure!(self.taps.iter().all(fits), "a tap lies outside its axis");
        }
        fact.shape.set(self.axis, self.len.to_dim());
        Ok(tvec!(fact))
    }

    fn compute(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let dy = args_1!(inputs);
        let outputs = dy.shape()[self.axis];
        let inner: usize = dy.shape()[self.axis + 1..].iter().product();
        let mut shape: TVec<usize> = dy.shape().into();
        shape[self.axis] = self.len;
        let mut dx = vec![0f32; shape.iter().product()];
        if !dx.is_empty() && outputs > 0 {
            with_f32(&dy, |dy| {
                for (dy, dx) in dy.chunks_exact(outputs * inner).zip(dx.chunks_exact_mut(self.len * inner)) {
                    for tap in self.taps.iter() {
                        let from = &dy[tap.output * inner..][..inner];
                        let to = &mut dx[tap.source * inner..][..inner];
                        to.iter_mut().zip(from).for_each(|(to, from)| *to += tap.weight * from);
                    }
                }
            })?;
        }
        Ok(tvec!(Tensor::from_shape(&shape, &dx)?.into_tvalue()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_twice_gets_the_sum() {
        // y = x[[0, 1, 1]] along the middle axis of (1, 2, 2)
        let op = AxisMapDx::of(1, 2, 3, |o| Some(o.min(1)));
        let dy = Tensor::from_shape(&[1, 3, 2], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let dx = op.compute(tvec!(dy.into_tvalue())).unwrap();
        assert_eq!(*dx[0], Tensor::from_shape(&[1, 2, 2], &[1f32, 2.0, 8.0, 10.0]).unwrap());
    }
}
