//! Write the golden models and their inputs: `cargo run -p limbeck-tests --example make_golden -- FOLDER`.
//!
//! Each is a tiny float net, quantized by `limbeck-quantize`: `<name>.onnx`, and `<name>.json` with samples as pixels.
//! `tests/golden/make.py` adds what onnxruntime computes from them; `tests/tests/oracle.rs` compares.

#![forbid(unsafe_code)]

use std::path::Path;

use limbeck_answers::rng::Stream;
use limbeck_answers::{Card, Colour, Image, InputCard, Layout, Resize, Task};
use limbeck_data::{DataError, Dataset, Sample, Unwatched};
use limbeck_engine::compile;
use limbeck_engine::onnx::{Attribute, Model, Tensor};
use limbeck_quantize::{QuantizeOptions, quantize};
use limbeck_tests::foreign;
use limbeck_tests::nets::{Conv, Net};
use limbeck_zoo::{Plan, Stage, build};

/// Samples kept in each JSON file.
const KEPT: usize = 4;
/// Samples that ranges are calibrated on.
const CALIBRATION: usize = 32;
/// Rows and columns of the pictures.
const SIDE: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder to write to: tests/golden")?;
    for (name, model) in nets() {
        let pixels = Pixels;
        let options = QuantizeOptions { calibration: CALIBRATION, ..QuantizeOptions::default() };
        let quantized = quantize(&model, &card(), &pixels, &options, &Unwatched)?;
        assert!(quantized.float_nodes.is_empty(), "{name}: {:?}", quantized.float_nodes);
        let path = Path::new(&folder).join(name);
        write(&path, &quantized.model)?;
        println!("{name}: {} operators in integers", quantized.integer_operators);
        for (name, model) in foreign::variants(name, &quantized.model) {
            let compiled = compile(&model)?;
            assert!(compiled.float_nodes.is_empty(), "{name}: {:?}", compiled.float_nodes);
            write(&path.with_file_name(name), &model)?;
            println!("{name}: as another quantizer writes it");
        }
    }
    Ok(())
}

/// The model, and its samples as planes in ONNX order, one a line.
fn write(path: &Path, model: &Model) -> Result<(), Box<dyn std::error::Error>> {
    model.write(path.with_extension("onnx"))?;
    let lines: Vec<String> = (0..KEPT).map(|i| format!("  {:?}", planes(&Pixels.image(i)))).collect();
    let json = format!("{{\"pixels\": [\n{}\n]}}\n", lines.join(",\n"));
    std::fs::write(path.with_extension("json"), json)?;
    Ok(())
}

