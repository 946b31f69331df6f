//! A sum over chunks that many threads compute, added in chunk order, so that it has the same bits for any number of threads.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};

/// What is added up.
pub(crate) trait Sum: Default + Send {
    /// Add what came from the next chunk.
    fn add(&mut self, chunk: Self);
}

struct Progress<S, E> {
    total: S,
    /// The next chunk to add.
    next: usize,
    /// Chunks that came early.
    waiting: BTreeMap<usize, S>,
    /// The next chunk to compute.
    to_take: usize,
    /// The failure of the earliest chunk that failed.
    failed: Option<(usize, E)>,
}

/// Sum `chunk(worker, i)` for i in 0..chunks, one worker a thread. At most two chunks a thread are in memory besides the total.
pub(crate) fn in_order<W: Send, S: Sum, E: Send>(
    workers: Vec<W>,
    chunks: usize,
    chunk: impl Fn(&mut W, usize) -> Result<S, E> + Sync,
) -> Result<S, E> {
    let ahead = 2 * workers.len();
    let first = Progress { total: S::default(), next: 0, waiting: BTreeMap::new(), to_take: 0, failed: None };
    let (progress, moved) = (Mutex::new(first), Condvar::new());
    let lock = || progress.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let work = |mut worker: W| {
        loop {
            let taken = {
                let mut p = lock();
                while p.failed.is_none() && p.to_take < chunks && p.to_take >= p.next + ahead {
                    p = moved.wait(p).unwrap_or_else(|poisoned| poisoned.into_inner());
                }
                if p.failed.is_some() || p.to_take >= chunks {
                    return;
                }
                p.to_take += 1;
                p.to_take - 1
            };
            let result = chunk(&mut worker, taken);
            let mut p = lock();
            match result {
                Ok(sum) => {
                    p.waiting.insert(taken, sum);
                    while let Some(sum) = {
                        let next = p.next;
                        p.waiting.remove(&next)
                    } {
                        p.total.add(sum);
                        p.next += 1;
                    }
                }
                // Earlier chunks were taken earlier and are being computed: the first failure in order wins.
                Err(error) => {
                    if p.failed.as_ref().is_none_or(|(at, _)| taken < *at) {
                        p.failed = Some((taken, error));
                    }
                }
            }
            moved.notify_all();
        }
    };
    let mut workers = workers.into_iter();
    let own = workers.next();
    std::thread::scope(|scope| {
        for worker in workers {
            scope.spawn(|| work(worker));
        }
        own.into_iter().for_each(work);
    });
    let progress = progress.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    match progress.failed {
        Some((_, error)) => Err(error),
        None => Ok(progress.total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct Joined(Vec<usize>);
    impl Sum for Joined {
        fn add(&mut self, chunk: Joined) {
            self.0.extend(chunk.0);
        }
    }

    #[test]
    fn chunks_are_added_in_order_whoever_is_fast() {
        let slow_first = |_: &mut (), i: usize| -> Result<Joined, ()> {
            std::thread::sleep(std::time::Duration::from_micros(if i.is_multiple_of(3) { 900 } else { 10 }));
            Ok(Joined(vec![i]))
        };
        for threads in [1, 2, 5] {
            let sum = in_order(vec![(); threads], 40, slow_first).unwrap();
            assert_eq!(sum.0, (0..40).collect::<Vec<_>>());
        }
        assert_eq!(in_order(vec![(); 3], 0, slow_first).unwrap(), Joined::default());
    }

    #[test]
    fn a_failure_ends_it() {
        let failing = |_: &mut (), i: usize| if i >= 7 { Err(i) } else { Ok(Joined(vec![i])) };
        assert_eq!(in_order(vec![(); 1], 40, failing), Err(7));
        assert!(in_order(vec![(); 4], 40, failing).is_err());
    }
}
