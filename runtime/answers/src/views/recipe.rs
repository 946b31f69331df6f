//! What views are drawn from: the recipe, its checks, its presets.
//!
//! Every number is an integer, in per mille, so that a recipe has one spelling and one hash.

use serde::{Deserialize, Serialize};

use crate::view::View;

/// The version of the drawing and of the arithmetic that this build knows.
pub const VERSION: u32 = 1;

/// How views are drawn. What is `None` is not done. As TOML:
///
/// ```toml
/// version = 1
/// seed = 7
/// [crop]
/// kind = "pad"
/// padding_per_mille = 125
/// fill = "reflect"
/// [flip]
/// chance_per_mille = 500
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// [`VERSION`]
    pub version: u32,
    /// Key of all draws.
    pub seed: u64,
    /// Which part of the image is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Mirrored left to right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flip: Option<Flip>,
    /// Brightness, contrast, saturation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<ColourJitter>,
    /// A grey hole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutout: Option<Cutout>,
    /// The whole image blended with that of another sample (mix-up, Zhang et al., ICLR 2018).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixup: Option<Mixing>,
    /// A box of another sample's image pasted in (cut-mix, Yun et al., ICCV 2019).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<Mixing>,
}

/// Which part of the image is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Crop {
    /// A window of the image's own size, moved by up to the padding each way (as is usual on CIFAR: 4 of 32 pixels).
    Pad {
        /// Of each side; rounded to whole pixels. 1 to 1000.
        padding_per_mille: u16,
        /// What lies outside the image.
        fill: Fill,
    },
    /// A window of random area and shape, which the card's resize then stretches to its input.
    ///
    /// The shape is drawn evenly from 1 to `ratio_per_mille` and then, half of the time, turned (the usual draw is even in
    /// the logarithm, which integers do not have). A side that would be longer than the image's is cut to it.
    Resized {
        /// Smallest area, of the image's. At least 1.
        min_area_per_mille: u16,
        /// Largest area. At most 1000.
        max_area_per_mille: u16,
        /// Longest side by shortest, at most: 1333 is 4:3. 1000 to 10000.
        ratio_per_mille: u16,
    },
}

/// What lies outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// The image mirrored at its border; the border itself is not repeated.
    Reflect,
    /// Black.
    Zero,
}

/// Mirrored left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    /// How often, 0 to 1000.
    pub chance_per_mille: u16,
}

/// Factors from `1 - x` to `1 + x`, drawn evenly and apart from each other; 0 leaves that one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColourJitter {
    /// x of `v f`. 0 to 1000, as the others.
    pub brightness_per_mille: u16,
    /// x of `m + (v - m) f`, m the mean luma of the picture.
    pub contrast_per_mille: u16,
    /// x of `g + (v - g) f`, g the pixel's luma.
    pub saturation_per_mille: u16,
}

/// A grey hole (cut-out, DeVries and Taylor, 2017).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cutout {
    /// Sides of the hole, of the picture's sides. 1 to 1000. Its centre is anywhere, so part of it may fall outside.
    pub side_per_mille: u16,
    /// How often, 0 to 1000.
    pub chance_per_mille: u16,
}

/// How often two samples are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixing {
    /// 0 to 1000; of mix-up and cut-mix together no more than 1000.
    pub chance_per_mille: u16,
}

/// Why a recipe cannot be drawn from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AugmentError {
    /// No preset has this name.
    #[error("`{name}` is no preset of views; use {}, or a TOML file", Augment::PRESETS.join(", "))]
    NoSuchPreset {
        /// As it was given.
        name: String,
    },
    /// Not TOML, or not a recipe's.
    #[error("not a recipe of views: {why}")]
    Toml {
        /// What the reader said.
        why: String,
    },
    /// Written for a newer build.
    #[error(
        "`version` is {found}, and this build draws version {VERSION}; update limbeck, or write version = {VERSION}"
    )]
    Version {
        /// The recipe's.
        found: u32,
    },
    /// A number outside its range.
    #[error("`{field}` is {value}; it must be from {low} to {high}")]
    Range {
        /// Which.
        field: &'static str,
        /// It is.
        value: u16,
        /// Smallest allowed.
        low: u16,
        /// Largest allowed.
        high: u16,
    },
    /// It would draw the image as it is, every time.
    #[error("the recipe changes nothing; give it at least one of crop, flip, colour, cutout, mixup, cutmix")]
    Nothing,
}

