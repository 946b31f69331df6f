//! Attention-based fusion (ReviewKD): the student's maps, from the deepest to the finest, each mixed with what the deeper one passed on.
//!
//! x' = reduce(x);  y' = y at x's size;  a = sigmoid(attention([x', y']));  z = x' a₀ + y' a₁, passed on;  output = expand(z)
//!
//! The deepest has nothing to mix: z = x'. Chen et al., CVPR 2021, figure 3; shapes in `limbeck_losses::Connector::Abf`.

use limbeck_engine::Tap;
use limbeck_engine::onnx::{Attribute, Tensor};
use limbeck_losses::{Between, Connector};

use super::nodes::Nodes;
use super::{ConnectError, map_shape};

/// Outputs and their shapes, in the order of `taps`, which go from fine to deep.
pub(super) fn fuse(
    nodes: &mut Nodes,
    place: &str,
    taps: &[Tap],
    teachers: &[Vec<usize>],
    middle: Option<usize>,
) -> Result<Vec<(String, Vec<usize>)>, ConnectError> {
    let mut outputs = vec![];
    let mut passed: Option<(String, [usize; 3])> = None;
    let channels = teachers.iter().map(|dims| dims[0]).max().unwrap_or(1);
    let middle = Some(middle.unwrap_or(channels.min(512)));
    for (i, (tap, teacher)) in taps.iter().zip(teachers).enumerate().rev() {
        let between = Between { student: map_shape(&tap.dims), teacher: map_shape(teacher), middle };
        let mut shape = Connector::Abf.shape(between)?;
        if passed.is_none() {
            shape = shape.without_fusion();
        }
        let place = format!("{place}.{i}");
        nodes.parameters(&place, &shape);
        let named = |part: &str| format!("{place}.{part}");
        let [m, h, w] = shape.passed_on.unwrap_or(between.student);
        let reduce = [&tap.tensor, &*named("reduce.weight"), &named("reduce.bias")];
        let mut z = nodes.add("Conv", &reduce, &named("reduced"), &[]);
        if let Some((y, from)) = &passed {
            let y = if from[1..] == [h, w] {
                y.clone()
            } else {
                nodes.resize(y, &named("deeper"), *from, [m, h, w], "nearest")
            };
            let both = nodes.add("Concat", &[&z, &y], &named("both"), &[("axis", Attribute::Int(1))]);
            let attention = [&*both, &named("attention.weight"), &named("attention.bias")];
            let attention = nodes.add("Conv", &attention, &named("attention"), &[]);
            let attention = nodes.add("Sigmoid", &[&attention], &named("share"), &[]);
            let mut mixed = vec![];
            for (channel, value) in [&z, &y].into_iter().enumerate() {
                let integers =
                    |n: usize| Tensor { dims: vec![1], data: limbeck_engine::onnx::Data::I64(vec![n as i64]) };
                let slice = |part: &str| named(&format!("slice{channel}.{part}"));
                let starts = nodes.constant(&slice("starts"), integers(channel));
                let ends = nodes.constant(&slice("ends"), integers(channel + 1));
                let axes = nodes.constant(&slice("axes"), integers(1));
                let share = nodes.add("Slice", &[&attention, &starts, &ends, &axes], &slice("share"), &[]);
                mixed.push(nodes.add("Mul", &[value, &share], &slice("mixed"), &[]));
            }
            z = nodes.add("Add", &[&mixed[0], &mixed[1]], &named("mixed"), &[]);
        }
        let [_, h_t, w_t] = between.teacher;
        let at_teacher = if [h_t, w_t] == [h, w] {
            z.clone()
        } else {
            nodes.resize(&z, &named("resized"), [m, h, w], [m, h_t, w_t], "nearest")
        };
        let expand = [&*at_teacher, &named("expand.weight"), &named("expand.bias")];
        let pads = [("pads", Attribute::Ints(vec![1; 4]))];
        let expanded = nodes.add("Conv", &expand, &named("y"), &pads);
        outputs.push((expanded, shape.outputs[0].clone()));
        passed = Some((z, [m, h, w]));
    }
    outputs.reverse();
    Ok(outputs)
}
