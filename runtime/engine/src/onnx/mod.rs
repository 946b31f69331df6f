//! ONNX as plain data: what the passes, the quantizer and the writers work on.
//!
//! A [`Model`] is one flat graph of named values. It is read from a protobuf ([`Model::parse`], [`Model::read`]),
//! changed by passes, and written back ([`Model::emit`], [`Model::write`]). Nothing is lost that Limbeck does not
//! understand: an attribute of a kind not modelled here travels through as its own bytes.
//!
//! Spec: ONNX IR, <https://github.com/onnx/onnx/blob/main/docs/IR.md>.

pub(crate) mod emit;
mod parse;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

pub use parse::Limits;

/// A model: opset, metadata, and one graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// ONNX IR version of the file.
    pub ir_version: i64,
    /// Version of the default operator set.
    pub opset: i64,
    /// Other operator sets the file imports: (domain, version).
    pub other_opsets: Vec<(String, i64)>,
    /// Free key-value pairs (`metadata_props`).
    pub metadata: BTreeMap<String, String>,
    /// The graph.
    pub graph: Graph,
}

/// Nodes in topological order, constants, inputs and outputs; values are named by strings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// The graph's own name.
    pub name: String,
    /// In execution order.
    pub nodes: Vec<Node>,
    /// Constants by value name.
    pub initializers: BTreeMap<String, Tensor>,
    /// What the caller feeds (constants excluded).
    pub inputs: Vec<Value>,
    /// What the caller gets.
    pub outputs: Vec<Value>,
}

/// One operator application. An omitted optional input or output is an empty string.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// Unique within a parsed graph: taken from the first output where the file leaves it empty.
    pub name: String,
    /// Operator type, such as `Conv`.
    pub op: String,
    /// Operator set; empty is the default one.
    pub domain: String,
    /// Value names read.
    pub inputs: Vec<String>,
    /// Value names written.
    pub outputs: Vec<String>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
}

/// A node's attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// f32.
    Float(f32),
    /// i64.
    Int(i64),
    /// Bytes, mostly UTF-8.
    Bytes(Vec<u8>),
    /// A constant.
    Tensor(Tensor),
    /// List of f32.
    Floats(Vec<f32>),
    /// List of i64.
    Ints(Vec<i64>),
    /// Anything else (subgraphs, sparse tensors, …) as its `AttributeProto` bytes, carried through unread.
    Opaque(Vec<u8>),
}

/// A graph input or output. `None` in the shape is a dimension known only at run time.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Value name.
    pub name: String,
    /// ONNX element type number (1 = f32).
    pub data_type: i32,
    /// Dimensions, with the symbol's name where the size is symbolic.
    pub dims: Vec<Dim>,
}

/// A dimension of a [`Value`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A size.
    Known(usize),
    /// A symbol, such as `N` for the batch; may be empty.
    Symbol(String),
}

/// A constant tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Shape.
    pub dims: Vec<usize>,
    /// Elements.
    pub data: Data,
}

/// Elements of a [`Tensor`].
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// f32.
    F32(Vec<f32>),
    /// i64.
    I64(Vec<i64>),
    /// i32.
    I32(Vec<i32>),
    /// i8.
    I8(Vec<i8>),
    /// u8.
    U8(Vec<u8>),
    /// Another element type: its ONNX number and little-endian bytes.
    Other(i32, Vec<u8>),
}

/// ONNX element type number of f32.
pub const F32: i32 = 1;

/// Why a file is not a model Limbeck can take.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] limbeck_files::FileError),
    /// Not a protobuf, or cut short.
    #[error("{}: not an ONNX file, or cut short ({why}); export the model again", path.display())]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        why: String,
    },
    /// Well-formed, but beyond what Limbeck reads.
    #[error("{}: {what}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is refused, where, and the way out.
        what: String,
    },
}

impl Model {
    /// Read and check a file with the default [`Limits`].
    pub fn read(path: impl AsRef<Path>) -> Result<Model, OnnxError> {
        let path = path.as_ref();
        Model::parse(&limbeck_files::read(path)?, path)
    }

    /// Parse bytes; `named` is the file that errors name.
    pub fn parse(bytes: &[u8], named: &Path) -> Result<Model, OnnxError> {
        parse::model(bytes, &Limits::default()).map_err(|error| match error {
            parse::ParseError::NotOnnx(why) => OnnxError::NotOnnx { path: named.to_owned(), why },
            parse::ParseError::Refused(what) => OnnxError::Refused { path: named.to_owned(), what },
        })
    }

    /// The bytes of the file: deterministic, the same model always gives the same bytes.
    pub fn emit(&self) -> Vec<u8> {
        emit::model(self)
    }

    /// Write the file, whole or not at all.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), OnnxError> {
        Ok(limbeck_files::write_atomic(path, |w| w.write_all(&self.emit()))?)
    }

    /// Number of f32 elements in the constants.
    pub fn parameters(&self) -> usize {
        self.graph.initializers.values().filter(|t| matches!(t.data, Data::F32(_))).map(Tensor::len).sum()
    }
}

