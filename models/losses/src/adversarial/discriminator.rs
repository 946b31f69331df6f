//! A small fully connected network with one output, its gradients, and the gradient of its gradient's length.
//!
//! x (D); h_0 = x, h_l = φ(W_l h_(l-1) + b_l), y = W_L h_(L-1) + b_L;  φ(z) = z where z > 0, 0.2 z elsewhere (leaky ReLU), a_l = φ'
//! input gradient g = dy/dx:  r_L = 1, r_l = a_l ∘ (W_(l+1)ᵀ r_(l+1)), g = W_1ᵀ r_1
//! penalty P = (‖g‖ - 1)²:  with c_0 = dP/dg = 2 (‖g‖ - 1) g/‖g‖, c_l = a_l ∘ (W_l c_(l-1)):  dP/dW_l = r_l c_(l-1)ᵀ
//! φ is straight almost everywhere, so a_l does not move with x or W, and dP/db = 0: the second-order gradient is exact.

use limbeck_answers::rng::Stream;

use crate::logits::noise::uniform;
use crate::relations::rows::{LEAST, add_scaled, dot};

/// Slope of φ below zero.
const LEAK: f64 = 0.2;
/// Key of the first weights.
const PURPOSE: u64 = 0x6469_7363_7269_6d69;

/// One layer: w (O, I) row-major, b (O).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    pub inputs: usize,
    pub w: Vec<f64>,
    pub b: Vec<f64>,
}

/// The network; or gradients of all its parameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Discriminator {
    pub layers: Vec<Layer>,
}

/// h_0 .. h_(L-1) and y of one sample.
pub(crate) struct Trace {
    h: Vec<Vec<f64>>,
    pub y: f64,
}

impl Discriminator {
    /// D inputs, hidden layers of these sizes, one output; weights evenly within ±1/√inputs, biases 0.
    pub fn new(inputs: usize, hidden: &[usize], seed: u64) -> Discriminator {
        let mut ins = inputs;
        let mut layers = Vec::with_capacity(hidden.len() + 1);
        for (l, &outs) in hidden.iter().chain(&[1]).enumerate() {
            let mut random = Stream::new(seed ^ PURPOSE, l as u64, 0);
            let bound = 1.0 / (ins as f64).sqrt();
            let w = (0..ins * outs).map(|_| bound * (2.0 * uniform(&mut random) - 1.0)).collect();
            layers.push(Layer { inputs: ins, w, b: vec![0.0; outs] });
            ins = outs;
        }
        Discriminator { layers }
    }

    /// D
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// The same shape, all zeros.
    pub fn zeros_like(&self) -> Discriminator {
        let mut zeros = self.clone();
        zeros.parameters_mut().for_each(|p| *p = 0.0);
        zeros
    }

    /// Weights and biases, layer by layer.
    pub fn parameters(&self) -> impl Iterator<Item = f64> + '_ {
        self.layers.iter().flat_map(|l| l.w.iter().chain(&l.b).copied())
    }

    /// The same to write to.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.layers.iter_mut().flat_map(|l| l.w.iter_mut().chain(&mut l.b))
    }

    /// y, and what `backward` needs.
    pub fn forward(&self, x: &[f64]) -> Trace {
        let mut h = vec![x.to_vec()];
        for (l, layer) in self.layers.iter().enumerate() {
            let last = &h[l];
            let z = layer.w.chunks_exact(layer.inputs).zip(&layer.b).map(|(w_o, b)| b + dot(w_o, last));
            let leaky = |z: f64| if z > 0.0 || l + 1 == self.layers.len() { z } else { LEAK * z };
            let next = z.map(leaky).collect();
            h.push(next);
        }
        let y = h.pop().map_or(0.0, |y| y[0]);
        Trace { h, y }
    }

    /// dx of dy; dW and db are added to `grads` where asked for.
    pub fn backward(&self, trace: &Trace, dy: f64, mut grads: Option<&mut Discriminator>) -> Vec<f64> {
        let mut dz = vec![dy];
        for (l, layer) in self.layers.iter().enumerate().rev() {
            if let Some(grads) = &mut grads {
                let of = &mut grads.layers[l];
                for ((dw, db), dz) in of.w.chunks_exact_mut(layer.inputs).zip(&mut of.b).zip(&dz) {
                    add_scaled(dw, *dz, &trace.h[l]);
                    *db += dz;
                }
            }
            dz = layer.transposed(&dz);
            if l > 0 {
                // h > 0 exactly where z > 0
                dz.iter_mut().zip(&trace.h[l]).filter(|(_, h)| **h <= 0.0).for_each(|(d, _)| *d *= LEAK);
            }
        }
        dz
    }

    /// (‖dy/dx‖ - 1)² at x, times `weight`; its gradient is added to `grads`.
    pub fn penalty(&self, x: &[f64], weight: f64, grads: &mut Discriminator) -> f64 {
        let trace = self.forward(x);
        let slope = |l: usize, v: &mut [f64]| {
            v.iter_mut().zip(&trace.h[l]).filter(|(_, h)| **h <= 0.0).for_each(|(v, _)| *v *= LEAK);
        };
        // r_L .. r_1, then g
        let mut r = vec![vec![1.0]];
        for l in (1..self.layers.len()).rev() {
            let mut next = self.layers[l].transposed(&r[r.len() - 1]);
            slope(l, &mut next);
            r.push(next);
        }
        let g = self.layers[0].transposed(&r[r.len() - 1]);
        let length = dot(&g, &g).sqrt();
        // At g = 0 every direction is as steep as any other: none is taken
        let outer = if length > LEAST { 2.0 * weight * (length - 1.0) / length } else { 0.0 };
        let mut c: Vec<f64> = g.iter().map(|g| outer * g).collect();
        for (l, layer) in self.layers.iter().enumerate() {
            let r_l = &r[r.len() - 1 - l];
            for (dw, r) in grads.layers[l].w.chunks_exact_mut(layer.inputs).zip(r_l) {
                add_scaled(dw, *r, &c);
            }
            c = layer.w.chunks_exact(layer.inputs).map(|w_o| dot(w_o, &c)).collect();
            if l + 1 < self.layers.len() {
                slope(l + 1, &mut c);
            }
        }
        weight * (length - 1.0) * (length - 1.0)
    }
}

