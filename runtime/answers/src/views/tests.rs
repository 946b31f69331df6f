//! What drawn views promise, by draws and by pixels.

use proptest::prelude::*;

use super::apply::shown;
use super::*;
use crate::image::Image;
use crate::rng::Stream;
use crate::view::View;

fn random(width: u32, height: u32, seed: u64) -> Image {
    let mut s = Stream::new(seed, width as u64, height);
    let rgb = (0..3 * width as usize * height as usize).map(|_| s.next_u32() as u8).collect();
    Image { width, height, rgb }
}

fn preset(name: &str) -> Augment {
    Augment::preset(name, 7).unwrap()
}

/// Plans of the first views of some samples.
fn plans(recipe: &Augment, samples: u64, views: u32) -> Vec<(u64, ViewPlan)> {
    (0..samples).flat_map(|s| (0..views).map(move |v| (s, recipe.draw(s, samples, View::Drawn(v))))).collect()
}

/// One recipe an operation.
fn single() -> Vec<(&'static str, Augment)> {
    let nothing = Augment::new(7);
    let jitter = |b, c, s| ColourJitter { brightness_per_mille: b, contrast_per_mille: c, saturation_per_mille: s };
    let always = Some(Mixing { chance_per_mille: 1000 });
    let pad = |fill| Some(Crop::Pad { padding_per_mille: 300, fill });
    let resized = Crop::Resized { min_area_per_mille: 80, max_area_per_mille: 1000, ratio_per_mille: 1333 };
    vec![
        ("pad, reflect", Augment { crop: pad(Fill::Reflect), ..nothing.clone() }),
        ("pad, zero", Augment { crop: pad(Fill::Zero), ..nothing.clone() }),
        ("resized", Augment { crop: Some(resized), ..nothing.clone() }),
        ("flip", Augment { flip: Some(Flip { chance_per_mille: 500 }), ..nothing.clone() }),
        ("brightness", Augment { colour: Some(jitter(1000, 0, 0)), ..nothing.clone() }),
        ("contrast", Augment { colour: Some(jitter(0, 1000, 0)), ..nothing.clone() }),
        ("saturation", Augment { colour: Some(jitter(0, 0, 1000)), ..nothing.clone() }),
        ("cutout", Augment { cutout: Some(Cutout { side_per_mille: 400, chance_per_mille: 1000 }), ..nothing.clone() }),
        ("mixup", Augment { mixup: always, ..nothing.clone() }),
        ("cutmix", Augment { cutmix: always, ..nothing }),
    ]
}

/// The picture with its last mirroring, as a card of the picture's own size would show it.
fn pixels(plan: &ViewPlan, image: &Image, partner: Option<&Image>) -> Image {
    let mut canvas = shown(plan, image, partner).into_owned();
    if plan.picture.flip {
        let row = 3 * canvas.width as usize;
        canvas.rgb = canvas.rgb.chunks(row).flat_map(|row| row.rchunks(3).flatten().copied()).collect();
    }
    canvas
}

/// SHA-256 of the pixels of a few samples in a few views, the samples of different sizes; its first 128 bits.
fn digest(recipe: &Augment) -> String {
    const SIZES: [(u32, u32); 5] = [(32, 32), (31, 17), (8, 40), (3, 2), (1, 1)];
    let images: Vec<Image> = SIZES.iter().map(|&(w, h)| random(w, h, 3)).collect();
    let mut bytes = vec![];
    for (sample, plan) in plans(recipe, SIZES.len() as u64, 4) {
        let partner = plan.mix.map(|mix| &images[mix.partner as usize]);
        let picture = pixels(&plan, &images[sample as usize], partner);
        bytes.extend([picture.width, picture.height].iter().flat_map(|side| side.to_le_bytes()));
        bytes.extend(picture.rgb);
    }
    limbeck_files::sha256_hex(&bytes)[..32].to_owned()
}

/// The pixels that every architecture must give. What they are is checked by the formulas below; this pins them.
#[test]
fn every_architecture_gives_these_pixels() {
    let presets = Augment::PRESETS.map(|name| (name, preset(name)));
    let got: Vec<String> =
        single().iter().chain(&presets).map(|(name, recipe)| format!("{name}: {}", digest(recipe))).collect();
    let golden = include_str!("golden.txt");
    assert_eq!(got, golden.lines().collect::<Vec<_>>());
}

