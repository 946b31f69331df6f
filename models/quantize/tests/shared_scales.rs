//! Activations that share a scale keep their values, whatever clamps one of them.

use limbeck_answers::{Card, Image};
use limbeck_data::{DataError, Dataset, Sample, Unwatched};
use limbeck_engine::onnx::{Attribute, Dim, Graph, Model, Node, Tensor, Value};
use limbeck_engine::{Net, Student};
use limbeck_quantize::{QuantizeOptions, quantize};

const CARD: &str = r#"
    version = 1
    task = "classification"
    labels = ["a", "b", "c", "d"]
    [input]
    width = 4
    height = 4
    layout = "nchw"
    colour = "rgb"
    resize = "exact"
    scale = 0.0078125
    mean = [1.0, 1.0, 1.0]
    std = [1.0, 1.0, 1.0]
"#;

struct Ramps;

impl Ramps {
    fn image(i: usize) -> Image {
        Image { width: 4, height: 4, rgb: (0..48).map(|p| ((p * 37 + i * 91) % 256) as u8).collect() }
    }
}

impl Dataset for Ramps {
    fn name(&self) -> &str {
        "ramps"
    }
    fn labels(&self) -> &[String] {
        &[]
    }
    fn len(&self) -> usize {
        16
    }
    fn id(&self, i: usize) -> String {
        i.to_string()
    }
    fn sample(&self, i: usize) -> Result<Sample, DataError> {
        Ok(Sample { image: Ramps::image(i), label: None, objects: vec![], mask: None })
    }
    fn sha256(&self) -> Result<String, DataError> {
        Ok(String::new())
    }
}

/// concat(relu(conv(x)), conv(x)), then the mean of each channel.
fn relu_beside_linear() -> Model {
    let weights = |seed: usize| {
        let values = (0..2 * 3).map(|i| ((i * 29 + seed * 17) % 13) as f32 / 6.0 - 1.0).collect();
        Tensor::f32(&[2, 3, 1, 1], values)
    };
    let nodes = vec![
        Node::new("Conv", "left", &["x", "w1", "b1"], &["l"]),
        Node::new("Relu", "relu", &["l"], &["r"]),
        Node::new("Conv", "right", &["x", "w2", "b2"], &["s"]),
        Node::new("Concat", "join", &["r", "s"], &["c"]).with("axis", Attribute::Int(1)),
        Node::new("GlobalAveragePool", "pool", &["c"], &["p"]),
        Node::new("Flatten", "flatten", &["p"], &["y"]),
    ];
    let bias = |v: f32| Tensor::f32(&[2], vec![v; 2]);
    let initializers = [("w1", weights(1)), ("w2", weights(2)), ("b1", bias(0.1)), ("b2", bias(-1.5))];
    let sizes = [3, 4, 4].map(Dim::Known);
    let graph = Graph {
        name: "g".into(),
        nodes,
        initializers: initializers.into_iter().map(|(n, t)| (n.to_owned(), t)).collect(),
        inputs: vec![Value::f32("x", std::iter::once(Dim::Symbol("N".into())).chain(sizes).collect())],
        outputs: vec![Value::f32("y", vec![])],
    };
    Model { ir_version: 8, opset: 17, other_opsets: vec![], metadata: Default::default(), graph }
}

#[test]
fn a_relu_branch_does_not_clip_the_branch_it_is_joined_with() {
    let card = Card::parse(CARD, "card.toml".as_ref()).unwrap();
    let model = relu_beside_linear();
    let quantized = quantize(&model, &card, &Ramps, &QuantizeOptions::default(), &Unwatched).unwrap();
    assert_eq!(quantized.float_nodes, [], "the clamp that stays is an integer operator too");
    let mut x = vec![0.0; 48];
    let preprocess = limbeck_answers::Preprocess::new(&card);
    preprocess.run(&Ramps::image(3), limbeck_answers::View::Identity, &mut x).unwrap();
    let mut float = vec![];
    Net::load(&model, 1).unwrap().worker().unwrap().run(&x, |_, y| float = y.to_vec()).unwrap();
    let student = Student::load(&quantized.model).unwrap();
    let mut int8 = vec![0.0; 4];
    student.worker().unwrap().run(&x, &mut int8).unwrap();
    assert!(float[2] < -0.5, "the linear branch is negative here: {float:?}");
    for (f, q) in float.iter().zip(&int8) {
        assert!((f - q).abs() < 0.05, "float {float:?}, int8 {int8:?}");
    }
}
