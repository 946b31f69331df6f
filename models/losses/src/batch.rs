//! Values of a batch.

/// One value for each of B samples, row-major, sample first: (B, C) for vectors, (B, C, H, W) for maps.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Shape of one sample's value: (C) or (C, H, W).
    pub dims: Vec<usize>,
    /// B values, one after the other.
    pub values: Vec<f64>,
}

impl Batch {
    /// Panics unless `values` are whole samples of the shape.
    pub fn new(dims: &[usize], values: Vec<f64>) -> Batch {
        let len: usize = dims.iter().product();
        assert!(len > 0 && values.len().is_multiple_of(len), "{} values of the shape {dims:?}", values.len());
        Batch { dims: dims.to_vec(), values }
    }

    /// The same shape, all zeros: where a gradient begins.
    pub fn zeros_like(&self) -> Batch {
        Batch { dims: self.dims.clone(), values: vec![0.0; self.values.len()] }
    }

    /// Values of one sample.
    #[allow(clippy::len_without_is_empty, reason = "a value is never empty")]
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// B
    pub fn samples(&self) -> usize {
        self.values.len() / self.len()
    }

    /// The value of sample `b`; panics past the end.
    pub fn sample(&self, b: usize) -> &[f64] {
        &self.values[b * self.len()..][..self.len()]
    }

    /// The same to write to.
    pub fn sample_mut(&mut self, b: usize) -> &mut [f64] {
        let len = self.len();
        &mut self.values[b * len..][..len]
    }

    /// (C, H·W): a vector has one pixel.
    pub fn channels_and_pixels(&self) -> (usize, usize) {
        (self.dims[0], self.dims[1..].iter().product())
    }
}

/// The K largest logits of each sample and what is known of the rest, all relative to the largest logit (reference: answers file, `topk_f16`).
#[derive(Debug, Clone, PartialEq)]
pub struct TopKBatch {
    /// C, of which K are here.
    pub classes: usize,
    /// K
    pub k: usize,
    /// (B, K) class numbers, in descending order of the logits; the true class is among them where the sample has a label.
    pub index: Vec<u16>,
    /// (B, K) logits, z - max z.
    pub z: Vec<f64>,
    /// (B) ln Σ_c exp(z_c - max z) over all classes.
    pub lse: Vec<f64>,
    /// (B, 3) ln Σ exp((z_c - max z) / T) over the classes that are not here, at T = 1, 2, 4. -inf where K = C.
    pub tail_lse: Vec<f64>,
    /// (B) mean of all C values of z - max z.
    pub mean: Vec<f64>,
    /// (B) standard deviation of all C logits, unbiased (divided by C - 1).
    pub sd: Vec<f64>,
}

impl TopKBatch {
    /// The temperatures at which `tail_lse` is known.
    pub const TEMPERATURES: [f64; 3] = [1.0, 2.0, 4.0];

    /// B
    pub fn samples(&self) -> usize {
        self.lse.len()
    }
}