#[test]
fn the_same_key_is_the_same_view_in_any_order_and_another_key_is_another() {
    let recipe = preset("strong");
    let forwards = plans(&recipe, 20, 8);
    let mut backwards: Vec<_> = forwards.iter().rev().map(|(s, _)| *s).collect();
    backwards.dedup();
    for sample in backwards {
        for view in (0..8).rev() {
            let plan = recipe.draw(sample, 20, View::Drawn(view));
            assert_eq!(plan, forwards[(sample * 8 + view as u64) as usize].1);
        }
    }
    let of = |seed, sample, view| Augment { seed, ..recipe.clone() }.draw(sample, 20, View::Drawn(view));
    let plans = [of(7, 0, 0), of(8, 0, 0), of(7, 1, 0), of(7, 0, 1), of(7 + (1 << 32), 0, 0)];
    for (i, a) in plans.iter().enumerate() {
        assert!(plans[i + 1..].iter().all(|b| a.picture != b.picture));
    }
}

#[test]
fn an_operation_added_later_moves_no_draw_of_the_others() {
    let strong = preset("strong");
    let mixup = Augment { cutmix: None, ..strong.clone() };
    let cutmix = Augment { mixup: None, ..strong.clone() };
    let crop = Augment { crop: strong.crop, ..Augment::new(7) };
    let plain = Augment { mixup: None, cutmix: None, cutout: None, ..strong.clone() };
    for sample in 0..50 {
        for view in 0..4 {
            let of = |recipe: &Augment| recipe.draw(sample, 50, View::Drawn(view));
            let all = of(&strong);
            assert_eq!(of(&crop).picture.crop, all.picture.crop);
            assert_eq!(of(&plain).picture, Picture { cutout: None, ..all.picture });
            let blended = all.mix.filter(|mix| matches!(mix.how, MixHow::Blend { .. }));
            let pasted = all.mix.filter(|mix| matches!(mix.how, MixHow::Paste { .. }));
            assert_eq!((of(&mixup).mix, of(&cutmix).mix), (blended, pasted));
        }
    }
}

#[test]
fn views_that_need_no_recipe_are_not_drawn() {
    let recipe = preset("strong");
    assert_eq!(recipe.draw(3, 9, View::Identity), ViewPlan::default());
    assert_eq!(recipe.draw(3, 9, View::Flip), ViewPlan::FLIP);
    let image = random(5, 4, 1);
    assert_eq!(*shown(&ViewPlan::IDENTITY, &image, None), image);
}

/// Mean and the two ends of what `f` gives for 40,000 plans.
fn statistics(recipe: &Augment, f: impl Fn(&ViewPlan) -> f64) -> (f64, f64, f64) {
    let values: Vec<f64> = plans(recipe, 4000, 10).iter().map(|(_, plan)| f(plan)).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(f64::MIN, f64::max))
}

/// Five standard deviations of the mean of 40,000 even draws from an interval of length 1 (sd below 1/2) are 0.0125.
fn near(got: f64, want: f64, range: f64) {
    assert!((got - want).abs() < 0.0125 * range, "{got}, not {want}");
}

#[test]
fn draws_have_the_statistics_of_the_recipe() {
    let recipe = preset("strong");
    near(statistics(&recipe, |p| p.picture.flip as u8 as f64).0, 0.5, 1.0);
    near(statistics(&recipe, |p| p.picture.cutout.is_some() as u8 as f64).0, 0.5, 1.0);
    let how = |p: &ViewPlan| p.mix.map(|mix| mix.how);
    near(statistics(&recipe, |p| matches!(how(p), Some(MixHow::Blend { .. })) as u8 as f64).0, 0.4, 1.0);
    near(statistics(&recipe, |p| matches!(how(p), Some(MixHow::Paste { .. })) as u8 as f64).0, 0.4, 1.0);

    let jitter = |f: fn(ColourPlan) -> u16| statistics(&recipe, |p| p.picture.colour.map_or(0, f) as f64 / 4096.0);
    for (mean, low, high) in [jitter(|c| c.brightness_4096), jitter(|c| c.contrast_4096), jitter(|c| c.saturation_4096)]
    {
        near(mean, 1.0, 0.8);
        assert!((0.6..0.601).contains(&low) && (1.399..=1.4).contains(&high), "{low} to {high}");
    }
    let area = |p: &ViewPlan| match p.picture.crop {
        Some(CropPlan::Resized { area_65536, .. }) => area_65536 as f64 / 65536.0,
        _ => f64::NAN,
    };
    let (mean, low, high) = statistics(&recipe, area);
    near(mean, 0.625, 0.75);
    assert!((0.25..0.252).contains(&(low + 1e-4)) && (0.998..=1.0).contains(&high), "{low} to {high}");

    let single = single();
    let of = |name: &str| &single.iter().find(|(n, _)| *n == name).unwrap().1;
    let lambda = |p: &ViewPlan| p.mix.map_or(f64::NAN, |mix| mix.how.lambda_256() as f64 / 256.0);
    let (mean, low, high) = statistics(of("mixup"), lambda);
    near(mean, 0.75, 0.5);
    assert_eq!((low, high), (0.5, 1.0));
    let (mean, low, high) = statistics(of("cutmix"), lambda);
    near(mean, 0.5, 1.0);
    assert!(low < 0.01 && high > 0.99);
}

