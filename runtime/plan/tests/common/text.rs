//! `f32-rne/1` by its text: unfolded zero points, ONNX biases, `round_ties_even`, no sharing, no kernels of ours.

use limbeck_plan::{OpSpec, PlanSpec, PoolGeometry, TensorSpec};

/// All integer tensors, `H W C`, for one input in `C H W`.
pub fn run(spec: &PlanSpec, input: &[f32]) -> Vec<Vec<i8>> {
    let mut values = vec![Vec::new(); spec.tensors.len()];
    let x = &spec.tensors[spec.inputs[0]];
    let pixels = (x.shape.h * x.shape.w) as usize;
    values[spec.inputs[0]] = (0..input.len())
        .map(|i| i % x.shape.c as usize * pixels + i / x.shape.c as usize)
        .map(|i| quantize(input[i], x))
        .collect();
    for op in &spec.ops {
        values[op.output()] = step(spec, op, &values);
    }
    values
}

/// `C H W` floats of a tensor.
pub fn dequantize(values: &[i8], t: &TensorSpec) -> Vec<f32> {
    let (c, pixels) = (t.shape.c as usize, (t.shape.h * t.shape.w) as usize);
    (0..values.len()).map(|i| (values[i % pixels * c + i / pixels] as i32 - t.zero as i32) as f32 * t.scale).collect()
}

fn quantize(x: f32, t: &TensorSpec) -> i8 {
    saturate(x / t.scale, t)
}

fn saturate(y: f32, t: &TensorSpec) -> i8 {
    let zero = t.zero as i32;
    (y.max((-128 - zero) as f32).min((127 - zero) as f32).round_ties_even() as i32 + zero) as i8
}

