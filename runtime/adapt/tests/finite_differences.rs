//! Every rule meets central finite differences: small ONNX graphs, one per operator and geometry, with all weights trained.
//!
//! The directional derivative along the gradient, (L(w + h·u) − L(w − h·u)) / 2h with u = dw/|dw|, must be |dw|. The best of
//! six step sizes counts: a large one crosses ReLU kinks, a small one drowns in f32 rounding.

use limbeck_adapt::{Examples, Loss, Parameters, TrainingNet};
use limbeck_engine::FloatIsa;
use limbeck_engine::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};

/// Relative error allowed between the gradient's norm and the directional derivative, both from f32 runs.
const TOLERANCE: f64 = 1e-2;

/// A small deterministic generator (splitmix64), uniform in ±1.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn tensor(&mut self, dims: &[usize], scale: f32) -> Tensor {
        let n = dims.iter().product();
        Tensor::f32(dims, (0..n).map(|_| self.next() * scale).collect())
    }
}

/// Builds x → body → flatten → fully connected → 3 logits.
struct Builder {
    graph: Graph,
    random: Uniform,
    last: String,
}

impl Builder {
    fn new(dims: &[usize]) -> Builder {
        let mut shape = vec![Dim::Symbol("N".into())];
        shape.extend(dims.iter().map(|&d| Dim::Known(d)));
        let graph = Graph { inputs: vec![Value::f32("x", shape)], ..Graph::default() };
        Builder { graph, random: Uniform(7), last: "x".into() }
    }

    /// Append a node that reads the last value, then `others`.
    fn op(&mut self, node: Node, others: &[&str]) -> &mut Self {
        let output = format!("v{}", self.graph.nodes.len());
        let mut node = Node { name: format!("n{}", self.graph.nodes.len()), ..node };
        node.inputs = [self.last.as_str()].iter().chain(others).map(|s| s.to_string()).collect();
        node.outputs = vec![output.clone()];
        self.last = output;
        self.graph.nodes.push(node);
        self
    }

    fn weight(&mut self, dims: &[usize]) -> String {
        let name = format!("w{}", self.graph.initializers.len());
        let tensor = self.random.tensor(dims, 0.5);
        self.graph.initializers.insert(name.clone(), tensor);
        name
    }

    /// attributes: (strides, dilations, pads, group)
    fn conv(&mut self, kernel: [usize; 4], stride: i64, dilation: i64, pads: [i64; 4], group: i64) -> &mut Self {
        let (w, b) = (self.weight(&kernel), self.weight(&kernel[..1]));
        let node = Node::new("Conv", "", &[], &[])
            .with("strides", Attribute::Ints(vec![stride; 2]))
            .with("dilations", Attribute::Ints(vec![dilation; 2]))
            .with("pads", Attribute::Ints(pads.to_vec()))
            .with("group", Attribute::Int(group));
        self.op(node, &[&w, &b])
    }

    fn unary(&mut self, op: &str) -> &mut Self {
        self.op(Node::new(op, "", &[], &[]), &[])
    }

    fn finish(&mut self, features: usize) -> Model {
        self.op(Node::new("Flatten", "", &[], &[]), &[]);
        let (w, b) = (self.weight(&[3, features]), self.weight(&[3]));
        self.op(Node::new("Gemm", "", &[], &[]).with("transB", Attribute::Int(1)), &[&w, &b]);
        let mut graph = self.graph.clone();
        let shape = vec![Dim::Symbol("N".into()), Dim::Known(3)];
        graph.outputs = vec![Value::f32(&self.last, shape)];
        Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
    }
}

struct RandomExamples;

impl Examples for RandomExamples {
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        let mut random = Uniform(100 + index as u64);
        x.iter_mut().chain(teacher).for_each(|v| *v = random.next());
        Ok(Some(index % 3))
    }
}

fn check(name: &str, model: Model) {
    let model = limbeck_engine::normalise(&model).unwrap();
    let parameters = Parameters::of(&model).unwrap();
    // tract's convolutions and ours on every float path of this CPU.
    for path in std::iter::once(None).chain(FloatIsa::available().map(Some)) {
        check_on(&format!("{name} on {path:?}"), &model, &parameters, path);
    }
}

