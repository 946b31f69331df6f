//! From a student to a training session: what is trained, whether that fits, and whether what is frozen is computed once or every time.

use anyhow::Result;
use limbeck_adapt::{AdaptError, CutFormat, CutOptions, Examples, Opened, Selection, Session, plan};
use sha2::{Digest, Sha256};

use super::checkpoint::Checkpoints;
use super::memory;
use super::train::Work;

/// A session that is ready.
pub struct Prepared {
    pub session: Session,
    /// How the tensors were chosen.
    pub selection: String,
    /// Bytes that training is expected to add at its fullest moment.
    pub predicted: u64,
    /// What becomes of the frozen part.
    pub cache: String,
}

/// Samples whose inputs say how large inputs are, and whose gradients say which tensors matter.
const LOOKED_AT: usize = 32;

/// See the module.
///
/// # Errors
/// A model that cannot be trained, a selection that selects nothing, [`AdaptError::Budget`].
pub fn prepare(work: &Work<'_>, checkpoints: &Checkpoints<'_>) -> Result<Prepared> {
    let options = work.options;
    let recipe = options.recipe();
    let is_quantized = Opened::is_quantized(work.model);
    let looked_at = looked_at(work);
    let input_rms = input_rms(work, &looked_at)?;
    let (selection, text) = match (&options.select, options.memory) {
        (Some(selection), _) => (selection.clone(), selection.to_string()),
        (None, None) => (Selection::All, Selection::All.to_string()),
        (None, Some(limit)) => {
            let all = Opened::of(work.model, &Selection::All, input_rms)?;
            let planned = plan(&all, &recipe, work.material, &looked_at, memory::heap_within(limit, is_quantized));
            let planned = planned.map_err(|e| match e {
                // In the figures of the budget that was given.
                AdaptError::Budget { what, needed, .. } => {
                    AdaptError::Budget { what, needed: memory::resident_of(needed, is_quantized), limit }
                }
                other => other,
            })?;
            (planned.selection, "by Fisher information within the memory budget".to_owned())
        }
    };
    let opened = Opened::of(work.model, &selection, input_rms)?;
    let data = work.sources.join(" ");
    let cuts = CutOptions {
        path: checkpoints.cuts.clone(),
        identity: Sha256::digest(data.as_bytes()).into(),
        records: work.material.visits() as u64,
        format: CutFormat::F16,
        limit: options.cache_limit,
    };
    let session = Session::new(opened, &recipe, work.visits.clone(), &data, Some(&cuts))?;
    let predicted = memory::resident_of(session.memory().total(), is_quantized);
    if let Some(limit) = options.memory.filter(|&limit| predicted > limit) {
        return Err(AdaptError::Budget { what: text, needed: predicted, limit }.into());
    }
    let cache = session.cut_choice().map_or_else(String::new, |choice| choice.why.clone());
    Ok(Prepared { session, selection: text, predicted, cache })
}

/// Visits of some samples that are trained on, spread evenly, in their first view.
fn looked_at(work: &Work<'_>) -> Vec<usize> {
    let samples = &work.visits.samples;
    let count = samples.len().min(LOOKED_AT);
    (0..count).map(|i| samples[i * samples.len() / count] * work.visits.views).collect()
}

/// Root mean square of the inputs of these visits.
fn input_rms(work: &Work<'_>, visits: &[usize]) -> Result<f32> {
    let classes = work.material.local.answers().classes();
    let (mut x, mut teacher) = (vec![0.0; work.material.preprocess.len()], vec![0.0; classes]);
    let mut squares = 0.0;
    for &visit in visits {
        work.material.example(visit, &mut x, &mut teacher).map_err(AdaptError::Example)?;
        squares += x.iter().map(|&v| v as f64 * v as f64).sum::<f64>() / x.len() as f64;
    }
    Ok((squares / visits.len().max(1) as f64).sqrt() as f32)
}
