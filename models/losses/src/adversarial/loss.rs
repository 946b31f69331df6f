//! Adversarial distillation on cached vectors: a discriminator D learns which are the teacher's, the student learns to pass for it.
//!
//! s, t (B, N) → D(s), D(t) (B); every step D takes `steps` Adam steps on its loss, then the student gets
//! `wgan-gp`: D: mean D(s) - mean D(t) + λ mean (‖∇D(x̂)‖ - 1)², x̂ = e t + (1 - e) s, e even in (0, 1];   student: L = -mean D(s)
//! `log`:     D: -mean ln σ(D(t)) - mean ln (1 - σ(D(s)));                                              student: L = -mean ln σ(D(s))
//! `hinge`:   D: mean max(0, 1 - D(t)) + mean max(0, 1 + D(s));                                         student: L = -mean D(s)
//!
//! Xu, Hsu, Huang, "Training shallow and thin networks for acceleration via knowledge distillation with conditional adversarial networks",
//! ICLR workshop 2018; Shen, He, Xue, "MEAL", AAAI 2019 (`log`, in Goodfellow's form that does not saturate); Gulrajani et al., "Improved
//! training of Wasserstein GANs", NIPS 2017 (`wgan-gp`, λ = 10, β = 0, 0.9); the rate 4e-4 and one step of D a step are those of Liu et al.,
//! "Structured knowledge distillation", CVPR 2019. D sees the vectors as `input` says: logits relative to their mean (softmax does
//! not see the difference, and files in f16 keep them relative to the largest), their softmax, or the values raw (embeddings).
//!
//! Host only: D has 2-3 layers in f64 and two moments of every parameter. It is not part of a checkpoint. The gradient is that of L at the
//! discriminator that the step's training leaves.

use limbeck_answers::rng::Stream;
use serde::Deserialize;

use crate::adversarial::discriminator::{Adam, Discriminator};
use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::logits::noise::uniform;
use crate::logits::soft::{log_softmax, softmax_backward};
use crate::options::{not_negative, positive};
use crate::relations::rows::equal_pair;

const KIND: &str = "adversarial";
/// Key of x̂.
const BETWEEN: u64 = 0x6164_765f_6265_7477;

/// Which game is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Game {
    /// Wasserstein distance, with a gradient penalty.
    #[default]
    WganGp,
    /// Cross-entropy of real and fake.
    Log,
    /// Margins of 1.
    Hinge,
}

/// What the discriminator sees of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// Less its mean.
    #[default]
    Centred,
    /// Its softmax.
    Softmax,
    /// As it is.
    Raw,
}

/// Options of `adversarial`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adversarial {
    /// Which game is played.
    pub form: Game,
    /// What the discriminator sees.
    pub input: Seen,
    /// Sizes of the discriminator's hidden layers, one or two.
    pub hidden: Vec<usize>,
    /// Discriminator steps before each step of the student; 0 leaves it as it was drawn.
    pub steps: u32,
    /// Its learning rate.
    #[serde(deserialize_with = "positive")]
    pub rate: f64,
    /// λ
    #[serde(deserialize_with = "not_negative")]
    pub penalty: f64,
}

impl Default for Adversarial {
    fn default() -> Self {
        let (form, input) = (Game::WganGp, Seen::Centred);
        Adversarial { form, input, hidden: vec![128, 128], steps: 1, rate: 4e-4, penalty: 10.0 }
    }
}

impl Adversarial {
    pub(crate) fn seeded(&self, seed: u64) -> AdversarialLoss {
        let adam = Adam::new(self.rate, [0.0, 0.9]);
        AdversarialLoss { options: self.clone(), seed, net: None, adam }
    }
}

/// `adversarial` and its discriminator.
pub(crate) struct AdversarialLoss {
    options: Adversarial,
    seed: u64,
    net: Option<Discriminator>,
    adam: Adam,
}

impl Loss for AdversarialLoss {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let (s, t) = equal_pair(KIND, given, 0)?;
        let hidden = &self.options.hidden;
        if !(1..=2).contains(&hidden.len()) || hidden.contains(&0) {
            let why = format!("hidden = {hidden:?}; give the sizes of one or two layers, such as [128, 128]");
            return Err(LossError::Options { kind: KIND, why });
        }
        let net = self.net.get_or_insert_with(|| Discriminator::new(s.len(), hidden, self.seed));
        if net.inputs() != s.len() {
            let why =
                format!("the discriminator was made for {} values, and the student has {}", net.inputs(), s.len());
            return Err(LossError::Shapes { kind: KIND, why });
        }
        let (fake, real) = (self.options.seen(s), self.options.seen(t));
        for round in 0..self.options.steps {
            let e: Vec<f64> = given
                .samples
                .iter()
                .map(|&sample| {
                    uniform(&mut Stream::new(
                        self.seed ^ BETWEEN ^ ((round as u64) << 32),
                        sample,
                        given.progress.step as u32,
                    ))
                })
                .collect();
            let (_, grads) = self.options.discriminate(net, &fake, &real, &e);
            self.adam.step(net, &grads);
        }
        let (loss, dx) = self.options.pass_for_real(net, &fake);
        Ok(Evaluated { loss, gradients: vec![self.options.seen_backward(&fake, &dx)] })
    }
}

/// ln (1 + e^x)
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// 1 / (1 + e^-x)
fn sigmoid(x: f64) -> f64 {
    (-softplus(-x)).exp()
}