fn check_on(name: &str, model: &Model, parameters: &Parameters, path: Option<FloatIsa>) {
    let loss = Loss { temperature: 2.0, teacher_weight: 1.0, label_weight: 0.5 };
    let net = TrainingNet::on_path(model, parameters, &loss, 1, path).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(net.unlowered_nodes(), 0, "{name}: nodes that build a model on every call");
    let total = |p: &Parameters| {
        let batch = net.gradient(p, &RandomExamples, &[0, 1]).unwrap();
        (batch.teacher_loss + batch.label_loss) as f64
    };
    let gradients = net.gradient(parameters, &RandomExamples, &[0, 1]).unwrap().gradients;
    // All together, then every tensor by itself: a small gradient must not hide behind a large one.
    let count = parameters.values.len();
    let selections = std::iter::once((0..count).collect()).chain((0..count).map(|i| vec![i]));
    for selection in selections {
        let selection: Vec<usize> = selection;
        let norm = selection.iter().flat_map(|&i| &gradients[i]).map(|&g| g as f64 * g as f64).sum::<f64>().sqrt();
        let tensors: Vec<_> = selection.iter().map(|&i| parameters.names()[i].as_str()).collect();
        assert!(norm > 1e-4, "{name}: the gradient of {tensors:?} is {norm}");
        let error_at = |h: f64| {
            let moved = |sign: f64| {
                let mut p = parameters.clone();
                for &i in &selection {
                    let step = |(w, g): (&mut f32, &f32)| *w += (sign * h * *g as f64 / norm) as f32;
                    p.values[i].iter_mut().zip(&gradients[i]).for_each(step);
                }
                total(&p)
            };
            ((moved(1.0) - moved(-1.0)) / (2.0 * h) - norm).abs() / norm
        };
        let best = [0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4].into_iter().map(error_at).fold(f64::INFINITY, f64::min);
        assert!(best < TOLERANCE, "{name}: the gradient of {tensors:?} is off by {best:.4} of {norm:.5}");
    }
}

