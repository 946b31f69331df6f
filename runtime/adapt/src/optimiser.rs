//! Update rules and schedules. Parameters and gradients are lists of flat f32 tensors in one order.

/// An update rule with its state.
#[derive(Debug, Clone)]
pub struct Optimiser {
    rule: Rule,
    weight_decay: f32,
    /// (rows, columns) of each tensor as a matrix; for [`Rule::Adafactor`].
    matrices: Vec<(usize, usize)>,
    state: OptimiserState,
}

/// All that an optimiser remembers between steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OptimiserState {
    /// First moments (Adam), velocities (SGD with momentum), column means (Adafactor); one list a tensor.
    pub first: Vec<Vec<f32>>,
    /// Second moments (Adam), row means (Adafactor).
    pub second: Vec<Vec<f32>>,
    /// Steps taken.
    pub steps: u32,
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
    /// The second moment of a matrix as the product of its row and column means, no first moment, updates clipped to an RMS of 1:
    /// for a matrix of n × m it keeps n + m numbers where Adam keeps 2·n·m. (Shazeer, Stern, ICML 2018, algorithm 4, with the
    /// learning rate given instead of relative to the weights; β₂ at step t is 1 − t^−0.8.) Kernels are matrices of outputs × the rest;
    /// the second moments of vectors are kept whole.
    Adafactor,
}

impl Rule {
    /// SGD with Nesterov momentum 0.9.
    pub const SGD: Rule = Rule::Sgd { momentum: 0.9, nesterov: true };
    /// Adam with its paper's constants.
    pub const ADAM: Rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    /// Values kept between steps for tensors of these shapes.
    pub fn state_len(self, dims: &[Vec<usize>]) -> usize {
        let len = |d: &Vec<usize>| d.iter().product::<usize>();
        let of = |d: &Vec<usize>| match self {
            Rule::Sgd { momentum: 0.0, .. } => 0,
            Rule::Sgd { .. } => len(d),
            Rule::Adam { .. } => 2 * len(d),
            Rule::Adafactor => match matrix(d) {
                (rows, 1) => rows,
                (rows, columns) => rows + columns,
            },
        };
        dims.iter().map(of).sum()
    }
}

/// (outputs, the rest); vectors have one column.
fn matrix(dims: &[usize]) -> (usize, usize) {
    let rows = dims.first().copied().unwrap_or(1);
    (rows, dims.iter().skip(1).product())
}

impl Optimiser {
    /// Zero state. `weight_decay` applies to the tensors that [`Optimiser::step`] is told to decay. [`Rule::Adafactor`] takes every tensor for
    /// a vector; [`Optimiser::of`] knows better.
    pub fn new(rule: Rule, weight_decay: f32) -> Optimiser {
        Optimiser { rule, weight_decay, matrices: vec![], state: OptimiserState::default() }
    }

    /// For tensors of these shapes.
    pub fn of(rule: Rule, weight_decay: f32, dims: &[Vec<usize>]) -> Optimiser {
        Optimiser { matrices: dims.iter().map(|d| matrix(d)).collect(), ..Optimiser::new(rule, weight_decay) }
    }

    /// What it remembers.
    pub fn state(&self) -> &OptimiserState {
        &self.state
    }

    /// Go on from there.
    pub fn restore(&mut self, state: OptimiserState) {
        self.state = state;
    }

