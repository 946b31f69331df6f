//! Write the golden models and their inputs: `cargo run -p limbeck-tests --example make_golden -- FOLDER`.
//!
//! Each is a tiny float net, quantized by `limbeck-quantize`: `<name>.onnx`, and `<name>.json` with samples as pixels.
//! `tests/golden/make.py` adds what onnxruntime computes from them; `tests/tests/oracle.rs` compares.

#![forbid(unsafe_code)]

use std::path::Path;

use limbeck_answers::rng::Stream;
use limbeck_answers::{Card, Colour, Image, InputCard, Layout, Resize, Task};
use limbeck_data::{DataError, Dataset, Sample, Unwatched};
use limbeck_engine::onnx::{Attribute, Model};
use limbeck_quantize::{QuantizeOptions, quantize};
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
        quantized.model.write(path.with_extension("onnx"))?;
        // Planes in ONNX order, one sample a line.
        let lines: Vec<String> = (0..KEPT).map(|i| format!("  {:?}", planes(&pixels.image(i)))).collect();
        let json = format!("{{\"pixels\": [\n{}\n]}}\n", lines.join(",\n"));
        std::fs::write(path.with_extension("json"), json)?;
        println!("{name}: {} operators in integers", quantized.integer_operators);
    }
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
                let bounds = [("min", Attribute::Float(0.0)), ("max", Attribute::Float(6.0))];
                n.op("Clip", "relu6", &[&x], &bounds)
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
            "separable_net",
            zoo(vec![Stage::Separable { channels: 16, stride: 2 }, Stage::Separable { channels: 24, stride: 2 }]),
        ),
        (
            "residual_net",
            zoo(vec![Stage::Residual { channels: 8, stride: 1 }, Stage::Residual { channels: 12, stride: 2 }]),
        ),
    ]
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
    fn sha256(&self) -> Result<String, DataError> {
        Ok(String::new())
    }
}
