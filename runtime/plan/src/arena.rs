//! Where tensors lie in the arena: those that never live together share bytes.
//!
//! Greedy by size, best fit (Pisarchyk & Lee, "Efficient memory management for deep neural net inference", 2020): the largest
//! tensor first, each into the smallest gap that fits among the tensors that live when it does.

use alloc::vec::Vec;

use crate::layout::{ALIGN, MAX_BYTES};

/// A tensor to place: bytes, and the steps during which it holds its value, both ends included.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) len: usize,
    pub(crate) born: u32,
    pub(crate) dies: u32,
}

/// Offset of each block, or `None` when the arena would pass what a plan can address.
pub(crate) fn place(blocks: &[Block]) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    // Ties by index, so that one spec gives one plan.
    order.sort_by_key(|&i| (core::cmp::Reverse(blocks[i].len), i));
    let mut at = alloc::vec![0; blocks.len()];
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let block = blocks[i];
        let alive = |&&other: &&usize| blocks[other].born <= block.dies && block.born <= blocks[other].dies;
        let mut busy: Vec<(usize, usize)> =
            placed.iter().filter(alive).map(|&other| (at[other], at[other] + blocks[other].len)).collect();
        busy.sort_unstable();
        at[i] = best_gap(&busy, block.len);
        if at[i].checked_add(block.len)? > MAX_BYTES {
            return None;
        }
        placed.push(i);
    }
    Some(at)
}

/// Start of the smallest gap between `busy` ranges (sorted by start) that holds `len`; behind them all when none does.
fn best_gap(busy: &[(usize, usize)], len: usize) -> usize {
    let mut best: Option<(usize, usize)> = None;
    let mut free = 0usize;
    for &(start, end) in busy {
        if start >= free && start - free >= len && best.is_none_or(|(size, _)| start - free < size) {
            best = Some((start - free, free));
        }
        free = free.max(end.next_multiple_of(ALIGN));
    }
    best.map_or(free, |(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clash(a: (Block, usize), b: (Block, usize)) -> bool {
        a.0.born <= b.0.dies && b.0.born <= a.0.dies && a.1 < b.1 + b.0.len && b.1 < a.1 + a.0.len
    }

    #[test]
    fn a_chain_needs_two_tensors() {
        let blocks: Vec<Block> = (0..10).map(|i| Block { len: 100, born: i, dies: i + 1 }).collect();
        let at = place(&blocks).unwrap();
        assert_eq!(at.iter().max(), Some(&112));
    }

    #[test]
    fn a_small_tensor_takes_the_tightest_gap() {
        assert_eq!(best_gap(&[(0, 16), (64, 80), (96, 112)], 16), 80);
        assert_eq!(best_gap(&[(0, 16), (64, 80), (96, 112)], 48), 16);
        assert_eq!(best_gap(&[(0, 17)], 48), 32);
        assert_eq!(best_gap(&[], 48), 0);
    }

    #[test]
    fn random_lives_never_clash() {
        let mut rng = limbeck_kernels::suite::Rng::new(7);
        for _ in 0..200 {
            let blocks: Vec<Block> = (0..30)
                .map(|_| {
                    let born = rng.below(20) as u32;
                    Block { len: 1 + rng.below(500), born, dies: born + rng.below(8) as u32 }
                })
                .collect();
            let at = place(&blocks).unwrap();
            for i in 0..30 {
                assert_eq!(at[i] % ALIGN, 0);
                assert!((0..i).all(|j| !clash((blocks[i], at[i]), (blocks[j], at[j]))));
            }
        }
    }
}