impl Augment {
    /// Names for [`Augment::preset`].
    pub const PRESETS: [&'static str; 3] = ["light", "standard", "strong"];

    /// A recipe that does nothing yet.
    pub fn new(seed: u64) -> Augment {
        Augment {
            version: VERSION,
            seed,
            crop: None,
            flip: None,
            colour: None,
            cutout: None,
            mixup: None,
            cutmix: None,
        }
    }

    /// A recipe by name:
    ///
    /// * `light`: moved by up to an eighth of the sides (4 of 32 pixels, reflected), flipped half of the time;
    /// * `standard`: half to all of the area at up to 4:3, flip, colours by 20 %, a hole of a quarter of the sides half of
    ///   the time;
    /// * `strong`: a quarter to all of the area, flip, colours by 40 %, the hole, and mix-up or cut-mix four times in five.
    ///
    /// # Errors
    /// Another name.
    pub fn preset(name: &str, seed: u64) -> Result<Augment, AugmentError> {
        let colours = |x| ColourJitter { brightness_per_mille: x, contrast_per_mille: x, saturation_per_mille: x };
        let area = |min| Crop::Resized { min_area_per_mille: min, max_area_per_mille: 1000, ratio_per_mille: 1333 };
        let light = Augment {
            crop: Some(Crop::Pad { padding_per_mille: 125, fill: Fill::Reflect }),
            flip: Some(Flip { chance_per_mille: 500 }),
            ..Augment::new(seed)
        };
        let standard = Augment {
            crop: Some(area(500)),
            colour: Some(colours(200)),
            cutout: Some(Cutout { side_per_mille: 250, chance_per_mille: 500 }),
            ..light.clone()
        };
        match name {
            "light" => Ok(light),
            "standard" => Ok(standard),
            "strong" => Ok(Augment {
                crop: Some(area(250)),
                colour: Some(colours(400)),
                mixup: Some(Mixing { chance_per_mille: 400 }),
                cutmix: Some(Mixing { chance_per_mille: 400 }),
                ..standard
            }),
            _ => Err(AugmentError::NoSuchPreset { name: name.to_owned() }),
        }
    }

    /// Read a recipe from TOML and check it.
    ///
    /// # Errors
    /// Text that is no recipe, or one that [`Augment::validate`] refuses.
    pub fn parse(text: &str) -> Result<Augment, AugmentError> {
        let recipe: Augment = toml::from_str(text).map_err(|e| AugmentError::Toml { why: e.to_string() })?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// Every number is in its range.
    ///
    /// # Errors
    /// The field, and what it may be.
    pub fn validate(&self) -> Result<(), AugmentError> {
        if self.version != VERSION {
            return Err(AugmentError::Version { found: self.version });
        }
        let mut ranges = vec![];
        match self.crop {
            Some(Crop::Pad { padding_per_mille: padding, .. }) => {
                ranges.push(("crop.padding_per_mille", padding, 1, 1000))
            }
            Some(Crop::Resized { min_area_per_mille: min, max_area_per_mille: max, ratio_per_mille: ratio }) => {
                ranges.push(("crop.max_area_per_mille", max, 1, 1000));
                ranges.push(("crop.min_area_per_mille", min, 1, max));
                ranges.push(("crop.ratio_per_mille", ratio, 1000, 10_000));
            }
            None => {}
        }
        if let Some(flip) = self.flip {
            ranges.push(("flip.chance_per_mille", flip.chance_per_mille, 0, 1000));
        }
        if let Some(colour) = self.colour {
            ranges.push(("colour.brightness_per_mille", colour.brightness_per_mille, 0, 1000));
            ranges.push(("colour.contrast_per_mille", colour.contrast_per_mille, 0, 1000));
            ranges.push(("colour.saturation_per_mille", colour.saturation_per_mille, 0, 1000));
        }
        if let Some(cutout) = self.cutout {
            ranges.push(("cutout.side_per_mille", cutout.side_per_mille, 1, 1000));
            ranges.push(("cutout.chance_per_mille", cutout.chance_per_mille, 0, 1000));
        }
        let mixup = self.mixup.map_or(0, |m| m.chance_per_mille);
        ranges.push(("mixup.chance_per_mille", mixup, 0, 1000));
        if let Some(cutmix) = self.cutmix {
            // A view is mixed in one way: together they are no more than always.
            ranges.push(("cutmix.chance_per_mille", cutmix.chance_per_mille, 0, 1000_u16.saturating_sub(mixup)));
        }
        if let Some((field, value, low, high)) = ranges.into_iter().find(|(_, v, low, high)| v < low || v > high) {
            return Err(AugmentError::Range { field, value, low, high });
        }
        if *self == Augment::new(self.seed) {
            return Err(AugmentError::Nothing);
        }
        Ok(())
    }

    /// May a view show pixels of another sample too?
    pub fn mixes(&self) -> bool {
        [self.mixup, self.cutmix].iter().flatten().any(|mixing| mixing.chance_per_mille > 0)
    }

    /// Over the recipe as it stands in a manifest, 64 hex digits.
    pub fn sha256(&self) -> String {
        limbeck_files::sha256_hex(self.canonical().as_bytes())
    }

    /// The one spelling: JSON without spaces, fields in the order of the struct.
    fn canonical(&self) -> String {
        // Integers, strings and structs: nothing that JSON cannot hold.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Is there a recipe where `views` need one, and none where they do not?
    ///
    /// # Errors
    /// What is wrong, for a message that names the field.
    pub fn check_views(recipe: Option<&Augment>, views: &[View]) -> Result<(), String> {
        match (recipe, views.iter().find(|v| v.is_drawn())) {
            (None, Some(view)) => Err(format!("is missing, but the view {view} must be drawn from a recipe")),
            (Some(_), None) => Err("is a recipe, but no view is drawn from it".into()),
            (Some(recipe), Some(_)) => recipe.validate().map_err(|e| e.to_string()),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_read_back_from_toml_and_json() {
        for name in Augment::PRESETS {
            let recipe = Augment::preset(name, 7).unwrap();
            assert_eq!(recipe.validate(), Ok(()));
            assert_eq!(recipe.mixes(), name == "strong");
            assert_eq!(Augment::parse(&toml::to_string(&recipe).unwrap()), Ok(recipe.clone()));
            assert_eq!(serde_json::from_str::<Augment>(&recipe.canonical()).unwrap(), recipe);
        }
        let said = Augment::preset("mild", 0).unwrap_err().to_string();
        assert!(said.contains("light, standard, strong"), "{said}");
    }

    #[test]
    fn another_seed_or_number_is_another_hash() {
        let light = Augment::preset("light", 7).unwrap();
        let other = Augment { flip: Some(Flip { chance_per_mille: 499 }), ..light.clone() };
        let hashes = [light.sha256(), other.sha256(), Augment::preset("light", 8).unwrap().sha256()];
        assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2] && hashes[0].len() == 64);
        assert_eq!(
            light.canonical(),
            r#"{"version":1,"seed":7,"crop":{"kind":"pad","padding_per_mille":125,"fill":"reflect"},"flip":{"chance_per_mille":500}}"#
        );
    }

    #[test]
    fn a_wrong_recipe_is_refused_by_field() {
        let cases = [
            ("version = 2\nseed = 0", "`version` is 2"),
            ("seed = 0", "missing field `version`"),
            ("version = 1\nseed = 0", "changes nothing"),
            ("version = 1\nseed = 0\nblur = 1", "unknown field `blur`"),
            ("version = 1\nseed = 0\n[flip]\nchance_per_mille = 1001", "`flip.chance_per_mille` is 1001"),
            ("version = 1\nseed = 0\n[flip]\nchance_per_mille = 0.5", "invalid type"),
            ("version = 1\nseed = 0\n[flip]\nchance_per_mille = 1\nside = 2", "unknown field `side`"),
            ("version = 1\nseed = 0\n[crop]\nkind = \"zoom\"", "unknown variant `zoom`"),
            (
                "version = 1\nseed = 0\n[crop]\nkind = \"pad\"\npadding_per_mille = 9\nfill = \"zero\"\nx = 1",
                "unknown field `x`",
            ),
            ("version = 1\nseed = 0\n[crop]\nkind = \"pad\"\npadding_per_mille = 0\nfill = \"zero\"", "from 1 to 1000"),
            (
                "version = 1\nseed = 0\n[crop]\nkind = \"resized\"\nmin_area_per_mille = 600\nmax_area_per_mille = 500\n\
                 ratio_per_mille = 1333",
                "`crop.min_area_per_mille` is 600; it must be from 1 to 500",
            ),
            ("version = 1\nseed = 0\n[cutout]\nside_per_mille = 0\nchance_per_mille = 1", "`cutout.side_per_mille`"),
            (
                "version = 1\nseed = 0\n[mixup]\nchance_per_mille = 600\n[cutmix]\nchance_per_mille = 500",
                "`cutmix.chance_per_mille` is 500; it must be from 0 to 400",
            ),
        ];
        for (text, expected) in cases {
            let said = Augment::parse(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn drawn_views_need_a_recipe_and_others_have_none() {
        let light = Augment::preset("light", 0).unwrap();
        let check = |recipe, views: &[View]| Augment::check_views(recipe, views).is_ok();
        assert!(check(None, &View::ALL) && check(Some(&light), &[View::Identity, View::Drawn(3)]));
        assert!(!check(None, &[View::Drawn(3)]) && !check(Some(&light), &View::ALL));
        assert!(!check(Some(&Augment::new(0)), &[View::Drawn(0)]));
    }
}
