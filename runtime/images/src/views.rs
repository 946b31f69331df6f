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

#[cfg(test)]
mod tests {
    use super::*;
    use limbeck_answers::rng::Stream;
    use limbeck_answers::{Card, Image};

    /// Smooth pictures of different sizes, labelled by number.
    struct Pictures(Vec<Image>);

    impl Dataset for Pictures {
        fn name(&self) -> &str {
            "pictures"
        }
        fn labels(&self) -> &[String] {
            &[]
        }
        fn len(&self) -> usize {
            self.0.len()
        }
        fn id(&self, i: usize) -> String {
            format!("picture {i}")
        }
        fn sample(&self, i: usize) -> Result<Sample, DataError> {
            let none = || DataError::NoSample { name: "pictures".into(), index: i, len: self.0.len() };
            let image = self.0.get(i).cloned().ok_or_else(none)?;
            Ok(Sample { image, label: Some(i as u16), objects: vec![], mask: None })
        }
        fn leaf(&self, i: usize) -> Result<[u8; 32], DataError> {
            Ok(limbeck_files::merkle::leaf(&self.sample(i)?.image.rgb))
        }
    }

    fn pictures() -> Pictures {
        let picture = |i: u64| {
            let (mut s, side) = (Stream::new(5, i, 0), 96 + 8 * i as u32);
            let waves: [u32; 6] = std::array::from_fn(|_| 1 + s.below(3));
            let wave = |c: usize, x: u32, y: u32| {
                let turn = (waves[c] * x + waves[c + 3] * y) as f64 / side as f64;
                (127.5 + 127.0 * (turn * std::f64::consts::TAU).sin()) as u8
            };
            let rgb = (0..side * side).flat_map(|at| [0, 1, 2].map(|c| wave(c, at % side, at / side))).collect();
            Image { width: side, height: side, rgb }
        };
        Pictures((0..4).map(picture).collect())
    }

    /// Inputs are the pixels themselves, 0..=255.
    fn card(side: u32, resize: &str) -> Preprocess {
        let text = format!(
            "version = 1\ntask = \"classification\"\nlabels = [\"a\"]\n[input]\nwidth = {side}\nheight = {side}\nlayout = \"nhwc\"\n\
             colour = \"rgb\"\nresize = \"{resize}\"\nscale = 1.0\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\n"
        );
        Preprocess::new(&Card::parse(&text, std::path::Path::new("card.toml")).unwrap())
    }

    fn shown(viewed: &Viewed<'_>, preprocess: &Preprocess, index: usize, view: View) -> (Vec<f32>, Labels) {
        let mut x = vec![f32::NAN; preprocess.len()];
        let labels = viewed.input(preprocess, index, view, &mut x).unwrap();
        (x, labels)
    }

    /// Means of 2x2 pixels, (H, W, 3).
    fn halved(x: &[f32], side: usize) -> Vec<f32> {
        let at = |i: usize, j: usize, c: usize| x[3 * (i * side + j) + c];
        let places =
            (0..side / 2).flat_map(|i| (0..side / 2).flat_map(move |j| (0..3).map(move |c| (2 * i, 2 * j, c))));
        places.map(|(i, j, c)| (at(i, j, c) + at(i + 1, j, c) + at(i, j + 1, c) + at(i + 1, j + 1, c)) / 4.0).collect()
    }

    fn mean_distance(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
    }

    #[test]
    fn cards_of_different_sizes_are_shown_the_same_picture() {
        let (pictures, teacher, student) = (pictures(), card(48, "stretch"), card(24, "stretch"));
        for name in Augment::PRESETS {
            let recipe = Augment::preset(name, 3).unwrap();
            let viewed = Viewed::new(&pictures, Some(&recipe));
            for (index, view) in (0..4).flat_map(|i| (0..10).map(move |v| (i, View::Drawn(v)))) {
                let (large, small) = (shown(&viewed, &teacher, index, view), shown(&viewed, &student, index, view));
                assert_eq!(large.1, small.1);
                let apart = mean_distance(&halved(&large.0, 48), &small.0);
                // Two averages of one picture; edges of holes and boxes are the most that they differ by.
                assert!(apart < 4.0, "{name}, picture {index}, {view}: {apart}");
                let View::Drawn(n) = view else { unreachable!() };
                let other = shown(&viewed, &student, index, View::Drawn(n + 10)).0;
                assert!(mean_distance(&small.0, &other) > 0.0, "{name}, picture {index}: {view} and the one ten on");
            }
        }
    }

    #[test]
    fn a_mixed_picture_has_two_labels_and_so_no_single_one() {
        let (pictures, student) = (pictures(), card(24, "stretch"));
        let recipe = Augment::preset("strong", 3).unwrap();
        let viewed = Viewed::new(&pictures, Some(&recipe));
        let mut mixed = 0;
        for (index, view) in (0..4).flat_map(|i| (0..50).map(move |v| (i, View::Drawn(v)))) {
            let labels = viewed.labels(index, view, |i| Some(i as u16)).unwrap();
            assert_eq!(labels.label, Some(index as u16));
            match labels.mixed {
                None => assert_eq!(labels.only(), Some(index)),
                Some(other) => {
                    mixed += 1;
                    assert!(labels.only().is_none() && other.partner != index as u64 && other.lambda_256 <= 256);
                    assert_eq!(other.label, Some(other.partner as u16));
                }
            }
            if index == 2 && view <= View::Drawn(9) {
                assert_eq!(shown(&viewed, &student, index, view).1, labels);
            }
        }
        assert!((120..200).contains(&mixed), "four in five of 200, not {mixed}");
    }

    #[test]
    fn a_drawn_view_without_a_recipe_is_an_error_and_never_another_view() {
        let (pictures, student) = (pictures(), card(24, "stretch"));
        let mut x = vec![0.0; student.len()];
        let viewed = Viewed::new(&pictures, None);
        let said = viewed.input(&student, 0, View::Drawn(1), &mut x).unwrap_err().to_string();
        assert!(said.contains("drawn:1 must be drawn from a recipe") && said.contains("--augment"), "{said}");
        assert!(x.iter().all(|v| *v == 0.0));
        viewed.input(&student, 0, View::Flip, &mut x).unwrap();
    }

    #[test]
    fn a_sample_that_does_not_fit_is_named() {
        let (pictures, exact) = (pictures(), card(104, "exact"));
        let recipe = Augment { crop: None, ..Augment::preset("strong", 3).unwrap() };
        let viewed = Viewed::new(&pictures, Some(&recipe));
        let mut x = vec![0.0; exact.len()];
        let said = viewed.input(&exact, 0, View::Identity, &mut x).unwrap_err().to_string();
        assert!(said.starts_with("sample picture 0: the image is 96x96"), "{said}");
        let mixed = (0..50).find(|&n| viewed.plan(1, View::Drawn(n)).unwrap().mix.is_some()).unwrap();
        let said = viewed.input(&exact, 1, View::Drawn(mixed), &mut x).unwrap_err().to_string();
        assert!(said.contains("sample picture 1 (mixed with picture "), "{said}");
    }
}
