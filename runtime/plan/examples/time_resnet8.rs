//! How long one inference of a ResNet-8-shaped plan takes here.
//!
//! ```text
//! cargo run --release -p limbeck-plan --features std --example time_resnet8 [PATH]
//! ```
//! Random weights, the shapes of MLPerf Tiny's image classifier (32 x 32 x 3, 12.5 million multiply-accumulates). Prints the
//! best and the median of 200 runs, and the time of each op in the best one.

use std::time::{Duration, Instant};

use limbeck_kernels::suite::Rng;
use limbeck_plan::{ConvGeometry, Isa, OpSpec, PlanBuf, PlanSpec, PoolGeometry, Shape, TensorId, TensorSpec, emit};

struct Net {
    spec: PlanSpec,
    rng: Rng,
}

impl Net {
    fn tensor(&mut self, h: u32, c: u32) -> TensorId {
        let name = format!("t{}", self.spec.tensors.len());
        self.spec.tensors.push(TensorSpec { name, shape: Shape { h, w: h, c }, scale: 0.05, zero: 3 });
        self.spec.tensors.len() - 1
    }

    fn conv(&mut self, x: TensorId, c: u32, kernel: u32, stride: u32) -> TensorId {
        let Shape { h, c: i, .. } = self.spec.tensors[x].shape;
        // SAME padding, as TensorFlow splits it.
        let total = ((h.div_ceil(stride) - 1) * stride + kernel).saturating_sub(h);
        let (before, after) = (total / 2, total - total / 2);
        let y = self.tensor(h.div_ceil(stride), c);
        let geometry = ConvGeometry {
            kernel: [kernel; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            pad: [before, before, after, after],
            groups: 1,
        };
        let weights = (0..c * kernel * kernel * i).map(|_| self.rng.i8()).collect();
        let (bias, scale) = (vec![0; c as usize], vec![0.001; c as usize]);
        let name = format!("conv {kernel}x{kernel}/{stride} {i}>{c}");
        self.spec.ops.push(OpSpec::Conv { name, x, y, weights, bias, scale, geometry });
        y
    }

    /// Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes.
    fn block(&mut self, x: TensorId, c: u32, stride: u32) -> TensorId {
        let inner = self.conv(x, c, 3, stride);
        let a = self.conv(inner, c, 3, 1);
        let b = if stride == 1 { x } else { self.conv(x, c, 1, stride) };
        let y = self.tensor(self.spec.tensors[a].shape.h, c);
        self.spec.ops.push(OpSpec::Add { name: "add".into(), a, b, y });
        y
    }
}

fn resnet8() -> PlanSpec {
    let mut net = Net { spec: PlanSpec::default(), rng: Rng::new(1) };
    let x = net.tensor(32, 3);
    let mut t = net.conv(x, 16, 3, 1);
    for (c, stride) in [(16, 1), (32, 2), (64, 2)] {
        t = net.block(t, c, stride);
    }
    let pooled = net.tensor(1, 64);
    let window = PoolGeometry { kernel: [8; 2], stride: [1; 2], pad: [0; 4], count_include_pad: false };
    net.spec.ops.push(OpSpec::AveragePool { name: "global pool".into(), x: t, y: pooled, window });
    let logits = net.tensor(1, 10);
    let weights = (0..640).map(|_| net.rng.i8()).collect();
    let (bias, scale) = (vec![0; 10], vec![0.001; 10]);
    net.spec.ops.push(OpSpec::Dense { name: "dense 64>10".into(), x: pooled, y: logits, weights, bias, scale });
    net.spec.inputs = vec![x];
    net.spec.outputs = vec![logits];
    net.spec
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let isa = match std::env::args().nth(1) {
        Some(name) => Isa::named(&name).ok_or("this CPU has no such path")?,
        None => Isa::detect(),
    };
    let buf = PlanBuf::new(emit(&resnet8())?)?.pack(isa)?;
    let packed = buf.plan();
    let plan = packed.plan();
    let input: Vec<f32> = (0..3 * 32 * 32).map(|i| (i % 97) as f32 * 0.1 - 4.8).collect();
    let mut logits = [0.0; 10];
    let mut arena = vec![0; packed.arena_bytes()];

    let mut runs: Vec<(Duration, Vec<Duration>)> = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        let mut marks = Vec::with_capacity(32);
        packed.run(&[&input], &mut [&mut logits], &mut arena, |_, _| marks.push(start.elapsed()))?;
        runs.push((start.elapsed(), marks));
    }
    runs.sort();
    let (best, marks) = &runs[0];
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let macs: u64 = plan.ops().map(|op| op.macs).sum();
    for (op, pair) in plan.ops().zip(marks.windows(2)) {
        let took = pair[1] - pair[0];
        let rate = op.macs as f64 / took.as_secs_f64() / 1e9;
        println!("{:<20} {:>8.4} ms {:>6.2} GMAC/s", op.name, ms(took), rate);
    }
    println!(
        "{isa:?}: {} bytes of plan, {} of packed weights, {} of arena, {:.1} MMAC",
        buf.as_bytes().len(),
        buf.packed_bytes(),
        packed.arena_bytes(),
        macs as f64 / 1e6
    );
    println!(
        "best {:.3} ms, median {:.3} ms, {:.1} GMAC/s",
        ms(*best),
        ms(runs[100].0),
        macs as f64 / best.as_secs_f64() / 1e9
    );
    Ok(())
}