fn step(spec: &PlanSpec, op: &OpSpec, values: &[Vec<i8>]) -> Vec<i8> {
    let y = &spec.tensors[op.output()];
    let (out_w, out_c) = (y.shape.w as usize, y.shape.c as usize);
    // Real integer (x - zx), 0 in the padding.
    let at = |id: usize, row: i64, column: i64, c: usize| -> Option<i64> {
        let t = &spec.tensors[id];
        let inside = (0..t.shape.h as i64).contains(&row) && (0..t.shape.w as i64).contains(&column);
        inside.then(|| {
            let i = (row * t.shape.w as i64 + column) * t.shape.c as i64 + c as i64;
            values[id][i as usize] as i64 - t.zero as i64
        })
    };
    let each = |f: &dyn Fn(i64, i64, usize) -> i8| -> Vec<i8> {
        (0..y.shape.elements()).map(|i| f((i / out_c / out_w) as i64, (i / out_c % out_w) as i64, i % out_c)).collect()
    };
    let requantize = |acc: i64, sx: f32, sw: f32| saturate(acc as i32 as f32 * (sx * sw / y.scale), y);
    let taps = |window: &PoolGeometry, row: i64, column: i64| -> Vec<(i64, i64)> {
        let [kh, kw] = window.kernel.map(|k| k as i64);
        let top = row * window.stride[0] as i64 - window.pad[0] as i64;
        let left = column * window.stride[1] as i64 - window.pad[1] as i64;
        (0..kh * kw).map(|t| (top + t / kw, left + t % kw)).collect()
    };
    match op {
        OpSpec::Conv { x, weights, bias, scale, geometry: g, .. } => {
            let from = &spec.tensors[*x];
            let (ig, og) = ((from.shape.c / g.groups) as usize, out_c / g.groups as usize);
            let [kh, kw] = g.kernel.map(|k| k as usize);
            each(&|row, column, o| {
                let mut acc = bias[o] as i64;
                for (ky, kx, i) in (0..kh * kw * ig).map(|n| (n / ig / kw, n / ig % kw, n % ig)) {
                    let row = row * g.stride[0] as i64 + (ky as u32 * g.dilation[0]) as i64 - g.pad[0] as i64;
                    let column = column * g.stride[1] as i64 + (kx as u32 * g.dilation[1]) as i64 - g.pad[1] as i64;
                    let w = weights[((o * kh + ky) * kw + kx) * ig + i] as i64;
                    acc += at(*x, row, column, o / og * ig + i).unwrap_or(0) * w;
                }
                requantize(acc, from.scale, scale[o])
            })
        }
        OpSpec::Dense { x, weights, bias, scale, .. } => {
            let from = &spec.tensors[*x];
            let i = from.shape.elements();
            each(&|_, _, o| {
                let dot = values[*x].iter().zip(&weights[o * i..]);
                let dot: i64 = dot.map(|(&x, &w)| (x as i64 - from.zero as i64) * w as i64).sum();
                requantize(dot + bias[o] as i64, from.scale, scale[o])
            })
        }
        OpSpec::Add { a, b, .. } => {
            let (ra, rb) = (spec.tensors[*a].scale / y.scale, spec.tensors[*b].scale / y.scale);
            let shift = 20 - (ra.max(rb) as f64).log2().floor() as i32;
            let m = |r: f32| (r as f64 * 2f64.powi(shift)).round_ties_even() as i64;
            each(&|row, column, c| {
                let (a, b) = (at(*a, row, column, c).unwrap(), at(*b, row, column, c).unwrap());
                let sum = (a * m(ra) + b * m(rb) + (1 << (shift - 1))) >> shift;
                (sum + y.zero as i64).clamp(-128, 127) as i8
            })
        }
        OpSpec::AveragePool { x, window, .. } => each(&|row, column, c| {
            let all: Vec<Option<i64>> =
                taps(window, row, column).into_iter().map(|(row, column)| at(*x, row, column, c)).collect();
            let n = if window.count_include_pad { all.len() } else { all.iter().flatten().count() };
            let acc: i64 = all.iter().flatten().sum();
            saturate(acc as f32 * (spec.tensors[*x].scale / y.scale / n as f32), y)
        }),
        OpSpec::MaxPool { x, window, .. } => each(&|row, column, c| {
            let real = taps(window, row, column).into_iter().filter_map(|(row, column)| at(*x, row, column, c));
            (real.max().unwrap() + y.zero as i64) as i8
        }),
        OpSpec::Concat { xs, .. } => each(&|row, column, mut c| {
            for &x in xs {
                let channels = spec.tensors[x].shape.c as usize;
                if c < channels {
                    return (at(x, row, column, c).unwrap() + y.zero as i64) as i8;
                }
                c -= channels;
            }
            unreachable!("the output has as many channels as the inputs")
        }),
        OpSpec::Mul { a, b, .. } => {
            let m = spec.tensors[*a].scale * spec.tensors[*b].scale / y.scale;
            let gate = spec.tensors[*b].shape.h == 1 && spec.tensors[*b].shape.w == 1;
            each(&|row, column, c| {
                let factor = if gate { at(*b, 0, 0, c) } else { at(*b, row, column, c) };
                let acc = at(*a, row, column, c).unwrap() * factor.unwrap();
                // In ONNX's terms: u8, whose zero point joins before the rounding.
                let v = (acc as f32 * m + (y.zero as i32 + 128) as f32).clamp(0.0, 255.0);
                (v.round_ties_even() as i32 - 128) as i8
            })
        }
        OpSpec::Pad { x, pad, value, .. } => each(&|row, column, c| {
            let inside = at(*x, row - pad[0] as i64, column - pad[1] as i64, c);
            inside.map_or(*value, |v| (v + y.zero as i64) as i8)
        }),
        OpSpec::Resize { x, rows, columns, .. } => each(&|row, column, c| {
            let (row, column) = (rows[row as usize] as i64, columns[column as usize] as i64);
            (at(*x, row, column, c).unwrap() + y.zero as i64) as i8
        }),
        OpSpec::Table { x, table, .. } => values[*x].iter().map(|&x| table[(x as i32 + 128) as usize]).collect(),
    }
}
