//! A data set seen through views: the one road on which teacher, student and board get their pixels.
//!
//! (sample, view) -> decode the sample, and its partner if the view mixes -> the card's input, and the labels
//!
//! Whoever shows a picture that an answer is for goes through [`Viewed`], so nobody can show another one.

use limbeck_answers::{Augment, Preprocess, View, ViewPlan};

use crate::{DataError, Dataset, Sample};

/// A data set and the recipe of its drawn views.
#[derive(Clone, Copy)]
pub struct Viewed<'a> {
    dataset: &'a dyn Dataset,
    augment: Option<&'a Augment>,
}

/// What is known about the class of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Of the sample.
    pub label: Option<u16>,
    /// Of the sample that was mixed in.
    pub mixed: Option<Mixed>,
}

/// The other half of a mixed picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixed {
    /// The other sample.
    pub partner: u64,
    /// Its class.
    pub label: Option<u16>,
    /// Share of the sample itself in 1/256; the partner has the rest.
    pub lambda_256: u16,
}

impl Labels {
    /// The one class of the picture. `None` if it is not known, and for a mixed picture, which has two.
    pub fn only(&self) -> Option<usize> {
        self.label.filter(|_| self.mixed.is_none()).map(usize::from)
    }
}

impl<'a> Viewed<'a> {
    /// `augment` is that of the answers file; `None` where no view is drawn.
    pub fn new(dataset: &'a dyn Dataset, augment: Option<&'a Augment>) -> Viewed<'a> {
        Viewed { dataset, augment }
    }

    /// What `view` shows of sample `index`.
    ///
    /// # Errors
    /// [`DataError::NoRecipe`]: a drawn view without a recipe to draw it from.
    pub fn plan(&self, index: usize, view: View) -> Result<ViewPlan, DataError> {
        match (ViewPlan::fixed(view), self.augment) {
            (Some(plan), _) => Ok(plan),
            (None, Some(recipe)) => Ok(recipe.draw(index as u64, self.dataset.len() as u64, view)),
            (None, None) => Err(DataError::NoRecipe { view }),
        }
    }

    /// Write what `view` shows of sample `index` into `out`, as the card of `preprocess` wants it.
    ///
    /// # Errors
    /// A sample or partner that cannot be read or does not fit the card; a drawn view without a recipe.
    pub fn input(
        &self,
        preprocess: &Preprocess,
        index: usize,
        view: View,
        out: &mut [f32],
    ) -> Result<Labels, DataError> {
        let plan = self.plan(index, view)?;
        let sample = self.dataset.sample(index)?;
        let partner = self.partner(&plan)?;
        let run = preprocess.run_plan(&plan, &sample.image, partner.as_ref().map(|p| &p.image), out);
        run.map_err(|why| {
            let mut id = self.dataset.id(index);
            if let Some(mix) = &plan.mix {
                id += &format!(" (mixed with {})", self.dataset.id(mix.partner as usize));
            }
            DataError::Input { id, why }
        })?;
        Ok(labels(&plan, sample.label, partner.and_then(|p| p.label)))
    }

    /// The labels alone, given those of the samples; no pixel is touched.
    ///
    /// # Errors
    /// A drawn view without a recipe.
    pub fn labels(
        &self,
        index: usize,
        view: View,
        label_of: impl Fn(usize) -> Option<u16>,
    ) -> Result<Labels, DataError> {
        let plan = self.plan(index, view)?;
        Ok(labels(&plan, label_of(index), plan.mix.and_then(|mix| label_of(mix.partner as usize))))
    }

    /// The sample that the plan mixes in.
    fn partner(&self, plan: &ViewPlan) -> Result<Option<Sample>, DataError> {
        plan.mix.map(|mix| self.dataset.sample(mix.partner as usize)).transpose()
    }
}

fn labels(plan: &ViewPlan, label: Option<u16>, partner: Option<u16>) -> Labels {
    let mixed = |mix: limbeck_answers::views::Mix| Mixed {
        partner: mix.partner,
        label: partner,
        lambda_256: mix.how.lambda_256(),
    };
    Labels { label, mixed: plan.mix.map(mixed) }
}