/// One net for each kind of operator, and two whole ones.
fn nets() -> Vec<(&'static str, Model)> {
    let conv = Conv { input: 3, output: 6, kernel: 3, stride: 1, pad: 1, group: 1 };
    let hand = |seed: u64, dims: &[usize], build: &dyn Fn(&mut Net) -> String| {
        let mut net = Net::new(seed, [3, SIDE, SIDE]);
        let y = build(&mut net);
        net.finish(&y, dims)
    };
    let stem = move |net: &mut Net| {
        let x = net.conv("stem", "image", conv);
        net.relu("stem.relu", &x)
    };
    let zoo = |stages: Vec<Stage>| build(&Plan { classes: 10, stem: 8, stages }, SIDE, 5);
    vec![
        ("conv3x3", hand(1, &[6, 8, 8], &|n| n.conv("conv", "image", conv))),
        ("conv3x3_stride2_relu", {
            let conv = Conv { stride: 2, output: 5, ..conv };
            hand(2, &[5, 4, 4], &|n| {
                let x = n.conv("conv", "image", conv);
                n.relu("relu", &x)
            })
        }),
        ("conv1x1_stride2", {
            let conv = Conv { kernel: 1, pad: 0, stride: 2, output: 7, ..conv };
            hand(3, &[7, 4, 4], &|n| n.conv("conv", "image", conv))
        }),
        ("conv5x5_wide", {
            let conv = Conv { input: 6, output: 4, kernel: 5, pad: 2, ..conv };
            hand(4, &[4, 8, 8], &|n| {
                let x = stem(n);
                n.conv("conv", &x, conv)
            })
        }),
        ("depthwise", {
            let conv = Conv { input: 6, group: 6, ..conv };
            hand(5, &[6, 8, 8], &|n| {
                let x = stem(n);
                n.conv("conv", &x, conv)
            })
        }),
        ("depthwise_stride2_relu6", {
            let conv = Conv { input: 6, group: 6, stride: 2, ..conv };
            hand(6, &[6, 4, 4], &|n| {
                let x = stem(n);
                let x = n.conv("conv", &x, conv);
                let (low, high) = (n.given("low", Tensor::scalar(0.0)), n.given("high", Tensor::scalar(6.0)));
                n.op("Clip", "relu6", &[&x, &low, &high], &[])
            })
        }),
        (
            "add",
            hand(7, &[6, 8, 8], &|n| {
                let a = n.conv("a", "image", conv);
                let b = n.conv("b", "image", conv);
                n.op("Add", "add", &[&a, &b], &[])
            }),
        ),
        ("average_pool", hand(8, &[3, 4, 4], &|n| n.pool("AveragePool", "pool", "image", [2, 2, 0]))),
        (
            "global_average_pool",
            hand(9, &[6], &|n| {
                let x = stem(n);
                let pooled = n.op("GlobalAveragePool", "pool", &[&x], &[]);
                n.op("Flatten", "flatten", &[&pooled], &[])
            }),
        ),
        (
            "max_pool",
            hand(10, &[6, 4, 4], &|n| {
                let x = stem(n);
                n.pool("MaxPool", "pool", &x, [3, 2, 1])
            }),
        ),
        (
            "flatten_gemm",
            hand(11, &[10], &|n| {
                let x = n.conv("stem", "image", Conv { stride: 2, ..conv });
                let x = n.op("Flatten", "flatten", &[&x], &[]);
                n.gemm("gemm", &x, 6 * 16, 10)
            }),
        ),
        (
            "concat",
            hand(12, &[11, 8, 8], &|n| {
                let a = stem(n);
                let b = n.conv("b", "image", Conv { output: 5, kernel: 1, pad: 0, ..conv });
                n.op("Concat", "concat", &[&a, &b], &[("axis", Attribute::Int(1))])
            }),
        ),
        (
            "mul",
            hand(13, &[6, 8, 8], &|n| {
                let a = n.conv("a", "image", conv);
                let b = n.conv("b", "image", conv);
                n.op("Mul", "mul", &[&a, &b], &[])
            }),
        ),
        (
            "squeeze_excite",
            hand(14, &[6, 8, 8], &|n| {
                let x = stem(n);
                let gate = gate(n, &x);
                n.op("Mul", "mul", &[&x, &gate], &[])
            }),
        ),
        (
            "gate_first",
            hand(15, &[6, 8, 8], &|n| {
                let x = n.conv("stem", "image", conv);
                let gate = gate(n, &x);
                n.op("Mul", "mul", &[&gate, &x], &[])
            }),
        ),
        (
            "silu",
            hand(16, &[6, 8, 8], &|n| {
                let x = n.conv("stem", "image", conv);
                let gate = n.op("Sigmoid", "sigmoid", &[&x], &[]);
                n.op("Mul", "silu", &[&x, &gate], &[])
            }),
        ),
        (
            "pad",
            hand(17, &[6, 11, 9], &|n| {
                let x = n.conv("stem", "image", conv);
                let pads = n.given("pads", Tensor::i64(vec![0, 0, 1, 0, 0, 0, 2, 1]));
                let value = n.given("value", Tensor::scalar(-0.75));
                n.op("Pad", "pad", &[&x, &pads, &value], &[])
            }),
        ),
        (
            "resize_twice",
            hand(18, &[6, 16, 16], &|n| {
                let x = stem(n);
                let scales = n.given("scales", Tensor::f32(&[4], vec![1.0, 1.0, 2.0, 2.0]));
                let text = |t: &str| Attribute::Bytes(t.as_bytes().to_vec());
                let modes = [("coordinate_transformation_mode", text("asymmetric")), ("nearest_mode", text("floor"))];
                n.op("Resize", "resize", &[&x, "", &scales], &modes)
            }),
        ),
        (
            "resize_uneven",
            hand(19, &[6, 11, 5], &|n| {
                let x = stem(n);
                let scales = n.given("scales", Tensor::f32(&[4], vec![1.0, 1.0, 1.45, 0.7]));
                n.op("Resize", "resize", &[&x, "", &scales], &[])
            }),
        ),
        (
            "elu",
            hand(20, &[6, 8, 8], &|n| {
                let x = n.conv("stem", "image", conv);
                n.op("Elu", "elu", &[&x], &[("alpha", Attribute::Float(0.8))])
            }),
        ),
        (
            "softplus",
            hand(21, &[6, 8, 8], &|n| {
                let x = n.conv("stem", "image", conv);
                n.op("Softplus", "softplus", &[&x], &[])
            }),
        ),
        (
            "gelu",
            Model {
                opset: 20,
                ir_version: 9,
                ..hand(22, &[6, 8, 8], &|n| {
                    let x = n.conv("stem", "image", conv);
                    n.op("Gelu", "gelu", &[&x], &[])
                })
            },
        ),
        (
            "separable_net",
            zoo(vec![Stage::Separable { channels: 16, stride: 2 }, Stage::Separable { channels: 24, stride: 2 }]),
        ),
        (
            "residual_net",
            zoo(vec![Stage::Residual { channels: 8, stride: 1 }, Stage::Residual { channels: 12, stride: 2 }]),
        ),
    ]
}

