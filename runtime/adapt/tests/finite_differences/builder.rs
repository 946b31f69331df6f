//! Small ONNX graphs with random weights: x → body → flatten → fully connected → 3 logits.

use limbeck_engine::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};

/// A small deterministic generator (splitmix64), uniform in ±1.
pub struct Uniform(pub u64);

impl Uniform {
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn next(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn sign(&mut self) -> f32 {
        if self.next_u64() >> 63 == 0 { 1.0 } else { -1.0 }
    }

    pub fn tensor(&mut self, dims: &[usize], scale: f32) -> Tensor {
        let n = dims.iter().product();
        Tensor::f32(dims, (0..n).map(|_| self.next() * scale).collect())
    }
}

/// An operator without inputs yet.
pub fn node(op: &str) -> Node {
    Node::new(op, "", &[], &[])
}

pub fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

/// Geometry of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub stride: [i64; 2],
    pub dilation: [i64; 2],
    /// Top, left, bottom, right.
    pub pads: [i64; 4],
    pub group: i64,
}

impl Window {
    pub const SAME: Window = Window { pads: [1; 4], ..Window::POINT };
    pub const POINT: Window = Window { stride: [1; 2], dilation: [1; 2], pads: [0; 4], group: 1 };

    pub fn on(self, node: Node) -> Node {
        node.with("strides", ints(&self.stride))
            .with("dilations", ints(&self.dilation))
            .with("pads", ints(&self.pads))
            .with("group", Attribute::Int(self.group))
    }
}

/// Appends nodes, each of which reads the value before it.
pub struct Builder {
    pub graph: Graph,
    pub random: Uniform,
    /// The last value.
    pub last: String,
    pub opset: i64,
}

impl Builder {
    /// `dims` are those of x without the batch.
    pub fn new(dims: &[usize]) -> Builder {
        let mut shape = vec![Dim::Symbol("N".into())];
        shape.extend(dims.iter().map(|&d| Dim::Known(d)));
        let graph = Graph { inputs: vec![Value::f32("x", shape)], ..Graph::default() };
        Builder { graph, random: Uniform(7), last: "x".into(), opset: 20 }
    }

    /// Append a node that reads the last value, then `others`.
    pub fn op(&mut self, node: Node, others: &[&str]) -> &mut Self {
        let last = self.last.clone();
        let inputs: Vec<&str> = std::iter::once(last.as_str()).chain(others.iter().copied()).collect();
        self.reading(node, &inputs)
    }

    /// Append a node that reads `inputs`.
    pub fn reading(&mut self, node: Node, inputs: &[&str]) -> &mut Self {
        let output = format!("v{}", self.graph.nodes.len());
        let mut node = Node { name: format!("n{}", self.graph.nodes.len()), ..node };
        node.inputs = inputs.iter().map(|s| s.to_string()).collect();
        node.outputs = vec![output.clone()];
        self.last = output;
        self.graph.nodes.push(node);
        self
    }

    fn initializer(&mut self, tensor: Tensor) -> String {
        let name = format!("w{}", self.graph.initializers.len());
        self.graph.initializers.insert(name.clone(), tensor);
        name
    }

    /// A random tensor in ±½.
    pub fn weight(&mut self, dims: &[usize]) -> String {
        let tensor = self.random.tensor(dims, 0.5);
        self.initializer(tensor)
    }

    pub fn constant(&mut self, dims: &[usize], values: &[f32]) -> String {
        self.initializer(Tensor::f32(dims, values.to_vec()))
    }

    pub fn integers(&mut self, values: &[i64]) -> String {
        self.initializer(Tensor::i64(values.to_vec()))
    }

    pub fn conv(&mut self, kernel: [usize; 4], window: Window) -> &mut Self {
        let (w, b) = (self.weight(&kernel), self.weight(&kernel[..1]));
        self.op(window.on(node("Conv")), &[&w, &b])
    }

    /// 3×3, size kept.
    pub fn conv3(&mut self, from: usize, to: usize) -> &mut Self {
        self.conv([to, from, 3, 3], Window::SAME)
    }

    pub fn unary(&mut self, op: &str) -> &mut Self {
        self.op(node(op), &[])
    }

    pub fn finish(&mut self, features: usize) -> Model {
        self.op(node("Flatten"), &[]);
        let (w, b) = (self.weight(&[3, features]), self.weight(&[3]));
        self.op(node("Gemm").with("transB", Attribute::Int(1)), &[&w, &b]);
        let mut graph = self.graph.clone();
        let shape = vec![Dim::Symbol("N".into()), Dim::Known(3)];
        graph.outputs = vec![Value::f32(&self.last, shape)];
        Model { ir_version: 9, opset: self.opset, other_opsets: vec![], metadata: Default::default(), graph }
    }
}
