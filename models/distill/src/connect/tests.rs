//! Every connector makes the shape that its loss wants, and has the gradient of what it makes.

use limbeck_adapt::{Judged, Objective, Opened, Said, Selection, TappedExamples, TappedNet};
use limbeck_engine::onnx::{Attribute, Graph, Tensor};

use super::*;
use crate::recipe::DistillRecipe;

fn noise(seed: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729 + 13) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// image (N, 3, 8, 8) → stage 1 (4, 8, 8) → stage 2 (6, 4, 4) → mean → 3 logits.
fn student() -> Model {
    let conv = |name: &str, from: &str, to: &str, stride: i64| {
        Node::new("Conv", name, &[from, &format!("{name}.w"), &format!("{name}.b")], &[to])
            .with("pads", Attribute::Ints(vec![1; 4]))
            .with("strides", Attribute::Ints(vec![stride; 2]))
    };
    let nodes = vec![
        conv("a", "image", "a.y", 1),
        Node::new("Relu", "a.relu", &["a.y"], &["a.z"]),
        conv("b", "a.z", "b.y", 2),
        Node::new("Relu", "b.relu", &["b.y"], &["b.z"]),
        Node::new("GlobalAveragePool", "mean", &["b.z"], &["mean.y"]),
        Node::new("Flatten", "flat", &["mean.y"], &["flat.y"]),
        Node::new("Gemm", "fc", &["flat.y", "fc.w", "fc.b"], &["logits"]).with("transB", Attribute::Int(1)),
    ];
    let tensor = |seed, dims: &[usize]| Tensor::f32(dims, noise(seed, dims.iter().product()));
    let weights = [
        ("a.w", tensor(1, &[4, 3, 3, 3])),
        ("a.b", tensor(2, &[4])),
        ("b.w", tensor(3, &[6, 4, 3, 3])),
        ("b.b", tensor(4, &[6])),
        ("fc.w", tensor(5, &[3, 6])),
        ("fc.b", tensor(6, &[3])),
    ];
    let image = [Dim::Symbol("N".into()), Dim::Known(3), Dim::Known(8), Dim::Known(8)];
    let graph = Graph {
        name: "net".into(),
        nodes,
        initializers: weights.map(|(name, t)| (name.to_owned(), t)).into_iter().collect(),
        inputs: vec![Value::f32("image", image.to_vec())],
        outputs: vec![Value::f32("logits", vec![])],
    };
    Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
}

/// What a teacher of larger maps and other channels would have kept.
fn teacher_shape(key: &Key) -> Result<Vec<usize>, ConnectError> {
    Ok(match key.name.as_str() {
        "logits" => vec![3],
        "pooled" => vec![10],
        "feat:stage:1" => vec![5, 8, 8],
        "feat:stage:2" => vec![7, 4, 4],
        "feat:small" => vec![6, 2, 2],
        "feat:large" => vec![6, 8, 8],
        other => return Err(ConnectError::Key(format!("no head {other}"))),
    })
}

fn terms(losses: &str) -> Vec<Term> {
    let text = format!("version = 1\nname = \"t\"\n{losses}");
    DistillRecipe::parse(&text, "t.toml".as_ref()).unwrap().stages.remove(0).terms
}

fn connected(losses: &str) -> Result<(Opened, Connected), ConnectError> {
    let opened = Opened::float(&student(), &Selection::All, 1.0).unwrap();
    let connected = connect(&opened.model, false, &terms(losses), &teacher_shape, 3)?;
    let opened = opened.attach(&connected.attachment).unwrap();
    Ok((opened, connected))
}

struct Drawn;

impl TappedExamples for Drawn {
    fn example(&self, index: usize, x: &mut [f32], further: &mut [Vec<f32>]) -> Result<Option<usize>, String> {
        x.copy_from_slice(&noise(index + 100, x.len()));
        for values in further {
            let drawn = noise(index + 900, values.len());
            values.copy_from_slice(&drawn);
        }
        Ok(None)
    }
}

/// ½ Σ y² of all outputs.
struct Squares;

impl Objective for Squares {
    fn judge(&mut self, said: &Said<'_>) -> Result<Judged, String> {
        let loss = said.outputs.iter().flatten().map(|&y| (y as f64).powi(2)).sum::<f64>() / 2.0;
        Ok(Judged { loss, agreement: 0.0, gradients: said.outputs.to_vec() })
    }
}

