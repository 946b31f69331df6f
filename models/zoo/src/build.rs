//! A network from a few numbers: stem, stages, global average, classifier. No batch norm: what is trained is what runs.

use limbeck_answers::rng::Stream;
use limbeck_engine::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};

/// A classifier for 3-channel images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Outputs.
    pub classes: usize,
    /// Channels of the first 3×3 convolution.
    pub stem: usize,
    /// What follows.
    pub stages: Vec<Stage>,
}

/// A block of layers. `stride` divides height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// y = relu(conv3×3(relu(conv3×3(x))) + shortcut(x)); the shortcut is a 1×1 convolution where shapes differ.
    Residual {
        /// Output channels.
        channels: usize,
        /// Stride of the first convolution.
        stride: usize,
    },
    /// y = relu(conv1×1(relu(depthwise3×3(x)))), plus x where shapes agree.
    Separable {
        /// Output channels.
        channels: usize,
        /// Stride of the depthwise convolution.
        stride: usize,
    },
}

/// Keeps weight draws apart from other uses of a seed.
const WEIGHTS: u32 = 0x7765_6967;

/// An untrained model with input `image` (N, 3, size, size) and output `logits` (N, classes); He-normal weights drawn from
/// `seed`, zero biases, the last convolution before each sum at a quarter of that scale.
pub fn build(plan: &Plan, size: usize, seed: u64) -> Model {
    let mut builder = Builder { graph: Graph { name: "limbeck-zoo".into(), ..Graph::default() }, seed };
    let mut x =
        builder.conv("stem", "image", Conv { input: 3, output: plan.stem, kernel: 3, stride: 1, group: 1 }, 1.0);
    x = builder.relu("stem", &x);
    let mut channels = plan.stem;
    for (i, stage) in plan.stages.iter().enumerate() {
        let name = format!("stage{}", i + 1);
        (x, channels) = builder.stage(&name, &x, channels, *stage);
    }
    builder.node(Node::new("GlobalAveragePool", "pool", &[&x], &["pool.out"]));
    builder.node(Node::new("Flatten", "flatten", &["pool.out"], &["flatten.out"]));
    let weights = builder.normal("classifier", &[plan.classes, channels], (1.0 / channels as f32).sqrt());
    builder.graph.initializers.insert("classifier.weight".into(), weights);
    let bias = Tensor::f32(&[plan.classes], vec![0.0; plan.classes]);
    builder.graph.initializers.insert("classifier.bias".into(), bias);
    let inputs = ["flatten.out", "classifier.weight", "classifier.bias"];
    builder.node(Node::new("Gemm", "classifier", &inputs, &["logits"]).with("transB", Attribute::Int(1)));

    let batch = || Dim::Symbol("N".into());
    let mut graph = builder.graph;
    let sides = [3, size, size].map(Dim::Known);
    graph.inputs = vec![Value::f32("image", std::iter::once(batch()).chain(sides).collect())];
    graph.outputs = vec![Value::f32("logits", vec![batch(), Dim::Known(plan.classes)])];
    Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
}

#[derive(Clone, Copy)]
struct Conv {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    group: usize,
}

struct Builder {
    graph: Graph,
    seed: u64,
}

impl Builder {
    fn node(&mut self, node: Node) {
        self.graph.nodes.push(node);
    }

