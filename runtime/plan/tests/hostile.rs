//! Bytes of any content are refused or run; they never panic, and never reach outside the arena.
#![cfg(feature = "emit")]

mod common;

use common::every_op;
use limbeck_plan::{Isa, OpSpec, OpenError, Plan, emit};
use proptest::prelude::*;

/// Offsets of the crate doc's drawing.
const CHECKSUM: usize = 12;
const COVERED: usize = 16;

fn valid() -> Vec<u8> {
    emit(&every_op()).unwrap()
}

/// Makes the checksum right again, so that the change reaches the checks behind it.
fn repair(bytes: &mut [u8]) {
    if bytes.len() > COVERED {
        let length = u32::from_le_bytes(bytes[COVERED..][..4].try_into().unwrap()) as usize;
        if let Some(covered) = bytes.get(COVERED..length) {
            let sum = crc32fast::hash(covered);
            bytes[CHECKSUM..][..4].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// Opens, and when that succeeds runs, on every path of this CPU, inside an arena with guards. True when it was accepted.
fn try_all(bytes: &[u8]) -> bool {
    let Ok(plan) = Plan::new_checked(bytes) else { return false };
    assert_eq!(plan.ops().count(), plan.ops().filter(|op| !op.kind.name().is_empty()).count());
    let need = plan.arena_bytes();
    if need > 1 << 16 {
        return true;
    }
    let inputs: Vec<Vec<f32>> = plan.inputs().map(|t| vec![1.5; t.shape.elements()]).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs: Vec<Vec<f32>> = plan.outputs().map(|t| vec![0.0; t.shape.elements()]).collect();
    let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let mut guarded = vec![0x77; need + 64];
    plan.run(&inputs, &mut outputs, &mut guarded[32..need + 32], |_, _| {}).unwrap();
    assert!(guarded[..32].iter().chain(&guarded[need + 32..]).all(|&g| g == 0x77));
    for isa in Isa::available() {
        let mut memory = vec![0; plan.packed_bytes(isa)];
        let packed = plan.pack(isa, &mut memory).unwrap();
        let need = packed.arena_bytes();
        if need > 1 << 20 {
            continue;
        }
        let portable: Vec<Vec<f32>> = outputs.iter().map(|y| y.to_vec()).collect();
        let mut guarded = vec![0x77; need + 64];
        packed.run(&inputs, &mut outputs, &mut guarded[32..need + 32], |_, _| {}).unwrap();
        assert!(guarded[..32].iter().chain(&guarded[need + 32..]).all(|&g| g == 0x77), "{isa:?}");
        let bits = |y: &[f32]| y.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(outputs.iter().zip(&portable).all(|(y, want)| bits(y) == bits(want)), "{isa:?}");
    }
    true
}

#[test]
fn the_valid_plan_is_accepted() {
    assert!(try_all(&valid()));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = valid();
    for len in 0..bytes.len() {
        assert!(Plan::new_checked(&bytes[..len]).is_err(), "{len} bytes");
        // The same with a header that promises no more than there is.
        let mut short = bytes[..len].to_vec();
        if len >= COVERED + 4 {
            short[COVERED..][..4].copy_from_slice(&(len as u32).to_le_bytes());
            repair(&mut short);
            assert!(!try_all(&short), "{len} bytes, repaired");
        }
    }
}

#[test]
fn every_single_bit_flip_is_refused() {
    let bytes = valid();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(Plan::new_checked(&flipped).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn every_single_byte_change_behind_a_right_checksum_is_safe() {
    // Records and lists byte by byte; weights, where any value is a weight, in steps.
    let bytes = valid();
    let records = bytes.len().min(64 + 20 * 40 + 20 * 64 + 200);
    let mut accepted = 0;
    for at in (0..records).chain((records..bytes.len()).step_by(13)) {
        for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at].wrapping_add(16)] {
            let mut changed = bytes.clone();
            changed[at] = value;
            repair(&mut changed);
            accepted += try_all(&changed) as u32;
        }
    }
    // Some changes must get through, or `run` was never tried: other zero points, names, weights, places in the arena.
    assert!(accepted > 1000, "{accepted}");
}

#[test]
fn what_is_wrong_is_said() {
    let check = |change: &dyn Fn(&mut Vec<u8>), want: OpenError| {
        let mut bytes = valid();
        change(&mut bytes);
        repair(&mut bytes);
        assert_eq!(Plan::new_checked(&bytes).err(), Some(want));
    };
    let put = |bytes: &mut Vec<u8>, at: usize, value: u32| bytes[at..][..4].copy_from_slice(&value.to_le_bytes());
    let tensor = |n: usize| 64 + 40 * n;
    let op = |n: usize| 64 + 40 * every_op().tensors.len() + 64 * n;
    check(&|b| b[0] = b'X', OpenError::NotAPlan);
    check(&|b| b.truncate(10), OpenError::Truncated { need: 64, have: 10 });
    check(&|b| b[8] = 9, OpenError::OtherVersion { found: 9, known: 1 });
    check(&|b| b[24] = b'q', OpenError::OtherArithmetic);
    check(&|b| put(b, 44, u32::MAX), OpenError::Sections);
    check(&|b| put(b, 40, 5000), OpenError::Sections);
    // h * w * c = 2^96: no wrap into something small.
    check(
        &|b| (8..20).step_by(4).for_each(|f| put(b, tensor(1) + f, u32::MAX)),
        OpenError::Tensor { index: 1, fault: "its shape, arena offset or life cannot be" },
    );
    check(
        &|b| put(b, tensor(2) + 24, 0x7fff_fff0),
        OpenError::Tensor { index: 2, fault: "its shape, arena offset or life cannot be" },
    );
    check(
        &|b| put(b, tensor(0) + 20, f32::NAN.to_bits()),
        OpenError::Tensor { index: 0, fault: "its scale is not a positive normal number" },
    );
    // The input of op 0 moved onto its output.
    let first_output = |b: &[u8]| u32::from_le_bytes(b[tensor(1) + 24..][..4].try_into().unwrap());
    check(
        &|b| {
            let at = first_output(b);
            put(b, tensor(0) + 24, at);
        },
        OpenError::Tensor { index: 1, fault: "it overlaps a live tensor in the arena" },
    );
    check(&|b| b[op(0)] = 77, OpenError::Op { index: 0, fault: "its kind is unknown" });
    check(&|b| put(b, op(0) + 48, u32::MAX), OpenError::Op { index: 0, fault: "its weights lie outside the plan" });
    check(&|b| put(b, op(0) + 12, 0), OpenError::Op { index: 0, fault: "its output has another shape" });
    check(&|b| put(b, op(0) + 28, 0), OpenError::Op { index: 0, fault: "its window does not fit its input" });
    check(&|b| put(b, op(0) + 36, 0), OpenError::Op { index: 0, fault: "its groups do not divide its channels" });
    check(&|b| put(b, op(0) + 4, u32::MAX), OpenError::Op { index: 0, fault: "its operands lie outside the list" });
    let bias = |b: &[u8]| u32::from_le_bytes(b[op(0) + 52..][..4].try_into().unwrap()) as usize;
    check(
        &|b| {
            let at = bias(b);
            put(b, at, i32::MAX as u32);
        },
        OpenError::Op { index: 0, fault: "an accumulator may pass 2^31" },
    );
    // The resize: an index that its input has not, and lists that end outside.
    let resize = every_op().ops.iter().position(|op| matches!(op, OpSpec::Resize { .. })).unwrap();
    check(
        &|b| {
            let at = u32::from_le_bytes(b[op(resize) + 48..][..4].try_into().unwrap()) as usize;
            b[at + 1] = 1;
        },
        OpenError::Op { index: resize, fault: "it reads a row or column that its input has not" },
    );
    check(
        &|b| {
            let end = b.len() as u32;
            put(b, op(resize) + 48, end - 2);
        },
        OpenError::Op { index: resize, fault: "its indices lie outside the plan" },
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        try_all(&bytes);
    }

    #[test]
    fn any_records_behind_a_right_header_are_safe(
        counts in [0u32..4, 0u32..4, 0u32..3, 0u32..3, 0u32..6],
        body in proptest::collection::vec(prop_oneof![3 => Just(0u8), 2 => 0u8..20, 1 => any::<u8>()], 300..900),
    ) {
        let mut bytes = valid()[..64].to_vec();
        bytes.extend(body);
        let length = bytes.len() as u32;
        bytes[16..20].copy_from_slice(&length.to_le_bytes());
        for (at, count) in (40..).step_by(4).zip(counts) {
            bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
        repair(&mut bytes);
        try_all(&bytes);
    }

    #[test]
    fn random_changes_behind_a_right_checksum_are_safe(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        // Changes of one to five bytes of the header, records and lists.
        let mut bytes = valid();
        for (at, value) in changes {
            let at = at.index(64 + 20 * 40 + 20 * 64 + 200);
            bytes[at] = value;
        }
        repair(&mut bytes);
        try_all(&bytes);
    }

    #[test]
    fn swapped_words_are_safe(
        swaps in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        // Fields take each other's values: offsets become sizes, ids become strides.
        let mut bytes = valid();
        for (a, b) in swaps {
            let words = (64 + 20 * 40 + 19 * 64) / 4;
            let (a, b) = (4 * a.index(words), 4 * b.index(words));
            for i in 0..4 {
                bytes.swap(a + i, b + i);
            }
        }
        repair(&mut bytes);
        try_all(&bytes);
    }
}
