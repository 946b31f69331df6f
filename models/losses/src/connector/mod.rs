//! Connectors: what stands between a student's tap and a loss where student and teacher have different shapes.
//!
//! student (C, H, W), teacher (C', H', W'), M channels in the middle; weights as ONNX has them, (O, I, k, k)
//!
//! | name      | the tap becomes                | parameters |
//! |-----------|--------------------------------|------------|
//! | `none`    | (C, H, W)                      | |
//! | `conv1x1` | (C', H, W)                     | weight (C', C, 1, 1), bias (C') |
//! | `resize`  | (C, H', W'), bilinear          | |
//! | `pool`    | (C, H', W'), average           | |
//! | `linear`  | (C'), of a tap of one pixel    | weight (C', C), bias (C') |
//! | `vid`     | μ (C', H, W) and ρ (C')        | first (M, C, 1, 1), relu, second (M, M, 1, 1), relu, third (C', M, 1, 1); rho (C') |
//! | `abf`     | (C', H', W') and passed on (M, H, W) | see [`Connector::Abf`] |
//!
//! Only shapes and initial weights are here; graphs are made by whoever trains. Convolutions have a bias and no batch normalisation: a student
//! is trained with its normalisations folded, and behind a convolution one folds into weight and bias.
//!
//! Weights are He's (Kaiming) normal, deviation √(2 / fan-in), by counter: an element depends on seed, name and index and nothing else
//! (He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015). Biases are 0, ρ is that of variance 5 (`vid`'s authors).

mod normal;

use serde::Deserialize;

use crate::maps::vid::Vid;

/// Why there is no such connector, or not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorError {
    /// A recipe names a connector that does not exist.
    #[error("unknown connector `{name}`; there are {}", names())]
    Unknown {
        /// As written.
        name: String,
    },
    /// It does not fit between these shapes.
    #[error("connector `{connector}`: {why}")]
    Shapes {
        /// The connector.
        connector: &'static str,
        /// Both shapes, and what would fit.
        why: String,
    },
}

/// A connector as a recipe names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Connector {
    /// The tap as it is.
    #[default]
    None,
    /// Channels to the teacher's (FitNets, AB, OFD, ICKD).
    Conv1x1,
    /// Height and width to the teacher's by bilinear interpolation, pixels as areas (ONNX `half_pixel`).
    Resize,
    /// Height and width to the teacher's by average pooling over even windows.
    Pool,
    /// A vector to the teacher's length.
    Linear,
    /// The regressor of `vid` and its variances.
    Vid,
    /// Attention-based fusion of `review-kd`, one stage; from the deepest stage to the first, y is what the deeper one passed on:
    ///
    /// x' = reduce(x) (M, H, W);  y' = y at H x W, nearest
    /// a = sigmoid(attention([x', y'])) (2, H, W);  z = x'·a₀ + y'·a₁, passed on;  the tap = expand(z at H' x W', nearest)
    ///
    /// reduce (M, C, 1, 1), attention (2, 2M, 1, 1), expand (C', M, 3, 3), each with a bias. The deepest stage has no y: there z = x', and
    /// its shape is [`ConnectorShape::without_fusion`]. All stages have one M. Chen et al., CVPR 2021.
    Abf,
}

/// Every connector, in the order of the table.
const ALL: [Connector; 7] = [
    Connector::None,
    Connector::Conv1x1,
    Connector::Resize,
    Connector::Pool,
    Connector::Linear,
    Connector::Vid,
    Connector::Abf,
];

fn names() -> String {
    ALL.map(Connector::name).join(", ")
}

impl TryFrom<String> for Connector {
    type Error = ConnectorError;

    fn try_from(name: String) -> Result<Self, ConnectorError> {
        Connector::parse(&name)
    }
}

/// Shapes that a connector stands between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// (C, H, W) of the student's tap; a vector is (C, 1, 1).
    pub student: [usize; 3],
    /// (C', H', W') of the teacher's key.
    pub teacher: [usize; 3],
    /// M of `vid` and `abf`; none: C', for `abf` at most 512.
    pub middle: Option<usize>,
}

/// What a connector makes of a tap, and with which parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectorShape {
    /// Which.
    pub connector: Connector,
    /// (C, H, W) of the tap.
    pub input: [usize; 3],
    /// Shapes of what the loss gets, one a tap of the loss: two for `vid` (μ, ρ), else one.
    pub outputs: Vec<Vec<usize>>,
    /// (M, H, W) that `abf` passes on to the stage before.
    pub passed_on: Option<[usize; 3]>,
    /// Trained with the student, and left behind when training ends.
    pub parameters: Vec<Parameter>,
}

/// One parameter of a connector.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name within the connector.
    pub name: &'static str,
    /// Its shape, as ONNX has it: (O, I, k, k), (O, I), (O).
    pub dims: Vec<usize>,
    /// What it is before training.
    pub initial: Initial,
}

/// What a parameter is before training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// Normal of mean 0 and deviation √(2 / `fan_in`).
    He {
        /// Values that each output is a sum of.
        fan_in: usize,
    },
    /// All the same.
    Constant(f64),
}

