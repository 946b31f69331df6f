//! What `adapt` is given: images that are here, what the teacher said about them, and the replay set of the bundle.
//!
//! Answers are bound to the pictures by the hash over all of them, so nothing is trained towards an answer that was given
//! for another picture.

use std::path::Path;

use anyhow::Result;
use limbeck_adapt::Examples;
use limbeck_answers::{Answers, Augment, Expected, Preprocess, Resize, View};
use limbeck_bundle::{Bundle, Replay, ReplaySample};
use limbeck_images::{Dataset, FolderOptions, ImageFolder, Viewed};

use crate::output::Refused;

/// Images and answers that belong together.
pub struct Local {
    images: ImageFolder,
    images_sha256: String,
    answers: Answers,
}

impl Local {
    /// Open both and refuse them unless they fit each other and the bundle's student.
    pub fn open(images: &Path, answers: &Path, bundle: &Bundle) -> Result<Local> {
        let refused = |e: &dyn std::fmt::Display| Refused(e.to_string());
        let answers = Answers::open(answers).map_err(|e| refused(&e))?;
        let options = FolderOptions { labels: Some(bundle.card.labels.clone()), ..FolderOptions::default() };
        let images = ImageFolder::open(images, &options).map_err(|e| refused(&e))?;
        let images_sha256 = images.sha256().map_err(|e| refused(&e))?;
        let expected = Expected {
            dataset_sha256: Some(images_sha256.clone()),
            labels: Some(bundle.card.labels.clone()),
            ..Expected::default()
        };
        answers.check(&expected).map_err(|e| refused(&e))?;
        if answers.manifest().augment.as_ref().is_some_and(Augment::mixes) {
            // What is held out judges, so none of it may be trained on: not as half of another picture either.
            let why = "its views mix samples (mixup, cutmix), so training would show images that are held out to judge";
            return Err(Refused(format!(
                "{}: {why}; teach without mixing, as --augment standard",
                answers.path().display()
            ))
            .into());
        }
        if answers.samples() != images.len() as u64 {
            let (said, are) = (answers.samples(), images.len());
            return Err(Refused(format!("the teacher answered {said} samples, {are} images are here")).into());
        }
        let card = &bundle.card.input;
        let wanted = (card.width, card.height);
        if card.resize == Resize::Exact {
            let sizes = images.sizes().map_err(|e| refused(&e))?;
            if let Some(other) = sizes.iter().find(|s| (s.width, s.height) != wanted) {
                return Err(Refused(format!(
                    "{} is {}×{}, the student's card wants exactly {}×{}; resize the images",
                    other.id, other.width, other.height, wanted.0, wanted.1
                ))
                .into());
            }
        }
        Ok(Local { images, images_sha256, answers })
    }

    /// Hash over the images.
    pub fn images_sha256(&self) -> &str {
        &self.images_sha256
    }

    /// The images as the teacher was shown them.
    fn viewed(&self) -> Viewed<'_> {
        Viewed::new(&self.images, self.answers.manifest().augment.as_ref())
    }

    /// What the teacher said.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }
}

/// One thing to show the student.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A local image, seen through a view.
    Local(usize, View),
    /// A sample of the replay set.
    Replayed(usize),
}

/// Everything that can be shown, in one numbering of samples: the local ones, then the replay set.
///
/// As [`Examples`], visit `sample * views + view`; a replay sample has one view, whichever is asked for.
pub struct Material<'a> {
    /// The student's card.
    pub preprocess: &'a Preprocess,
    /// Images and answers.
    pub local: &'a Local,
    /// The bundle's replay set.
    pub replay: Option<&'a Replay>,
}

impl Material<'_> {
    /// Local samples, which are the first.
    pub fn local_samples(&self) -> usize {
        self.local.images.len()
    }

    /// Visits there are.
    pub fn visits(&self) -> usize {
        (self.local_samples() + self.replay.map_or(0, |r| r.samples().len())) * self.local.answers.views().len()
    }

    /// Write input and teacher's logits; returns the label, if there is one.
    pub fn show(&self, shown: Shown, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        match shown {
            Shown::Local(i, view) => {
                self.local.viewed().input(self.preprocess, i, view, x).map_err(|e| e.to_string())?;
            }
            Shown::Replayed(i) => {
                let run = self.preprocess.run(&self.replayed(i)?.image, View::Identity, x);
                run.map_err(|e| format!("replay sample {i}: {e}"))?;
            }
        }
        self.tell(shown, teacher)
    }

    /// The teacher's logits and the label alone.
    fn tell(&self, shown: Shown, teacher: &mut [f32]) -> Result<Option<usize>, String> {
        let label = match shown {
            Shown::Local(i, view) => {
                self.local.answers.logits_into(i as u64, view, teacher).map_err(|e| e.to_string())?;
                let label_of = |i| self.local.images.label(i);
                self.local.viewed().labels(i, view, label_of).map_err(|e| e.to_string())?.only()
            }
            Shown::Replayed(i) => {
                let sample = self.replayed(i)?;
                teacher.copy_from_slice(&sample.teacher);
                sample.label.map(usize::from)
            }
        };
        Ok(label)
    }

    fn replayed(&self, i: usize) -> Result<&ReplaySample, String> {
        self.replay.and_then(|r| r.samples().get(i)).ok_or_else(|| format!("there is no replay sample {i}"))
    }

    fn shown(&self, visit: usize) -> Shown {
        let views = self.local.answers.views();
        let (sample, view) = (visit / views.len(), views[visit % views.len()]);
        match sample.checked_sub(self.local_samples()) {
            None => Shown::Local(sample, view),
            Some(replayed) => Shown::Replayed(replayed),
        }
    }
}

impl Examples for Material<'_> {
    fn example(&self, visit: usize, x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        self.show(self.shown(visit), x, teacher)
    }

    fn answer(&self, visit: usize, _x: &mut [f32], teacher: &mut [f32]) -> Result<Option<usize>, String> {
        self.tell(self.shown(visit), teacher)
    }
}

/// Replay samples by turns: the even ones are rehearsed, the odd ones judge and are never trained on.
pub fn by_turns(count: usize) -> (Vec<usize>, Vec<usize>) {
    (0..count).partition(|i| i % 2 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rehearsed_does_not_judge() {
        assert_eq!(by_turns(5), (vec![0, 2, 4], vec![1, 3]));
    }
}