#[test]
fn every_place_of_a_padded_crop_is_as_likely_as_another() {
    // 4 of 32 pixels: 9 places a side. A pixel's colour says where it came from.
    let rgb = (0..32 * 32).flat_map(|i| [(i % 32) as u8, (i / 32) as u8, 0]).collect();
    let image = Image { width: 32, height: 32, rgb };
    let mut counts = [[0_u32; 9]; 9];
    let recipe = Augment { flip: None, ..preset("light") };
    for (_, plan) in plans(&recipe, 4050, 2) {
        let [x, y, _] = shown(&plan, &image, None).pixel(16, 16);
        counts[y as usize - 12][x as usize - 12] += 1;
    }
    // 8100 draws over 81 places: 100 each, sd 10.
    assert!(counts.iter().flatten().all(|n| (50..=150).contains(n)), "{counts:?}");
}

#[test]
fn a_partner_is_any_other_sample_and_as_it_sees_itself() {
    let recipe = Augment { mixup: Some(Mixing { chance_per_mille: 1000 }), cutmix: None, ..preset("strong") };
    let mut counts = [0; 5];
    for (sample, plan) in plans(&recipe, 5, 2000) {
        let mix = plan.mix.unwrap();
        assert_ne!(mix.partner, sample);
        counts[mix.partner as usize] += 1;
    }
    assert!(counts.iter().all(|n| (1800..2200).contains(n)), "{counts:?}");
    let mix = recipe.draw(0, 5, View::Drawn(3)).mix.unwrap();
    assert_eq!(mix.picture, recipe.draw(mix.partner, 5, View::Drawn(3)).picture);
    assert_eq!(recipe.draw(0, 1, View::Drawn(3)).mix, None);
    let far = recipe.draw(1, u64::MAX, View::Drawn(3)).mix.unwrap().partner;
    assert!(far > u32::MAX as u64, "{far}");
}

/// The index that mirroring at the border comes to, step by step.
fn reflected(mut i: i64, n: i64) -> i64 {
    while n > 1 && !(0..n).contains(&i) {
        i = if i < 0 { -i } else { 2 * (n - 1) - i };
    }
    if n == 1 { 0 } else { i }
}

#[test]
fn a_padded_crop_is_the_image_moved() {
    for (w, h, padding) in [(32, 32, 125), (7, 5, 300), (3, 2, 1000), (1, 4, 1000)] {
        let image = random(w, h, 5);
        for (x, y) in [(0, 0), (u16::MAX, 0), (0, u16::MAX), (40_000, 20_000), (32_768, 32_768)] {
            for fill in [Fill::Reflect, Fill::Zero] {
                let plan = CropPlan::Pad { padding_per_mille: padding, fill, x_65536: x, y_65536: y };
                let got = crop::crop(&image, plan);
                let moved = |side: u32, at: u16| {
                    let p = (side as f64 * padding as f64 / 1000.0).round();
                    (at as f64 / 65536.0 * (2.0 * p + 1.0)).floor() as i64 - p as i64
                };
                let (dx, dy) = (moved(w, x), moved(h, y));
                for (i, j) in (0..w).flat_map(|i| (0..h).map(move |j| (i, j))) {
                    let (from_x, from_y) = (i as i64 + dx, j as i64 + dy);
                    let inside = (0..w as i64).contains(&from_x) && (0..h as i64).contains(&from_y);
                    let want = match fill {
                        Fill::Zero if !inside => [0; 3],
                        _ => image.pixel(reflected(from_x, w as i64) as u32, reflected(from_y, h as i64) as u32),
                    };
                    assert_eq!(got.pixel(i, j), want, "{w}x{h} by ({dx}, {dy}), {fill:?}, at ({i}, {j})");
                }
            }
        }
    }
}

