//! A loss outside the graph: the same training as a loss inside, gradients through all that is attached, and nothing of it left at the end.

mod common;

use common::{net, noise};
use limbeck_adapt::{
    Attachment, Examples, Judged, Loss, Objective, Opened, Recipe, Said, Selection, Session, TappedExamples, TappedNet,
    TappedSession, Visits,
};
use limbeck_engine::FloatIsa;
use limbeck_engine::onnx::{Attribute, Dim, Node, Tensor, Value};

const SAMPLES: usize = 19;

/// Inputs, and answers of three classes.
struct Drawn;

fn answer(index: usize) -> Vec<f32> {
    noise(index + 5000, 3).into_iter().map(|t| t * 3.0).collect()
}

impl Examples for Drawn {
    fn example(&self, index: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        x.copy_from_slice(&noise(index + 100, x.len()));
        teacher.copy_from_slice(&answer(index));
        Ok(Some(index % 3))
    }
}

impl TappedExamples for Drawn {
    fn example(&self, index: usize, x: &mut [f32], further: &mut [Vec<f32>]) -> Result<Option<usize>, String> {
        x.copy_from_slice(&noise(index + 100, x.len()));
        for values in further {
            let drawn = noise(index + 900, values.len());
            values.copy_from_slice(&drawn);
        }
        Ok(Some(index % 3))
    }
}

