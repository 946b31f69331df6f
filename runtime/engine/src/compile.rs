//! QDQ model → integer plans and the float rest.
//!
//! Every node is integer arithmetic ([`crate::qdq`]) or float. A node's *level* counts how often the way to it left the
//! integers: level(float) = max(level of float inputs, 1 + level of integer inputs), level(integer) = max over all
//! inputs. All integer nodes of one level form one region: no path leaves a region and comes back, so each can run as
//! one operator. What crosses from one region to a later one goes through f32, which is exact: RNE(fl(n·s)/s) = n.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use limbeck_plan::{OpSpec, PlanSpec, TensorId, TensorSpec};

use crate::error::EngineError;
use crate::facts::infer;
use crate::functions;
use crate::normalise::lift_constants;
use crate::onnx::{Attribute, Model, Node, Value};
use crate::plan_op::PLAN_OP;
use crate::qdq::{Activation, IntegerNode, Kind, QdqGraph, Quant};

/// A quantized model, compiled.
pub struct Compiled {
    /// Integer regions in execution order.
    pub regions: Vec<Region>,
    /// Operators that stay with tract, and why.
    pub float_nodes: Vec<FloatNode>,
    /// The graph with every region as one node; `None` when one region is the whole model and no tract is needed.
    pub rest: Option<Model>,
}

/// One integer region.
pub struct Region {
    /// The checked bytes of its plan.
    pub plan: Vec<u8>,
    /// Integer operators in it.
    pub operators: usize,
}

/// An operator that runs in float.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloatNode {
    /// Operator and name: `Softmax "/head/softmax"`.
    pub node: String,
    /// Why it is not integer arithmetic.
    pub reason: String,
}

/// Float operators that give the same bits on every machine: one IEEE rounding an element, or none.
const EXACT: [&str; 17] = [
    "Mul",
    "Add",
    "Sub",
    "Div",
    "Relu",
    "Clip",
    "Max",
    "Min",
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Concat",
    "Slice",
    "Pad",
];

impl Compiled {
    /// Is every float operator exact, or is there none before any integer region?
    pub(crate) fn float_nodes_are_exact(&self) -> bool {
        let Some(rest) = &self.rest else { return true };
        let is_region = |n: &&Node| n.op == PLAN_OP;
        let entries: Vec<&String> = rest.graph.nodes.iter().filter(is_region).flat_map(|n| &n.inputs).collect();
        let from_outside = |v: &&String| rest.graph.inputs.iter().any(|i| i.name == **v);
        let exact = |n: &Node| EXACT.contains(&n.op.as_str());
        entries.iter().all(from_outside) || rest.graph.nodes.iter().filter(|n| !is_region(n)).all(exact)
    }
}

enum Role {
    Integer(Box<IntegerNode>),
    /// Part of the integer node at this index, or a dequantization: gone after the rewrite.
    Covered,
    /// Does not depend on the input: tract folds it.
    Constant,
    Float(String),
}

/// Find the integer regions of a QDQ model and compile each. A model without any quantization has no regions.
pub fn compile(model: &Model) -> Result<Compiled, EngineError> {
    analyse(model, |found| {
        let regions = found.regions.iter().map(|(_, r)| Region { plan: r.plan.clone(), operators: r.spec.ops.len() });
        let rest = found.rest();
        Ok(Compiled {
            regions: regions.collect(),
            float_nodes: float_nodes(found.view, &found.roles),
            rest: (!is_whole(&rest)).then_some(rest),
        })
    })
}

/// What is integer in a model, before anybody makes something of it.
pub(crate) struct Analysis<'a> {
    model: &'a Model,
    pub view: &'a QdqGraph<'a>,
    roles: Vec<Role>,
    levels: Vec<usize>,
    /// Level and region, in execution order.
    pub regions: Vec<(usize, BuiltRegion)>,
}

impl Analysis<'_> {
    /// The graph with each region as one node.
    pub fn rest(&self) -> Model {
        let nodes = self.regions.iter().map(|(level, r)| (*level, r.node.clone())).collect();
        rewrite(self.model, self.view, &self.roles, &self.levels, nodes)
    }
}