impl Graph {
    /// The node that writes each value.
    pub fn producers(&self) -> HashMap<&str, usize> {
        self.nodes
            .iter()
            .enumerate()
            .flat_map(|(i, n)| n.outputs.iter().filter(|o| !o.is_empty()).map(move |o| (o.as_str(), i)))
            .collect()
    }

    /// The nodes that read each value, once a slot.
    pub fn consumers(&self) -> HashMap<&str, Vec<usize>> {
        let mut consumers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            for input in node.inputs.iter().filter(|s| !s.is_empty()) {
                consumers.entry(input).or_default().push(i);
            }
        }
        consumers
    }

    /// Is this value an output of the graph?
    pub fn is_output(&self, value: &str) -> bool {
        self.outputs.iter().any(|o| o.name == value)
    }

    /// Every name in use, so that a pass can make a new one.
    pub fn names(&self) -> HashSet<String> {
        let values = self.nodes.iter().flat_map(|n| n.inputs.iter().chain(&n.outputs).chain([&n.name]));
        values
            .chain(self.initializers.keys())
            .chain(self.inputs.iter().chain(&self.outputs).map(|v| &v.name))
            .cloned()
            .collect()
    }

    /// Drop the nodes and constants that no output needs.
    pub fn remove_dead(&mut self) {
        let mut live: HashSet<String> = self.outputs.iter().map(|o| o.name.clone()).collect();
        let mut keep = vec![false; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().rev() {
            // A subgraph reads outer values without listing them as inputs: such a graph is left alone.
            if node.attributes.values().any(|a| matches!(a, Attribute::Opaque(_))) {
                return;
            }
            if node.outputs.iter().any(|o| live.contains(o)) {
                keep[i] = true;
                live.extend(node.inputs.iter().cloned());
            }
        }
        let mut keep = keep.into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(true));
        self.initializers.retain(|name, _| live.contains(name));
    }

    /// Make every reader of `from` read `to` instead.
    pub fn redirect(&mut self, from: &str, to: &str) {
        for node in &mut self.nodes {
            for input in node.inputs.iter_mut().filter(|i| *i == from) {
                *input = to.to_owned();
            }
        }
    }
}

impl Node {
    /// A node of the default operator set.
    pub fn new(op: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        let own = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        Node { name: name.into(), op: op.into(), inputs: own(inputs), outputs: own(outputs), ..Node::default() }
    }

    /// The same node with one more attribute.
    pub fn with(mut self, name: &str, value: Attribute) -> Node {
        self.attributes.insert(name.into(), value);
        self
    }

    /// Input `slot`, if present.
    pub fn input(&self, slot: usize) -> Option<&str> {
        self.inputs.get(slot).map(String::as_str).filter(|s| !s.is_empty())
    }

    /// Integer attribute, or its default.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        match self.attributes.get(name) {
            Some(Attribute::Int(i)) => *i,
            _ => default,
        }
    }

    /// Float attribute, or its default.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        match self.attributes.get(name) {
            Some(Attribute::Float(f)) => *f,
            _ => default,
        }
    }

    /// List-of-integers attribute.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name) {
            Some(Attribute::Ints(v)) => Some(v),
            _ => None,
        }
    }

    /// Text attribute.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attributes.get(name) {
            Some(Attribute::Bytes(b)) => std::str::from_utf8(b).ok(),
            _ => None,
        }
    }

    /// How messages name the node: `Conv "/layer1/conv1"`.
    pub fn title(&self) -> String {
        format!("{} \"{}\"", self.op, self.name)
    }
}

impl Value {
    /// An f32 value.
    pub fn f32(name: &str, dims: Vec<Dim>) -> Value {
        Value { name: name.into(), data_type: F32, dims }
    }
}

impl Tensor {
    /// An f32 tensor. The element count must agree with the shape.
    pub fn f32(dims: &[usize], data: Vec<f32>) -> Tensor {
        assert_eq!(dims.iter().product::<usize>(), data.len(), "shape {dims:?}");
        Tensor { dims: dims.to_vec(), data: Data::F32(data) }
    }

    /// A list of i64, as shapes and axes are given.
    pub fn i64(data: Vec<i64>) -> Tensor {
        Tensor { dims: vec![data.len()], data: Data::I64(data) }
    }

    /// A scalar f32.
    pub fn scalar(value: f32) -> Tensor {
        Tensor { dims: vec![], data: Data::F32(vec![value]) }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// No elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, if they are f32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(v) => Some(v),
            _ => None,
        }
    }

    /// The elements, if they are i64.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            Data::I64(v) => Some(v),
            _ => None,
        }
    }

    /// ONNX element type number.
    pub fn data_type(&self) -> i32 {
        match &self.data {
            Data::F32(_) => F32,
            Data::U8(_) => 2,
            Data::I8(_) => 3,
            Data::I32(_) => 6,
            Data::I64(_) => 7,
            Data::Other(t, _) => *t,
        }
    }
}
