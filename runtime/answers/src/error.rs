//! Why answers cannot be written or used.

use std::path::PathBuf;

use limbeck_files::FileError;

use crate::format::VERSION;
use crate::view::View;

/// Why answers cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// These bytes are something else.
    #[error("{}: not an answers file; make one with `limbeck teach`", path.display())]
    NotAnswers {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer format.
    #[error(
        "{}: answers format {found}, with features that this build (format {VERSION}) does not know; \
         update limbeck, or teach again", path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Written by an older format.
    #[error("{}: answers format {found}; this build reads format {VERSION} only: teach again", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Bytes were changed or lost.
    #[error("{}: damaged: {what}; copy the file again, or teach again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part, and how it is known.
        what: String,
    },
    /// Whole, but its manifest contradicts itself; also: a manifest that no file can be made of.
    #[error("{}: manifest: `{field}` {why}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The manifest's field.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The answers belong to something else.
    #[error(
        "{}: the answers are for another {field}: they were made with {in_file}, this run has {expected}; \
         teach again, or give the {field} that they belong to", path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// "teacher", "teacher card", "data set" or "labels".
        field: &'static str,
        /// What the file says.
        in_file: String,
        /// What was asked for.
        expected: String,
    },
    /// Only a part of the samples.
    #[error(
        "{}: holds the answers of samples {first}..{end} of {of} only; put all parts together with `limbeck answers merge`",
        path.display()
    )]
    Shard {
        /// The file.
        path: PathBuf,
        /// First sample.
        first: u64,
        /// One past the last.
        end: u64,
        /// Of the whole data set.
        of: u64,
    },
    /// An unfinished file of another run stands in the way.
    #[error(
        "{}: an unfinished run with another `{field}` is here: it has {in_file}, this run has {now}; \
         delete the file or give --restart to begin anew, or repeat the first run", path.display()
    )]
    OtherRun {
        /// The unfinished file.
        path: PathBuf,
        /// Path of the field in the manifest.
        field: String,
        /// What the unfinished file says.
        in_file: String,
        /// What this run says.
        now: String,
    },
    /// Another process writes the same file.
    #[error("{}: another process is writing it; wait for it, or give another --out", path.display())]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// An unfinished file whose bytes were changed.
    #[error("{}: the unfinished file is damaged: {what}; delete it or give --restart to begin anew", path.display())]
    DamagedPartial {
        /// The unfinished file.
        path: PathBuf,
        /// Which part.
        what: String,
    },
    /// The teacher gave NaN or infinity.
    #[error(
        "{}: the teacher's `{head}` value {index} of sample {sample}, view {view}, is {value}; \
         check the teacher and its card (scale, mean, std)", path.display()
    )]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// Key of the head.
        head: String,
        /// The sample.
        sample: u64,
        /// The view.
        view: View,
        /// Index of the value.
        index: usize,
        /// What it was.
        value: f32,
    },
    /// Finished too early.
    #[error(
        "{}: {missing} of {all} answers are missing, the first for sample {sample}, view {view}; \
         answer every sample in every view before finishing", path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// First sample without a record, in file order.
        sample: u64,
        /// Its view.
        view: View,
        /// Records missing.
        missing: u64,
        /// Records a whole file has.
        all: u64,
    },
    /// The same answer was given twice.
    #[error("{}: sample {sample}, view {view}, was answered twice; answer it once", path.display())]
    Repeated {
        /// The file.
        path: PathBuf,
        /// The sample.
        sample: u64,
        /// The view.
        view: View,
    },
    /// Outside the samples of the file.
    #[error("{}: there is no sample {sample}; the file is for samples {first}..{end}", path.display())]
    NoSuchSample {
        /// The file.
        path: PathBuf,
        /// Asked for.
        sample: u64,
        /// First sample.
        first: u64,
        /// One past the last.
        end: u64,
    },
    /// The file has no answers for this view.
    #[error("{}: there are no answers for view {view}; teach with it, or train without it", path.display())]
    NoSuchView {
        /// The file.
        path: PathBuf,
        /// Asked for.
        view: View,
    },
    /// The file does not keep this output.
    #[error("{}: there are no answers under `{key}` (there are: {there}); add `--head {key}` to `limbeck teach`", path.display())]
    NoSuchHead {
        /// The file.
        path: PathBuf,
        /// Asked for.
        key: String,
        /// All keys of the file.
        there: String,
    },
    /// All logits were asked for, the largest are kept.
    #[error(
        "{}: of the {classes} values under `{key}` only the largest {k} are kept; \
         teach again with `--head {key}:dense`, or use a loss that takes the largest", path.display()
    )]
    NotDense {
        /// The file.
        path: PathBuf,
        /// Key of the head.
        key: String,
        /// K
        k: u16,
        /// C
        classes: usize,
    },
    /// The largest logits with their statistics were asked for, something else is kept.
    #[error("{}: under `{key}` there is {kind}, not the largest logits; read its values instead", path.display())]
    NotTopK {
        /// The file.
        path: PathBuf,
        /// Key of the head.
        key: String,
        /// What is kept.
        kind: crate::head::HeadKind,
    },
    /// A slice of the wrong length.
    #[error("{}: an answer has {want} values under `{key}`, not {have}; check that teacher and student fit", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Key of the head.
        key: String,
        /// Given.
        have: usize,
        /// Of the file.
        want: usize,
    },
    /// An answer without a value for each head.
    #[error("{}: an answer has {want} heads, not {have}", path.display())]
    WrongHeads {
        /// The file.
        path: PathBuf,
        /// Given.
        have: usize,
        /// Of the file.
        want: usize,
    },
    /// More bytes than a file can have.
    #[error("{}: {bytes} bytes of answers do not fit a file; use fewer samples, views or heads", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Of all records.
        bytes: u64,
    },
}
