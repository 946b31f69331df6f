//! Update rules and schedules. Parameters and gradients are lists of flat f32 tensors in one order.

/// An update rule with its state.
#[derive(Debug, Clone)]
pub struct Optimiser {
    rule: Rule,
    weight_decay: f32,
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
    steps: i32,
}

/// Which rule moves the parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// v ← μ·v + g, w ← w − η·v; with Nesterov w ← w − η·(g + μ·v). (Sutskever et al., ICML 2013, in PyTorch's form.)
    Sgd {
        /// μ.
        momentum: f32,
        /// Look ahead.
        nesterov: bool,
    },
    /// Adam with bias correction (Kingma, Ba, ICLR 2015); weight decay decoupled (AdamW, Loshchilov, Hutter, ICLR 2019).
    Adam {
        /// β₁.
        beta1: f32,
        /// β₂.
        beta2: f32,
        /// ε.
        epsilon: f32,
    },
}

impl Rule {
    /// SGD with Nesterov momentum 0.9.
    pub const SGD: Rule = Rule::Sgd { momentum: 0.9, nesterov: true };
    /// Adam with its paper's constants.
    pub const ADAM: Rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
}

impl Optimiser {
    /// Zero state. `weight_decay` applies to the tensors that [`Optimiser::step`] is told to decay.
    pub fn new(rule: Rule, weight_decay: f32) -> Optimiser {
        Optimiser { rule, weight_decay, first: vec![], second: vec![], steps: 0 }
    }

    /// One step at learning rate `rate`. `decays[i]` says whether tensor `i` decays (weights do, biases do not).
    pub fn step(&mut self, rate: f32, parameters: &mut [Vec<f32>], gradients: &[Vec<f32>], decays: &[bool]) {
        let zeros = || parameters.iter().map(|p| vec![0.0; p.len()]).collect::<Vec<_>>();
        if self.first.is_empty() {
            self.first = zeros();
            if matches!(self.rule, Rule::Adam { .. }) {
                self.second = zeros();
            }
        }
        self.steps += 1;
        for (i, (w, g)) in parameters.iter_mut().zip(gradients).enumerate() {
            let decay = if decays[i] { self.weight_decay } else { 0.0 };
            let first = &mut self.first[i];
            match self.rule {
                Rule::Sgd { momentum, nesterov } => {
                    for ((w, g), v) in w.iter_mut().zip(g).zip(first) {
                        let g = g + decay * *w;
                        *v = momentum * *v + g;
                        *w -= rate * if nesterov { g + momentum * *v } else { *v };
                    }
                }
                Rule::Adam { beta1, beta2, epsilon } => {
                    let correct1 = 1.0 - beta1.powi(self.steps);
                    let correct2 = 1.0 - beta2.powi(self.steps);
                    for (((w, g), m), v) in w.iter_mut().zip(g).zip(first).zip(&mut self.second[i]) {
                        *m = beta1 * *m + (1.0 - beta1) * g;
                        *v = beta2 * *v + (1.0 - beta2) * g * g;
                        *w -= rate * ((*m / correct1) / ((*v / correct2).sqrt() + epsilon) + decay * *w);
                    }
                }
            }
        }
    }
}

/// Learning rate at `step` of `total`: linear warm-up over `warm_up` steps, then half a cosine from `peak` to 0.
pub fn cosine(peak: f32, step: usize, total: usize, warm_up: usize) -> f32 {
    if step < warm_up {
        return peak * (step + 1) as f32 / warm_up as f32;
    }
    let done = (step - warm_up) as f32 / total.saturating_sub(warm_up).max(1) as f32;
    peak * 0.5 * (1.0 + (std::f32::consts::PI * done.min(1.0)).cos())
}

/// Scale all gradients so that their joint L2 norm is at most `limit`. Returns the norm before, which is not finite
/// when any gradient is not.
pub fn clip(gradients: &mut [Vec<f32>], limit: f32) -> f32 {
    let norm = gradients.iter().flatten().map(|&g| g as f64 * g as f64).sum::<f64>().sqrt() as f32;
    if norm.is_finite() && norm > limit {
        gradients.iter_mut().flatten().for_each(|g| *g *= limit / norm);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_step(rule: Rule, steps: usize) -> f32 {
        let mut optimiser = Optimiser::new(rule, 0.0);
        let mut w = vec![vec![1.0f32]];
        for _ in 0..steps {
            let g = vec![vec![2.0 * w[0][0]]]; // of w²
            optimiser.step(0.1, &mut w, &g, &[false]);
        }
        w[0][0]
    }

    #[test]
    fn two_steps_by_hand() {
        // plain: 1 -> 0.8 -> 0.64
        assert!((one_step(Rule::Sgd { momentum: 0.0, nesterov: false }, 2) - 0.64).abs() < 1e-6);
        // momentum 0.5: v = 2, w = 0.8; v = 1 + 1.6 = 2.6, w = 0.54
        assert!((one_step(Rule::Sgd { momentum: 0.5, nesterov: false }, 2) - 0.54).abs() < 1e-6);
        // Nesterov 0.5: w = 1 - 0.1·(2 + 1) = 0.7
        assert!((one_step(Rule::Sgd { momentum: 0.5, nesterov: true }, 1) - 0.7).abs() < 1e-6);
        // Adam's first step is the learning rate, whatever the gradient.
        assert!((one_step(Rule::ADAM, 1) - 0.9).abs() < 1e-5);
    }

    #[test]
    fn the_cosine_starts_at_the_peak_and_ends_at_zero() {
        assert_eq!(cosine(0.1, 0, 100, 0), 0.1);
        assert!(cosine(0.1, 100, 100, 0).abs() < 1e-8);
        assert!((cosine(0.1, 4, 100, 10) - 0.05).abs() < 1e-8);
    }

    #[test]
    fn clipping_keeps_the_direction() {
        let mut g = vec![vec![3.0, 0.0], vec![4.0]];
        assert_eq!(clip(&mut g, 1.0), 5.0);
        assert!((g[0][0] - 0.6).abs() < 1e-6 && (g[1][0] - 0.8).abs() < 1e-6);
        assert!(!clip(&mut [vec![f32::NAN]], 1.0).is_finite());
    }
}
