//! Why a loss cannot be made or evaluated.

/// Why a loss cannot be made or evaluated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LossError {
    /// A recipe names a loss that does not exist.
    #[error("unknown loss `{kind}`; did you mean `{nearest}`?")]
    UnknownKind {
        /// As written.
        kind: String,
        /// The loss that is spelled most like it.
        nearest: &'static str,
    },
    /// An option that the loss does not have, or a value that it cannot take.
    #[error("loss `{kind}`: {why}")]
    Options {
        /// The loss.
        kind: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// Student and teacher values do not fit together.
    #[error("loss `{kind}`: {why}")]
    Shapes {
        /// The loss.
        kind: &'static str,
        /// Both shapes, and the connector that would help.
        why: String,
    },
    /// The answers file lacks something.
    #[error("loss `{kind}` {why}; add `{head}` to `limbeck teach`")]
    Head {
        /// The loss.
        kind: &'static str,
        /// What it needs, and what there is.
        why: String,
        /// The option to add.
        head: String,
    },
    /// The loss needs a label and a sample has none.
    #[error(
        "loss `{kind}` needs labels, and sample {sample} has none; use labelled images, or a loss without labels such as `kd`"
    )]
    Label {
        /// The loss.
        kind: &'static str,
        /// The sample.
        sample: u64,
    },
}