impl Adversarial {
    /// What the discriminator sees of each sample.
    fn seen(&self, v: &Batch) -> Batch {
        let mut x = v.clone();
        for b in 0..v.samples() {
            let x_b = x.sample_mut(b);
            match self.input {
                Seen::Raw => {}
                Seen::Centred => {
                    let mean = x_b.iter().sum::<f64>() / x_b.len() as f64;
                    x_b.iter_mut().for_each(|x| *x -= mean);
                }
                Seen::Softmax => {
                    let ln_p = log_softmax(x_b);
                    x_b.iter_mut().zip(&ln_p).for_each(|(x, ln_p)| *x = ln_p.exp());
                }
            }
        }
        x
    }

    /// dv of x = seen(v).
    fn seen_backward(&self, x: &Batch, dx: &Batch) -> Batch {
        let mut dv = dx.clone();
        for b in 0..x.samples() {
            let dv_b = dv.sample_mut(b);
            match self.input {
                Seen::Raw => {}
                Seen::Centred => {
                    let mean = dv_b.iter().sum::<f64>() / dv_b.len() as f64;
                    dv_b.iter_mut().for_each(|d| *d -= mean);
                }
                Seen::Softmax => {
                    let dz = softmax_backward(x.sample(b), dv_b);
                    dv_b.copy_from_slice(&dz);
                }
            }
        }
        dv
    }

    /// The discriminator's loss and the gradient of its parameters; `e` says where between real and fake each penalty is taken.
    fn discriminate(&self, net: &Discriminator, fake: &Batch, real: &Batch, e: &[f64]) -> (f64, Discriminator) {
        let mean = 1.0 / fake.samples() as f64;
        let (mut loss, mut grads) = (0.0, net.zeros_like());
        for (b, &e) in e.iter().enumerate() {
            for (x, sign) in [(fake.sample(b), 1.0), (real.sample(b), -1.0)] {
                let trace = net.forward(x);
                let y = sign * trace.y;
                let (value, slope) = match self.form {
                    Game::WganGp => (y, 1.0),
                    Game::Log => (softplus(y), sigmoid(y)),
                    Game::Hinge => ((1.0 + y).max(0.0), if y > -1.0 { 1.0 } else { 0.0 }),
                };
                loss += mean * value;
                net.backward(&trace, mean * sign * slope, Some(&mut grads));
            }
            if self.form == Game::WganGp {
                let between: Vec<f64> =
                    real.sample(b).iter().zip(fake.sample(b)).map(|(r, f)| e * r + (1.0 - e) * f).collect();
                loss += net.penalty(&between, self.penalty * mean, &mut grads);
            }
        }
        (loss, grads)
    }

    /// The student's loss and its gradient with respect to what the discriminator sees.
    fn pass_for_real(&self, net: &Discriminator, fake: &Batch) -> (f64, Batch) {
        let mean = 1.0 / fake.samples() as f64;
        let (mut loss, mut dx) = (0.0, fake.zeros_like());
        for b in 0..fake.samples() {
            let trace = net.forward(fake.sample(b));
            let (value, slope) = match self.form {
                Game::WganGp | Game::Hinge => (-trace.y, -1.0),
                Game::Log => (softplus(-trace.y), -sigmoid(-trace.y)),
            };
            loss += mean * value;
            dx.sample_mut(b).copy_from_slice(&net.backward(&trace, mean * slope, None));
        }
        (loss, dx)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
    }

    fn assert_near(what: &str, found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let largest = expected.iter().fold(0.0f64, |m, e| m.max(e.abs()));
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() <= 1e-9 * largest, "{what}: {f}, and {e} by torch");
        }
    }

    /// The discriminator's loss with its penalty and their gradient, three steps of Adam, and the student's gradient, by PyTorch
    /// (`tests/golden/logits.py`).
    #[test]
    fn both_sides_of_the_game_are_those_of_torch() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/logits.json")).expect("JSON");
        for golden in golden["adversarial"].as_array().expect("games") {
            let form = golden["form"].as_str().expect("a form");
            let text = format!("form = \"{form}\"\ninput = \"raw\"\nhidden = [8, 5]");
            let options: Adversarial = toml::from_str(&text).expect("options");
            let side = |name: &str| Batch::new(&[6], numbers(&golden[name]["values"]));
            let (fake, real) = (side("student"), side("teacher"));
            let mut net = Discriminator::new(6, &options.hidden, 1);
            let weights: Vec<f64> =
                golden["parameters"].as_array().expect("parameters").iter().flat_map(numbers).collect();
            assert_eq!(net.parameters().count(), weights.len());
            net.parameters_mut().zip(&weights).for_each(|(p, w)| *p = *w);

            let (loss, grads) = options.discriminate(&net, &fake, &real, &numbers(&golden["e"]));
            assert_near(form, &[loss], &[golden["net_loss"].as_f64().expect("a loss")]);
            assert_near(form, &grads.parameters().collect::<Vec<_>>(), &numbers(&golden["net_gradient"]));
            let (loss, ds) = options.pass_for_real(&net, &fake);
            assert_near(form, &[loss], &[golden["loss"].as_f64().expect("a loss")]);
            assert_near(form, &ds.values, &numbers(&golden["gradient"]));

            let mut adam = Adam::new(options.rate, [0.0, 0.9]);
            (0..3).for_each(|_| adam.step(&mut net, &grads));
            assert_near(form, &net.parameters().collect::<Vec<_>>(), &numbers(&golden["after_three_equal_steps"]));
        }
    }
}
