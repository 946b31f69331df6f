//! From a recipe's losses to a graph: taps become outputs of the student, connectors nodes behind them.

mod abf;
mod factors;
mod nodes;

use limbeck_adapt::Attachment;
use limbeck_engine::onnx::{Dim, Model, Node, Value};
use limbeck_engine::{EngineError, Tap, Taps};
use limbeck_losses::{Between, Connector, Method};

use crate::recipe::{Key, Term};
use nodes::Nodes;

/// A stage's losses and what they read of the graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connected {
    /// What stands beside the student.
    pub attachment: Attachment,
    /// For each term its losses.
    pub terms: Vec<Vec<Wired>>,
    /// Whose values the graph's further inputs are.
    pub inputs: Vec<Key>,
    /// Losses that connectors bring along, with their terms.
    pub further: Vec<(Term, Wired)>,
}

/// One loss.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wired {
    /// Outputs of the graph that are its taps; 0 is the student's own.
    pub outputs: Vec<usize>,
    /// Shapes of the taps.
    pub dims: Vec<Vec<usize>>,
    /// Its keys.
    pub keys: Vec<Key>,
    /// Outputs of the graph that stand for keys and get no gradient, with their shapes: a teacher's value through a trained connector.
    pub computed: Vec<(usize, Vec<usize>)>,
}

/// Why a recipe does not fit a student.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A tap that the student does not have.
    #[error("student: {0}")]
    Tap(#[from] EngineError),
    /// A connector that does not fit.
    #[error("{0}")]
    Connector(#[from] limbeck_losses::ConnectorError),
    /// What the answers lack; they say what to add.
    #[error("{0}")]
    Key(String),
    /// A quantized student has integers inside.
    #[error(
        "an int8 student has no float maps to tap (`{tap}`); use losses over `logits`, or distil the float student and quantize it then"
    )]
    Quantized {
        /// What was asked for.
        tap: String,
    },
}

/// Shape of one sample's value under a key.
pub(crate) type KeyShape<'a> = &'a dyn Fn(&Key) -> Result<Vec<usize>, ConnectError>;

/// Connect `terms` to a student in the form that is trained.
pub(crate) fn connect(
    student: &Model,
    quantized: bool,
    terms: &[Term],
    shape_of: KeyShape<'_>,
    seed: u64,
) -> Result<Connected, ConnectError> {
    let mut connected = Connected::default();
    let output = student.graph.outputs.first().map(|o| o.name.clone()).unwrap_or_default();
    let taps = if quantized { None } else { Some(Taps::of(student)?) };
    let mut nodes = Nodes::new(output, seed);
    for (number, term) in terms.iter().enumerate() {
        let tap = |name: &str| -> Result<Tap, ConnectError> {
            match &taps {
                Some(taps) => Ok(taps.resolve(name)?),
                None if name == "logits" => Ok(Tap { name: name.into(), tensor: String::new(), dims: vec![] }),
                None => Err(ConnectError::Quantized { tap: name.into() }),
            }
        };
        // A key that is not there is found now, whether or not a connector asks for its shape.
        term.teacher.iter().try_for_each(|key| shape_of(key).map(|_| ()))?;
        let mut wired = vec![];
        if term.connector == Connector::Abf {
            // A whole chain at once: every stage hands on to the finer one.
            let found = term.student.iter().map(|name| tap(name)).collect::<Result<Vec<_>, _>>()?;
            let shapes = term.teacher.iter().map(shape_of).collect::<Result<Vec<_>, _>>()?;
            let outputs = abf::fuse(&mut nodes, &format!("loss{number}"), &found, &shapes, term.middle)?;
            let mut all = outputs.into_iter();
            for (names, keys) in term.groups() {
                let group: Vec<_> = all.by_ref().take(names.len()).collect();
                let (outputs, dims) = group.into_iter().map(|(name, dims)| (nodes.output(&name), dims)).unzip();
                wired.push(Wired { outputs, dims, keys: keys.to_vec(), ..Wired::default() });
            }
            connected.terms.push(wired);
            continue;
        }
        for (group, (names, keys)) in term.groups().enumerate() {
            let place = format!("loss{number}.{group}");
            let mut one = Wired::default();
            let found = names.iter().map(|name| tap(name)).collect::<Result<Vec<_>, _>>()?;
            if matches!(term.method, Method::Crd(_)) {
                let embedding = term.middle.unwrap_or(EMBEDDING);
                let length = shape_of(&keys[0])?.iter().product();
                let input = nodes.input(&mut connected.inputs, &keys[0], length);
                let teacher = Tap { name: keys[0].name.clone(), tensor: input, dims: vec![length] };
                for (side, tap) in [("student", &found[0]), ("teacher", &teacher)] {
                    let name = nodes.linear(&format!("{place}.{side}"), tap, embedding)?;
                    one.outputs.push(nodes.output(&name));
                    one.dims.push(vec![embedding]);
                }
                wired.push(one);
                continue;
            }
            if let Method::Ft(_) = term.method {
                if found[0].tensor.is_empty() {
                    return Err(ConnectError::Quantized { tap: found[0].name.clone() });
                }
                let shape = map_shape(&shape_of(&keys[0])?);
                let input = nodes.input(&mut connected.inputs, &keys[0], shape.iter().product());
                let made = factors::transfer(&mut nodes, &place, &found[0], (&input, shape), term.middle)?;
                one.outputs.push(nodes.output(&made.student));
                one.dims.push(made.factor.to_vec());
                one.computed.push((nodes.output(&made.teacher), made.factor.to_vec()));
                let learned = factors::paraphrasing(term);
                let outputs = vec![nodes.output(&made.again)];
                let again = Wired { outputs, dims: vec![shape.to_vec()], keys: keys.to_vec(), ..Wired::default() };
                connected.further.push((learned, again));
                wired.push(one);
                continue;
            }
            one.keys = keys.to_vec();
            for (i, tap) in found.iter().enumerate() {
                if term.connector == Connector::None {
                    // The student's own output needs no second name.
                    let own = tap.tensor.is_empty() || tap.tensor == nodes.own;
                    one.outputs.push(if own { 0 } else { nodes.output(&tap.tensor) });
                    one.dims.push(tap.dims.clone());
                    continue;
                }
                if tap.tensor.is_empty() {
                    return Err(ConnectError::Quantized { tap: format!("{} with a connector", tap.name) });
                }
                let key = keys.get(i).or(keys.last()).map(shape_of).transpose()?;
                let teacher = map_shape(&key.unwrap_or_else(|| tap.dims.clone()));
                let between = Between { student: map_shape(&tap.dims), teacher, middle: term.middle };
                for (name, dims) in nodes.connector(&format!("{place}.{i}"), tap, term.connector, between)? {
                    one.outputs.push(nodes.output(&name));
                    one.dims.push(dims);
                }
            }
            wired.push(one);
        }
        connected.terms.push(wired);
    }
    connected.attachment = nodes.into_attachment();
    Ok(connected)
}

/// Length of an embedding where a recipe names none (CRD's 128).
const EMBEDDING: usize = 128;

/// (C, H, W) of a map or of a vector.
fn map_shape(dims: &[usize]) -> [usize; 3] {
    let side = |axis: usize| dims.get(axis).copied().unwrap_or(1);
    [side(0), side(1), side(2)]
}

/// An input for a teacher's value.
fn further_input(name: &str, length: usize) -> Value {
    Value::f32(name, vec![Dim::Known(1), Dim::Known(length)])
}

/// A node that makes one value.
fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node::new(op, output, inputs, &[output])
}

#[cfg(test)]
mod tests;