/// One value a channel of six, between 0 and 1: the gate of a squeeze-and-excite block.
fn gate(net: &mut Net, x: &str) -> String {
    let point = Conv { input: 6, output: 6, kernel: 1, stride: 1, pad: 0, group: 1 };
    let pooled = net.op("GlobalAveragePool", "squeeze", &[x], &[]);
    let weighed = net.conv("excite", &pooled, point);
    net.op("HardSigmoid", "gate", &[&weighed], &[])
}

/// value = pixel / 64 - 2: exact in f32, so no two programs can disagree on the input.
fn card() -> Card {
    Card {
        version: 1,
        task: Task::Classification,
        labels: vec!["any".into()],
        input: InputCard {
            name: Some("image".into()),
            width: SIDE as u32,
            height: SIDE as u32,
            layout: Layout::Nchw,
            colour: Colour::Rgb,
            resize: Resize::Exact,
            scale: 1.0 / 64.0,
            mean: vec![2.0; 3],
            std: vec![1.0; 3],
        },
    }
}

/// Pictures of seeded noise.
struct Pixels;

impl Pixels {
    fn image(&self, i: usize) -> Image {
        let mut random = Stream::new(64, i as u64, 0);
        let side = SIDE as u32;
        Image { width: side, height: side, rgb: (0..3 * SIDE * SIDE).map(|_| random.below(256) as u8).collect() }
    }
}

/// H W C → C H W.
fn planes(image: &Image) -> Vec<u8> {
    (0..3).flat_map(|c| image.rgb.iter().skip(c).step_by(3)).copied().collect()
}

impl Dataset for Pixels {
    fn name(&self) -> &str {
        "pixels"
    }
    fn labels(&self) -> &[String] {
        &[]
    }
    fn len(&self) -> usize {
        CALIBRATION
    }
    fn id(&self, i: usize) -> String {
        i.to_string()
    }
    fn sample(&self, i: usize) -> Result<Sample, DataError> {
        Ok(Sample { image: self.image(i), label: None, objects: vec![], mask: None })
    }
    fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
        Ok(limbeck_data::merkle::leaf(&self.image(i).rgb))
    }
}