/// Find the integer regions of a model and hand them to `f`.
pub(crate) fn analyse<T>(
    model: &Model,
    f: impl FnOnce(&Analysis<'_>) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let mut lifted = model.clone();
    lift_constants(&mut lifted.graph);
    let model = &lifted;
    let facts = infer(model)?;
    let view = &QdqGraph::new(model, &facts);
    let roles = assign_roles(view);
    let levels = levels(view, &roles);
    let mut by_level: BTreeMap<usize, Vec<&IntegerNode>> = BTreeMap::new();
    for (i, role) in roles.iter().enumerate() {
        if let Role::Integer(node) = role {
            by_level.entry(levels[i]).or_default().push(node);
        }
    }
    let exported = exported_activations(view, &roles, &levels);
    let build = |(level, nodes): (usize, Vec<&IntegerNode>)| {
        Ok((level, RegionBuilder::default().build(view, &nodes, &exported, level)?))
    };
    let regions = by_level.into_iter().map(build).collect::<Result<_, EngineError>>()?;
    f(&Analysis { model, view, roles, levels, regions })
}

fn assign_roles(view: &QdqGraph) -> Vec<Role> {
    let nodes = &view.graph.nodes;
    let mut roles: Vec<Option<Role>> = nodes.iter().map(|_| None).collect();
    for (i, node) in nodes.iter().enumerate() {
        if roles[i].is_some() || matches!(node.op.as_str(), "QuantizeLinear" | "DequantizeLinear") {
            continue;
        }
        if view.is_constant(node) {
            roles[i] = Some(Role::Constant);
            continue;
        }
        match view.integer_node(i) {
            Ok(integer) => {
                for &covered in &integer.covers[1..] {
                    roles[covered] = Some(Role::Covered);
                }
                roles[i] = Some(Role::Integer(Box::new(integer)));
            }
            Err(reason) => roles[i] = Some(Role::Float(reason)),
        }
    }
    for (i, node) in nodes.iter().enumerate() {
        if roles[i].is_some() {
            continue;
        }
        roles[i] = Some(match node.op.as_str() {
            "QuantizeLinear" => match view.quantize(i) {
                Ok(integer) => Role::Integer(Box::new(integer)),
                Err(reason) => Role::Float(reason),
            },
            // A dequantized activation disappears with its region; a dequantized constant is folded by tract.
            _ => Role::Covered,
        });
    }
    roles.into_iter().map(|r| r.unwrap_or(Role::Covered)).collect()
}

/// Level of every node; covered nodes share that of what covers them.
fn levels(view: &QdqGraph, roles: &[Role]) -> Vec<usize> {
    // level of the node behind a value, and whether that node's result is integer
    let mut of_value: HashMap<&str, (usize, bool)> = HashMap::new();
    let mut levels = vec![0; roles.len()];
    for (i, role) in roles.iter().enumerate() {
        let node = &view.graph.nodes[i];
        let mut seen = node.inputs.iter().filter_map(|v| of_value.get(v.as_str()));
        match role {
            Role::Integer(integer) => {
                let level = match &integer.kind {
                    Kind::Quantize(x) => of_value.get(x.as_str()).map_or(0, |&(level, _)| level),
                    _ => integer
                        .inputs
                        .iter()
                        .filter_map(|a| of_value.get(a.name.as_str()))
                        .map(|v| v.0)
                        .max()
                        .unwrap_or(0),
                };
                levels[i] = level;
                for &covered in &integer.covers {
                    for output in &view.graph.nodes[covered].outputs {
                        of_value.insert(output, (level, true));
                    }
                }
            }
            Role::Covered => {
                // A dequantization hands its input's level on; what an integer node covers was set with it.
                if node.op == "DequantizeLinear" {
                    let (level, integer) = seen.next().copied().unwrap_or((0, false));
                    levels[i] = level;
                    for output in &node.outputs {
                        of_value.insert(output, (level, integer));
                    }
                }
            }
            Role::Constant => {}
            Role::Float(_) => {
                levels[i] = seen.map(|&(level, integer)| level + integer as usize).max().unwrap_or(0);
                for output in &node.outputs {
                    of_value.insert(output, (levels[i], false));
                }
            }
        }
    }
    levels
}

fn float_nodes(view: &QdqGraph, roles: &[Role]) -> Vec<FloatNode> {
    let float = roles.iter().zip(&view.graph.nodes).filter_map(|(role, node)| match role {
        Role::Float(reason) => Some(FloatNode { node: node.title(), reason: reason.clone() }),
        _ => None,
    });
    float.collect()
}

/// The integer activations that are read in float, by a later region, or by whoever runs the model.
fn exported_activations(view: &QdqGraph, roles: &[Role], levels: &[usize]) -> BTreeSet<String> {
    let mut level_of: HashMap<&str, usize> = HashMap::new();
    for (i, role) in roles.iter().enumerate() {
        if let Role::Integer(integer) = role {
            level_of.insert(&integer.output.name, levels[i]);
        }
    }
    let mut exported = BTreeSet::new();
    for (i, role) in roles.iter().enumerate() {
        if let Role::Integer(integer) = role {
            let crossing = integer.inputs.iter().filter(|a| level_of.get(a.name.as_str()) != Some(&levels[i]));
            exported.extend(crossing.map(|a| a.name.clone()));
        }
    }
    let float_reads = |value: &str| {
        view.graph.is_output(value)
            || roles
                .iter()
                .zip(&view.graph.nodes)
                .any(|(role, n)| matches!(role, Role::Float(_)) && n.inputs.iter().any(|i| i == value))
    };
    for node in view.graph.nodes.iter().filter(|n| n.op == "DequantizeLinear") {
        if let Some(quantized) = node.input(0).filter(|q| level_of.contains_key(q))
            && float_reads(&node.outputs[0])
        {
            exported.insert(quantized.to_owned());
        }
    }
    exported
}

/// Name of the float value that carries an exported activation between regions and to float nodes.
fn carrier(activation: &str) -> String {
    format!("{activation}/limbeck.f32")
}

pub(crate) struct BuiltRegion {
    pub plan: Vec<u8>,
    pub spec: PlanSpec,
    /// For each op of the plan, the node of the graph that it comes from; `None` for a change of scale of our own.
    pub sources: Vec<Option<usize>>,
    /// The region in the rewritten graph.
    pub node: Node,
}

#[derive(Default)]
struct RegionBuilder {
    spec: PlanSpec,
    sources: Vec<Option<usize>>,
    ids: HashMap<String, TensorId>,
    input_names: Vec<String>,
}

impl RegionBuilder {
    fn build(
        mut self,
        view: &QdqGraph,
        nodes: &[&IntegerNode],
        exported: &BTreeSet<String>,
        level: usize,
    ) -> Result<BuiltRegion, EngineError> {
        let made_here: BTreeSet<&str> = nodes.iter().map(|n| n.output.name.as_str()).collect();
        for node in nodes {
            for input in node.inputs.iter().filter(|a| !made_here.contains(a.name.as_str())) {
                if !self.ids.contains_key(&input.name) {
                    self.enter(view, input, carrier(&input.name))?;
                }
            }
            self.add(view, node)?;
        }
        let mut output_names = vec![];
        let mut shapes = vec![];
        for name in nodes.iter().map(|n| &n.output.name).filter(|n| exported.contains(*n)) {
            self.spec.outputs.push(self.ids[name]);
            output_names.push(carrier(name));
            let dims = view.sample_dims(name).map_err(EngineError::Plan)?;
            shapes.push(dims.len() as i64);
            shapes.extend(dims.iter().map(|&d| d as i64));
        }
        let plan = limbeck_plan::emit(&self.spec).map_err(|e| EngineError::Plan(e.to_string()))?;
        let name = format!("limbeck.region.{level}");
        let node =
            Node { name, op: PLAN_OP.into(), inputs: self.input_names, outputs: output_names, ..Node::default() }
                .with("plan", Attribute::Bytes(plan.clone()))
                .with("shapes", Attribute::Ints(shapes));
        Ok(BuiltRegion { plan, spec: self.spec, sources: self.sources, node })
    }

    fn tensor(&mut self, view: &QdqGraph, activation: &Activation) -> Result<TensorId, EngineError> {
        let shape = view.shape(&activation.name).map_err(EngineError::Plan)?;
        let id = self.spec.tensors.len();
        let (scale, zero) = (activation.quant.scale, activation.quant.zero);
        self.spec.tensors.push(TensorSpec { name: activation.name.clone(), shape, scale, zero });
        self.ids.insert(activation.name.clone(), id);
        Ok(id)
    }

    /// A tensor that enters the region from the float value `from`.
    fn enter(&mut self, view: &QdqGraph, activation: &Activation, from: String) -> Result<(), EngineError> {
        let id = self.tensor(view, activation)?;
        self.spec.inputs.push(id);
        self.input_names.push(from);
        Ok(())
    }

    fn add(&mut self, view: &QdqGraph, node: &IntegerNode) -> Result<(), EngineError> {
        if let Kind::Quantize(x) = &node.kind {
            return self.enter(view, &node.output, x.clone());
        }
        let mut inputs: Vec<TensorId> = node.inputs.iter().map(|a| self.ids[&a.name]).collect();
        if node.kind.moves_data() {
            let name = &view.graph.nodes[node.covers[0]].name;
            inputs.iter_mut().for_each(|x| *x = self.at_scale(*x, node.output.quant, name));
        }
        let x = inputs[0];
        if let Kind::Alias = node.kind {
            self.ids.insert(node.output.name.clone(), x);
            return Ok(());
        }
        let y = self.tensor(view, &node.output)?;
        let name = view.graph.nodes[node.covers[0]].name.clone();
        let op = match node.kind.clone() {
            Kind::Conv { weights, bias, scale, geometry } => {
                OpSpec::Conv { name, x, y, weights, bias, scale, geometry }
            }
            Kind::Dense { weights, bias, scale } => {
                let weights = self.columns_to_nhwc(x, weights);
                OpSpec::Dense { name, x, y, weights, bias, scale }
            }
            Kind::Add => OpSpec::Add { name, a: x, b: inputs[1], y },
            Kind::Mul => OpSpec::Mul { name, a: x, b: inputs[1], y },
            Kind::Pad { pad, value } => OpSpec::Pad { name, x, y, pad, value },
            Kind::Resize { rows, columns } => OpSpec::Resize { name, x, y, rows, columns },
            Kind::AveragePool(window) => OpSpec::AveragePool { name, x, y, window },
            Kind::MaxPool(window) => OpSpec::MaxPool { name, x, y, window },
            Kind::Concat => OpSpec::Concat { name, xs: inputs, y },
            Kind::Table(table) => OpSpec::Table { name, x, y, table: *table },
            Kind::Quantize(_) | Kind::Alias => return Ok(()),
        };
        self.spec.ops.push(op);
        self.sources.push(Some(node.covers[0]));
        Ok(())
    }

    /// `x`, or its values at another scale and zero point, for the op `name`, which only moves integers.
    fn at_scale(&mut self, x: TensorId, quant: Quant, name: &str) -> TensorId {
        let from = self.spec.tensors[x].clone();
        let old = Quant { scale: from.scale, zero: from.zero };
        if old == quant {
            return x;
        }
        let y = self.spec.tensors.len();
        let Quant { scale, zero } = quant;
        let table = *functions::change_of_scale(old, quant);
        self.spec.tensors.push(TensorSpec { name: format!("{}/limbeck.rescaled.{y}", from.name), scale, zero, ..from });
        self.spec.ops.push(OpSpec::Table { name: format!("{name}/limbeck.rescale.{y}"), x, y, table });
        self.sources.push(None);
        y
    }

    /// A matrix that read a flattened C H W tensor, reordered to read the plan's H W C.
    fn columns_to_nhwc(&self, x: TensorId, weights: Vec<i8>) -> Vec<i8> {
        let shape = self.spec.tensors[x].shape;
        let (pixels, channels) = ((shape.h * shape.w) as usize, shape.c as usize);
        if pixels == 1 || !weights.len().is_multiple_of((pixels * channels).max(1)) {
            return weights;
        }
        let reorder = |row: &[i8]| -> Vec<i8> {
            (0..pixels).flat_map(|p| (0..channels).map(move |c| row[c * pixels + p])).collect()
        };
        weights.chunks_exact(pixels * channels).flat_map(reorder).collect()
    }
}

/// The graph with each region as one node.
fn rewrite(model: &Model, view: &QdqGraph, roles: &[Role], levels: &[usize], plan_nodes: Vec<(usize, Node)>) -> Model {
    let mut rest = model.clone();
    let mut ordered: Vec<(usize, usize, Node)> = vec![];
    for (i, role) in roles.iter().enumerate() {
        let node = &view.graph.nodes[i];
        let constant_dq =
            node.op == "DequantizeLinear" && node.input(0).is_some_and(|q| view.graph.initializers.contains_key(q));
        match role {
            // Floats of a level run before its integers.
            Role::Float(_) => ordered.push((levels[i] * 2, i, node.clone())),
            Role::Constant => ordered.push((0, i, node.clone())),
            _ if constant_dq => ordered.push((0, i, node.clone())),
            _ => {}
        }
    }
    for (level, node) in plan_nodes {
        ordered.push((level * 2 + 1, usize::MAX, node));
    }
    ordered.sort_by_key(|(stage, i, _)| (*stage, *i));
    rest.graph.nodes = ordered.into_iter().map(|(_, _, n)| n).collect();
    // What read a dequantized activation reads the region's float output.
    for dq in view.graph.nodes.iter().filter(|n| n.op == "DequantizeLinear") {
        let quantized = dq.input(0).unwrap_or_default();
        if view.graph.initializers.contains_key(quantized) {
            continue;
        }
        let carrier = carrier(quantized);
        rest.graph.redirect(&dq.outputs[0], &carrier);
        if rest.graph.is_output(&dq.outputs[0]) {
            // The output keeps its name: the region writes it directly, everyone else reads that.
            for node in &mut rest.graph.nodes {
                for output in node.outputs.iter_mut().filter(|o| **o == carrier) {
                    *output = dq.outputs[0].clone();
                }
            }
            rest.graph.redirect(&carrier, &dq.outputs[0]);
        }
    }
    rest.graph.remove_dead();
    rest
}

/// Is one region all there is?
fn is_whole(rest: &Model) -> bool {
    let names = |values: &[Value]| values.iter().map(|v| v.name.clone()).collect::<Vec<_>>();
    match &rest.graph.nodes[..] {
        [only] => {
            only.op == PLAN_OP && only.inputs == names(&rest.graph.inputs) && only.outputs == names(&rest.graph.outputs)
        }
        _ => false,
    }
}
