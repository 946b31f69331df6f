//! Factor transfer: both sides' maps as factors of a few channels.
//!
//! paraphraser  F_t (C, H, W) → 3×3 → C → 3×3 → M: the teacher's factor;  → 3×3 → C → 3×3 → C: F_t again
//! translator   F_s (D, H, W) → 3×3 → D → 3×3 → M: the student's factor
//!
//! LeakyReLU of slope 0.1 behind all but the last. The paraphraser learns to give the teacher's map back; the student's factor is compared with
//! the teacher's, which gets no gradient from that. Kim, Park, Kwak, "Paraphrasing complex network: network compression via factor
//! transfer", NeurIPS 2018: M = C/2. There the paraphraser is trained first: schedule the loss from a share on, and it is until there.

use limbeck_engine::Tap;
use limbeck_engine::onnx::{Attribute, Data, Tensor};
use limbeck_losses::{Connector, ConnectorShape, Fitnets, Initial, Method, Parameter};

use super::nodes::Nodes;
use super::{ConnectError, map_shape};
use crate::recipe::{Schedule, Term};

/// What the graph makes.
pub(super) struct Transfer {
    /// The student's factor.
    pub student: String,
    /// The teacher's.
    pub teacher: String,
    /// The teacher's map from its factor.
    pub again: String,
    /// (M, H, W)
    pub factor: [usize; 3],
}

/// The loss that trains the paraphraser: mean squared error between the teacher's map and what its factor gives back.
pub(super) fn paraphrasing(term: &Term) -> Term {
    let schedule = match term.schedule {
        Schedule::From(share) => Schedule::Until(share),
        _ => Schedule::Constant,
    };
    Term { method: Method::Fitnets(Fitnets::default()), weight: 1.0, schedule, kind: "ft".into(), ..term.clone() }
}

pub(super) fn transfer(
    nodes: &mut Nodes,
    place: &str,
    tap: &Tap,
    (input, teacher): (&str, [usize; 3]),
    middle: Option<usize>,
) -> Result<Transfer, ConnectError> {
    let [d, h_s, w_s] = map_shape(&tap.dims);
    let [c, h, w] = teacher;
    if (h_s, w_s) != (h, w) {
        let what = format!("`{}` is {h_s} x {w_s} and the teacher's map {h} x {w}; tap maps of one size", tap.name);
        return Err(ConnectError::Key(what));
    }
    let m = middle.unwrap_or((c / 2).max(1));
    let named = |part: &str| format!("{place}.{part}");
    let shape = [1, c, h, w].map(|n| n as i64).to_vec();
    let shape = nodes.constant(&named("shape"), Tensor { dims: vec![4], data: Data::I64(shape) });
    let map = nodes.add("Reshape", &[input, &shape], &named("map"), &[]);
    let inner = conv(nodes, &named("paraphrase.0"), &map, [c, c], true);
    let factor = conv(nodes, &named("paraphrase.1"), &inner, [c, m], true);
    let inner = conv(nodes, &named("paraphrase.2"), &factor, [m, c], true);
    let again = conv(nodes, &named("paraphrase.3"), &inner, [c, c], false);
    let inner = conv(nodes, &named("translate.0"), &tap.tensor, [d, d], true);
    let student = conv(nodes, &named("translate.1"), &inner, [d, m], true);
    Ok(Transfer { student, teacher: factor, again, factor: [m, h, w] })
}

/// A 3×3 convolution that keeps the size.
fn conv(nodes: &mut Nodes, place: &str, x: &str, [from, to]: [usize; 2], active: bool) -> String {
    let shape = ConnectorShape {
        connector: Connector::None,
        input: [from, 0, 0],
        outputs: vec![],
        passed_on: None,
        parameters: vec![
            Parameter { name: "weight", dims: vec![to, from, 3, 3], initial: Initial::He { fan_in: 9 * from } },
            Parameter { name: "bias", dims: vec![to], initial: Initial::Constant(0.0) },
        ],
    };
    nodes.parameters(place, &shape);
    let named = |part: &str| format!("{place}.{part}");
    let pads = [("pads", Attribute::Ints(vec![1; 4]))];
    let y = nodes.add("Conv", &[x, &named("weight"), &named("bias")], &named("y"), &pads);
    if active { nodes.add("LeakyRelu", &[&y], &named("z"), &[("alpha", Attribute::Float(0.1))]) } else { y }
}
