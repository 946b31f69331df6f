//! A float net with our convolutions in it computes what tract alone computes.

use limbeck_engine::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};
use limbeck_engine::{Net, typed_model};
use tract_onnx::prelude::*;

/// Relative to the largest output: other orders of the same sums, a few hundred terms each, through a few layers.
const TOLERANCE: f32 = 1e-5;

const SHAPE: [usize; 3] = [3, 11, 14];

/// Grows a net node by node; every value is named by its node.
struct Build {
    graph: Graph,
    last: String,
}

fn noise(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
}

impl Build {
    fn new() -> Build {
        let dims = std::iter::once(Dim::Symbol("N".into())).chain(SHAPE.map(Dim::Known)).collect();
        let graph = Graph {
            name: "test".into(),
            nodes: vec![],
            initializers: Default::default(),
            inputs: vec![Value::f32("x", dims)],
            outputs: vec![],
        };
        Build { graph, last: "x".into() }
    }

    fn constant(&mut self, dims: &[usize], values: Vec<f32>) -> String {
        let name = format!("k{}", self.graph.initializers.len());
        self.graph.initializers.insert(name.clone(), Tensor::f32(dims, values));
        name
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let name = format!("v{}", self.graph.nodes.len());
        let mut node = Node::new(op, &format!("{op}_{name}"), inputs, &[&name]);
        for (key, value) in attributes {
            node = node.with(key, value.clone());
        }
        self.graph.nodes.push(node);
        self.last = name.clone();
        name
    }

    /// A convolution of `i` to `o` channels over the last value: kernel, stride, dilation, pads, groups.
    fn conv(
        &mut self,
        [o, i, groups]: [usize; 3],
        kernel: [usize; 2],
        stride: i64,
        dilation: i64,
        pads: [i64; 4],
    ) -> String {
        let len = o * i / groups * kernel[0] * kernel[1];
        let scale = (1.0 / (i / groups * kernel[0] * kernel[1]) as f32).sqrt();
        let values = noise(len, self.graph.nodes.len()).iter().map(|v| v * 2.0 * scale).collect();
        let w = self.constant(&[o, i / groups, kernel[0], kernel[1]], values);
        let b = self.constant(&[o], noise(o, len));
        let x = self.last.clone();
        let attributes = [
            ("strides", Attribute::Ints(vec![stride; 2])),
            ("dilations", Attribute::Ints(vec![dilation; 2])),
            ("pads", Attribute::Ints(pads.to_vec())),
            ("group", Attribute::Int(groups as i64)),
        ];
        self.node("Conv", &[&x, &w, &b], &attributes)
    }

    fn apply(&mut self, op: &str) -> String {
        let x = self.last.clone();
        self.node(op, &[&x], &[])
    }

    fn clip(&mut self, low: f32, high: f32) -> String {
        let (low, high) = (self.constant(&[], vec![low]), self.constant(&[], vec![high]));
        let x = self.last.clone();
        self.node("Clip", &[&x, &low, &high], &[])
    }

    fn finish(mut self, outputs: &[&str]) -> Model {
        let all = outputs.iter().copied().chain([self.last.as_str()]);
        self.graph.outputs = all.map(|name| Value::f32(name, vec![])).collect();
        Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph: self.graph }
    }
}

fn ours(model: &Model, batch: usize, x: &[f32]) -> Vec<Vec<f32>> {
    let mut outputs = vec![];
    Net::load(model, batch).unwrap().worker().unwrap().run(x, |_, y| outputs.push(y.to_vec())).unwrap();
    outputs
}

/// The graph that training differentiates, which holds nothing of ours.
fn tracts(model: &Model, batch: usize, x: &[f32]) -> Vec<Vec<f32>> {
    let shape: Vec<usize> = std::iter::once(batch).chain(SHAPE).collect();
    let plan = typed_model(model, &shape).unwrap().into_optimized().unwrap().into_runnable().unwrap();
    let x = tract_onnx::prelude::Tensor::from_shape(&shape, x).unwrap();
    let outputs = plan.run(tvec!(x.into_tvalue())).unwrap();
    outputs.iter().map(|y| y.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()).collect()
}

fn check(model: Model) {
    for batch in [1, 3] {
        let x = noise(batch * SHAPE.iter().product::<usize>(), 5);
        let (ours, tracts) = (ours(&model, batch, &x), tracts(&model, batch, &x));
        assert_eq!(ours.len(), tracts.len());
        for (n, (ours, tracts)) in ours.iter().zip(&tracts).enumerate() {
            assert_eq!(ours.len(), tracts.len(), "output {n}, batch {batch}");
            let largest = tracts.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(largest > 0.01, "output {n}, batch {batch}: nothing to compare");
            let worst = ours.iter().zip(tracts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= TOLERANCE * largest, "output {n}, batch {batch}: differs by {worst} of {largest}");
        }
    }
}

#[test]
fn a_mobile_net_with_every_fused_step() {
    let mut b = Build::new();
    b.conv([16, 3, 1], [3, 3], 2, 1, [1, 1, 1, 1]);
    let trunk = b.clip(0.0, 6.0);
    b.conv([48, 16, 1], [1, 1], 1, 1, [0; 4]);
    b.clip(0.0, 6.0);
    b.conv([48, 48, 48], [3, 3], 1, 1, [1; 4]);
    b.clip(0.0, 6.0);
    let branch = b.conv([16, 48, 1], [1, 1], 1, 1, [0; 4]);
    b.node("Add", &[&trunk, &branch], &[]);
    b.apply("Relu");
    b.conv([16, 16, 16], [5, 5], 2, 1, [2; 4]);
    b.apply("HardSwish");
    b.conv([20, 16, 1], [1, 1], 1, 1, [0; 4]);
    b.apply("GlobalAveragePool");
    check(b.finish(&[]));
}

