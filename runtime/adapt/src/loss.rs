//! What the student is trained towards.

/// Weights of the distillation loss: β·T²·KL(teacher ‖ student) + α·cross-entropy with the label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// T: both sides' logits are divided by it.
    pub temperature: f32,
    /// β.
    pub teacher_weight: f32,
    /// α; ignored for samples without a label.
    pub label_weight: f32,
}

impl Default for Loss {
    /// Teacher only at T = 4, the usual setting on CIFAR (RepDistiller, mdistiller).
    fn default() -> Self {
        Loss { temperature: 4.0, teacher_weight: 1.0, label_weight: 0.0 }
    }
}
