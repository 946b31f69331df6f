//! Models that mean harm, as generators: no binary is kept. Each is a few hundred bytes of ONNX, written field by field, because our
//! own emitter would not write what is wrong with them.
//!
//! Field numbers: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>. What each does to an unguarded runtime was found against
//! tract-onnx 0.23.9: most are clean errors there, one hangs, three panic.

/// One that must be refused, or a control that must not.
pub struct Case {
    /// What it tries.
    pub name: &'static str,
    /// The model file.
    pub model: Vec<u8>,
    /// A word of the refusal; any will do where it is empty.
    pub says: &'static str,
}

/// Elements of the input, and so of a sample: 3 × 32 × 32.
const INPUT: [u64; 4] = [1, 3, 32, 32];
const FLOAT: u64 = 1;
const INT64: u64 = 7;

/// Those to be refused.
pub fn hostile() -> Vec<Case> {
    let case = |name, says, model| Case { name, model, says };
    let external = |entries: &[(&str, &str)]| scaled(&tensor("k", FLOAT, &[1]).external(entries));
    let filled = |elements: u64| {
        let shape = tensor("shape", INT64, &[1]).raw(&elements.to_le_bytes());
        let fill = node("ConstantOfShape", &["shape"], "f");
        let sum = node("ReduceSum", &["f"], "s").attribute("keepdims", 0);
        model(&[fill, sum, node("Add", &["image", "s"], "y")], &[shape])
    };
    let whole = scaled(&tensor("k", FLOAT, &[1]).raw(&1f32.to_le_bytes()));
    vec![
        case("external data one folder up", "another file", external(&[("location", "../secret.bin")])),
        case("external data at an absolute path", "another file", external(&[("location", "/etc/passwd")])),
        case("external data up by a detour", "another file", external(&[("location", "sub/../../secret.bin")])),
        case("external data behind a link", "another file", external(&[("location", "link.bin")])),
        case("external data in a FIFO, whose opening never ends", "another file", external(&[("location", "fifo")])),
        case(
            "external data whose offset overflows",
            "another file",
            external(&[("location", "k.bin"), ("offset", "18446744073709551615"), ("length", "4")]),
        ),
        case("a constant of huge size", "the limit is", scaled(&tensor("k", FLOAT, &[1 << 40]))),
        case("a constant whose size overflows", "the limit is", scaled(&tensor("k", FLOAT, &[1 << 33, 1 << 33]))),
        case("a constant of negative size", "negative size", scaled(&tensor("k", FLOAT, &[u64::MAX]))),
        case("a constant shorter than it says", "promises", scaled(&tensor("k", FLOAT, &[8]).raw(&[0; 4]))),
        case("a file cut short", "", whole[..whole.len() - 3].to_vec()),
        case("an empty file", "", vec![]),
        case("random bytes", "", (0..997u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        case(
            "a cycle",
            "cycle",
            model(&[node("Relu", &["b"], "a"), node("Relu", &["a"], "b"), node("Add", &["image", "b"], "y")], &[]),
        ),
        case(
            "a convolution whose weights do not fit",
            "",
            model(&[node("Conv", &["image", "k"], "y")], &[tensor("k", FLOAT, &[2, 7, 3, 3]).raw(&[0; 2 * 7 * 9 * 4])]),
        ),
        case("subgraphs nested 3000 deep", "", nested(3000)),
        case("a constant of 2^31 elements made on loading", "", filled(1 << 31)),
        case("a constant of 2^34 elements made on loading", "", filled(1 << 34)),
        case("a tensor of 2^36 elements made on running", "more than the", tiled(1 << 25)),
        // Declared f32 from end to end: the constant's default type is f32 by the standard, and f64 in tract.
        case("a type that is not the one declared", "not f32", filled(4)),
        case("more nodes than any network has", "the limit is", {
            let name = |i: u32| if i == 120_000 { "y".to_owned() } else { format!("v{i}") };
            let nodes = (1..=120_000).map(|i| {
                let before = if i == 1 { "image".to_owned() } else { name(i - 1) };
                node("Relu", &[&before], &name(i))
            });
            model(&nodes.collect::<Vec<_>>(), &[])
        }),
    ]
}

/// Those that only look like them.
pub fn controls() -> Vec<Case> {
    let case = |name, model| Case { name, model, says: "" };
    vec![
        case("one multiplication", scaled(&tensor("k", FLOAT, &[1]).raw(&1f32.to_le_bytes()))),
        case("a small tensor made on running", tiled(1)),
        case("a chain of a thousand nodes", {
            let name = |i: u32| if i == 1000 { "y".to_owned() } else { format!("v{i}") };
            let nodes = (1..=1000).map(|i| {
                let before = if i == 1 { "image".to_owned() } else { name(i - 1) };
                node("Relu", &[&before], &name(i))
            });
            model(&nodes.collect::<Vec<_>>(), &[])
        }),
    ]
}

/// y = image × k
fn scaled(k: &Message) -> Vec<u8> {
    model(&[node("Mul", &["image", "k"], "y")], std::slice::from_ref(k))
}

/// y = the image, `times` times beside itself
fn tiled(times: u64) -> Vec<u8> {
    let repeats: Vec<u8> = [1, 1, 1, times].iter().flat_map(|r: &u64| r.to_le_bytes()).collect();
    model(&[node("Tile", &["image", "r"], "y")], &[tensor("r", INT64, &[4]).raw(&repeats)])
}

/// If in If in If …
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = Message::default().field(12, value("y"));
    for _ in 0..depth {
        let branch = Message::default().text(1, "then_branch").field(6, inner).number(20, 5);
        inner = Message::default().field(1, node("If", &["c"], "y").field(5, branch)).field(12, value("y"));
    }
    let outer = inner.field(11, value("image")).text(2, "g");
    Message::default().number(1, 8).field(7, outer).field(8, Message::default().number(2, 17)).0
}

/// A model from `image` to `y`, both of [`INPUT`].
fn model(nodes: &[Message], constants: &[Message]) -> Vec<u8> {
    let mut graph = Message::default();
    for node in nodes {
        graph = graph.field(1, node.clone());
    }
    graph = graph.text(2, "g");
    for constant in constants {
        graph = graph.field(5, constant.clone());
    }
    let graph = graph.field(11, value("image")).field(12, value("y"));
    Message::default().number(1, 8).field(7, graph).field(8, Message::default().number(2, 17)).0
}

fn value(name: &str) -> Message {
    let shape = INPUT.iter().fold(Message::default(), |shape, &d| shape.field(1, Message::default().number(1, d)));
    let tensor = Message::default().number(1, FLOAT).field(2, shape);
    Message::default().text(1, name).field(2, Message::default().field(1, tensor))
}

fn node(op: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
    node.text(2, output).text(3, &format!("{op}-{output}")).text(4, op)
}

fn tensor(name: &str, data_type: u64, dims: &[u64]) -> Message {
    let tensor = dims.iter().fold(Message::default(), |tensor, &d| tensor.number(1, d));
    tensor.number(2, data_type).text(8, name)
}

/// A protobuf message, field by field.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u64, value: u64) -> Message {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Message {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Message {
        self.bytes(field, text.as_bytes())
    }

    fn field(self, field: u64, message: Message) -> Message {
        self.bytes(field, &message.0)
    }

    /// An integer attribute of a node.
    fn attribute(self, name: &str, value: u64) -> Message {
        self.field(5, Message::default().text(1, name).number(3, value).number(20, 2))
    }

    /// The elements of a tensor.
    fn raw(self, bytes: &[u8]) -> Message {
        self.bytes(9, bytes)
    }

    /// Elements that lie elsewhere.
    fn external(self, entries: &[(&str, &str)]) -> Message {
        let entry =
            |m: Message, (key, value): &(&str, &str)| m.field(13, Message::default().text(1, key).text(2, value));
        entries.iter().fold(self, entry).number(14, 1)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
