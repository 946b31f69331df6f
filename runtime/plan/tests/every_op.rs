//! A built plan computes what the text of the arithmetic says, in every integer, in an arena smaller than its tensors.
#![cfg(feature = "emit")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Net, every_op, random_input, text};
use limbeck_plan::{Isa, OpKind, OpSpec, Plan, PlanBuf, PlanSpec, PoolGeometry, RunError, emit};

/// Runs a plan whose bytes and arena start at odd addresses, and returns outputs and every observed tensor by name.
fn run(bytes: &[u8], input: &[f32], shift: usize) -> (Vec<Vec<f32>>, BTreeMap<String, Vec<i8>>) {
    let moved = [vec![0; shift], bytes.to_vec(), vec![0xee; 3]].concat();
    let plan = Plan::new_checked(&moved[shift..]).unwrap();
    let mut arena = vec![0x5a; shift + plan.arena_bytes()];
    let mut outputs: Vec<Vec<f32>> = plan.outputs().map(|t| vec![f32::NAN; t.shape.elements()]).collect();
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let mut seen = BTreeMap::new();
    plan.run(&[input], &mut slices, &mut arena[shift..], |t, data| {
        drop(seen.insert(t.name.to_string(), data.to_vec()))
    })
    .unwrap();
    (outputs, seen)
}

#[test]
fn every_integer_is_the_one_of_the_text() {
    let spec = every_op();
    let bytes = emit(&spec).unwrap();
    for seed in 0..5 {
        let input = random_input(&spec, seed);
        let want = text::run(&spec, &input);
        let (outputs, seen) = run(&bytes, &input, seed as usize);
        assert_eq!(seen.len(), spec.tensors.len());
        for (name, data) in seen {
            let id = spec.tensors.iter().position(|t| t.name == name).unwrap();
            assert_eq!(data, want[id], "tensor {name}, seed {seed}");
        }
        for (output, &id) in outputs.iter().zip(&spec.outputs) {
            assert_eq!(*output, text::dequantize(&want[id], &spec.tensors[id]));
        }
    }
}

#[test]
fn every_path_computes_the_integers_of_the_text() {
    let spec = every_op();
    let input = random_input(&spec, 7);
    let want = text::run(&spec, &input);
    for isa in Isa::available() {
        let buf = PlanBuf::new(emit(&spec).unwrap()).unwrap().pack(isa).unwrap();
        let packed = buf.plan();
        assert_eq!(packed.isa(), isa);
        let mut arena = vec![0x5a; packed.arena_bytes()];
        let mut outputs: Vec<Vec<f32>> = packed.plan().outputs().map(|t| vec![f32::NAN; t.shape.elements()]).collect();
        let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        packed
            .run(&[&input], &mut slices, &mut arena, |t, data| {
                let id = spec.tensors.iter().position(|s| s.name == t.name).unwrap();
                assert_eq!(data, want[id], "tensor {} by {isa:?}", t.name);
            })
            .unwrap();
    }
}

#[test]
fn memory_that_is_too_small_is_refused() {
    let bytes = emit(&every_op()).unwrap();
    let plan = Plan::new_checked(&bytes).unwrap();
    for isa in Isa::available() {
        let need = plan.packed_bytes(isa);
        if need > 0 {
            let refused = plan.pack(isa, &mut vec![0; need - 64]).err();
            assert_eq!(refused, Some(RunError::Packed { need, have: need - 64 }));
        }
        let mut memory = vec![0; need];
        let packed = plan.pack(isa, &mut memory).unwrap();
        let need = packed.arena_bytes();
        let mut outputs: Vec<Vec<f32>> = plan.outputs().map(|t| vec![0.0; t.shape.elements()]).collect();
        let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let input = vec![0.0; plan.inputs().next().unwrap().shape.elements()];
        // Up to 15 bytes are for alignment; 16 fewer cannot do.
        let refused = packed.run(&[&input], &mut slices, &mut vec![0; need - 16], |_, _| ()).err();
        assert_eq!(refused, Some(RunError::Arena { need, have: need - 16 }), "{isa:?}");
    }
}

#[test]
fn the_values_of_the_test_net_are_alive() {
    // Guards the test above: a net whose tensors are all one value would prove nothing.
    let spec = every_op();
    for (t, values) in spec.tensors.iter().zip(text::run(&spec, &random_input(&spec, 1))) {
        let distinct = values.iter().collect::<BTreeSet<_>>().len();
        assert!(distinct > values.len().min(30) / 4, "{} has {distinct} values", t.name);
    }
}

#[test]
fn the_arena_is_smaller_than_its_tensors() {
    let spec = every_op();
    let buf = PlanBuf::new(emit(&spec).unwrap()).unwrap();
    let tensors: usize = spec.tensors.iter().map(|t| t.shape.elements()).sum();
    assert!(buf.plan().arena_bytes() < tensors, "{} of {tensors}", buf.plan().arena_bytes());
}

