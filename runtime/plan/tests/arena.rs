//! The arena that a plan asks for is the arena that it needs, on every path of this CPU.
#![cfg(feature = "emit")]

mod common;

use common::{Net, every_op, random_input, square};
use limbeck_plan::{Isa, PlanBuf, PlanSpec, RunError, emit};

/// A net whose hungriest op is a packed one on every path that packs: padded, so that paths need scratch of their own.
fn convolutions() -> PlanSpec {
    let mut net = Net::new(3);
    let x = net.tensor([12, 10, 16], 0.02, 5);
    let a = net.conv(x, 32, square(3, 1, 1, 1));
    let b = net.conv(a, 32, square(5, 2, 2, 32));
    let c = net.conv(b, 24, square(1, 1, 0, 1));
    net.spec.inputs = vec![x];
    net.spec.outputs = vec![c];
    net.spec
}

/// Runs at the worst address for alignment, with `less` bytes fewer than asked for.
fn run(spec: &PlanSpec, isa: Isa, less: usize) -> (usize, Result<(), RunError>) {
    let buf = PlanBuf::new(emit(spec).unwrap()).unwrap().pack(isa).unwrap();
    let packed = buf.plan();
    let need = packed.arena_bytes();
    assert_eq!(need, packed.plan().arena_bytes_on(isa), "{isa:?}: known before packing");
    let mut memory = vec![0x5a; need + 16];
    // One byte behind a multiple of 16: all of the slack is used.
    let start = memory.as_ptr().align_offset(16) + 1;
    let input = random_input(spec, 1);
    let mut outputs: Vec<Vec<f32>> = packed.plan().outputs().map(|t| vec![0.0; t.shape.elements()]).collect();
    let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let arena = &mut memory[start..][..need - less];
    (need, packed.run(&[&input], &mut slices, arena, |_, _| ()))
}

#[test]
fn the_arena_asked_for_is_enough_and_one_byte_less_is_refused() {
    for spec in [every_op(), convolutions()] {
        for isa in Isa::available() {
            assert_eq!(run(&spec, isa, 0).1, Ok(()), "{isa:?}");
            let (need, refused) = run(&spec, isa, 1);
            assert_eq!(refused, Err(RunError::Arena { need, have: need - 1 }), "{isa:?}");
        }
    }
}

#[test]
fn an_op_says_what_its_path_makes_of_it() {
    for isa in Isa::available() {
        let buf = PlanBuf::new(emit(&convolutions()).unwrap()).unwrap().pack(isa).unwrap();
        let ops: Vec<_> = buf.plan().ops().collect();
        assert_eq!(ops.iter().map(|o| o.op).collect::<Vec<_>>(), buf.plan().plan().ops().collect::<Vec<_>>());
        assert!(ops.iter().all(|o| o.isa == isa), "{ops:?}");
        let packed: usize = ops.iter().map(|o| o.packed_bytes).sum();
        assert_eq!(packed > 0, isa != Isa::PORTABLE);
        // The memory has room to start at a cache line.
        assert_eq!(buf.packed_bytes(), if packed > 0 { packed + 63 } else { 0 });
        let scratch = ops.iter().map(|o| o.scratch_bytes).max().unwrap();
        assert!(scratch > 0 && scratch < buf.plan().arena_bytes());
    }
    let buf = PlanBuf::new(emit(&convolutions()).unwrap()).unwrap();
    let first = buf.plan().ops().next().unwrap();
    assert_eq!((first.kernel, first.input_bytes, first.constant_bytes), ([3, 3], 12 * 10 * 16, 9 * 16 * 32 + 8 * 32));
}

#[test]
fn ops_without_a_fast_form_say_portable() {
    for isa in Isa::available() {
        let buf = PlanBuf::new(emit(&every_op()).unwrap()).unwrap().pack(isa).unwrap();
        for name in ["table", "concat", "pad", "resize"] {
            let op = buf.plan().ops().find(|o| o.op.kind.name() == name).unwrap();
            assert_eq!((op.isa, op.packed_bytes), (Isa::PORTABLE, 0), "{name} on {isa:?}");
        }
    }
}
