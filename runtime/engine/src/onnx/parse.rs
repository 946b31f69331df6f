//! Protobuf bytes → [`Model`], with limits that are checked before anything is computed from the file.

use std::collections::{BTreeMap, HashSet};

use prost::Message;
use tract_onnx::pb;

use super::{Attribute, Data, Dim, Graph, Model, Node, Tensor, Value};

/// What a model may ask for at most. A file beyond a limit is refused by name, before any work.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Nodes in the graph.
    pub nodes: usize,
    /// Bytes of all constants together.
    pub constant_bytes: usize,
    /// Elements of any one tensor, constant or declared.
    pub tensor_elements: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { nodes: 100_000, constant_bytes: 2 << 30, tensor_elements: 1 << 28 }
    }
}

pub(super) enum ParseError {
    NotOnnx(String),
    Refused(String),
}

type Result<T> = std::result::Result<T, ParseError>;

fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(ParseError::Refused(what.into()))
}

pub(super) fn model(bytes: &[u8], limits: &Limits) -> Result<Model> {
    let proto = pb::ModelProto::decode(bytes).map_err(|e| ParseError::NotOnnx(e.to_string()))?;
    let Some(graph) = &proto.graph else {
        return Err(ParseError::NotOnnx("no graph in it".into()));
    };
    if !proto.functions.is_empty() {
        return refuse("uses model-local functions; export with them inlined");
    }
    let default_domain = |d: &str| d.is_empty() || d == "ai.onnx";
    let opset = proto.opset_import.iter().find(|o| default_domain(&o.domain)).map(|o| o.version);
    let Some(opset) = opset else {
        return Err(ParseError::NotOnnx("no operator set is named".into()));
    };
    let graph = self::graph(graph, limits)?;
    Ok(Model {
        ir_version: proto.ir_version,
        opset,
        other_opsets: proto
            .opset_import
            .iter()
            .filter(|o| !default_domain(&o.domain))
            .map(|o| (o.domain.clone(), o.version))
            .collect(),
        metadata: proto.metadata_props.iter().map(|p| (p.key.clone(), p.value.clone())).collect(),
        graph,
    })
}

fn graph(proto: &pb::GraphProto, limits: &Limits) -> Result<Graph> {
    if proto.node.len() > limits.nodes {
        return refuse(format!("{} nodes; the limit is {}", proto.node.len(), limits.nodes));
    }
    if !proto.sparse_initializer.is_empty() {
        return refuse("has sparse constants; export them dense");
    }
    let mut initializers = BTreeMap::new();
    let mut bytes = 0usize;
    for t in &proto.initializer {
        let value = tensor(t, limits)?;
        bytes = bytes.saturating_add(value.len().saturating_mul(4));
        if bytes > limits.constant_bytes {
            return refuse(format!("more than {} bytes of constants", limits.constant_bytes));
        }
        initializers.insert(t.name.clone(), value);
    }
    let mut nodes = Vec::with_capacity(proto.node.len());
    let mut names = HashSet::new();
    for (i, n) in proto.node.iter().enumerate() {
        let mut node = node(n, limits)?;
        if node.name.is_empty() {
            node.name = node.outputs.first().cloned().unwrap_or_default();
        }
        if node.name.is_empty() || !names.insert(node.name.clone()) {
            node.name = format!("{}#{i}", node.name);
            names.insert(node.name.clone());
        }
        nodes.push(node);
    }
    let inputs: Vec<Value> = proto
        .input
        .iter()
        .filter(|v| !initializers.contains_key(&v.name))
        .map(|v| value(v, limits))
        .collect::<Result<_>>()?;
    let outputs: Vec<Value> = proto.output.iter().map(|v| value(v, limits)).collect::<Result<_>>()?;
    if inputs.is_empty() || outputs.is_empty() {
        return refuse("has no input or no output");
    }
    let graph = Graph { name: proto.name.clone(), nodes, initializers, inputs, outputs };
    check_order(&graph)?;
    Ok(graph)
}

/// Every value is written once, before it is read (the ONNX spec asks for topological order).
fn check_order(graph: &Graph) -> Result<()> {
    let mut known: HashSet<&str> = graph.initializers.keys().map(String::as_str).collect();
    known.extend(graph.inputs.iter().map(|i| i.name.as_str()));
    for node in &graph.nodes {
        if let Some(missing) = node.inputs.iter().find(|i| !i.is_empty() && !known.contains(i.as_str())) {
            return refuse(format!(
                "{} reads \"{missing}\", which nothing before it writes (a cycle, or nodes out of order)",
                node.title()
            ));
        }
        for output in node.outputs.iter().filter(|o| !o.is_empty()) {
            if !known.insert(output) {
                return refuse(format!("{} writes \"{output}\", which exists already", node.title()));
            }
        }
    }
    match graph.outputs.iter().find(|o| !known.contains(o.name.as_str())) {
        Some(o) => refuse(format!("output \"{}\" is written by no node", o.name)),
        None => Ok(()),
    }
}

