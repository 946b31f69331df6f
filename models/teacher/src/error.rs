//! What can go wrong while teaching.

use std::path::PathBuf;

use limbeck_answers::AnswersError;
use limbeck_engine::EngineError;
use limbeck_engine::onnx::OnnxError;

/// Why there are no answers.
#[derive(Debug, thiserror::Error)]
pub enum TeachError {
    /// The teacher's file.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The teacher on tract, or a tap that it has not.
    #[error("teacher {}: {source}", path.display())]
    Engine {
        /// The ONNX file.
        path: PathBuf,
        /// What went wrong.
        source: EngineError,
    },
    /// Writing or reading answers.
    #[error(transparent)]
    Answers(#[from] AnswersError),
    /// A sample that cannot be read, or does not fit the card.
    #[error(transparent)]
    Data(#[from] limbeck_data::DataError),
    /// Teacher, card and data do not belong together, or a head cannot be had of this teacher.
    #[error("{0}")]
    Mismatch(String),
    /// More parts than samples.
    #[error("part {part} has no samples: the data set has {samples}; use at most that many parts")]
    EmptyPart {
        /// "3/8".
        part: String,
        /// In the whole data set.
        samples: usize,
    },
    /// Ctrl-C before anything was asked.
    #[error("interrupted; nothing was asked yet")]
    NotBegun,
    /// Ctrl-C.
    #[error("interrupted; {done} of {all} answers are kept in {}: the same command goes on from there", partial.display())]
    Cancelled {
        /// The unfinished file.
        partial: PathBuf,
        /// Answers in it.
        done: u64,
        /// Answers that it will have.
        all: u64,
    },
}
