//! Drawn views: crop, flip, colour, cut-out, mix-up and cut-mix.
//!
//! recipe ([`Augment`]) + (sample, view) -> plan ([`ViewPlan`]) -> pixels ([`crate::Preprocess::run_plan`])
//!
//! ```text
//! image (H, W, 3) u8 -> crop -> colour -> cut-out -> mix with the partner -> the card's resize -> flip -> the card's table
//! ```
//!
//! The recipe is kept in the answers file. The plan is drawn from the counter-based generator with key (seed, sample,
//! view, operation): nothing is stored, nothing depends on what was drawn before, and adding an operation to a recipe moves
//! no draw of the others. Everything is integer arithmetic on u8 pixels, so the picture is the same on every architecture.
//!
//! Geometry is drawn in fractions of the image's sides and applied to the *raw* image, before the card's resize. So two
//! cards of different sizes (the teacher's and the student's) see the same crop, the same colours, the same hole and the
//! same partner; only then does each make its own input of it.
//!
//! The partner of a mix is another sample of the data set as its own plan of the same view shows it, not mixed itself.
//!
//! Why views are cached at all: Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR
//! 2022. Why they are re-derived instead of stored: Faghri et al., "Reinforce data, multiply impact", ICCV 2023.

pub(crate) mod apply;
mod colour;
mod crop;
mod mix;
pub mod plan;
pub mod recipe;

pub use plan::{ColourPlan, CropPlan, CutoutPlan, Mix, MixHow, Picture, ViewPlan};
pub use recipe::{Augment, AugmentError, ColourJitter, Crop, Cutout, Fill, Flip, Mixing};

/// One whole in the fractions of a plan: 16 bits after the point.
pub const ONE: u32 = 1 << 16;

#[cfg(test)]
mod tests;
