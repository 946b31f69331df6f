//! Functions of one value as tables: what the function gives for each of the 256 stored integers.
//!
//! ```text
//! table[n + 128] = clamp(rne(fl(f(fl((n - zx) * sx)) / sy)) + zy)        f in f64, rounded once to f32
//! ```
//!
//! Each machine computes the tables for itself, so nothing here may depend on its maths library: [`exp`], [`erf`] and [`ln_1p`]
//! are our own, from IEEE operations only.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

use crate::onnx::Node;
use crate::qdq::Quant;

/// A function of one real number.
pub(crate) type Function = Box<dyn Fn(f64) -> f64>;

/// The operators of [`function`], with `Relu` and `Clip`, whose range `qdq` reads.
pub(crate) const NAMES: [&str; 11] =
    ["Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "LeakyRelu", "Elu", "Gelu", "Softplus", "Mish"];

/// What a node computes, if it is one of [`NAMES`] and reads its parameters from attributes.
pub(crate) fn function(node: &Node) -> Option<Function> {
    Some(match node.op.as_str() {
        "Sigmoid" => Box::new(sigmoid),
        "Tanh" => Box::new(tanh),
        "HardSigmoid" => {
            let (alpha, beta) = (node.float("alpha", 0.2) as f64, node.float("beta", 0.5) as f64);
            Box::new(move |v| (alpha * v + beta).clamp(0.0, 1.0))
        }
        "HardSwish" => Box::new(|v| v * (v / 6.0 + 0.5).clamp(0.0, 1.0)),
        "LeakyRelu" => {
            let alpha = node.float("alpha", 0.01) as f64;
            Box::new(move |v| if v < 0.0 { alpha * v } else { v })
        }
        "Elu" => {
            let alpha = node.float("alpha", 1.0) as f64;
            Box::new(move |v| if v < 0.0 { alpha * (exp(v) - 1.0) } else { v })
        }
        "Gelu" if node.text("approximate") == Some("tanh") => {
            // sqrt(2 / pi) and 0.044715: ONNX operator Gelu.
            const ROOT: f64 = 0.797_884_560_802_865_4;
            Box::new(|v| 0.5 * v * (1.0 + tanh(ROOT * (v + 0.044715 * v * v * v))))
        }
        "Gelu" => Box::new(|v| 0.5 * v * (1.0 + erf(v * FRAC_1_SQRT_2))),
        "Softplus" => Box::new(softplus),
        "Mish" => Box::new(|v| v * tanh(softplus(v))),
        _ => return None,
    })
}

/// y = f(x) for every stored integer.
pub(crate) fn table(function: impl Fn(f64) -> f64, x: Quant, y: Quant) -> Box<[i8; 256]> {
    let mut table = Box::new([0i8; 256]);
    for (index, entry) in table.iter_mut().enumerate() {
        let real = (index as i32 - 128 - x.zero as i32) as f32 * x.scale;
        *entry = quantize(function(real as f64) as f32, y);
    }
    table
}

/// dy/dx of a table, in steps of y a step of x, where rounding is let through and saturation is not (a straight-through
/// estimator): f'(x) · sx / sy, or 0 where f(x) is beyond what y can hold.
///
/// f' is a central difference in f64, whose error is below 1e-8; at a kink it is the mean of both sides.
pub(crate) fn slopes(function: impl Fn(f64) -> f64, x: Quant, y: Quant) -> Box<[f32; 256]> {
    /// Between the truncation of a wide step and the rounding of a narrow one.
    const STEP: f64 = 1e-4;
    let mut slopes = Box::new([0f32; 256]);
    let (low, high) = ((-128 - y.zero as i32) as f32, (127 - y.zero as i32) as f32);
    for (index, entry) in slopes.iter_mut().enumerate() {
        let real = ((index as i32 - 128 - x.zero as i32) as f32 * x.scale) as f64;
        let steps = function(real) as f32 / y.scale;
        if low <= steps && steps <= high {
            let slope = (function(real + STEP) - function(real - STEP)) / (2.0 * STEP);
            *entry = (slope * x.scale as f64 / y.scale as f64) as f32;
        }
    }
    slopes
}

/// The same real numbers at another scale: dequantize, then quantize.
pub(crate) fn change_of_scale(x: Quant, y: Quant) -> Box<[i8; 256]> {
    table(|v| v, x, y)
}

/// A real number as stored: clamp(rne(fl(v / s)) + z).
pub(crate) fn quantize(v: f32, y: Quant) -> i8 {
    let (low, high) = ((-128 - y.zero as i32) as f32, (127 - y.zero as i32) as f32);
    ((v / y.scale).clamp(low, high).round_ties_even() as i32 + y.zero as i32) as i8
}

fn sigmoid(v: f64) -> f64 {
    1.0 / (1.0 + exp(-v))
}

fn tanh(v: f64) -> f64 {
    1.0 - 2.0 / (exp(2.0 * v) + 1.0)
}

/// ln(1 + eˣ), without passing the largest number on the way.
fn softplus(v: f64) -> f64 {
    v.max(0.0) + ln_1p(exp(-v.abs()))
}

/// eˣ from IEEE additions and multiplications only, hence the same bits on every machine. Relative error below 1e-14 for
/// |x| ≤ 700; beyond, the ends.
///
/// x = k·ln 2 + r with |r| ≤ ½·ln 2, eˣ = 2ᵏ·eʳ, eʳ by its Taylor series to r¹⁴.
pub fn exp(x: f64) -> f64 {
    if x > 700.0 {
        return f64::INFINITY;
    }
    if x < -700.0 {
        return 0.0;
    }
    let k = (x / LN_2).round_ties_even();
    let r = x - k * LN_2;
    let series = (1..=14).rev().fold(1.0, |sum, n| 1.0 + sum * r / n as f64);
    series * f64::from_bits(((k as i64 + 1023) as u64) << 52)
}

/// The error function. Relative error below 1e-13; 1 from 6 on, where 1 - erf is below half a step.
///
/// erf(x) = 2/√π · e^(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·…·(2n+1)) (Abramowitz and Stegun 7.1.6): no term is negative, nothing cancels.
fn erf(x: f64) -> f64 {
    if x.abs() >= 6.0 {
        return x.signum();
    }
    // At x = 6 the terms fall from n = 36 on, and are below 1e-17 of the sum at n = 120.
    let (mut term, mut sum) = (x, x);
    for n in 1..=120 {
        term = term * (2.0 * x * x) / (2 * n + 1) as f64;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * exp(-x * x) * sum
}

/// ln(1 + t) for 0 ≤ t ≤ 1, relative error below 1e-14.
///
/// ln(1 + t) = 2·artanh(t / (2 + t)), by its series; the argument is at most 1/3, its 33rd power below 1e-15.
fn ln_1p(t: f64) -> f64 {
    let s = t / (2.0 + t);
    let series = (0..=16).rev().fold(0.0, |sum, n| sum * s * s + 1.0 / (2 * n + 1) as f64);
    2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_that_of_the_library_to_the_last_digits() {
        for i in -7000..=7000 {
            let x = i as f64 / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "exp({x}) = {} against {}", exp(x), x.exp());
        }
        assert_eq!((exp(0.0), exp(1e4), exp(-1e4)), (1.0, f64::INFINITY, 0.0));
    }

    #[test]
    fn ln_1p_is_that_of_the_library_to_the_last_digits() {
        for i in 1..=1000 {
            let t = i as f64 / 1000.0;
            assert!((ln_1p(t) / t.ln_1p() - 1.0).abs() < 1e-14, "ln_1p({t}) = {} against {}", ln_1p(t), t.ln_1p());
        }
        assert_eq!(ln_1p(0.0), 0.0);
    }

    #[test]
    fn erf_is_that_of_the_tables() {
        // Values to 15 digits, with 30 digits by mpmath.
        for (x, want) in ERF {
            assert!((erf(x) / want - 1.0).abs() < 1e-13, "erf({x}) = {} against {want}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert_eq!((erf(0.0), erf(6.0), erf(1e300), erf(-7.0)), (0.0, 1.0, 1.0, -1.0));
    }

    const ERF: [(f64, f64); 9] = [
        (1e-5, 1.1283791670579e-05),
        (0.125, 0.1403162048013338),
        (0.5, 0.5204998778130465),
        (1.0, 0.8427007929497149),
        (1.5, 0.9661051464753108),
        (2.0, 0.9953222650189527),
        (3.0, 0.9999779095030014),
        (4.5, 0.9999999998033839),
        (5.75, 0.9999999999999996),
    ];

    #[test]
    fn functions_have_the_values_of_their_definitions() {
        let at = |op: &str, attribute: Option<(&str, crate::onnx::Attribute)>, v: f64| {
            let node = Node::new(op, "f", &["x"], &["y"]);
            let node = attribute.into_iter().fold(node, |node, (name, value)| node.with(name, value));
            function(&node).map(|f| f(v))
        };
        let check = |op, attribute, v: f64, want: f64| {
            let have = at(op, attribute, v).unwrap();
            assert!((have - want).abs() < 1e-12, "{op}({v}) = {have}, not {want}");
        };
        let tanh = || Some(("approximate", crate::onnx::Attribute::Bytes(b"tanh".to_vec())));
        check("Gelu", None, 1.0, 0.841_344_746_068_543);
        check("Gelu", None, -1.0, -0.158_655_253_931_457);
        check("Gelu", tanh(), 1.0, 0.841_191_990_608_276);
        check("Elu", Some(("alpha", crate::onnx::Attribute::Float(0.5))), -1.0, -0.316_060_279_414_279);
        check("Elu", None, 2.0, 2.0);
        check("Softplus", None, 0.0, LN_2);
        check("Softplus", None, -30.0, 9.357_622_968_839_74e-14);
        check("Softplus", None, 800.0, 800.0);
        check("Mish", None, 1.0, 0.865_098_388_267_31);
        check("Sigmoid", None, 0.0, 0.5);
        check("HardSwish", None, -1.0, -1.0 / 3.0);
        assert_eq!(at("Relu", None, 1.0), None);
    }

    #[test]
    fn a_change_of_scale_rounds_halves_to_even_and_saturates() {
        let (x, y) = (Quant { scale: 0.5, zero: 0 }, Quant { scale: 1.0, zero: 100 });
        let table = change_of_scale(x, y);
        let stored = |n: i32| table[(n + 128) as usize];
        assert_eq!((stored(0), stored(1), stored(3), stored(127), stored(-1)), (100, 100, 102, 127, 100));
    }
}