const LOSSES: [(&str, &str, usize, &[usize]); 10] = [
    ("none", "[[loss]]\nkind = \"fitnets\"\nstudent = \"stage:2\"\nteacher = \"feat:stage:2\"\n", 1, &[6, 4, 4]),
    (
        "conv1x1",
        "[[loss]]\nkind = \"fitnets\"\nstudent = \"stage:2\"\nteacher = \"feat:stage:2\"\nconnector = \"conv1x1\"\n",
        1,
        &[7, 4, 4],
    ),
    (
        "pool",
        "[[loss]]\nkind = \"fitnets\"\nstudent = \"stage:2\"\nteacher = \"feat:small\"\nconnector = \"pool\"\n",
        1,
        &[6, 2, 2],
    ),
    (
        "resize",
        "[[loss]]\nkind = \"fitnets\"\nstudent = \"stage:2\"\nteacher = \"feat:large\"\nconnector = \"resize\"\n",
        1,
        &[6, 8, 8],
    ),
    ("linear", "[[loss]]\nkind = \"sp\"\nconnector = \"linear\"\n", 1, &[10]),
    ("vid", "[[loss]]\nkind = \"vid\"\nteacher = \"feat:stage:2\"\nconnector = \"vid\"\n", 2, &[7, 4, 4]),
    ("embeddings", "[[loss]]\nkind = \"crd\"\nmiddle = 5\n", 2, &[5]),
    (
        "abf",
        "[[loss]]\nkind = \"review-kd\"\ntaps = 2\nstudent = [\"stage:1\", \"stage:2\"]\n\
         teacher = [\"feat:stage:1\", \"feat:stage:2\"]\nconnector = \"abf\"\nmiddle = 4\n",
        2,
        &[5, 8, 8],
    ),
    ("factors", "[[loss]]\nkind = \"ft\"\nstudent = \"stage:2\"\nteacher = \"feat:stage:2\"\n", 1, &[3, 4, 4]),
    ("logits", "[[loss]]\nkind = \"dist\"\n", 1, &[3]),
];

#[test]
fn a_connector_makes_what_its_loss_reads() {
    for (name, losses, outputs, dims) in LOSSES {
        let (opened, connected) = connected(losses).unwrap();
        let wired = &connected.terms[0][0];
        assert_eq!((wired.outputs.len(), &wired.dims[0][..]), (outputs, dims), "{name}");
        let net = TappedNet::of(&opened, 2).unwrap();
        for (&output, dims) in wired.outputs.iter().zip(&wired.dims) {
            assert_eq!(&net.output_shapes()[output][1..], dims, "{name}: a batch of one, then {dims:?}");
        }
        if name == "logits" {
            assert_eq!(wired.outputs, [0], "the student's own output is not put out twice");
        }
    }
}

#[test]
fn a_connector_has_the_gradient_of_what_it_makes() {
    for (name, losses, _, _) in LOSSES {
        let (mut opened, _) = connected(losses).unwrap();
        let net = TappedNet::of(&opened, 1).unwrap();
        let indices: Vec<usize> = (0..5).collect();
        let found = net.gradient(&opened.parameters, None, &Drawn, &indices, [0, 1, 1], &mut Squares).unwrap();
        for (i, parameter) in opened.parameters.names().to_vec().iter().enumerate() {
            let g = &found.gradients[i];
            let square: f64 = g.iter().map(|&g| g as f64 * g as f64).sum();
            assert!(square > 0.0, "{name}: {parameter} has a gradient");
            let values = opened.parameters.values[i].clone();
            let step = 1e-2 / square.sqrt();
            let mut at = |sign: f64| {
                let moved = values.iter().zip(g).map(|(v, &g)| (*v as f64 + sign * step * g as f64) as f32);
                opened.parameters.values[i] = moved.collect();
                let outputs = net.outputs(&opened.parameters, &Drawn, &indices).unwrap();
                outputs.iter().flatten().map(|&y| (y as f64).powi(2)).sum::<f64>() / 2.0
            };
            let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
            opened.parameters.values[i] = values;
            // Kinks of ReLU lie between the two points now and then.
            assert!((slope / square - 1.0).abs() < 2e-2, "{name} {parameter}: {slope} along a gradient of {square}");
        }
    }
}

#[test]
fn what_does_not_fit_says_what_would() {
    let cases = [
        ("[[loss]]\nkind = \"fitnets\"\nstudent = \"stage:9\"\nteacher = \"feat:stage:2\"\n", "stage:2 [6, 4, 4]"),
        ("[[loss]]\nkind = \"fitnets\"\nteacher = \"feat:none\"\nconnector = \"conv1x1\"\n", "no head feat:none"),
        ("[[loss]]\nkind = \"fitnets\"\nteacher = \"feat:large\"\nconnector = \"pool\"\n", "resize"),
    ];
    for (losses, what) in cases {
        let error = connected(losses).unwrap_err().to_string();
        assert!(error.contains(what), "{losses}: {error}");
    }
    let quantized = connect(
        &student(),
        true,
        &terms("[[loss]]\nkind = \"fitnets\"\nteacher = \"feat:stage:2\"\n"),
        &teacher_shape,
        3,
    );
    let quantized = quantized.unwrap_err().to_string();
    assert!(quantized.contains("int8 student"), "{quantized}");
}
