//! What the file says about itself: `metadata_props`, plain text, ignored by everyone who does not know it.
//!
//! | key | value |
//! |---|---|
//! | `limbeck.format` | `1` |
//! | `limbeck.arithmetic` | `f32-rne/1` |
//! | `limbeck.calibration` | samples, ranges, equalisation, bias correction |
//! | `limbeck.calibration.sha256` | of the data set that the samples are from |
//! | `limbeck.weight_bits` | `4`; absent where weights have 8 |
//! | `limbeck.layers` | a line an operator: `int8 Conv "stem"`, `float Softmax "head": why` |
//!
//! What the float student's file said stays, such as `limbeck.answers.sha256`: the answers that it was distilled from.

use std::collections::HashMap;

use limbeck_data::Dataset;
use limbeck_engine::FloatNode;
use limbeck_engine::onnx::Model;

use crate::job::Job;
use crate::weight_bits::WeightBits;
use crate::{QuantizeError, QuantizeOptions};

/// Write the table above into `quantized`, which `job` built.
pub(crate) fn write(
    quantized: &mut Model,
    job: &Job<'_>,
    dataset: &dyn Dataset,
    options: &QuantizeOptions,
    float_nodes: &[FloatNode],
) -> Result<(), QuantizeError> {
    let reasons: HashMap<&str, &str> = float_nodes.iter().map(|n| (n.node.as_str(), n.reason.as_str())).collect();
    let line = |title: String| match reasons.get(title.as_str()) {
        Some(reason) => format!("float {title}: {reason}"),
        None => format!("int8 {title}"),
    };
    let layers: Vec<String> = job.model.graph.nodes.iter().map(|n| line(n.title())).collect();
    let mut calibration = format!("{} samples, {}", job.samples.len(), options.method);
    for (done, what) in [(options.equalise, ", equalised"), (options.bias_correction, ", biases corrected")] {
        calibration += if done { what } else { "" };
    }
    let entries = [
        ("limbeck.format", "1".to_owned()),
        ("limbeck.arithmetic", "f32-rne/1".into()),
        ("limbeck.calibration", calibration),
        ("limbeck.calibration.sha256", dataset.sha256()?),
        ("limbeck.layers", layers.join("\n")),
    ];
    quantized.metadata.extend(entries.map(|(key, value)| (key.to_owned(), value)));
    if options.weight_bits != WeightBits::Eight {
        quantized.metadata.insert("limbeck.weight_bits".into(), options.weight_bits.to_string());
    }
    Ok(())
}
