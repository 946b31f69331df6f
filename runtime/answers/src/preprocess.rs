//! From an image to the input tensor of a model.
//!
//! image (H, W, 3) u8 -> the view's plan -> resize -> flip -> colour -> table -> out (C, H', W') or (H', W', C) f32
//!
//! Everything before the table is integer arithmetic; the table holds `(pixel * scale - mean[c]) / std[c]` for the 256
//! pixels of each channel, three IEEE operations each rounded once (Rust never fuses them). So the same card, image and
//! view give the same bits on every architecture.

use crate::card::{Card, Colour, Layout, Resize};
use crate::image::Image;
use crate::resize;
use crate::view::View;
use crate::views::{ViewPlan, apply};

/// Why an image cannot become an input. The caller adds which image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreprocessError {
    /// The card allows one size only.
    #[error(
        "the image is {width}x{height}, but the card asks for exactly {want_width}x{want_height}; \
         resize the images, or set resize = \"stretch\" in the card"
    )]
    WrongSize {
        /// Of the image.
        width: u32,
        /// Of the image.
        height: u32,
        /// Of the card.
        want_width: u32,
        /// Of the card.
        want_height: u32,
    },
    /// Larger than the resize is made for.
    #[error("the image is {width}x{height}; sides up to {} are supported, so make it smaller first", resize::MAX_SIDE)]
    TooLarge {
        /// Of the image.
        width: u32,
        /// Of the image.
        height: u32,
    },
    /// The bytes do not fill the sides.
    #[error("the image says {width}x{height} but has {bytes} bytes; decode it again")]
    NotWhole {
        /// Of the image.
        width: u32,
        /// Of the image.
        height: u32,
        /// There are.
        bytes: usize,
    },
    /// The output slice is not [`Preprocess::len`] long.
    #[error("the output holds {have} values, but the card's input has {need}; size it with Preprocess::len")]
    WrongLength {
        /// There are.
        have: usize,
        /// There must be.
        need: usize,
    },
    /// A drawn view without its plan.
    #[error("the view {view} must be drawn from a recipe first; draw its plan and use Preprocess::run_plan")]
    NotDrawn {
        /// The view.
        view: View,
    },
    /// A plan that mixes two samples, and only one image.
    #[error("the view mixes sample {partner} in, but its image was not given; give it as the partner")]
    NoPartner {
        /// The sample whose image is missing.
        partner: u64,
    },
}

/// A card made ready: call [`Preprocess::run`] for every image.
#[derive(Clone, Debug)]
pub struct Preprocess {
    width: u32,
    height: u32,
    layout: Layout,
    colour: Colour,
    resize: Resize,
    /// C tables of 256.
    table: Vec<[f32; 256]>,
}

impl Preprocess {
    /// For a card that has been validated (as every card that was read has).
    pub fn new(card: &Card) -> Preprocess {
        let input = &card.input;
        let row = |(&mean, &std): (&f32, &f32)| -> [f32; 256] {
            std::array::from_fn(|pixel| (pixel as f32 * input.scale - mean) / std)
        };
        Preprocess {
            width: input.width,
            height: input.height,
            layout: input.layout,
            colour: input.colour,
            resize: input.resize,
            table: input.mean.iter().zip(&input.std).map(row).collect(),
        }
    }

    /// Values of one input: C H' W'.
    #[allow(clippy::len_without_is_empty, reason = "an input is never empty")]
    pub fn len(&self) -> usize {
        self.table.len() * self.width as usize * self.height as usize
    }

    /// Whether an image of this size can be used.
    pub fn accepts(&self, width: u32, height: u32) -> Result<(), PreprocessError> {
        if self.resize == Resize::Exact && (width, height) != (self.width, self.height) {
            let (want_width, want_height) = (self.width, self.height);
            return Err(PreprocessError::WrongSize { width, height, want_width, want_height });
        }
        if width > resize::MAX_SIDE || height > resize::MAX_SIDE {
            return Err(PreprocessError::TooLarge { width, height });
        }
        Ok(())
    }

    /// Write the input for `image`, seen through a `view` that needs no recipe, into `out`, in the card's layout.
    ///
    /// # Errors
    /// An image that the card does not allow; a drawn view, whose plan [`Preprocess::run_plan`] needs.
    pub fn run(&self, image: &Image, view: View, out: &mut [f32]) -> Result<(), PreprocessError> {
        let plan = ViewPlan::fixed(view).ok_or(PreprocessError::NotDrawn { view })?;
        self.run_plan(&plan, image, None, out)
    }

    /// Write what `plan` shows of `image` into `out`, in the card's layout. `partner` is the image of the sample that the plan
    /// mixes in; it may have another size.
    ///
    /// # Errors
    /// An image that the card does not allow; a plan that mixes, without its partner.
    pub fn run_plan(
        &self,
        plan: &ViewPlan,
        image: &Image,
        partner: Option<&Image>,
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        let partner = match &plan.mix {
            None => None,
            Some(mix) => Some(partner.ok_or(PreprocessError::NoPartner { partner: mix.partner })?),
        };
        for image in [Some(image), partner].into_iter().flatten() {
            let (width, height) = (image.width, image.height);
            if !image.is_whole() {
                return Err(PreprocessError::NotWhole { width, height, bytes: image.rgb.len() });
            }
            self.accepts(width, height)?;
        }
        if out.len() != self.len() {
            return Err(PreprocessError::WrongLength { have: out.len(), need: self.len() });
        }
        let shown = apply::shown(plan, image, partner);
        let stretched;
        let image = if (shown.width, shown.height) == (self.width, self.height) {
            &*shown
        } else {
            stretched = resize::stretch(&shown, self.width, self.height);
            &stretched
        };
        let (w, c) = (self.width as usize, self.table.len());
        let plane = w * self.height as usize;
        for (y, x_h) in image.rgb.chunks_exact(3 * w).enumerate() {
            for (x, rgb) in x_h.chunks_exact(3).enumerate() {
                let x = if plan.picture.flip { w - 1 - x } else { x };
                let at = y * w + x;
                let mut put = |c_i: usize, pixel: u8| {
                    let to = match self.layout {
                        Layout::Nchw => c_i * plane + at,
                        Layout::Nhwc => at * c + c_i,
                    };
                    out[to] = self.table[c_i][pixel as usize];
                };
                match self.colour {
                    Colour::Rgb => (0..3).for_each(|i| put(i, rgb[i])),
                    Colour::Bgr => (0..3).for_each(|i| put(i, rgb[2 - i])),
                    Colour::Gray => put(0, luma([rgb[0], rgb[1], rgb[2]])),
                }
            }
        }
        Ok(())
    }
}