fn softmax(z: &[f32], t: f64) -> Vec<f64> {
    let e: Vec<f64> = z.iter().map(|&z| (z as f64 / t).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.into_iter().map(|e| e / sum).collect()
}

/// T²·KL and cross-entropy, as [`Loss`] has them, at T = 4 and weights 1 and 0.5.
struct Kd;

impl Objective for Kd {
    fn judge(&mut self, said: &Said<'_>) -> Result<Judged, String> {
        let (mut loss, mut gradient) = (0.0, vec![]);
        let b = said.indices.len() as f64;
        for ((z, &index), label) in said.outputs[0].chunks(3).zip(said.indices).zip(said.labels) {
            let (p, q, hard) = (softmax(&answer(index), 4.0), softmax(z, 4.0), softmax(z, 1.0));
            let y = label.ok_or("a label")?;
            loss += 16.0 * p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>() / b;
            loss -= 0.5 * hard[y].ln() / b;
            for k in 0..3 {
                let one = (k == y) as u8 as f64;
                gradient.push(((4.0 * (q[k] - p[k]) + 0.5 * (hard[k] - one)) / b) as f32);
            }
        }
        Ok(Judged { loss, agreement: 0.0, gradients: vec![gradient] })
    }
}

fn recipe(threads: usize) -> Recipe {
    let loss = Loss { temperature: 4.0, teacher_weight: 1.0, label_weight: 0.5 };
    Recipe { loss, epochs: 3, batch: 7, rate: 0.01, seed: 5, threads, ..Recipe::default() }
}

fn opened() -> Opened {
    Opened::float(&net(), &Selection::All, 1.0).unwrap()
}

#[test]
fn a_loss_outside_the_graph_trains_like_one_inside() {
    let visits = || Visits::all(SAMPLES, 2);
    let mut inside = Session::new(opened(), &recipe(2), visits(), "", None).unwrap();
    let mut outside =
        TappedSession::new(opened().attach(&Attachment::default()).unwrap(), &recipe(2), visits()).unwrap();
    while !inside.is_done() {
        let (a, b) = (inside.step(&Drawn).unwrap(), outside.step(&Drawn, &mut Kd).unwrap());
        assert_eq!((a.step, a.total, a.samples, a.rate), (b.step, b.total, b.samples, b.rate));
        assert!((a.so_far.loss - b.so_far.loss).abs() < 1e-5 * a.so_far.loss, "{a:?} {b:?}");
    }
    assert!(outside.is_done());
    let (a, b) = (inside.model().unwrap(), outside.model().unwrap());
    assert_eq!(a.graph.nodes, b.graph.nodes);
    for (name, tensor) in &a.graph.initializers {
        let (a, b) = (tensor.as_f32().unwrap(), b.graph.initializers[name].as_f32().unwrap());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{name}");
    }
}

/// On the map `s` a 1×1 convolution; a teacher's vector of 5 through a linear layer to 2; one trained tensor as it is; the map `a.y` itself.
fn attachment() -> Attachment {
    let tensor = |seed, dims: &[usize]| Tensor::f32(dims, noise(seed, dims.iter().product()));
    Attachment {
        nodes: vec![
            Node::new("Conv", "tap.conv", &["s", "tap.w", "tap.b"], &["tap.y"]),
            Node::new("Gemm", "embed", &["teacher.pooled", "embed.w"], &["embed.y"]).with("transB", Attribute::Int(1)),
            Node::new("Identity", "rho.node", &["rho"], &["rho.y"]),
        ],
        trained: vec![
            ("tap.w".into(), tensor(31, &[6, 4, 1, 1])),
            ("tap.b".into(), tensor(32, &[6])),
            ("embed.w".into(), tensor(33, &[2, 5])),
            ("rho".into(), tensor(34, &[1, 6])),
        ],
        fixed: vec![],
        inputs: vec![Value::f32("teacher.pooled", vec![Dim::Known(1), Dim::Known(5)])],
        outputs: ["tap.y", "embed.y", "rho.y", "a.y", "s"].map(str::to_owned).to_vec(),
    }
}

/// ½ Σ c y² over all outputs, with another c for each: every output has a gradient.
struct Squares;

impl Objective for Squares {
    fn judge(&mut self, said: &Said<'_>) -> Result<Judged, String> {
        let c = |i: usize| 0.1 * (i + 1) as f64;
        let of = |(i, y): (usize, &Vec<f32>)| y.iter().map(|&y| c(i) * (y as f64).powi(2)).sum::<f64>() / 2.0;
        let loss = said.outputs.iter().enumerate().map(of).sum();
        let slope = |(i, y): (usize, &Vec<f32>)| y.iter().map(|&y| (c(i) * y as f64) as f32).collect();
        Ok(Judged { loss, agreement: 0.0, gradients: said.outputs.iter().enumerate().map(slope).collect() })
    }
}

#[test]
fn gradients_of_all_that_is_attached_are_slopes() {
    for path in [None, Some(FloatIsa::PORTABLE), FloatIsa::detect_fast()] {
        let mut opened = opened().attach(&attachment()).unwrap();
        let net = TappedNet::on_path(&opened, 2, path).unwrap();
        let indices: Vec<usize> = (0..11).collect();
        let shapes: Vec<usize> = net.output_shapes().iter().map(|s| s.iter().product()).collect();
        assert_eq!(shapes, [3, 6 * 36, 2, 6, 4 * 36, 4 * 36]);
        let gradient = |opened: &Opened| {
            net.gradient(&opened.parameters, None, &Drawn, &indices, [0, 1, 1], &mut Squares).unwrap()
        };
        let found = gradient(&opened);
        for (i, name) in opened.parameters.names().to_vec().iter().enumerate() {
            let g = &found.gradients[i];
            let square: f64 = g.iter().map(|&g| g as f64 * g as f64).sum();
            assert!(square > 0.0, "{name} has a gradient");
            let values = opened.parameters.values[i].clone();
            // A step along the gradient that changes values by 1e-2 in L2.
            let step = 1e-2 / square.sqrt();
            let mut at = |sign: f64| {
                let moved = values.iter().zip(g).map(|(v, &g)| (*v as f64 + sign * step * g as f64) as f32);
                opened.parameters.values[i] = moved.collect();
                let outputs = net.outputs(&opened.parameters, &Drawn, &indices).unwrap();
                let labels = vec![None; indices.len()];
                let said =
                    Said { indices: &indices, labels: &labels, outputs: &outputs, average: None, steps: [0, 1, 1] };
                Squares.judge(&said).unwrap().loss
            };
            let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
            opened.parameters.values[i] = values;
            assert!((slope / square - 1.0).abs() < 5e-3, "{path:?} {name}: {slope} along a gradient of {square}");
        }
    }
}

#[test]
fn threads_do_not_matter_and_nothing_attached_is_left() {
    let run = |threads| {
        let opened = opened().attach(&attachment()).unwrap();
        let mut session = TappedSession::new(opened, &recipe(threads), Visits::all(SAMPLES, 2)).unwrap();
        while !session.is_done() {
            session.step(&Drawn, &mut Squares).unwrap();
        }
        session.model().unwrap()
    };
    let one = run(1);
    assert_eq!(one, run(3));
    let before = Opened::float(&net(), &Selection::All, 1.0).unwrap().model;
    assert_eq!(
        (&one.graph.nodes, &one.graph.inputs, &one.graph.outputs),
        (&before.graph.nodes, &before.graph.inputs, &before.graph.outputs)
    );
    let names = |m: &limbeck_engine::onnx::Model| m.graph.initializers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&before));
}

#[test]
fn an_attachment_whose_name_is_taken_is_refused() {
    let taken = Attachment { trained: vec![("fc.bias".into(), Tensor::f32(&[3], vec![0.0; 3]))], ..attachment() };
    assert!(opened().attach(&taken).unwrap_err().to_string().contains("\"fc.bias\""));
}