fn node(proto: &pb::NodeProto, limits: &Limits) -> Result<Node> {
    let attributes = proto
        .attribute
        .iter()
        .map(|a| Ok((a.name.clone(), attribute(a, limits)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    Ok(Node {
        name: proto.name.clone(),
        op: proto.op_type.clone(),
        domain: proto.domain.clone(),
        inputs: proto.input.clone(),
        outputs: proto.output.clone(),
        attributes,
    })
}

fn attribute(proto: &pb::AttributeProto, limits: &Limits) -> Result<Attribute> {
    use pb::attribute_proto::AttributeType as T;
    Ok(match T::try_from(proto.r#type) {
        Ok(T::Float) => Attribute::Float(proto.f),
        Ok(T::Int) => Attribute::Int(proto.i),
        Ok(T::String) => Attribute::Bytes(proto.s.clone()),
        Ok(T::Floats) => Attribute::Floats(proto.floats.clone()),
        Ok(T::Ints) => Attribute::Ints(proto.ints.clone()),
        Ok(T::Tensor) => match &proto.t {
            Some(t) => Attribute::Tensor(tensor(t, limits)?),
            None => return refuse(format!("attribute \"{}\" promises a tensor and has none", proto.name)),
        },
        _ => Attribute::Opaque(proto.encode_to_vec()),
    })
}

fn value(proto: &pb::ValueInfoProto, limits: &Limits) -> Result<Value> {
    use pb::tensor_shape_proto::dimension::Value as DimValue;
    let Some(pb::type_proto::Value::TensorType(tensor)) = proto.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return refuse(format!("\"{}\" is not declared as a tensor", proto.name));
    };
    let mut elements = 1usize;
    let mut dims = vec![];
    for d in tensor.shape.iter().flat_map(|s| &s.dim) {
        dims.push(match &d.value {
            Some(DimValue::DimValue(v)) => match usize::try_from(*v) {
                Ok(v) => {
                    elements = elements.saturating_mul(v.max(1));
                    Dim::Known(v)
                }
                Err(_) => return refuse(format!("\"{}\" has the negative size {v}", proto.name)),
            },
            Some(DimValue::DimParam(s)) => Dim::Symbol(s.clone()),
            None => Dim::Symbol(String::new()),
        });
    }
    if elements > limits.tensor_elements {
        return refuse(format!("\"{}\" has {elements} elements; the limit is {}", proto.name, limits.tensor_elements));
    }
    Ok(Value { name: proto.name.clone(), data_type: tensor.elem_type, dims })
}

fn tensor(proto: &pb::TensorProto, limits: &Limits) -> Result<Tensor> {
    let name = &proto.name;
    if proto.data_location == Some(pb::tensor_proto::DataLocation::External as i32) || !proto.external_data.is_empty() {
        return refuse(format!("constant \"{name}\" lies in another file; save the model as one file"));
    }
    let mut elements = 1usize;
    let mut dims = vec![];
    for &d in &proto.dims {
        let Ok(d) = usize::try_from(d) else {
            return refuse(format!("constant \"{name}\" has the negative size {d}"));
        };
        elements = elements.saturating_mul(d);
        dims.push(d);
    }
    if elements > limits.tensor_elements {
        return refuse(format!("constant \"{name}\" has {elements} elements; the limit is {}", limits.tensor_elements));
    }
    let raw = &proto.raw_data;
    let typed = raw.is_empty();
    let data = match proto.data_type {
        1 if typed => Data::F32(proto.float_data.clone()),
        1 => Data::F32(from_le(raw, f32::from_le_bytes)),
        2 if typed => Data::U8(proto.int32_data.iter().map(|&v| v as u8).collect()),
        2 => Data::U8(raw.clone()),
        3 if typed => Data::I8(proto.int32_data.iter().map(|&v| v as i8).collect()),
        3 => Data::I8(raw.iter().map(|&b| b as i8).collect()),
        6 if typed => Data::I32(proto.int32_data.clone()),
        6 => Data::I32(from_le(raw, i32::from_le_bytes)),
        7 if typed => Data::I64(proto.int64_data.clone()),
        7 => Data::I64(from_le(raw, i64::from_le_bytes)),
        t => match other_elements(t, proto) {
            Some(data) => data,
            None => return refuse(format!("constant \"{name}\" has element type {t}, which Limbeck does not read")),
        },
    };
    let have = match &data {
        Data::F32(v) => v.len(),
        Data::I64(v) => v.len(),
        Data::I32(v) => v.len(),
        Data::I8(v) => v.len(),
        Data::U8(v) => v.len(),
        Data::Other(t, bytes) => bytes.len() / other_width(*t).unwrap_or(1),
    };
    if have != elements {
        return refuse(format!("constant \"{name}\" promises {elements} elements and holds {have}"));
    }
    Ok(Tensor { dims, data })
}

/// Element types that Limbeck only carries: bool, f16, f64 and the remaining integers.
fn other_elements(data_type: i32, proto: &pb::TensorProto) -> Option<Data> {
    let width = other_width(data_type)?;
    let bytes = if !proto.raw_data.is_empty() {
        proto.raw_data.clone()
    } else if data_type == 11 {
        proto.double_data.iter().flat_map(|v| v.to_le_bytes()).collect()
    } else if matches!(data_type, 12 | 13) {
        proto.uint64_data.iter().flat_map(|v| v.to_le_bytes()[..width].to_vec()).collect()
    } else {
        proto.int32_data.iter().flat_map(|v| v.to_le_bytes()[..width].to_vec()).collect()
    };
    Some(Data::Other(data_type, bytes))
}

/// Bytes an element of a carried type takes (ONNX `TensorProto.DataType`).
fn other_width(data_type: i32) -> Option<usize> {
    Some(match data_type {
        9 => 1,          // bool
        4 | 5 | 10 => 2, // u16, i16, f16
        12 => 4,         // u32
        11 | 13 => 8,    // f64, u64
        _ => return None,
    })
}

fn from_le<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|c| from(*c)).collect()
}