impl Connector {
    /// Read a recipe's `connector = "..."`.
    pub fn parse(name: &str) -> Result<Connector, ConnectorError> {
        let known = ALL.into_iter().find(|connector| connector.name() == name);
        known.ok_or_else(|| ConnectorError::Unknown { name: name.to_owned() })
    }

    /// As a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Connector::None => "none",
            Connector::Conv1x1 => "conv1x1",
            Connector::Resize => "resize",
            Connector::Pool => "pool",
            Connector::Linear => "linear",
            Connector::Vid => "vid",
            Connector::Abf => "abf",
        }
    }

    /// Its shapes and parameters between these maps.
    pub fn shape(self, between: Between) -> Result<ConnectorShape, ConnectorError> {
        let Between { student: [c, h, w], teacher: [c_t, h_t, w_t], middle } = between;
        let refuse = |why: String| Err(ConnectorError::Shapes { connector: self.name(), why });
        if [c, h, w, c_t, h_t, w_t, middle.unwrap_or(1)].contains(&0) {
            return refuse(format!("a shape has a zero: {between:?}"));
        }
        let mut passed_on = None;
        let (outputs, parameters) = match self {
            Connector::None => (vec![vec![c, h, w]], vec![]),
            Connector::Conv1x1 => {
                (vec![vec![c_t, h, w]], vec![weight("weight", vec![c_t, c, 1, 1]), constant("bias", c_t, 0.0)])
            }
            Connector::Resize => (vec![vec![c, h_t, w_t]], vec![]),
            Connector::Pool => {
                if !h.is_multiple_of(h_t) || !w.is_multiple_of(w_t) {
                    return refuse(format!(
                        "the student's map is {h} x {w} and the teacher's {h_t} x {w_t}, which does not divide it; \
                         use connector = \"resize\""
                    ));
                }
                (vec![vec![c, h_t, w_t]], vec![])
            }
            Connector::Linear => {
                if (h, w) != (1, 1) || (h_t, w_t) != (1, 1) {
                    return refuse(format!(
                        "the student's tap is ({c}, {h}, {w}) and the teacher's key ({c_t}, {h_t}, {w_t}), and it joins vectors; \
                         tap the pooled vector, or use connector = \"conv1x1\""
                    ));
                }
                (vec![vec![c_t]], vec![weight("weight", vec![c_t, c]), constant("bias", c_t, 0.0)])
            }
            Connector::Vid => {
                let m = middle.unwrap_or(c_t);
                let regressor = [("first", [m, c]), ("second", [m, m]), ("third", [c_t, m])];
                let mut parameters: Vec<_> = regressor.map(|(name, [o, i])| weight(name, vec![o, i, 1, 1])).into();
                parameters.push(constant("rho", c_t, Vid::rho(5.0)));
                (vec![vec![c_t, h, w], vec![c_t]], parameters)
            }
            Connector::Abf => {
                let m = middle.unwrap_or(c_t.min(512));
                passed_on = Some([m, h, w]);
                let parameters = vec![
                    weight("reduce.weight", vec![m, c, 1, 1]),
                    constant("reduce.bias", m, 0.0),
                    weight("attention.weight", vec![2, 2 * m, 1, 1]),
                    constant("attention.bias", 2, 0.0),
                    weight("expand.weight", vec![c_t, m, 3, 3]),
                    constant("expand.bias", c_t, 0.0),
                ];
                (vec![vec![c_t, h_t, w_t]], parameters)
            }
        };
        Ok(ConnectorShape { connector: self, input: between.student, outputs, passed_on, parameters })
    }
}

impl ConnectorShape {
    /// Of the deepest stage of `abf`, which has nothing to fuse; others stay as they are.
    pub fn without_fusion(mut self) -> ConnectorShape {
        self.parameters.retain(|parameter| !parameter.name.starts_with("attention."));
        self
    }

    /// The parameters before training, in their order. `name` is the connector's place in the recipe: two of one name begin alike.
    pub fn initial(&self, seed: u64, name: &str) -> Vec<Vec<f64>> {
        let values = |parameter: &Parameter| {
            let count = parameter.dims.iter().product();
            match parameter.initial {
                Initial::He { fan_in } => he(seed, &format!("{name}/{}", parameter.name), count, fan_in),
                Initial::Constant(value) => vec![value; count],
            }
        };
        self.parameters.iter().map(values).collect()
    }
}

/// Weights (C_out, C_in, 1, 1) of a 1×1 convolution before training: He's normal of the stream `name`.
pub fn initial_conv1x1(seed: u64, name: &str, c_in: usize, c_out: usize) -> Vec<f64> {
    he(seed, name, c_in * c_out, c_in)
}

fn he(seed: u64, name: &str, count: usize, fan_in: usize) -> Vec<f64> {
    normal::normal(seed, name, count, (2.0 / fan_in.max(1) as f64).sqrt())
}

fn weight(name: &'static str, dims: Vec<usize>) -> Parameter {
    let fan_in = dims[1..].iter().product();
    Parameter { name, dims, initial: Initial::He { fan_in } }
}

fn constant(name: &'static str, count: usize, value: f64) -> Parameter {
    Parameter { name, dims: vec![count], initial: Initial::Constant(value) }
}