    fn stage(&mut self, name: &str, x: &str, input: usize, stage: Stage) -> (String, usize) {
        let name_of = |part: &str| format!("{name}.{part}");
        match stage {
            Stage::Residual { channels, stride } => {
                let first = Conv { input, output: channels, kernel: 3, stride, group: 1 };
                let a = self.conv(&name_of("a"), x, first, 1.0);
                let a = self.relu(&name_of("a"), &a);
                let second = Conv { input: channels, stride: 1, ..first };
                let b = self.conv(&name_of("b"), &a, second, 0.25);
                let shortcut = if input == channels && stride == 1 {
                    x.to_owned()
                } else {
                    self.conv(&name_of("shortcut"), x, Conv { kernel: 1, ..first }, 1.0)
                };
                (self.sum(name, &b, &shortcut), channels)
            }
            Stage::Separable { channels, stride } => {
                let depthwise = Conv { input, output: input, kernel: 3, stride, group: input };
                let a = self.conv(&name_of("depthwise"), x, depthwise, 1.0);
                let a = self.relu(&name_of("depthwise"), &a);
                let pointwise = Conv { input, output: channels, kernel: 1, stride: 1, group: 1 };
                if input == channels && stride == 1 {
                    let b = self.conv(&name_of("pointwise"), &a, pointwise, 0.25);
                    (self.sum(name, &b, x), channels)
                } else {
                    let b = self.conv(&name_of("pointwise"), &a, pointwise, 1.0);
                    (self.relu(&name_of("pointwise"), &b), channels)
                }
            }
        }
    }

    fn conv(&mut self, name: &str, x: &str, conv: Conv, gain: f32) -> String {
        let Conv { input, output, kernel, stride, group } = conv;
        let dims = [output, input / group, kernel, kernel];
        let fan_in = (dims[1] * kernel * kernel) as f32;
        let weights = self.normal(name, &dims, gain * (2.0 / fan_in).sqrt());
        let (w, b, y) = (format!("{name}.weight"), format!("{name}.bias"), format!("{name}.out"));
        self.graph.initializers.insert(w.clone(), weights);
        self.graph.initializers.insert(b.clone(), Tensor::f32(&[output], vec![0.0; output]));
        let pad = (kernel / 2) as i64;
        let node = Node::new("Conv", name, &[x, &w, &b], &[&y])
            .with("kernel_shape", Attribute::Ints(vec![kernel as i64; 2]))
            .with("strides", Attribute::Ints(vec![stride as i64; 2]))
            .with("pads", Attribute::Ints(vec![pad; 4]))
            .with("group", Attribute::Int(group as i64));
        self.node(node);
        y
    }

    fn relu(&mut self, name: &str, x: &str) -> String {
        let (name, y) = (format!("{name}.relu"), format!("{name}.relu.out"));
        self.node(Node::new("Relu", &name, &[x], &[&y]));
        y
    }

    fn sum(&mut self, name: &str, a: &str, b: &str) -> String {
        let (node, y) = (format!("{name}.sum"), format!("{name}.sum.out"));
        self.node(Node::new("Add", &node, &[a, b], &[&y]));
        self.relu(name, &y)
    }

    /// Near-normal weights: the sum of twelve uniforms, the same bits on every machine.
    fn normal(&mut self, name: &str, dims: &[usize], deviation: f32) -> Tensor {
        let index = name.bytes().fold(0u64, |hash, b| hash.wrapping_mul(0x0100_0000_01b3) ^ b as u64);
        let mut random = Stream::new(self.seed, index, WEIGHTS);
        let mut draw = || {
            let sum: i64 = (0..12).map(|_| (random.next_u32() >> 8) as i64).sum();
            (sum - 6 * (1 << 24)) as f32 / (1 << 24) as f32 * deviation
        };
        Tensor::f32(dims, (0..dims.iter().product()).map(|_| draw()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{scenes_student, scenes_teacher};

    #[test]
    fn the_demo_models_have_the_size_that_their_docs_say() {
        let count = |plan: &Plan| build(plan, 32, 0).parameters();
        assert!((100_000..150_000).contains(&count(&scenes_teacher())), "{}", count(&scenes_teacher()));
        assert!((8_000..16_000).contains(&count(&scenes_student())), "{}", count(&scenes_student()));
    }

    #[test]
    fn a_built_model_runs_and_the_seed_is_all_that_matters() {
        let model = build(&scenes_student(), 32, 3);
        assert_eq!(model, build(&scenes_student(), 32, 3));
        assert_ne!(model, build(&scenes_student(), 32, 4));
        let net = limbeck_engine::Net::load(&model, 1).unwrap();
        assert_eq!(net.output_shapes(), [vec![1, 10]]);
    }
}