    /// One step at learning rate `rate`. `decays[i]` says whether tensor `i` decays (weights do, biases do not).
    pub fn step(&mut self, rate: f32, parameters: &mut [Vec<f32>], gradients: &[Vec<f32>], decays: &[bool]) {
        let matrix = |i: usize, len: usize| self.matrices.get(i).copied().unwrap_or((len, 1));
        let state = &mut self.state;
        if state.steps == 0 {
            let lens = || parameters.iter().map(Vec::len);
            let zeros = |lens: &mut dyn Iterator<Item = usize>| lens.map(|len| vec![0.0; len]).collect::<Vec<_>>();
            let columns = |(i, len)| match matrix(i, len) {
                (_, 1) => 0,
                (_, columns) => columns,
            };
            (state.first, state.second) = match self.rule {
                Rule::Sgd { momentum: 0.0, .. } => (zeros(&mut lens().map(|_| 0)), vec![]),
                Rule::Sgd { .. } => (zeros(&mut lens()), vec![]),
                Rule::Adam { .. } => (zeros(&mut lens()), zeros(&mut lens())),
                Rule::Adafactor => {
                    let rows = lens().enumerate().map(|(i, len)| matrix(i, len).0);
                    (zeros(&mut lens().enumerate().map(columns)), zeros(&mut { rows }))
                }
            };
        }
        state.steps += 1;
        for (i, (w, g)) in parameters.iter_mut().zip(gradients).enumerate() {
            let decay = if decays[i] { self.weight_decay } else { 0.0 };
            let first = &mut state.first[i];
            match self.rule {
                Rule::Sgd { momentum: 0.0, .. } => {
                    w.iter_mut().zip(g).for_each(|(w, g)| *w -= rate * (g + decay * *w));
                }
                Rule::Sgd { momentum, nesterov } => {
                    for ((w, g), v) in w.iter_mut().zip(g).zip(first) {
                        let g = g + decay * *w;
                        *v = momentum * *v + g;
                        *w -= rate * if nesterov { g + momentum * *v } else { *v };
                    }
                }
                Rule::Adam { beta1, beta2, epsilon } => {
                    let correct1 = 1.0 - beta1.powi(state.steps as i32);
                    let correct2 = 1.0 - beta2.powi(state.steps as i32);
                    for (((w, g), m), v) in w.iter_mut().zip(g).zip(first).zip(&mut state.second[i]) {
                        *m = beta1 * *m + (1.0 - beta1) * g;
                        *v = beta2 * *v + (1.0 - beta2) * g * g;
                        *w -= rate * ((*m / correct1) / ((*v / correct2).sqrt() + epsilon) + decay * *w);
                    }
                }
                Rule::Adafactor => {
                    let columns = matrix(i, w.len()).1.max(1);
                    let beta2 = 1.0 - (state.steps as f32).powf(-0.8);
                    adafactor([rate, decay, beta2], w, g, columns, &mut state.second[i], first);
                }
            }
        }
    }
}

/// ε₁ of the paper: keeps the root away from zero.
const ADAFACTOR_EPSILON: f32 = 1e-30;

