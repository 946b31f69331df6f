//! The K largest logits of an answer, and what a loss must know of the rest.
//!
//! u16 idx\[K\] · f16 z\[K\] · f16 lse · f16 tail_lse\[3\] · f16 mean · f16 sd · u8 flags · u8 0        4K + 14 bytes
//!
//! Everything is of u_c = z_c - max z, over C classes of which K are kept:
//!
//! lse         = ln Σ_c exp(u_c)
//! tail_lse(T) = ln Σ_{c not kept} exp(u_c / T)  at T = 1, 2, 4; -∞ of nothing: every class is kept
//! mean, sd    = of all C values of u; sd is unbiased, Σ (u - mean)² / (C - 1), and 0 for one class
//!
//! idx is in descending order of the logits, equal ones by the lower index. The true class is always kept: it takes the
//! place of the K-th when it is not among the K largest (DKD and every loss with labels needs p_y). Bit 0 of the flags says
//! that it was so, bit 1 that the teacher's first choice is the true class. Sums are in f64, classes in order.

use half::f16;

use super::plain::nearest;

/// The temperatures at which the tail is known.
pub const TAIL_TEMPERATURES: [f32; 3] = [1.0, 2.0, 4.0];

/// Flag: the true class is not among the K largest and took the last place.
const FORCED: u8 = 1;
/// Flag: the teacher's first choice is the true class.
const CORRECT: u8 = 2;

/// The K largest logits of an answer, relative to the largest, and statistics of all. Decoded; the record is drawn in
/// the module of the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    /// (K) classes, in descending order of their logits.
    pub index: Vec<u16>,
    /// (K) z - max z.
    pub z: Vec<f32>,
    /// Log of the sum of exponentials over all classes.
    pub lse: f32,
    /// The same over the classes that are not here, at the temperatures 1, 2, 4; -∞ when all are here.
    pub tail_lse: [f32; 3],
    /// Mean of all z - max z.
    pub mean: f32,
    /// Unbiased standard deviation of all z.
    pub sd: f32,
    /// The true class was not among the K largest and took the last place.
    pub label_forced: bool,
    /// The first class is the true one.
    pub label_first: bool,
}

impl TopK {
    /// Of finite `logits`, of which `k` are kept: 1 ≤ k ≤ C ≤ 65536.
    pub(crate) fn of(logits: &[f32], k: usize, label: Option<u16>) -> TopK {
        let max = super::max(logits);
        let mut order: Vec<u16> = (0..=u16::MAX).take(logits.len()).collect();
        let descending = |a: &u16, b: &u16| {
            let (za, zb) = (logits[usize::from(*a)], logits[usize::from(*b)]);
            // Not `total_cmp`, which has an order for the two zeros.
            zb.partial_cmp(&za).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(b))
        };
        if k < order.len() {
            order.select_nth_unstable_by(k - 1, descending);
        }
        let mut index = order[..k].to_vec();
        index.sort_unstable_by(descending);
        let label_first = label.is_some() && index.first().copied() == label;
        let missing = label.filter(|y| usize::from(*y) < logits.len() && !index.contains(y));
        if let (Some(y), Some(last)) = (missing, index.last_mut()) {
            *last = y;
        }

