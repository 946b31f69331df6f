//! Small networks that emit ONNX, and the models that ship with the demo.
//!
//! [`build`] makes an untrained network from a [`Plan`]; `limbeck zoo` trains the two demo models with our own trainer
//! (the README of this folder has the command) and their files lie in `models/zoo/models`, built into this crate as
//! [`shipped`].

#![forbid(unsafe_code)]

mod build;

use limbeck_answers::{Card, Colour, InputCard, Layout, Resize, Task};

pub use build::{Plan, Stage, build};

/// A model that ships with Limbeck, with its card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// File name of the model.
    pub name: &'static str,
    /// ONNX bytes.
    pub onnx: &'static [u8],
}

/// The models of the demo.
pub mod shipped {
    use super::Shipped;

    /// Trained on scenes with and without shift.
    pub const TEACHER: Shipped =
        Shipped { name: "scenes-teacher.onnx", onnx: include_bytes!("../models/scenes-teacher.onnx") };
    /// Trained on scenes without shift only: it has something to learn from the teacher.
    pub const STUDENT: Shipped =
        Shipped { name: "scenes-student.onnx", onnx: include_bytes!("../models/scenes-student.onnx") };
}

/// The demo teacher: residual, about 130 thousand parameters.
pub fn scenes_teacher() -> Plan {
    Plan {
        classes: 10,
        stem: 16,
        stages: vec![
            Stage::Residual { channels: 32, stride: 2 },
            Stage::Residual { channels: 48, stride: 1 },
            Stage::Residual { channels: 64, stride: 2 },
        ],
    }
}

/// The demo student: depthwise separable with one residual sum, about 12 thousand parameters.
pub fn scenes_student() -> Plan {
    Plan {
        classes: 10,
        stem: 16,
        stages: vec![
            Stage::Separable { channels: 32, stride: 2 },
            Stage::Separable { channels: 32, stride: 1 },
            Stage::Separable { channels: 64, stride: 2 },
            Stage::Separable { channels: 64, stride: 1 },
        ],
    }
}

/// How the demo models see scenes: 32×32 RGB scaled to about ±1.
pub fn scenes_card(labels: &[String]) -> Card {
    Card {
        version: 1,
        task: Task::Classification,
        labels: labels.to_vec(),
        input: InputCard {
            name: Some("image".into()),
            width: 32,
            height: 32,
            layout: Layout::Nchw,
            colour: Colour::Rgb,
            resize: Resize::Exact,
            scale: 1.0 / 255.0,
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
        },
    }
}