#[test]
fn squeeze_and_excitation() {
    let mut b = Build::new();
    let image = b.conv([24, 3, 1], [3, 3], 1, 1, [0, 1, 2, 1]);
    b.apply("GlobalAveragePool");
    b.conv([8, 24, 1], [1, 1], 1, 1, [0; 4]);
    b.apply("Relu");
    b.conv([24, 8, 1], [1, 1], 1, 1, [0; 4]);
    let factors = b.apply("HardSigmoid");
    b.node("Mul", &[&image, &factors], &[]);
    b.conv([10, 24, 1], [1, 1], 2, 1, [0; 4]);
    check(b.finish(&[]));
}

#[test]
fn a_residual_net_where_both_terms_are_convolutions() {
    let mut b = Build::new();
    b.conv([9, 3, 1], [3, 3], 1, 1, [1; 4]);
    let trunk = b.apply("Relu");
    let short = b.conv([17, 9, 1], [1, 1], 2, 1, [0; 4]);
    b.last = trunk;
    let long = b.conv([17, 9, 1], [3, 3], 2, 1, [1; 4]);
    b.node("Add", &[&short, &long], &[]);
    let sum = b.apply("Relu");
    // A sum of a value and itself is no residual.
    b.conv([17, 17, 1], [3, 3], 1, 2, [2; 4]);
    let twice = b.last.clone();
    b.node("Add", &[&twice, &twice], &[]);
    let doubled = b.last.clone();
    b.node("Sub", &[&sum, &doubled], &[]);
    check(b.finish(&[]));
}

#[test]
fn pools_and_concatenations_between_convolutions() {
    let pool = [
        ("kernel_shape", Attribute::Ints(vec![3, 3])),
        ("strides", Attribute::Ints(vec![2, 2])),
        ("pads", Attribute::Ints(vec![1; 4])),
    ];
    let mut b = Build::new();
    let image = b.conv([12, 3, 1], [3, 3], 1, 1, [1; 4]);
    let most = b.node("MaxPool", &[&image], &pool);
    let mean = b.node("AveragePool", &[&image], &pool);
    b.node("Concat", &[&most, &mean], &[("axis", Attribute::Int(1))]);
    b.conv([8, 24, 1], [3, 2], 1, 1, [1, 0, 1, 1]);
    b.apply("Sigmoid");
    // Grouped: tract's.
    b.conv([8, 8, 2], [3, 3], 1, 1, [1; 4]);
    let x = b.last.clone();
    b.node("Flatten", &[&x], &[]);
    check(b.finish(&[]));
}

#[test]
fn what_is_read_twice_or_handed_out_is_not_fused() {
    let mut b = Build::new();
    let image = b.conv([16, 3, 1], [3, 3], 1, 1, [1; 4]);
    let positive = b.apply("Relu");
    b.node("Sub", &[&image, &positive], &[]);
    let tapped = b.conv([16, 16, 16], [3, 3], 1, 1, [1; 4]);
    b.apply("Relu");
    b.conv([4, 16, 1], [1, 1], 1, 1, [0; 4]);
    check(b.finish(&[&tapped, &image]));
}

#[test]
fn batch_norm_and_constants_after_a_convolution() {
    let mut b = Build::new();
    b.conv([16, 3, 1], [3, 3], 1, 1, [1; 4]);
    let of = |seed, scale: f32, offset: f32| noise(16, seed).iter().map(|v| v * scale + offset).collect::<Vec<_>>();
    let constants = [of(1, 0.5, 1.0), of(2, 0.3, 0.1), of(3, 0.2, 0.0), of(4, 0.4, 0.9)].map(|v| b.constant(&[16], v));
    let x = b.last.clone();
    let [gamma, beta, mean, var] = constants.each_ref().map(String::as_str);
    b.node("BatchNormalization", &[&x, gamma, beta, mean, var], &[]);
    b.apply("Relu");
    let factor = b.constant(&[16, 1, 1], noise(16, 6));
    let x = b.conv([16, 16, 16], [3, 3], 1, 1, [1; 4]);
    b.node("Mul", &[&factor, &x], &[]);
    // Bounds in the other order, and one that leaves nothing between them.
    let (low, high) = (b.constant(&[], vec![-0.5]), b.constant(&[], vec![0.5]));
    let x = b.last.clone();
    let x = b.node("Min", &[&x, &high], &[]);
    let x = b.node("Max", &[&low, &x], &[]);
    let above = b.constant(&[], vec![0.75]);
    b.node("Max", &[&x, &above], &[]);
    check(b.finish(&[]));
}

#[test]
fn the_same_bits_again_and_on_another_worker() {
    let mut b = Build::new();
    b.conv([16, 3, 1], [3, 3], 2, 1, [1; 4]);
    b.apply("Relu");
    b.conv([16, 16, 16], [3, 3], 1, 1, [1; 4]);
    let model = b.finish(&[]);
    let x = noise(SHAPE.iter().product(), 5);
    let net = Net::load(&model, 1).unwrap();
    let once = || {
        let mut y = vec![];
        net.worker().unwrap().run(&x, |_, v| y = v.to_vec()).unwrap();
        y
    };
    let first = once();
    let all: Vec<Vec<f32>> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4).map(|_| s.spawn(once)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(all.iter().all(|y| *y == first));
}