        let u = |c: usize| f64::from(logits[c]) - f64::from(max);
        let mut kept = vec![false; logits.len()];
        index.iter().for_each(|&c| kept[usize::from(c)] = true);
        let log_sum = |t: f64, with_kept: bool| {
            (0..logits.len()).filter(|&c| with_kept || !kept[c]).map(|c| (u(c) / t).exp()).sum::<f64>().ln()
        };
        let n = logits.len() as f64;
        let mean = (0..logits.len()).map(u).sum::<f64>() / n;
        let squares = (0..logits.len()).map(|c| (u(c) - mean).powi(2)).sum::<f64>();
        let tail = |t: f32| if k == logits.len() { f32::NEG_INFINITY } else { log_sum(t.into(), false) as f32 };
        TopK {
            z: index.iter().map(|&c| logits[usize::from(c)] - max).collect(),
            index,
            lse: log_sum(1.0, true) as f32,
            tail_lse: TAIL_TEMPERATURES.map(tail),
            mean: mean as f32,
            sd: if logits.len() > 1 { (squares / (n - 1.0)).sqrt() as f32 } else { 0.0 },
            label_forced: missing.is_some(),
            label_first,
        }
    }

    /// K
    pub fn k(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn emit(&self, record: &mut [u8]) {
        let (k, mut at) = (self.k(), 0);
        let mut put = |bytes: [u8; 2]| {
            record[at..at + 2].copy_from_slice(&bytes);
            at += 2;
        };
        self.index.iter().for_each(|i| put(i.to_le_bytes()));
        self.z.iter().for_each(|z| put(nearest(*z).to_le_bytes()));
        put(nearest(self.lse).to_le_bytes());
        for tail in self.tail_lse {
            put(if tail == f32::NEG_INFINITY { f16::NEG_INFINITY } else { nearest(tail) }.to_le_bytes());
        }
        put(nearest(self.mean).to_le_bytes());
        put(nearest(self.sd).to_le_bytes());
        put([u8::from(self.label_forced) * FORCED + u8::from(self.label_first) * CORRECT, 0]);
        debug_assert_eq!(at, 4 * k + 14);
    }

    /// The record of `k` of `classes` logits; none when no writer makes such bytes.
    pub(crate) fn parse(record: &[u8], k: usize, classes: usize) -> Option<TopK> {
        let mut words = record.chunks_exact(2).map(|b| [b[0], b[1]]);
        let index: Vec<u16> = words.by_ref().take(k).map(u16::from_le_bytes).collect();
        let mut number = || words.next().map(|b| f16::from_le_bytes(b).to_f32());
        let z = (0..k).map(|_| number().filter(|z| z.is_finite() && *z <= 0.0)).collect::<Option<Vec<f32>>>()?;
        let lse = number()?;
        let tail_lse = [number()?, number()?, number()?];
        let (mean, sd) = (number()?, number()?);
        let [flags, zero] = words.next()?;
        let mut seen = vec![false; classes];
        let distinct = index.iter().all(|&c| seen.get_mut(usize::from(c)).is_some_and(|s| !std::mem::replace(s, true)));
        let numbers = lse.is_finite() && mean.is_finite() && sd.is_finite() && sd >= 0.0;
        let tails = tail_lse.iter().all(|t| t.is_finite() || *t == f32::NEG_INFINITY);
        (index.len() == k && distinct && numbers && tails && flags & !(FORCED | CORRECT) == 0 && zero == 0).then_some(
            TopK {
                index,
                z,
                lse,
                tail_lse,
                mean,
                sd,
                label_forced: flags & FORCED != 0,
                label_first: flags & CORRECT != 0,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(logits: &[f32], k: usize, label: Option<u16>) -> TopK {
        let mut record = vec![0xAA; 4 * k + 14];
        TopK::of(logits, k, label).emit(&mut record);
        TopK::parse(&record, k, logits.len()).unwrap()
    }

    #[test]
    fn the_largest_come_first_and_equal_ones_by_index() {
        let top = stored(&[1.0, 3.0, 3.0, -2.0, 3.0, 1.0], 4, None);
        assert_eq!((top.index, top.z), (vec![1, 2, 4, 0], vec![0.0, 0.0, 0.0, -2.0]));
        assert_eq!(stored(&[0.0, -0.0, 0.0], 2, None).index, [0, 1], "zero is zero");
    }

    #[test]
    fn the_true_class_takes_the_last_place() {
        let logits = [0.0, 5.0, 4.0, 3.0, -1.0];
        let top = stored(&logits, 2, Some(4));
        assert_eq!((top.index, top.z, top.label_forced, top.label_first), (vec![1, 4], vec![0.0, -6.0], true, false));
        let top = stored(&logits, 2, Some(2));
        assert_eq!((top.index, top.label_forced, top.label_first), (vec![1, 2], false, false));
        let top = stored(&logits, 2, Some(1));
        assert_eq!((top.label_forced, top.label_first), (false, true));
        let top = stored(&logits, 1, Some(3));
        assert_eq!((top.index, top.z), (vec![3], vec![-2.0]));
        assert_eq!(stored(&logits, 2, Some(5)).index, [1, 2], "a class that the teacher does not have is not forced");
    }

    #[test]
    fn the_statistics_are_those_of_all_logits() {
        // By hand: u = 0, -ln 2, -ln 4, -ln 8; exp = 1, 1/2, 1/4, 1/8.
        let ln2 = std::f32::consts::LN_2;
        let top = TopK::of(&[7.0, 7.0 - ln2, 7.0 - 2.0 * ln2, 7.0 - 3.0 * ln2], 2, None);
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-5, "{a} {b}");
        near(top.lse, 1.875_f32.ln());
        near(top.tail_lse[0], 0.375_f32.ln());
        near(top.tail_lse[1], (0.25_f32.sqrt() + 0.125_f32.sqrt()).ln());
        near(top.tail_lse[2], (0.25_f32.powf(0.25) + 0.125_f32.powf(0.25)).ln());
        near(top.mean, -1.5 * ln2);
        near(top.sd, ln2 * (5.0_f32 / 3.0).sqrt());
    }

    #[test]
    fn kept_and_tail_are_together_all_of_the_mass() {
        let logits: Vec<f32> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 2e6).collect();
        let top = stored(&logits, 10, Some(3));
        let kept: f32 = top.z.iter().map(|z| z.exp()).sum();
        assert!(((kept + top.tail_lse[0].exp()).ln() - top.lse).abs() < 5e-3);
    }

    #[test]
    fn no_tail_is_minus_infinity_and_one_class_is_enough() {
        let top = stored(&[3.0], 1, Some(0));
        assert_eq!((top.lse, top.tail_lse, top.mean, top.sd), (0.0, [f32::NEG_INFINITY; 3], 0.0, 0.0));
        let top = stored(&[0.0, -1e9], 2, None);
        assert_eq!(top.z, [0.0, -65504.0]);
    }

    #[test]
    fn records_that_no_writer_makes_are_none() {
        let mut record = vec![0; 4 * 2 + 14];
        TopK::of(&[1.0, 2.0, 3.0], 2, None).emit(&mut record);
        let parse = |at: usize, bytes: [u8; 2]| {
            let mut record = record.clone();
            record[at..at + 2].copy_from_slice(&bytes);
            TopK::parse(&record, 2, 3)
        };
        assert!(TopK::parse(&record, 2, 3).is_some());
        let nan = f16::NAN.to_le_bytes();
        for (at, bytes) in
            [(0, [3, 0]), (0, [1, 0]), (4, nan), (8, nan), (10, nan), (16, nan), (20, [4, 0]), (20, [0, 1])]
        {
            assert_eq!(parse(at, bytes), None, "{at} {bytes:?}");
        }
        assert_eq!(TopK::parse(&record[..20], 2, 3), None);
    }
}