/// One tensor as a matrix of `columns` columns; `row` and `column` are running means of squares over a row and a column. A vector
/// has one column and no column means: `row` is its second moment.
fn adafactor(
    [rate, decay, beta2]: [f32; 3],
    w: &mut [f32],
    g: &[f32],
    columns: usize,
    row: &mut [f32],
    column: &mut [f32],
) {
    let rows = w.len() / columns;
    let square = |v: f32| v * v + ADAFACTOR_EPSILON;
    for (mean, g) in row.iter_mut().zip(g.chunks_exact(columns)) {
        let now = g.iter().map(|&v| square(v)).sum::<f32>() / columns as f32;
        *mean = beta2 * *mean + (1.0 - beta2) * now;
    }
    for (j, mean) in column.iter_mut().enumerate() {
        let now = (0..rows).map(|i| square(g[i * columns + j])).sum::<f32>() / rows as f32;
        *mean = beta2 * *mean + (1.0 - beta2) * now;
    }
    let mean = row.iter().sum::<f32>() / rows.max(1) as f32;
    let second = |i: usize| match column.get(i % columns) {
        // A dead row and a dead column: their product underflows.
        Some(column) => (row[i / columns] / mean * column).max(ADAFACTOR_EPSILON),
        None => row[i],
    };
    let squares: f64 = g.iter().enumerate().map(|(i, g)| (g * g / second(i)) as f64).sum();
    let rms = (squares / w.len().max(1) as f64).sqrt() as f32;
    let scale = rate / rms.max(1.0);
    for (i, (w, g)) in w.iter_mut().zip(g).enumerate() {
        *w -= scale * g / second(i).sqrt() + rate * decay * *w;
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
    fn a_rank_one_second_moment_is_kept_exactly_by_rows_and_columns() {
        // g = u vᵀ has g² = u² (v²)ᵀ of rank one, so the first update is the sign of g: its RMS is 1, nothing is clipped.
        let (u, v) = ([0.5f32, -2.0], [1.0f32, 0.1, -3.0]);
        let g: Vec<f32> = u.iter().flat_map(|u| v.map(|v| u * v)).collect();
        let mut optimiser = Optimiser::of(Rule::Adafactor, 0.0, &[vec![2, 3]]);
        let mut w = vec![vec![1.0; 6]];
        optimiser.step(0.1, &mut w, std::slice::from_ref(&g), &[false]);
        for (w, g) in w[0].iter().zip(&g) {
            assert!((w - (1.0 - 0.1 * g.signum())).abs() < 1e-5, "{w} for {g}");
        }
        let state = optimiser.state();
        assert_eq!((state.first[0].len(), state.second[0].len()), (3, 2));
        assert_eq!(Rule::Adafactor.state_len(&[vec![2, 3], vec![7]]), 5 + 7);
    }

    #[test]
    fn a_large_adafactor_update_is_clipped_to_the_learning_rate() {
        let mut optimiser = Optimiser::of(Rule::Adafactor, 0.0, &[vec![4]]);
        let mut w = vec![vec![0.0; 4]];
        for _ in 0..50 {
            optimiser.step(0.0, &mut w, &[vec![1e-3; 4]], &[false]);
        }
        optimiser.step(0.1, &mut w, &[vec![1.0; 4]], &[false]);
        let rms = (w[0].iter().map(|w| w * w).sum::<f32>() / 4.0).sqrt();
        assert!((rms - 0.1).abs() < 1e-6, "{rms}");
    }

    #[test]
    fn dead_rows_and_columns_stay_where_they_are() {
        let mut optimiser = Optimiser::of(Rule::Adafactor, 0.0, &[vec![3, 3]]);
        let mut w = vec![vec![1.0; 9]];
        let mut g = vec![0.0; 9];
        (g[4], g[5]) = (0.5, -0.25);
        (0..3).for_each(|_| optimiser.step(0.1, &mut w, std::slice::from_ref(&g), &[false]));
        for (i, w) in w[0].iter().enumerate() {
            assert_eq!(*w != 1.0, i == 4 || i == 5, "{i}: {w}");
            assert!(w.is_finite());
        }
    }

    #[test]
    fn every_rule_goes_on_from_its_state() {
        for rule in [Rule::Sgd { momentum: 0.0, nesterov: false }, Rule::SGD, Rule::ADAM, Rule::Adafactor] {
            let dims = [vec![2, 3], vec![2]];
            let gradient = |t: u32| vec![vec![0.1 * t as f32; 6], vec![1.0 / t as f32; 2]];
            let decays = [true, false];
            let mut whole = Optimiser::of(rule, 0.01, &dims);
            let mut w = vec![vec![1.0; 6], vec![-1.0; 2]];
            (1..=3).for_each(|t| whole.step(0.1, &mut w, &gradient(t), &decays));
            let mut resumed = Optimiser::of(rule, 0.01, &dims);
            resumed.restore(whole.state().clone());
            let mut other = w.clone();
            whole.step(0.1, &mut w, &gradient(4), &decays);
            resumed.step(0.1, &mut other, &gradient(4), &decays);
            assert_eq!((&w, whole.state()), (&other, resumed.state()), "{rule:?}");
            let kept = |s: &OptimiserState| s.first.iter().chain(&s.second).map(Vec::len).sum::<usize>();
            assert_eq!(kept(whole.state()), rule.state_len(&dims), "{rule:?}");
        }
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
