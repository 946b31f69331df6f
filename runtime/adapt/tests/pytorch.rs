//! Losses, every gradient tensor and ten training losses of small networks against PyTorch in f64 (`golden/make_golden.py`).
//!
//! A tensor's error is its distance from PyTorch's in L2, relative to the norm. Where the file holds the whole tensor that
//! is computed directly; where it holds products with random vectors r of uniform ±1, E⟨Δ, r⟩² = |Δ|²/3 gives it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use limbeck_adapt::{Examples, Loss, Optimiser, Parameters, Rule, TrainingNet};
use limbeck_engine::onnx::{Model, Tensor};

/// Relative L2 error allowed for one gradient tensor: f32 against f64.
const GRADIENT_TOLERANCE: f64 = 1e-4;
/// A tensor whose gradient cancels (the bias of attention's keys) is allowed this share of the norm of all together.
const CANCELLED: f64 = 1e-6;
/// Relative error allowed for a loss.
const LOSS_TOLERANCE: f64 = 1e-4;
/// Random vectors a gradient is multiplied by.
const VECTORS: u64 = 4;

// Streams of the counter-based generator, as in the script.
const INPUT: u64 = 1 << 20;
const TEACHER: u64 = 2 << 20;
const VECTOR: u64 = 3 << 20;

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Uniform in [-1, 1), multiples of 2⁻²³.
fn uniform(stream: u64) -> impl Iterator<Item = f32> {
    let start = mix(stream.wrapping_add(GAMMA));
    (1u64..).map(move |i| (mix(start.wrapping_add(i.wrapping_mul(GAMMA))) >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
}

struct Drawn {
    name: String,
    scale: f32,
    offset: f32,
    whole: bool,
    dims: Vec<usize>,
}

struct Case {
    loss: Loss,
    value: f64,
    /// By tensor: the norm, then the products.
    gradients: BTreeMap<String, Vec<f64>>,
}

struct Training {
    rule: Rule,
    rate: f32,
    decay: f32,
    losses: Vec<f64>,
}

/// A network and what PyTorch says of it.
struct Golden {
    model: Model,
    /// Number of the first sample, and how many there are.
    first: usize,
    batch: usize,
    tensors: Vec<Drawn>,
    cases: BTreeMap<String, Case>,
    training: Vec<Training>,
    /// Gradients of the case "both", by tensor.
    whole: BTreeMap<String, Vec<f32>>,
}

impl Golden {
    fn read(net: &str) -> Golden {
        let file = |extension: &str| -> PathBuf {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{net}.{extension}"))
        };
        let mut golden = Golden {
            model: Model::read(file("onnx")).unwrap(),
            first: 0,
            batch: 0,
            tensors: vec![],
            cases: BTreeMap::new(),
            training: vec![],
            whole: BTreeMap::new(),
        };
        let mut case = String::new();
        for line in std::fs::read_to_string(file("txt")).unwrap().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |i: usize| words[i].parse::<f64>().unwrap();
            let numbers = |from: usize| words[from..].iter().map(|w| w.parse().unwrap()).collect::<Vec<f64>>();
            match words[0] {
                "batch" => (golden.first, golden.batch) = (words[1].parse().unwrap(), words[2].parse().unwrap()),
                "tensor" => golden.tensors.push(Drawn {
                    name: words[1].into(),
                    scale: words[2].parse().unwrap(),
                    offset: words[3].parse().unwrap(),
                    whole: words[4] == "whole",
                    dims: words[5..].iter().map(|w| w.parse().unwrap()).collect(),
                }),
                "case" => {
                    case = words[1].into();
                    let [temperature, teacher_weight, label_weight] = [2, 3, 4].map(|i| number(i) as f32);
                    let loss = Loss { temperature, teacher_weight, label_weight };
                    golden.cases.insert(case.clone(), Case { loss, value: number(5), gradients: BTreeMap::new() });
                }
                "gradient" => {
                    golden.cases.get_mut(&case).unwrap().gradients.insert(words[1].into(), numbers(2));
                }
                "training" => {
                    let rule = match words[1] {
                        "sgd" => Rule::Sgd { momentum: 0.9, nesterov: false },
                        _ => Rule::ADAM,
                    };
                    let (rate, decay) = (number(2) as f32, number(3) as f32);
                    golden.training.push(Training { rule, rate, decay, losses: numbers(4) });
                }
                _ => {}
            }
        }
        let bytes = std::fs::read(file("bin")).unwrap();
        let mut values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        for tensor in golden.tensors.iter().filter(|t| t.whole) {
            let len = tensor.dims.iter().product();
            golden.whole.insert(tensor.name.clone(), values.by_ref().take(len).collect());
        }
        golden.give_weights();
        golden
    }

    /// The graph's further inputs become its weights.
    fn give_weights(&mut self) {
        let graph = &mut self.model.graph;
        graph.inputs.truncate(1);
        for (k, tensor) in self.tensors.iter().enumerate() {
            let len = tensor.dims.iter().product();
            let values = uniform(k as u64).take(len).map(|u| u * tensor.scale + tensor.offset).collect();
            graph.initializers.insert(tensor.name.clone(), Tensor::f32(&tensor.dims, values));
        }
        self.model = limbeck_engine::normalise(&self.model).unwrap();
    }

    /// Numbers of the samples.
    fn samples(&self) -> Vec<usize> {
        (self.first..self.first + self.batch).collect()
    }

    /// The network's parameters, which must be those that PyTorch trains.
    fn parameters(&self) -> Parameters {
        let parameters = Parameters::of(&self.model).unwrap();
        let mut found: Vec<&str> = parameters.names().iter().map(String::as_str).collect();
        let mut expected: Vec<&str> = self.tensors.iter().map(|t| t.name.as_str()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "trained tensors here and in PyTorch");
        parameters
    }
}

/// Sample i is stream i.
struct Streams;

impl Examples for Streams {
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        x.iter_mut().zip(uniform(INPUT + index as u64)).for_each(|(x, u)| *x = u);
        teacher.iter_mut().zip(uniform(TEACHER + index as u64)).for_each(|(t, u)| *t = u * 4.0);
        Ok(Some(index % teacher.len()))
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// Loss and every gradient of both cases. Returns the largest error, in parts of what is allowed.
fn check_gradients(net: &str) -> f64 {
    let golden = Golden::read(net);
    let parameters = golden.parameters();
    let indices = golden.samples();
    let mut worst = 0f64;
    for (name, case) in &golden.cases {
        let training = TrainingNet::new(&golden.model, &parameters, &case.loss, 1).unwrap();
        assert_eq!(training.unlowered_nodes(), 0, "{net}: nodes that build a model on every call");
        let found = training.gradient(&parameters, &Streams, &indices).unwrap();
        let loss = found.teacher_loss as f64 + found.label_loss as f64;
        let error = (loss - case.value).abs() / case.value;
        assert!(error <= LOSS_TOLERANCE, "{net}, {name}: loss {loss}, PyTorch {}", case.value);
        let all = norm(case.gradients.values().map(|g| g[0]));
        for (k, tensor) in golden.tensors.iter().enumerate() {
            let at = parameters.names().iter().position(|n| *n == tensor.name).unwrap();
            let g = &found.gradients[at];
            let expected = &case.gradients[&tensor.name];
            let allowed = GRADIENT_TOLERANCE * expected[0] + CANCELLED * all;
            let distance = if name == "both" && tensor.whole {
                norm(g.iter().zip(&golden.whole[&tensor.name]).map(|(&g, &e)| g as f64 - e as f64))
            } else {
                let product = |j: u64| -> f64 {
                    let r = uniform(VECTOR + k as u64 * VECTORS + j);
                    g.iter().zip(r).map(|(&g, r)| g as f64 * r as f64).sum()
                };
                let squares = (0..VECTORS).map(|j| (product(j) - expected[1 + j as usize]).powi(2)).sum::<f64>();
                (3.0 * squares / VECTORS as f64).sqrt()
            };
            worst = worst.max(distance / allowed);
            assert!(
                distance <= allowed,
                "{net}, {name}: the gradient of {} is off by {distance:.2e}, its norm is {:.2e}",
                tensor.name,
                expected[0]
            );
        }
    }
    println!("{net}: worst gradient error {worst:.3} of what is allowed");
    worst
}

/// Ten steps of each rule on the same samples.
fn check_training(net: &str) {
    let golden = Golden::read(net);
    assert_eq!(golden.training.len(), 2, "{net}: two rules");
    let loss = golden.cases["both"].loss;
    let training_net = TrainingNet::new(&golden.model, &golden.parameters(), &loss, 1).unwrap();
    for training in &golden.training {
        let mut parameters = golden.parameters();
        let decays = parameters.decays();
        let mut optimiser = Optimiser::new(training.rule, training.decay);
        for (step, &expected) in training.losses.iter().enumerate() {
            let found = training_net.gradient(&parameters, &Streams, &golden.samples()).unwrap();
            let loss = found.teacher_loss as f64 + found.label_loss as f64;
            let error = (loss - expected).abs() / expected;
            assert!(
                error <= LOSS_TOLERANCE,
                "{net}, {:?}, step {step}: loss {loss}, PyTorch {expected}, off by {error:.2e}",
                training.rule
            );
            optimiser.step(training.rate, &mut parameters.values, &found.gradients, &decays);
        }
        assert_eq!(training.losses.len(), 10);
    }
}

#[test]
fn resnet8() {
    check_gradients("resnet8");
    check_training("resnet8");
}

#[test]
fn ds_cnn() {
    check_gradients("dscnn");
    check_training("dscnn");
}

#[test]
fn mobilenet_v2() {
    check_gradients("mobilenetv2");
    check_training("mobilenetv2");
}

#[test]
fn mobilenet_v3_blocks() {
    check_gradients("mobilenetv3_blocks");
}

#[test]
fn u_net() {
    check_gradients("unet");
}

#[test]
fn tiny_vit() {
    check_gradients("tiny_vit");
}

#[test]
fn the_tolerance_can_fail() {
    // A thousandth more of one weight of the last layer is ten times what the tolerance allows.
    let mut golden = Golden::read("resnet8");
    let weight = golden.model.graph.initializers.get_mut("fc.weight").unwrap();
    let moved: Vec<f32> = weight.as_f32().unwrap().iter().map(|w| w * 1.001).collect();
    *weight = Tensor::f32(&weight.dims.clone(), moved);
    let parameters = golden.parameters();
    let case = &golden.cases["both"];
    let net = TrainingNet::new(&golden.model, &parameters, &case.loss, 1).unwrap();
    let found = net.gradient(&parameters, &Streams, &golden.samples()).unwrap();
    let far = |name: &String| {
        let at = parameters.names().iter().position(|n| n == name).unwrap();
        let distance = norm(found.gradients[at].iter().zip(&golden.whole[name]).map(|(&g, &e)| g as f64 - e as f64));
        distance > GRADIENT_TOLERANCE * case.gradients[name][0]
    };
    assert!(golden.whole.keys().all(far));
}
