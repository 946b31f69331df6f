//! Instance relationship graph: samples as vertices, distances as edges, and how both change from one layer to the next.
//!
//! F^l (B, D_l) of one or two taps; E^l_ij = ‖f_i - f_j‖² / max (edges);  V_b = ‖f¹_b - f²_b‖² / max (transformation)
//! L = vertices · mse(F^last_s, F^last_t) + edges · mean_l mse(E^l_s, E^l_t) + transformation · mse(V_s, V_t)
//!
//! Liu et al., "Knowledge distillation via instance relationship graph", CVPR 2019. Checked: the paper's abstract (three kinds of knowledge) and
//! the one port to PyTorch that others copy (Knowledge-Distillation-Zoo, class IRG; the authors' program is Caffe), from which the squared
//! distances, the division by the largest and the weights 0.1, 5, 5 come. Not checked: the paper's own weights and its normalisation. That
//! port pools maps and halves channels until two layers fit each other; here connectors do that, so that both taps of one side are equal
//! in shape. Vertices need equal shapes of student and teacher (logits, or a connector). A largest distance below 1e-12 is no distance.

use serde::Deserialize;

use crate::batch::Batch;
use crate::error::LossError;
use crate::given::{Evaluated, Given, Loss};
use crate::options::not_negative;
use crate::relations::rows::{LEAST, add_scaled, equal_pair, pair, squared_distances, squared_distances_backward};

const KIND: &str = "irg";

/// Options of `irg`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Irg {
    /// Weight of vertices.
    #[serde(deserialize_with = "not_negative")]
    pub vertices: f64,
    /// Weight of edges.
    #[serde(deserialize_with = "not_negative")]
    pub edges: f64,
    /// Weight of the transformation; 0 takes one tap and one key in place of two.
    #[serde(deserialize_with = "not_negative")]
    pub transformation: f64,
}

impl Default for Irg {
    fn default() -> Self {
        Irg { vertices: 0.1, edges: 5.0, transformation: 5.0 }
    }
}

impl Irg {
    /// Taps a side.
    pub(crate) fn taps(&self) -> usize {
        if self.transformation > 0.0 { 2 } else { 1 }
    }
}

impl Loss for Irg {
    fn evaluate(&mut self, given: &Given<'_>) -> Result<Evaluated, LossError> {
        let taps = self.taps();
        let (mut loss, mut gradients) = (0.0, Vec::with_capacity(taps));
        for l in 0..taps {
            let (s, t) = pair(KIND, given, l)?;
            let (e_s, e_t) = (OverLargest::new(squared_distances(s)), OverLargest::new(squared_distances(t)));
            let (mse, de) = e_s.mse(&e_t);
            let scale = self.edges / taps as f64;
            loss += scale * mse;
            let de: Vec<f64> = de.iter().map(|d| scale * d).collect();
            gradients.push(squared_distances_backward(s, &de));
        }
        if self.vertices > 0.0 {
            let (s, t) = equal_pair(KIND, given, taps - 1)?;
            let scale = self.vertices / s.values.len() as f64;
            let ds = &mut gradients[taps - 1].values;
            for ((d, s), t) in ds.iter_mut().zip(&s.values).zip(&t.values) {
                loss += scale * (s - t) * (s - t);
                *d += 2.0 * scale * (s - t);
            }
        }
        if taps == 2 {
            let ((s1, t1), (s2, t2)) = (pair(KIND, given, 0)?, pair(KIND, given, 1)?);
            let (v_s, v_t) = (moved(s1, s2)?, moved(t1, t2)?);
            let (mse, dv) = v_s.mse(&v_t);
            loss += self.transformation * mse;
            for (b, dv) in dv.iter().enumerate() {
                let step = 2.0 * self.transformation * dv;
                let mut change = s1.sample(b).to_vec();
                add_scaled(&mut change, -1.0, s2.sample(b));
                add_scaled(gradients[0].sample_mut(b), step, &change);
                add_scaled(gradients[1].sample_mut(b), -step, &change);
            }
        }
        Ok(Evaluated { loss, gradients })
    }
}

/// V of one side.
fn moved(first: &Batch, second: &Batch) -> Result<OverLargest, LossError> {
    if first.len() != second.len() {
        let why = format!(
            "the transformation compares two taps of one side, {:?} and {:?}; bring them to one shape with a connector, or set transformation = 0",
            first.dims, second.dims
        );
        return Err(LossError::Shapes { kind: KIND, why });
    }
    let square = |b: usize| first.sample(b).iter().zip(second.sample(b)).map(|(x, y)| (x - y) * (x - y)).sum();
    Ok(OverLargest::new((0..first.samples()).map(square).collect()))
}

/// Values over the largest of them.
struct OverLargest {
    values: Vec<f64>,
    largest: f64,
}

impl OverLargest {
    fn new(mut values: Vec<f64>) -> OverLargest {
        let largest = values.iter().copied().fold(0.0, f64::max);
        if largest > LEAST {
            values.iter_mut().for_each(|v| *v /= largest);
        } else {
            values.iter_mut().for_each(|v| *v = 0.0);
        }
        OverLargest { values, largest }
    }

    /// mean (v - other)² and its gradient with respect to the values before division, the largest included: where several are
    /// equally large (a distance stands twice) they share.
    fn mse(&self, other: &OverLargest) -> (f64, Vec<f64>) {
        let count = self.values.len() as f64;
        let differences = self.values.iter().zip(&other.values).map(|(a, b)| a - b);
        let mse = differences.clone().map(|d| d * d).sum::<f64>() / count;
        if self.largest <= LEAST {
            return (mse, vec![0.0; self.values.len()]);
        }
        let mut dv: Vec<f64> = differences.map(|d| 2.0 * d / count / self.largest).collect();
        let along: f64 = dv.iter().zip(&self.values).map(|(d, v)| d * v).sum();
        let ties = self.values.iter().filter(|&&v| v == 1.0).count() as f64;
        for (d, _) in dv.iter_mut().zip(&self.values).filter(|&(_, &v)| v == 1.0) {
            *d -= along / ties;
        }
        (mse, dv)
    }
}
