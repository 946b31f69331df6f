//! Which sample is shown when, and in which view.

use limbeck_answers::rng::Stream;

/// The samples that are trained on. What [`crate::Examples`] is asked for is `sample * views + view`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visits {
    /// Sample numbers.
    pub samples: Vec<usize>,
    /// Views of each.
    pub views: usize,
}

impl Visits {
    /// All of a data set.
    pub fn all(samples: usize, views: usize) -> Visits {
        Visits { samples: (0..samples).collect(), views }
    }

    /// One epoch: every sample once, order and view drawn from the seed.
    pub fn epoch(&self, seed: u64, epoch: usize) -> Vec<usize> {
        // Sorting by drawn keys is a uniform shuffle; the index breaks ties, so the order is the same everywhere.
        let draw = |&sample: &usize| {
            let mut random = Stream::new(seed, ((epoch as u64) << 40) | sample as u64, VISITS);
            let key = ((random.next_u32() as u64) << 32) | random.next_u32() as u64;
            (key, sample * self.views + random.below(self.views.max(1) as u32) as usize)
        };
        let mut keyed: Vec<(u64, usize)> = self.samples.iter().map(draw).collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, visit)| visit).collect()
    }
}

/// Keeps these draws apart from any other use of the same seed.
const VISITS: u32 = 0x7669_7369;

/// Two parts of `samples` sample numbers: `share` of them, at least one where there are two or more, and the rest; both in
/// ascending order. Drawn from the seed, so that a board and a host hold out the same ones.
pub fn held_out(samples: usize, share: f32, seed: u64) -> (Vec<usize>, Vec<usize>) {
    const HELD_OUT: u32 = 0x6865_6c64;
    let mut keyed: Vec<(u64, usize)> = (0..samples)
        .map(|sample| {
            let mut random = Stream::new(seed, sample as u64, HELD_OUT);
            (((random.next_u32() as u64) << 32) | random.next_u32() as u64, sample)
        })
        .collect();
    keyed.sort_unstable();
    let most = samples.saturating_sub(1);
    let count = ((samples as f32 * share).round() as usize).max(1).min(most);
    let mut parts = [&keyed[..count], &keyed[count..]].map(|part| part.iter().map(|(_, s)| *s).collect::<Vec<_>>());
    parts.iter_mut().for_each(|part| part.sort_unstable());
    let [out, rest] = parts;
    (out, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_visits_every_sample_once_in_an_order_of_its_own() {
        let visits = Visits::all(100, 2);
        let samples = |epoch| -> Vec<usize> { visits.epoch(7, epoch).into_iter().map(|v| v / 2).collect() };
        let (first, second) = (samples(0), samples(1));
        assert_eq!(first, samples(0));
        assert_ne!(first, second);
        for mut epoch in [first, second] {
            epoch.sort_unstable();
            assert_eq!(epoch, (0..100).collect::<Vec<_>>());
        }
        let views: std::collections::HashSet<usize> = visits.epoch(7, 0).into_iter().map(|v| v % 2).collect();
        assert_eq!(views.len(), 2, "both views are shown");
    }

    #[test]
    fn what_is_held_out_and_the_rest_are_all() {
        for (samples, share, count) in [(100, 0.2, 20), (10, 0.0, 1), (10, 1.0, 9), (1, 0.5, 0), (0, 0.5, 0)] {
            let (out, rest) = held_out(samples, share, 3);
            assert_eq!(out.len(), count);
            let mut all = [out, rest].concat();
            all.sort_unstable();
            assert_eq!(all, (0..samples).collect::<Vec<_>>());
        }
        assert_ne!(held_out(100, 0.2, 3), held_out(100, 0.2, 4));
    }
}