/// BT.601 luma, 0.299 R + 0.587 G + 0.114 B with weights of 16 bits that sum to 65536 (the numbers of Pillow's `L`).
pub(crate) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((r as u32 * 19_595 + g as u32 * 38_470 + b as u32 * 7_471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use std::path::Path;

    fn card(layout: &str, colour: &str, resize: &str) -> Card {
        let numbers =
            if colour == "gray" { ("[0.5]", "[0.25]") } else { ("[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]") };
        let text = format!(
            "version = 1\ntask = \"classification\"\nlabels = [\"a\"]\n[input]\nwidth = 8\nheight = 6\nlayout = \"{layout}\"\n\
             colour = \"{colour}\"\nresize = \"{resize}\"\nscale = 0.003921569\nmean = {}\nstd = {}\n",
            numbers.0, numbers.1
        );
        Card::parse(&text, Path::new("card.toml")).unwrap()
    }

    fn random(width: u32, height: u32) -> Image {
        let mut s = Stream::new(11, width as u64, height);
        let rgb = (0..3 * width * height).map(|_| s.next_u32() as u8).collect();
        Image { width, height, rgb }
    }

    fn run(card: &Card, image: &Image, view: View) -> Result<Vec<f32>, PreprocessError> {
        let preprocess = Preprocess::new(card);
        let mut out = vec![0.0; preprocess.len()];
        preprocess.run(image, view, &mut out)?;
        Ok(out)
    }

    #[test]
    fn values_stand_where_layout_colour_and_view_say() {
        let image = random(8, 6);
        let value = |mean: f32, std: f32, pixel: u8| (pixel as f32 * 0.003921569 - mean) / std;
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        for view in View::ALL {
            let nchw = run(&card("nchw", "rgb", "exact"), &image, view).unwrap();
            let bgr = run(&card("nhwc", "bgr", "exact"), &image, view).unwrap();
            let gray = run(&card("nchw", "gray", "exact"), &image, view).unwrap();
            for y in 0..6 {
                for x in 0..8 {
                    let pixel = image.pixel(if view == View::Flip { 7 - x } else { x }, y);
                    let at = (8 * y + x) as usize;
                    for c in 0..3 {
                        assert_eq!(nchw[48 * c + at], value(mean[c], std[c], pixel[c]));
                        assert_eq!(bgr[3 * at + c], value(mean[c], std[c], pixel[2 - c]));
                    }
                    let exact = 0.299 * pixel[0] as f64 + 0.587 * pixel[1] as f64 + 0.114 * pixel[2] as f64;
                    let got = gray[at] as f64 * 0.25 + 0.5;
                    assert!((got * 255.0 - exact).abs() < 0.51, "{pixel:?}");
                }
            }
        }
    }

    #[test]
    fn gray_of_gray_is_itself() {
        assert!((0..=255).all(|v| luma([v; 3]) == v));
    }

    #[test]
    fn bad_images_are_refused_with_the_numbers() {
        let exact = card("nchw", "rgb", "exact");
        let error = run(&exact, &random(9, 6), View::Identity).unwrap_err();
        assert!(error.to_string().contains("9x6") && error.to_string().contains("stretch"), "{error}");
        let mut torn = random(8, 6);
        torn.rgb.truncate(100);
        assert!(matches!(run(&exact, &torn, View::Identity), Err(PreprocessError::NotWhole { bytes: 100, .. })));
        assert!(matches!(
            Preprocess::new(&exact).run(&random(8, 6), View::Flip, &mut [0.0; 5]),
            Err(PreprocessError::WrongLength { have: 5, need: 144 })
        ));
        let wide = Image::filled(70_000, 1, [0; 3]);
        let stretch = card("nchw", "rgb", "stretch");
        assert!(matches!(run(&stretch, &wide, View::Identity), Err(PreprocessError::TooLarge { .. })));
    }

    /// The bits that every architecture must give: SHA-256 over the little-endian f32 of all cases below. The values
    /// themselves are checked against independent formulas above and in `resize`; this pins them across machines.
    #[test]
    fn every_architecture_gives_these_bits() {
        let mut bytes = Vec::new();
        for (w, h) in [(8, 6), (31, 17), (3, 2)] {
            for (layout, colour) in [("nchw", "rgb"), ("nhwc", "bgr"), ("nchw", "gray")] {
                for view in View::ALL {
                    let out = run(&card(layout, colour, "stretch"), &random(w, h), view).unwrap();
                    bytes.extend(out.iter().flat_map(|v| v.to_le_bytes()));
                }
            }
        }
        assert_eq!(
            limbeck_files::sha256_hex(&bytes),
            "cf5af0dbbd0ee71750f65eb7942bfc60b8f7470f430c0bf182b3da5a8f567062"
        );
    }
}
