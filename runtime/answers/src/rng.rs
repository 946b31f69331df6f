//! Philox4x32-10: random numbers by counter, not by state.
//!
//! key (2 x u32), counter (4 x u32) -> 4 x u32
//!
//! Sample `i` of a data set, or view `v` of a sample, draws the same numbers whatever was drawn before it, on whichever
//! thread or machine. Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the test
//! vectors are those of the authors' Random123 library (`tests/kat_vectors`).

/// Multipliers of the two halves (paper, table 2).
const M: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// Key increments: the golden ratio, and sqrt(3) - 1 (paper, section 4.2).
const W: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Four words for this key and counter.
pub fn philox4x32_10(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let (mut k, mut c) = (key, counter);
    for _ in 0..10 {
        let p0 = M[0] as u64 * c[0] as u64;
        let p1 = M[1] as u64 * c[2] as u64;
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
        k = [k[0].wrapping_add(W[0]), k[1].wrapping_add(W[1])];
    }
    c
}

/// The numbers that belong to one (seed, index, stream), in order.
///
/// The seed is the key; the counter is (draw, stream, index low, index high). Streams keep purposes apart, so that one
/// more draw in the first does not move the second.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Stream {
    /// The stream from its beginning.
    pub fn new(seed: u64, index: u64, stream: u32) -> Stream {
        Stream {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, stream, index as u32, (index >> 32) as u32],
            block: [0; 4],
            used: 4,
        }
    }

    /// Next 32 bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox4x32_10(self.key, self.counter);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Evenly from 0 to `n - 1`, by multiply and shift (bias below n / 2^32). `below(0)` is 0.
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        ((self.next_u32() as u64 * n as u64) >> 32) as u32
    }

    /// Evenly from `low` to `high`, both included; the caller keeps `low <= high`.
    #[inline]
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        low + self.below((high - low) as u32 + 1) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_vectors() {
        // Random123, tests/kat_vectors, lines "philox4x32 10".
        let cases = [
            ([0; 2], [0; 4], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([u32::MAX; 2], [u32::MAX; 4], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (
                [0xa4093822, 0x299f31d0],
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
            ),
        ];
        for (key, counter, expected) in cases {
            assert_eq!(philox4x32_10(key, counter), expected);
        }
    }

    #[test]
    fn streams_do_not_share_numbers() {
        let first = |seed, index, stream| Stream::new(seed, index, stream).next_u32();
        let draws = [first(1, 0, 0), first(2, 0, 0), first(1, 1, 0), first(1, 0, 1), first(1, 1 << 32, 0)];
        for (i, a) in draws.iter().enumerate() {
            assert!(draws[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn between_reaches_both_ends() {
        let mut s = Stream::new(7, 7, 7);
        let draws: Vec<i32> = (0..1000).map(|_| s.between(-2, 2)).collect();
        assert_eq!((draws.iter().min(), draws.iter().max()), (Some(&-2), Some(&2)));
    }
}
