//! A model's gradients against central differences of its loss.

use limbeck_adapt::{Examples, Loss, Parameters, TrainingNet};
use limbeck_engine::onnx::Model;

use crate::builder::Uniform;

/// Difference allowed between a directional derivative and the gradient's, relative to the gradient's norm; both are from
/// f32 runs.
pub const TOLERANCE: f64 = 1e-2;

/// A gradient of this norm or less is none.
const NOTHING: f64 = 1e-4;

const SAMPLES: [usize; 2] = [0, 1];

pub struct RandomExamples;

impl Examples for RandomExamples {
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        let mut random = Uniform(100 + index as u64);
        x.iter_mut().chain(teacher).for_each(|v| *v = random.next());
        Ok(Some(index % 3))
    }
}

/// Directions in which a gradient g is tried: g itself; g on half of its elements, drawn anew; ±g, signs drawn anew. The last
/// two tell apart gradients that are right in sum only.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Gradient,
    Half(u64),
    Signs(u64),
}

impl Direction {
    fn of(self, gradients: &[&Vec<f32>]) -> Vec<Vec<f32>> {
        let mut draw: Box<dyn FnMut() -> f32> = match self {
            Direction::Gradient => Box::new(|| 1.0),
            Direction::Half(seed) => {
                let mut random = Uniform(seed);
                Box::new(move || f32::from(random.sign() > 0.0))
            }
            Direction::Signs(seed) => {
                let mut random = Uniform(seed);
                Box::new(move || random.sign())
            }
        };
        gradients.iter().map(|g| g.iter().map(|&g| g * draw()).collect()).collect()
    }
}

fn dot(a: &[Vec<f32>], b: &[&Vec<f32>]) -> f64 {
    a.iter().flatten().zip(b.iter().copied().flatten()).map(|(&a, &b)| a as f64 * b as f64).sum()
}

/// Every trained tensor by itself, and all together, in every kind of direction.
pub fn check(name: &str, model: Model) {
    if let Err(error) = try_check(model) {
        panic!("{name}: {error}");
    }
}

/// [`check`], with what is wrong as an error.
pub fn try_check(model: Model) -> Result<(), String> {
    let model = limbeck_engine::normalise(&model).map_err(|e| e.to_string())?;
    let parameters = Parameters::of(&model).map_err(|e| e.to_string())?;
    let loss = Loss { temperature: 2.0, teacher_weight: 1.0, label_weight: 0.5 };
    let net = TrainingNet::new(&model, &parameters, &loss, 1).map_err(|e| e.to_string())?;
    if net.unlowered_nodes() > 0 {
        return Err(format!("{} nodes build a model on every call", net.unlowered_nodes()));
    }
    let batch = |p: &Parameters| net.gradient(p, &RandomExamples, &SAMPLES).map_err(|e| e.to_string());
    let gradients = batch(&parameters)?.gradients;
    let loss_of = |p: &Parameters| batch(p).map(|b| b.teacher_loss as f64 + b.label_loss as f64);
    let here = loss_of(&parameters)?;
    // (L(w + h·u) − L(w − h·u)) / 2h, u scaled to length 1; then the same from w on to either side.
    let slopes = |selection: &[usize], u: &[Vec<f32>], h: f64| -> Result<[f64; 3], String> {
        let length = u.iter().flatten().map(|&u| u as f64 * u as f64).sum::<f64>().sqrt();
        let moved = |sign: f64| {
            let mut p = parameters.clone();
            for (&i, u) in selection.iter().zip(u) {
                let step = |(w, u): (&mut f32, &f32)| *w += (sign * h * *u as f64 / length) as f32;
                p.values[i].iter_mut().zip(u).for_each(step);
            }
            loss_of(&p)
        };
        let (before, after) = (moved(-1.0)?, moved(1.0)?);
        Ok([(after - before) / (2.0 * h), (after - here) / h, (here - before) / h])
    };
    // All together, then every tensor by itself: a small gradient must not hide behind a large one.
    let count = gradients.len();
    let selections = std::iter::once((0..count).collect()).chain((0..count).map(|i| vec![i]));
    for selection in selections {
        let selection: Vec<usize> = selection;
        let tensors: Vec<_> = selection.iter().map(|&i| parameters.names()[i].as_str()).collect();
        let g: Vec<&Vec<f32>> = selection.iter().map(|&i| &gradients[i]).collect();
        let norm = g.iter().copied().flatten().map(|&g| g as f64 * g as f64).sum::<f64>().sqrt();
        if norm.is_nan() {
            return Err(format!("the gradient of {tensors:?} is not a number"));
        }
        // A bias before a normalisation moves nothing, and its gradient is rounding. Then nothing else may move the loss either.
        if norm <= NOTHING {
            for seed in 1..=3 {
                let mut random = Uniform(seed);
                let u: Vec<Vec<f32>> = g.iter().map(|g| g.iter().map(|_| random.sign()).collect()).collect();
                let [slope, ..] = slopes(&selection, &u, 0.1)?;
                if slope.abs() > NOTHING {
                    return Err(format!("the gradient of {tensors:?} is {norm:.1e}, the loss moves by {slope:.1e}"));
                }
            }
            continue;
        }
        for direction in [Direction::Gradient, Direction::Half(1), Direction::Half(2), Direction::Signs(3)] {
            let u = direction.of(&g);
            let length = u.iter().flatten().map(|&u| u as f64 * u as f64).sum::<f64>().sqrt();
            if length == 0.0 {
                continue; // half of very few elements may be none
            }
            let expected = dot(&u, &g) / length;
            // A large step crosses kinks of ReLU or maxima, a small one drowns in f32 rounding: the first that fits counts. Where
            // a kink is nearer than any step, the gradient is that of the side without it.
            let mut best = f64::INFINITY;
            for h in [0.03, 0.01, 0.1, 3e-3, 1e-3, 3e-4, 1e-4] {
                let errors = slopes(&selection, &u, h)?.map(|slope| (slope - expected).abs() / norm);
                best = errors.into_iter().fold(best, f64::min);
                if best < TOLERANCE {
                    break;
                }
            }
            if best >= TOLERANCE {
                return Err(format!(
                    "the gradient of {tensors:?} along {direction:?} is off by {best:.4} of {norm:.5}"
                ));
            }
        }
    }
    Ok(())
}