#[test]
fn a_resized_crop_has_its_area_shape_and_place() {
    let rgb = (0..200_u32 * 100).flat_map(|i| [(i % 200) as u8, (i / 200) as u8, 0]).collect();
    let image = Image { width: 200, height: 100, rgb };
    for (area, ratio, upright) in [(0.25_f64, 1.0_f64, false), (0.25, 1.3, true), (0.5, 1.3, false), (0.1, 1.2, true)] {
        let plan = |x_65536, y_65536| CropPlan::Resized {
            area_65536: (area * 65536.0) as u32,
            ratio_65536: (ratio * 65536.0) as u32,
            upright,
            x_65536,
            y_65536,
        };
        let (long, short) = ((area * 20_000.0 * ratio).sqrt(), (area * 20_000.0 / ratio).sqrt());
        let (w, h) = if upright { (short, long) } else { (long, short) };
        let (w, h) = (w.round().min(200.0) as u32, h.round().min(100.0) as u32);
        let first = crop::crop(&image, plan(0, 0));
        let last = crop::crop(&image, plan(u16::MAX, u16::MAX));
        assert_eq!(((first.width, first.height), first.pixel(0, 0)), ((w, h), [0, 0, 0]));
        assert_eq!(last.pixel(w - 1, h - 1), [199, 99, 0]);
        assert!(first.is_whole() && last.is_whole());
    }
}

#[test]
fn colours_are_the_formula() {
    let grey = |p: [u8; 3]| (0.299 * p[0] as f64 + 0.587 * p[1] as f64 + 0.114 * p[2] as f64).round();
    let image = random(9, 7, 2);
    let all = || (0..9).flat_map(|x| (0..7).map(move |y| (x, y)));
    let mean = all().map(|(x, y)| grey(image.pixel(x, y))).sum::<f64>() / 63.0;
    for f in [0_u16, 1000, 4096, 5000, 8192] {
        let run = |b, c, s| {
            let mut changed = image.clone();
            let plan = ColourPlan { brightness_4096: b, contrast_4096: c, saturation_4096: s };
            colour::colour(&mut changed, plan);
            changed
        };
        let (bright, contrast, saturated) = (run(f, 4096, 4096), run(4096, f, 4096), run(4096, 4096, f));
        for (x, y) in all() {
            for c in 0..3 {
                let pixel = image.pixel(x, y);
                let want = |a: f64| (a + (pixel[c] as f64 - a) * f as f64 / 4096.0).clamp(0.0, 255.0);
                // A luma or mean on the edge between two integers may round to the other one: at most 1 f off.
                for (got, a, slack) in
                    [(&bright, 0.0, 0.0), (&contrast, mean.round(), 1.0), (&saturated, grey(pixel), 1.0)]
                {
                    let off = (got.pixel(x, y)[c] as f64 - want(a)).abs();
                    assert!(off <= 0.5 + slack * (1.0 - f as f64 / 4096.0).abs() + 1e-9, "{f}: off by {off}");
                }
            }
        }
        if f == 4096 {
            assert_eq!(run(f, f, f), image);
        }
    }
}