#[test]
fn convolutions_of_every_geometry() {
    // (name, kernel, stride, dilation, pads, group, output size); input 4 × 9 × 8
    type Case = (&'static str, [usize; 4], i64, i64, [i64; 4], i64, [usize; 2]);
    let cases: [Case; 12] = [
        ("3x3 same", [5, 4, 3, 3], 1, 1, [1, 1, 1, 1], 1, [9, 8]),
        ("3x3 valid", [5, 4, 3, 3], 1, 1, [0, 0, 0, 0], 1, [7, 6]),
        ("3x3 stride 2", [5, 4, 3, 3], 2, 1, [1, 1, 1, 1], 1, [5, 4]),
        ("3x3 stride 2, padded after only", [5, 4, 3, 3], 2, 1, [0, 0, 1, 1], 1, [4, 4]),
        ("3x3 dilated", [5, 4, 3, 3], 1, 2, [2, 2, 2, 2], 1, [9, 8]),
        ("5x3 one-sided", [3, 4, 5, 3], 1, 1, [3, 0, 1, 2], 1, [9, 8]),
        ("1x1", [6, 4, 1, 1], 1, 1, [0, 0, 0, 0], 1, [9, 8]),
        ("1x1 stride 2", [6, 4, 1, 1], 2, 1, [0, 0, 0, 0], 1, [5, 4]),
        ("grouped", [6, 2, 3, 3], 1, 1, [1, 1, 1, 1], 2, [9, 8]),
        ("grouped stride 2", [6, 2, 3, 3], 2, 1, [1, 1, 1, 1], 2, [5, 4]),
        ("depthwise", [4, 1, 3, 3], 1, 1, [1, 1, 1, 1], 4, [9, 8]),
        ("depthwise 5x5 stride 2", [4, 1, 5, 5], 2, 1, [2, 2, 2, 2], 4, [5, 4]),
    ];
    for (name, kernel, stride, dilation, pads, group, [h, w]) in cases {
        // A 1×1 convolution first, so that the gradient of the tested one's input is tested too.
        let mut b = Builder::new(&[2, 9, 8]);
        b.conv([4, 2, 1, 1], 1, 1, [0; 4], 1).conv(kernel, stride, dilation, pads, group);
        check(name, b.finish(kernel[0] * h * w));
    }
}

#[test]
fn a_wide_depthwise_convolution() {
    // At 16 channels and more tract may choose another layout.
    let mut b = Builder::new(&[3, 8, 8]);
    b.conv([32, 3, 1, 1], 1, 1, [0; 4], 1).conv([32, 1, 3, 3], 1, 1, [1; 4], 32).conv([4, 32, 1, 1], 1, 1, [0; 4], 1);
    check("wide depthwise", b.finish(4 * 64));
}

#[test]
fn activations() {
    for op in ["Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "HardSigmoid"] {
        let mut b = Builder::new(&[2, 5, 5]);
        b.conv([4, 2, 3, 3], 1, 1, [1; 4], 1).unary(op);
        check(op, b.finish(100));
    }
    let mut b = Builder::new(&[2, 5, 5]);
    b.conv([4, 2, 3, 3], 1, 1, [1; 4], 1);
    b.graph.initializers.insert("low".into(), Tensor::scalar(0.0));
    b.graph.initializers.insert("high".into(), Tensor::scalar(0.6));
    b.op(Node::new("Clip", "", &[], &[]), &["low", "high"]);
    check("Clip", b.finish(100));
}

#[test]
fn pooling() {
    let window = |op: &str, kernel: i64, stride: i64, pad: i64| {
        Node::new(op, "", &[], &[])
            .with("kernel_shape", Attribute::Ints(vec![kernel; 2]))
            .with("strides", Attribute::Ints(vec![stride; 2]))
            .with("pads", Attribute::Ints(vec![pad; 4]))
    };
    let cases = [
        ("MaxPool 2x2", window("MaxPool", 2, 2, 0), 3 * 3),
        ("MaxPool 3x3 padded", window("MaxPool", 3, 2, 1), 3 * 3),
        ("AveragePool 2x2", window("AveragePool", 2, 2, 0), 3 * 3),
        ("AveragePool padded, not counted", window("AveragePool", 3, 2, 1), 3 * 3),
        (
            "AveragePool padded, counted",
            window("AveragePool", 3, 2, 1).with("count_include_pad", Attribute::Int(1)),
            3 * 3,
        ),
        ("GlobalAveragePool", Node::new("GlobalAveragePool", "", &[], &[]), 1),
        ("ReduceMean", Node::new("ReduceMean", "", &[], &[]).with("axes", Attribute::Ints(vec![2, 3])), 1),
    ];
    for (name, node, pixels) in cases {
        let mut b = Builder::new(&[2, 6, 6]);
        b.conv([4, 2, 3, 3], 1, 1, [1; 4], 1).op(node, &[]);
        check(name, b.finish(4 * pixels));
    }
}

#[test]
fn residuals_gates_and_joins() {
    let mut b = Builder::new(&[4, 5, 5]);
    b.conv([4, 4, 3, 3], 1, 1, [1; 4], 1).unary("Relu");
    let skip = b.last.clone();
    b.conv([4, 4, 3, 3], 1, 1, [1; 4], 1).op(Node::new("Add", "", &[], &[]), &[&skip]).unary("Relu");
    check("residual", b.finish(100));

    let mut b = Builder::new(&[4, 5, 5]);
    b.conv([4, 4, 3, 3], 1, 1, [1; 4], 1);
    let features = b.last.clone();
    b.unary("GlobalAveragePool").conv([4, 4, 1, 1], 1, 1, [0; 4], 1).unary("Sigmoid");
    b.op(Node::new("Mul", "", &[], &[]), &[&features]);
    check("squeeze and excite", b.finish(100));

    let mut b = Builder::new(&[4, 5, 5]);
    b.conv([4, 4, 3, 3], 1, 1, [1; 4], 1);
    let left = b.last.clone();
    b.conv([2, 4, 1, 1], 1, 1, [0; 4], 1);
    b.op(Node::new("Concat", "", &[], &[]).with("axis", Attribute::Int(1)), &[&left]);
    check("concat", b.finish(6 * 25));

    let mut b = Builder::new(&[4, 5, 5]);
    b.conv([4, 4, 3, 3], 1, 1, [1; 4], 1);
    let left = b.last.clone();
    b.conv([4, 4, 3, 3], 1, 1, [1; 4], 1).op(Node::new("Sub", "", &[], &[]), &[&left]);
    check("sub", b.finish(100));
}

#[test]
fn equal_and_zero_biases_stay_parameters_of_their_own() {
    // No ReLU: with zero biases its kink would lie exactly where the pixels are dead.
    let mut b = Builder::new(&[2, 5, 5]);
    b.conv([4, 2, 3, 3], 1, 1, [1; 4], 1).unary("Tanh").conv([4, 4, 1, 1], 1, 1, [0; 4], 1).unary("Tanh");
    let mut model = b.finish(100);
    for tensor in model.graph.initializers.values_mut().filter(|t| t.dims.len() == 1) {
        *tensor = Tensor::f32(&tensor.dims.clone(), vec![0.0; tensor.len()]);
    }
    assert_eq!(Parameters::of(&model).unwrap().names().len(), 6);
    check("zero biases", model);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let mut b = Builder::new(&[2, 6, 6]);
    b.conv([4, 2, 3, 3], 1, 1, [1; 4], 1).unary("Relu");
    let model = b.finish(144);
    let parameters = Parameters::of(&model).unwrap();
    let indices: Vec<usize> = (0..37).collect();
    let run = |threads| {
        let net = TrainingNet::new(&model, &parameters, &Loss::default(), threads).unwrap();
        net.gradient(&parameters, &RandomExamples, &indices).unwrap()
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn an_operator_without_a_rule_is_named_with_its_node() {
    let mut b = Builder::new(&[2, 5, 5]);
    b.conv([4, 2, 3, 3], 1, 1, [1; 4], 1).unary("Erf");
    let model = b.finish(100);
    let parameters = Parameters::of(&model).unwrap();
    let error = TrainingNet::new(&model, &parameters, &Loss::default(), 1).err().unwrap().to_string();
    assert!(error.contains("Erf") && error.contains("n1"), "{error}");
}
