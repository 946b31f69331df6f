//! Is the new student better? Old and new run as they are deployed, an int8 student as its plan, and not as a training graph.
//!
//! ```text
//! loss      = mean over what is shown of  weight·T²·KL(softmax(t/T) ‖ softmax(z/T)) + label_weight·CE(z, label)
//! accepted  = held-out loss falls  and  replay loss ≤ (1 + margin) · replay loss before
//! ```

use anyhow::Result;
use limbeck_adapt::Loss;
use limbeck_engine::{Student, argmax};
use serde::{Deserialize, Serialize};

use super::inputs::{Material, Shown};

/// How a student did on what it was shown, in means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What training lowers.
    pub loss: f64,
    /// Share on which it chooses the teacher's class.
    pub agreement: f64,
    /// Share of the labelled on which it is right; `None` without labels.
    pub top1: Option<f64>,
}

/// A student before and after, on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Pictures shown: samples times views.
    pub shown: usize,
    /// The student that was there.
    pub before: Score,
    /// The one that was trained.
    pub after: Score,
}

/// Run `student` over everything in `shown`.
///
/// # Errors
/// A student that does not run, or a picture that cannot be shown any more.
pub fn score(student: &Student, material: &Material<'_>, shown: &[Shown], loss: &Loss) -> Result<Score> {
    let mut worker = student.worker()?;
    let mut x = vec![0.0; student.input_len()];
    let (mut logits, mut teacher) = (vec![0.0; student.output_len()], vec![0.0; student.output_len()]);
    let (mut sum, mut agreeing, mut labelled, mut correct) = (0.0, 0usize, 0usize, 0usize);
    for &one in shown {
        let label = material.show(one, &mut x, &mut teacher).map_err(anyhow::Error::msg)?;
        worker.run(&x, &mut logits)?;
        sum += loss.of(&logits, &teacher, label);
        let class = argmax(&logits);
        agreeing += (class == argmax(&teacher)) as usize;
        labelled += label.is_some() as usize;
        correct += (label == Some(class)) as usize;
    }
    let n = shown.len().max(1) as f64;
    Ok(Score {
        loss: sum / n,
        agreement: agreeing as f64 / n,
        top1: (labelled > 0).then(|| correct as f64 / labelled as f64),
    })
}

/// May the new student replace the old one? If not, why.
pub fn verdict(held_out: &Compared, replay: Option<&Compared>, margin: f64) -> Result<String, String> {
    let (before, after) = (held_out.before.loss, held_out.after.loss);
    // Written so that a loss that is not a number never passes.
    if !(after.is_finite() && after < before) {
        return Err(format!("the held-out loss does not fall: {before:.6} before, {after:.6} after"));
    }
    let fallen = format!("the held-out loss falls from {before:.6} to {after:.6}");
    let Some(replay) = replay else {
        return Ok(format!(
            "{fallen}; the bundle has no replay set, so nothing was checked for what it may have forgotten"
        ));
    };
    let (before, after) = (replay.before.loss, replay.after.loss);
    let limit = before * (1.0 + margin);
    if !(after.is_finite() && after <= limit) {
        return Err(format!(
            "{fallen}, but it forgets: the replay loss is {before:.6} before and {after:.6} after, at most {limit:.6} is allowed"
        ));
    }
    Ok(format!("{fallen}, and the replay loss is {before:.6} before and {after:.6} after (at most {limit:.6})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(before: f64, after: f64) -> Compared {
        let score = |loss| Score { loss, agreement: 0.5, top1: None };
        Compared { shown: 4, before: score(before), after: score(after) }
    }

    #[test]
    fn only_a_lower_held_out_loss_is_accepted() {
        assert!(verdict(&compared(1.0, 0.9), None, 0.0).unwrap().contains("no replay set"));
        for after in [1.0, 1.1, f64::NAN, f64::INFINITY] {
            assert!(verdict(&compared(1.0, after), None, 9.0).is_err(), "{after}");
        }
    }

    #[test]
    fn the_replay_loss_may_rise_by_the_margin_and_no_more() {
        let held_out = compared(1.0, 0.5);
        assert!(verdict(&held_out, Some(&compared(1.0, 1.02)), 0.02).is_ok());
        for after in [1.03, f64::NAN] {
            let why = verdict(&held_out, Some(&compared(1.0, after)), 0.02).unwrap_err();
            assert!(why.contains("forgets"), "{why}");
        }
    }
}