#[test]
fn a_hole_a_blend_and_a_box_are_the_formula() {
    let (a, b) = (random(20, 10, 1), random(20, 10, 2));
    let all = || (0..20).flat_map(|x| (0..10).map(move |y| (x, y)));
    let mut holed = a.clone();
    mix::cutout(&mut holed, CutoutPlan { side_per_mille: 500, x_65536: 0, y_65536: 32_768 });
    for (x, y) in all() {
        // 10 by 5 pixels about (0, 5): half of it is outside.
        let inside = x < 5 && (3..8).contains(&y);
        assert_eq!(holed.pixel(x, y), if inside { [128; 3] } else { a.pixel(x, y) }, "({x}, {y})");
    }
    let mut blended = a.clone();
    mix::mix(&mut blended, &b, false, MixHow::Blend { lambda_256: 200 });
    let mut pasted = a.clone();
    let quarter = MixHow::Paste { side_65536: ONE / 2, x_65536: u16::MAX, y_65536: 0 };
    assert_eq!(quarter.lambda_256(), 192);
    mix::mix(&mut pasted, &b, true, quarter);
    for (x, y) in all() {
        let inside = x >= 10 && y < 5;
        assert_eq!(pasted.pixel(x, y), if inside { b.pixel(19 - x, y) } else { a.pixel(x, y) }, "({x}, {y})");
        for c in 0..3 {
            let want = (200.0 * a.pixel(x, y)[c] as f64 + 56.0 * b.pixel(x, y)[c] as f64) / 256.0;
            assert_eq!(blended.pixel(x, y)[c], (want + 0.5).floor() as u8);
        }
    }
}

/// Each of the two pictures of a mix shows its own flip in the end.
#[test]
fn both_pictures_of_a_mix_keep_their_own_flip() {
    let (a, b) = (random(6, 4, 1), random(6, 4, 2));
    for (mine, other) in [(false, false), (false, true), (true, false), (true, true)] {
        let flipped = |flip| Picture { flip, ..Picture::WHOLE };
        let how = MixHow::Blend { lambda_256: 128 };
        let plan = ViewPlan { picture: flipped(mine), mix: Some(Mix { partner: 1, picture: flipped(other), how }) };
        let got = pixels(&plan, &a, Some(&b));
        for (x, y) in (0..6).flat_map(|x| (0..4).map(move |y| (x, y))) {
            let of = |image: &Image, flip: bool| image.pixel(if flip { 5 - x } else { x }, y)[0] as u32;
            assert_eq!(got.pixel(x, y)[0] as u32, (of(&a, mine) + of(&b, other)).div_ceil(2));
        }
    }
}

proptest! {
    #[test]
    fn no_size_and_no_recipe_panics_and_every_picture_is_whole(
        (w, h, pw, ph) in (1_u32..40, 1_u32..40, 1_u32..40, 1_u32..40),
        (seed, view) in (any::<u64>(), 0_u32..View::MOST),
        (padding, min, extra, ratio) in (1_u16..=1000, 1_u16..=1000, 0_u16..=999, 1000_u16..=10_000),
        (jitter, side, mixup, pads, zero) in (0_u16..=1000, 1_u16..=1000, 0_u16..=1000, any::<bool>(), any::<bool>()),
    ) {
        let max_area_per_mille = (min + extra).min(1000);
        let resized = Crop::Resized { min_area_per_mille: min, max_area_per_mille, ratio_per_mille: ratio };
        let fill = if zero { Fill::Zero } else { Fill::Reflect };
        let recipe = Augment {
            crop: Some(if pads { Crop::Pad { padding_per_mille: padding, fill } } else { resized }),
            flip: Some(Flip { chance_per_mille: 500 }),
            colour: Some(ColourJitter { brightness_per_mille: jitter, contrast_per_mille: jitter, saturation_per_mille: jitter }),
            cutout: Some(Cutout { side_per_mille: side, chance_per_mille: 800 }),
            mixup: Some(Mixing { chance_per_mille: mixup }),
            cutmix: Some(Mixing { chance_per_mille: 1000 - mixup }),
            ..Augment::new(seed)
        };
        prop_assert_eq!(recipe.validate(), Ok(()));
        let (image, partner) = (random(w, h, 1), random(pw, ph, 2));
        let plan = recipe.draw(seed % 2, 2, View::Drawn(view));
        let picture = shown(&plan, &image, Some(&partner));
        prop_assert!(picture.is_whole() && picture.width <= w && picture.height <= h);
    }
}

#[test]
fn an_image_of_the_longest_side_is_shown() {
    for (w, h) in [(1 << 16, 1), (1, 1 << 16), (1 << 16, 3)] {
        let (image, partner) = (random(w, h, 1), random(2, 3, 2));
        for name in Augment::PRESETS {
            for view in 0..8 {
                let plan = preset(name).draw(0, 2, View::Drawn(view));
                assert!(shown(&plan, &image, Some(&partner)).is_whole());
            }
        }
    }
}
