//! Small float graphs by hand: one operator after another on an `image` (N, C, H, W), weights drawn from a seed.

use limbeck_answers::rng::Stream;
use limbeck_engine::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};

/// Keeps these draws apart from any other use of a seed.
const WEIGHTS: u32 = 0x6e65_7473;

/// A convolution.
#[derive(Clone, Copy)]
pub struct Conv {
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Rows and columns that one step moves.
    pub stride: usize,
    /// Zeros round the input.
    pub pad: usize,
    /// Groups; as many as channels is depthwise.
    pub group: usize,
}

/// A graph that grows.
pub struct Net {
    graph: Graph,
    random: Stream,
}

impl Net {
    /// Nothing yet but the input `image` (N, `dims`).
    pub fn new(seed: u64, dims: [usize; 3]) -> Net {
        let sizes = std::iter::once(batch()).chain(dims.map(Dim::Known)).collect();
        let inputs = vec![Value::f32("image", sizes)];
        Net {
            graph: Graph { name: "by-hand".into(), inputs, ..Graph::default() },
            random: Stream::new(seed, 0, WEIGHTS),
        }
    }

    /// Append `op` named `name` on values `inputs`; its output is named `name.out`.
    pub fn op(&mut self, op: &str, name: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let y = format!("{name}.out");
        let node = Node::new(op, name, inputs, &[&y]);
        let with = |node: Node, (name, value): &(&str, Attribute)| node.with(name, value.clone());
        self.graph.nodes.push(attributes.iter().fold(node, with));
        y
    }

    /// A convolution with a bias.
    pub fn conv(&mut self, name: &str, x: &str, conv: Conv) -> String {
        let Conv { input, output, kernel, stride, pad, group } = conv;
        let dims = [output, input / group, kernel, kernel];
        let reach = (2.0 / (dims[1] * kernel * kernel) as f32).sqrt() * 2.0;
        let (w, b) = (self.constant(&format!("{name}.weight"), &dims, reach), self.bias(name, output));
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![kernel as i64; 2])),
            ("strides", Attribute::Ints(vec![stride as i64; 2])),
            ("pads", Attribute::Ints(vec![pad as i64; 4])),
            ("group", Attribute::Int(group as i64)),
        ];
        self.op("Conv", name, &[x, &w, &b], &attributes)
    }

    /// A constant of the given values.
    pub fn given(&mut self, name: &str, value: Tensor) -> String {
        self.graph.initializers.insert(name.to_owned(), value);
        name.to_owned()
    }

    /// y = relu(x)
    pub fn relu(&mut self, name: &str, x: &str) -> String {
        self.op("Relu", name, &[x], &[])
    }

    /// A fully connected layer on (N, `inputs`).
    pub fn gemm(&mut self, name: &str, x: &str, inputs: usize, outputs: usize) -> String {
        let reach = (1.0 / inputs as f32).sqrt() * 2.0;
        let (w, b) = (self.constant(&format!("{name}.weight"), &[outputs, inputs], reach), self.bias(name, outputs));
        self.op("Gemm", name, &[x, &w, &b], &[("transB", Attribute::Int(1))])
    }

    /// Pooling over `kernel` × `kernel`.
    pub fn pool(&mut self, op: &str, name: &str, x: &str, [kernel, stride, pad]: [i64; 3]) -> String {
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![kernel; 2])),
            ("strides", Attribute::Ints(vec![stride; 2])),
            ("pads", Attribute::Ints(vec![pad; 4])),
        ];
        self.op(op, name, &[x], &attributes)
    }

    /// Global average, then a fully connected layer: the usual head.
    pub fn head(&mut self, x: &str, channels: usize, classes: usize) -> String {
        let pooled = self.op("GlobalAveragePool", "pool", &[x], &[]);
        let flat = self.op("Flatten", "flatten", &[&pooled], &[]);
        self.gemm("classifier", &flat, channels, classes)
    }

    /// The model whose output is `y` (N, `dims`).
    pub fn finish(mut self, y: &str, dims: &[usize]) -> Model {
        let sizes = std::iter::once(batch()).chain(dims.iter().map(|&d| Dim::Known(d))).collect();
        self.graph.outputs = vec![Value::f32(y, sizes)];
        Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph: self.graph }
    }

    fn bias(&mut self, name: &str, channels: usize) -> String {
        self.constant(&format!("{name}.bias"), &[channels], 0.25)
    }

    /// Evenly from -`reach` to `reach`.
    fn constant(&mut self, name: &str, dims: &[usize], reach: f32) -> String {
        let half = (1 << 23) as f32;
        let mut draw = || ((self.random.next_u32() >> 8) as f32 / half - 1.0) * reach;
        let values = (0..dims.iter().product()).map(|_| draw()).collect();
        self.graph.initializers.insert(name.to_owned(), Tensor::f32(dims, values));
        name.to_owned()
    }
}

fn batch() -> Dim {
    Dim::Symbol("N".into())
}