impl Layer {
    /// Wᵀ v
    fn transposed(&self, v: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.inputs];
        self.w.chunks_exact(self.inputs).zip(v).for_each(|(w_o, v)| add_scaled(&mut product, *v, w_o));
        product
    }
}

/// Adam: Kingma, Ba, ICLR 2015, algorithm 1, ε = 1e-8.
pub(crate) struct Adam {
    pub rate: f64,
    pub betas: [f64; 2],
    m: Vec<f64>,
    v: Vec<f64>,
    steps: i32,
}

impl Adam {
    pub fn new(rate: f64, betas: [f64; 2]) -> Adam {
        Adam { rate, betas, m: vec![], v: vec![], steps: 0 }
    }

    /// One step down the gradient.
    pub fn step(&mut self, net: &mut Discriminator, grads: &Discriminator) {
        let [b1, b2] = self.betas;
        self.steps = self.steps.saturating_add(1);
        let (c1, c2) = (1.0 - b1.powi(self.steps), 1.0 - b2.powi(self.steps));
        let count = grads.parameters().count();
        self.m.resize(count, 0.0);
        self.v.resize(count, 0.0);
        for (((p, g), m), v) in net.parameters_mut().zip(grads.parameters()).zip(&mut self.m).zip(&mut self.v) {
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *p -= self.rate * (*m / c1) / ((*v / c2).sqrt() + 1e-8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_penalty_of_a_linear_network_is_that_of_its_weights() {
        let net = Discriminator { layers: vec![Layer { inputs: 2, w: vec![3.0, 4.0], b: vec![0.5] }] };
        let mut grads = net.zeros_like();
        // λ (‖w‖ - 1)², and its gradient 2 λ (‖w‖ - 1) w/‖w‖
        assert!((net.penalty(&[7.0, -1.0], 10.0, &mut grads) - 160.0).abs() < 1e-12);
        let expected = [10.0 * 8.0 * 0.6, 10.0 * 8.0 * 0.8, 0.0];
        assert!(grads.parameters().zip(expected).all(|(g, e)| (g - e).abs() < 1e-12));
    }

    #[test]
    fn parameter_and_penalty_gradients_are_slopes() {
        let net = Discriminator::new(3, &[5, 4], 1);
        let x = [0.3, -0.8, 1.1];
        for penalised in [false, true] {
            let value = |net: &Discriminator| {
                let y = net.forward(&x).y;
                if penalised { net.penalty(&x, 2.0, &mut net.zeros_like()) } else { y }
            };
            let mut grads = net.zeros_like();
            if penalised {
                net.penalty(&x, 2.0, &mut grads);
            } else {
                net.backward(&net.forward(&x), 1.0, Some(&mut grads));
            }
            for (i, g) in grads.parameters().enumerate() {
                let at = |step: f64| {
                    let mut moved = net.clone();
                    moved.parameters_mut().nth(i).into_iter().for_each(|p| *p += step);
                    value(&moved)
                };
                let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((numeric - g).abs() < 1e-7, "penalised {penalised}, parameter {i}: {g} against {numeric}");
            }
        }
    }
}
