//! `Pad` and `Resize` as the plan wants them: how many rows and columns, and which row of the input each row of the output is.

use crate::onnx::{Node, Tensor};

/// Why a node is not pure data movement.
type Reason = String;

/// Rows and columns that a `Pad` adds: top, left, bottom, right. `pads` and `axes` are its constant inputs (or attributes).
pub(crate) fn padding(pads: &[i64], axes: Option<&[i64]>, rank: usize) -> Result<[u32; 4], Reason> {
    let every: Vec<i64> = (0..rank as i64).collect();
    let axes = axes.unwrap_or(&every);
    if rank != 4 || pads.len() != 2 * axes.len() {
        return Err(format!("it has {} pads for {} axes of {rank}", pads.len(), axes.len()));
    }
    let mut padding = [0; 4];
    let (before, after) = pads.split_at(axes.len());
    for (&axis, (&before, &after)) in axes.iter().zip(before.iter().zip(after)) {
        let axis = if axis < 0 { axis + rank as i64 } else { axis };
        let size = |n: i64| u16::try_from(n).map_err(|_| format!("it pads by {n}; the plan pads by 0 to 65,535"));
        match axis {
            2 | 3 => {
                let side = axis as usize - 2;
                padding[side] = size(before)? as u32;
                padding[side + 2] = size(after)? as u32;
            }
            _ if before == 0 && after == 0 => {}
            _ => return Err("it pads other axes than height and width".into()),
        }
    }
    Ok(padding)
}

/// How one axis of a `Resize` is sampled.
#[derive(Clone, Copy)]
pub(crate) struct Axis {
    /// Size of the input.
    pub from: usize,
    /// Size of the output.
    pub to: usize,
    /// Output over input, as the node says it.
    pub scale: f32,
}

impl Axis {
    /// Row of the input that each row of the output is, by the formulas of ONNX's operator Resize, in the precision and order in
    /// which onnxruntime computes them (core/providers/cpu/tensor/upsamplebase.h).
    pub fn nearest(self, node: &Node, opset: i64) -> Result<Vec<u16>, Reason> {
        let Axis { from, to, scale } = self;
        let (length_from, length_to) = (from as f32, to as f32);
        // Opset 10 has neither attribute: it places samples at x / scale, and rounds down, or up where the image shrinks.
        let (place, round) = match opset {
            ..=10 => ("asymmetric", "simple"),
            _ => (
                node.text("coordinate_transformation_mode").unwrap_or("half_pixel"),
                node.text("nearest_mode").unwrap_or("round_prefer_floor"),
            ),
        };
        let usable = from > 0 && to > 0 && scale.is_normal() && scale > 0.0;
        if !usable || from > 1 << 16 || to > 1 << 16 {
            return Err(format!("it resizes {from} to {to} by {scale}"));
        }
        let original = |x: f32| -> Option<f32> {
            Some(match place {
                "asymmetric" => x / scale,
                "half_pixel" => (x + 0.5) / scale - 0.5,
                "pytorch_half_pixel" if to > 1 => (x + 0.5) / scale - 0.5,
                "pytorch_half_pixel" => 0.0,
                "tf_half_pixel_for_nn" => (x + 0.5) / scale,
                "align_corners" if to > 1 => x * (length_from - 1.0) / (length_to - 1.0),
                "align_corners" => 0.0,
                "half_pixel_symmetric" => {
                    let adjustment = length_to / (scale * length_from);
                    let offset = length_from / 2.0 * (1.0 - adjustment);
                    (offset as f64 + (x as f64 + 0.5) / scale as f64 - 0.5) as f32
                }
                _ => return None,
            })
        };
        /// What misses a half by less was one before rounding: onnxruntime 1.32 takes 3.4999998 and 6.500001 for halves, and
        /// 1.500003 not (measured).
        const HALF: f32 = 1e-6;
        let nearest = |x: f32| -> Option<f32> {
            let is_half = (x - x.floor() - 0.5).abs() < HALF;
            Some(match round {
                "round_prefer_floor" if is_half => x.floor(),
                "round_prefer_floor" => x.round(),
                "round_prefer_ceil" if is_half => x.ceil(),
                "round_prefer_ceil" => x.round(),
                "floor" => x.floor(),
                "ceil" => x.ceil(),
                "simple" if scale < 1.0 => x.ceil(),
                "simple" => x.trunc(),
                _ => return None,
            })
        };
        let unknown = || format!("it samples by \"{place}\" and \"{round}\"");
        // An axis that keeps its size is left alone, whatever the mode.
        let same = scale == 1.0 && from == to;
        let index = |x: usize| -> Result<u16, Reason> {
            let at = original(x as f32).and_then(nearest).ok_or_else(unknown)?;
            let at = if same { x as f32 } else { at };
            Ok(at.clamp(0.0, length_from - 1.0) as u16)
        };
        (0..to).map(index).collect()
    }
}

