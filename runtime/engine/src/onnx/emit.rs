//! [`Model`] → protobuf bytes.

use prost::Message;
use tract_onnx::pb;

use super::{Attribute, Data, Dim, Model, Node, Tensor, Value};

pub(super) fn model(model: &Model) -> Vec<u8> {
    proto(model).encode_to_vec()
}

/// The protobuf form, which is also how a model reaches tract.
pub(crate) fn proto(model: &Model) -> pb::ModelProto {
    let mut opset_import = vec![pb::OperatorSetIdProto { domain: String::new(), version: model.opset }];
    opset_import.extend(
        model
            .other_opsets
            .iter()
            .map(|(domain, version)| pb::OperatorSetIdProto { domain: domain.clone(), version: *version }),
    );
    let graph = &model.graph;
    pb::ModelProto {
        ir_version: model.ir_version,
        opset_import,
        producer_name: "limbeck".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(pb::GraphProto {
            name: graph.name.clone(),
            node: graph.nodes.iter().map(node).collect(),
            initializer: graph.initializers.iter().map(|(name, t)| tensor(name, t)).collect(),
            input: graph.inputs.iter().map(value).collect(),
            output: graph.outputs.iter().map(value).collect(),
            ..Default::default()
        }),
        metadata_props: model
            .metadata
            .iter()
            .map(|(key, value)| pb::StringStringEntryProto { key: key.clone(), value: value.clone() })
            .collect(),
        ..Default::default()
    }
}

fn node(node: &Node) -> pb::NodeProto {
    pb::NodeProto {
        name: node.name.clone(),
        op_type: node.op.clone(),
        domain: node.domain.clone(),
        input: node.inputs.clone(),
        output: node.outputs.clone(),
        attribute: node.attributes.iter().map(|(name, a)| attribute(name, a)).collect(),
        ..Default::default()
    }
}

fn attribute(name: &str, attribute: &Attribute) -> pb::AttributeProto {
    use pb::attribute_proto::AttributeType as T;
    let base = |t: T| pb::AttributeProto { name: name.into(), r#type: t as i32, ..Default::default() };
    match attribute {
        Attribute::Float(f) => pb::AttributeProto { f: *f, ..base(T::Float) },
        Attribute::Int(i) => pb::AttributeProto { i: *i, ..base(T::Int) },
        Attribute::Bytes(s) => pb::AttributeProto { s: s.clone(), ..base(T::String) },
        Attribute::Tensor(t) => pb::AttributeProto { t: Some(tensor("", t)), ..base(T::Tensor) },
        Attribute::Floats(v) => pb::AttributeProto { floats: v.clone(), ..base(T::Floats) },
        Attribute::Ints(v) => pb::AttributeProto { ints: v.clone(), ..base(T::Ints) },
        // These bytes came from `encode_to_vec` in the parser; should they not decode, the attribute is empty.
        Attribute::Opaque(bytes) => pb::AttributeProto::decode(&bytes[..]).unwrap_or_default(),
    }
}

fn value(value: &Value) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value as DimValue};
    let dim = |d: &Dim| Dimension {
        value: match d {
            Dim::Known(n) => Some(DimValue::DimValue(*n as i64)),
            Dim::Symbol(s) if s.is_empty() => None,
            Dim::Symbol(s) => Some(DimValue::DimParam(s.clone())),
        },
        ..Default::default()
    };
    let tensor = pb::type_proto::Tensor {
        elem_type: value.data_type,
        shape: Some(pb::TensorShapeProto { dim: value.dims.iter().map(dim).collect() }),
    };
    pb::ValueInfoProto {
        name: value.name.clone(),
        r#type: Some(pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() }),
        ..Default::default()
    }
}

fn tensor(name: &str, tensor: &Tensor) -> pb::TensorProto {
    let raw_data = match &tensor.data {
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I8(v) => v.iter().map(|&x| x as u8).collect(),
        Data::U8(v) => v.clone(),
        Data::Other(_, bytes) => bytes.clone(),
    };
    pb::TensorProto {
        name: name.into(),
        dims: tensor.dims.iter().map(|&d| d as i64).collect(),
        data_type: tensor.data_type(),
        raw_data,
        ..Default::default()
    }
}