#[test]
fn one_spec_gives_one_plan() {
    assert_eq!(emit(&every_op()), emit(&every_op()));
}

#[test]
fn ops_name_themselves() {
    let bytes = emit(&every_op()).unwrap();
    let plan = Plan::new_checked(&bytes).unwrap();
    let ops: Vec<_> = plan.ops().collect();
    assert_eq!(ops[0].kind, OpKind::Conv);
    assert_eq!((ops[0].name, ops[0].macs), ("op0", 4 * 3 * 16 * 27));
    assert_eq!(ops[1].kind, OpKind::Depthwise);
    assert_eq!(ops[1].macs, 4 * 3 * 16 * 9);
    assert_eq!(ops[3].kind.name(), "add");
    assert_eq!(ops[3].macs, 0);
    assert_eq!(plan.inputs().next().map(|t| t.name), Some("t0"));
    assert_eq!(plan.outputs().count(), 2);
}

#[test]
fn slices_of_the_wrong_size_are_named() {
    let spec = every_op();
    let buf = PlanBuf::new(emit(&spec).unwrap()).unwrap();
    let plan = buf.plan();
    let input = random_input(&spec, 0);
    let mut arena = vec![0; plan.arena_bytes()];
    let mut run = |inputs: &[&[f32]], outputs: [usize; 2], arena_bytes: usize| {
        let (mut a, mut b) = (vec![0.0; outputs[0]], vec![0.0; outputs[1]]);
        plan.run(inputs, &mut [&mut a, &mut b], &mut arena[..arena_bytes], |_, _| {})
    };
    let need = plan.arena_bytes();
    assert_eq!(run(&[&input], [10, 5], need), Ok(()));
    // The slack of 15 bytes may or may not be wanted, the scratch is.
    assert_eq!(run(&[&input], [10, 5], need - 16), Err(RunError::Arena { need, have: need - 16 }));
    assert_eq!(run(&[&input], [10, 5], 0), Err(RunError::Arena { need, have: 0 }));
    assert_eq!(run(&[], [10, 5], need), Err(RunError::Count { need: [1, 2], have: [0, 2] }));
    assert_eq!(run(&[&input[1..]], [10, 5], need), Err(RunError::Input { index: 0, need: 189, have: 188 }));
    assert_eq!(run(&[&input], [10, 4], need), Err(RunError::Output { index: 1, need: 5, have: 4 }));
}

/// x → table → (pool) → gate → twice itself: every op may write over its first operand.
fn over_and_over(channels: u32) -> PlanSpec {
    let mut net = Net::new(11);
    let shape = [9, 7, channels];
    let x = net.tensor(shape, 0.05, -3);
    let table = net.tensor(shape, 0.04, 5);
    let mut entries = [0i8; 256];
    entries.iter_mut().enumerate().for_each(|(i, e)| *e = (i as i32 * 7 % 256 - 128) as i8);
    net.spec.ops.push(OpSpec::Table { name: "table".into(), x, y: table, table: entries });
    let gate = net.tensor([1, 1, channels], 0.02, -60);
    let window = PoolGeometry { kernel: [9, 7], stride: [1, 1], pad: [0; 4], count_include_pad: false };
    net.spec.ops.push(OpSpec::AveragePool { name: "pool".into(), x: table, y: gate, window });
    let gated = net.tensor(shape, 0.05, 9);
    net.spec.ops.push(OpSpec::Mul { name: "gate".into(), a: table, b: gate, y: gated });
    let twice = net.tensor(shape, 0.09, 0);
    net.spec.ops.push(OpSpec::Add { name: "twice".into(), a: gated, b: gated, y: twice });
    net.spec.inputs = vec![x];
    net.spec.outputs = vec![twice];
    net.spec
}

#[test]
fn an_op_writes_over_an_operand_that_dies_and_computes_the_same() {
    for channels in [1, 20, 200, 300] {
        let spec = over_and_over(channels);
        let bytes = emit(&spec).unwrap();
        let input = random_input(&spec, 3);
        let want = text::run(&spec, &input);
        let (_, seen) = run(&bytes, &input, 1);
        for (name, data) in seen {
            let id = spec.tensors.iter().position(|t| t.name == name).unwrap();
            assert_eq!(data, want[id], "tensor {name}, {channels} channels");
        }
        // A gate of more channels than a block holds is written beside its factor.
        let tensor = (9 * 7 * channels as usize).next_multiple_of(16);
        let tensors = if channels > 256 { 2 } else { 1 };
        let most = tensors * tensor + (channels as usize).next_multiple_of(16) + 15;
        let arena = Plan::new_checked(&bytes).unwrap().arena_bytes();
        assert!(arena <= most, "{arena} bytes for {channels} channels, {most} would do");
    }
}