/// Scales of height and width: those of the node, or the ratio of the sizes.
pub(crate) fn scales(scales: Option<&Tensor>, sizes: [[usize; 2]; 2]) -> Result<[f32; 2], Reason> {
    let [from, to] = sizes;
    match scales.and_then(Tensor::as_f32).filter(|s| !s.is_empty()) {
        None => Ok([to[0] as f32 / from[0] as f32, to[1] as f32 / from[1] as f32]),
        Some(&[n, c, h, w]) if n == 1.0 && c == 1.0 => Ok([h, w]),
        Some(other) => Err(format!("it resizes by {other:?}, not height and width alone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Attribute;

    #[test]
    fn padding_is_top_left_bottom_right() {
        assert_eq!(padding(&[0, 0, 1, 2, 0, 0, 3, 4], None, 4), Ok([1, 2, 3, 4]));
        assert_eq!(padding(&[1, 2], Some(&[-1]), 4), Ok([0, 1, 0, 2]));
        assert_eq!(padding(&[1, 2, 3, 4], Some(&[3, 2]), 4), Ok([2, 1, 4, 3]));
        assert!(padding(&[0, 1, 0, 0, 0, 0, 0, 0], None, 4).is_err_and(|e| e.contains("other axes")));
        assert!(padding(&[0, 0, -1, 0, 0, 0, 0, 0], None, 4).is_err_and(|e| e.contains("it pads by -1")));
        assert!(padding(&[0, 0, 1], None, 4).is_err());
    }

    #[test]
    fn each_mode_samples_where_the_operator_says() {
        let check = |[from, to]: [usize; 2], place: &str, round: &str, want: &[u16]| {
            let text = |t: &str| Attribute::Bytes(t.as_bytes().to_vec());
            let node = Node::new("Resize", "r", &["x"], &["y"])
                .with("coordinate_transformation_mode", text(place))
                .with("nearest_mode", text(round));
            let axis = Axis { from, to, scale: to as f32 / from as f32 };
            assert_eq!(axis.nearest(&node, 17).as_deref(), Ok(want), "{from} to {to}, {place}, {round}");
        };
        check([2, 4], "asymmetric", "floor", &[0, 0, 1, 1]);
        check([2, 4], "half_pixel", "round_prefer_floor", &[0, 0, 1, 1]);
        check([2, 4], "asymmetric", "round_prefer_ceil", &[0, 1, 1, 1]);
        check([2, 4], "asymmetric", "round_prefer_floor", &[0, 0, 1, 1]);
        check([4, 2], "asymmetric", "floor", &[0, 2]);
        check([4, 2], "half_pixel", "ceil", &[1, 3]);
        check([4, 2], "half_pixel", "round_prefer_floor", &[0, 2]);
        check([3, 5], "align_corners", "floor", &[0, 0, 1, 1, 2]);
        check([3, 1], "pytorch_half_pixel", "floor", &[0]);
        check([2, 6], "tf_half_pixel_for_nn", "floor", &[0, 0, 0, 1, 1, 1]);
        check([3, 3], "asymmetric", "ceil", &[0, 1, 2]);
        // 1 / (2 / 7) is 3.4999998 in f32, a half before.
        check([7, 2], "asymmetric", "round_prefer_ceil", &[0, 4]);
        check([3, 11], "half_pixel_symmetric", "floor", &[0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2]);
    }

    #[test]
    fn what_cannot_be_resolved_is_said() {
        let crop = Attribute::Bytes(b"tf_crop_and_resize".to_vec());
        let node = Node::new("Resize", "r", &["x"], &["y"]).with("coordinate_transformation_mode", crop);
        let axis = Axis { from: 2, to: 4, scale: 2.0 };
        assert!(axis.nearest(&node, 17).is_err_and(|e| e.contains("tf_crop_and_resize")));
        let node = Node::new("Resize", "r", &["x"], &["y"]);
        assert!(Axis { scale: f32::NAN, ..axis }.nearest(&node, 17).is_err());
        assert!(Axis { to: 1 << 20, ..axis }.nearest(&node, 17).is_err());
        assert!(scales(Some(&Tensor::f32(&[4], vec![1.0, 2.0, 2.0, 2.0])), [[1, 1], [2, 2]]).is_err());
    }
}
