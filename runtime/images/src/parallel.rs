//! The same work for every index, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::watch::Watch;

/// Told how many of the items are done, from any thread, in rising order per thread but not overall.
pub type Progress<'a> = &'a (dyn Fn(usize) + Sync);

/// Call `work(state, i)` for every `i` in `0..n`, each thread with a state of its own from `start`.
///
/// Indices are begun in order and after an error none is begun, so every lower one has finished by then: the error returned,
/// that of the lowest index, does not depend on the number of threads. `Ok(false)`: `watch` cancelled before the end.
pub fn for_each<S, E: Send>(
    n: usize,
    threads: usize,
    watch: &dyn Watch,
    start: impl Fn() -> Result<S, E> + Sync,
    work: impl Fn(&mut S, usize) -> Result<(), E> + Sync,
) -> Result<bool, E> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failure: Mutex<Option<(usize, E)>> = Mutex::new(None);
    let fail = |i: usize, error: E| {
        next.store(n, Ordering::Relaxed);
        let mut failure = failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if failure.as_ref().is_none_or(|(lowest, _)| i < *lowest) {
            *failure = Some((i, error));
        }
    };
    let run = || {
        let mut state = match start() {
            Ok(state) => state,
            Err(error) => return fail(0, error),
        };
        while !watch.cancelled() {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                return;
            }
            if let Err(error) = work(&mut state, i) {
                return fail(i, error);
            }
            watch.progress(done.fetch_add(1, Ordering::Relaxed) + 1, n);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, n.max(1)) {
            scope.spawn(run);
        }
        run();
    });
    match failure.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some((_, error)) => Err(error),
        None => Ok(done.load(Ordering::Relaxed) == n),
    }
}

/// `f(0), …, f(n - 1)` in order, on all cores, or the error of the lowest index that has one.
pub fn try_map<T: Send, E: Send>(
    n: usize,
    progress: Progress<'_>,
    f: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    struct Told<'a>(Progress<'a>);
    impl Watch for Told<'_> {
        fn progress(&self, done: usize, _total: usize) {
            (self.0)(done);
        }
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(n));
    for_each(
        n,
        threads,
        &Told(progress),
        || Ok(()),
        |(), i| {
            let value = f(i)?;
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((i, value));
            Ok(())
        },
    )?;
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_unstable_by_key(|(i, _)| *i);
    Ok(results.into_iter().map(|(_, value)| value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Unwatched;

    #[test]
    fn results_are_in_order_and_counted() {
        let most = AtomicUsize::new(0);
        let count = |n| {
            most.fetch_max(n, Ordering::Relaxed);
        };
        let squares = try_map(1000, &count, |i| Ok::<_, ()>(i * i)).unwrap();
        assert_eq!(squares, (0..1000).map(|i| i * i).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), 1000);
        assert_eq!(try_map(0, &|_| (), Ok::<usize, ()>), Ok(vec![]));
    }

    #[test]
    fn the_lowest_error_wins() {
        for _ in 0..50 {
            assert_eq!(try_map(500, &|_| (), |i| if i % 90 == 89 { Err(i) } else { Ok(()) }), Err(89));
        }
    }

    #[test]
    fn every_index_is_worked_on_once_with_a_state_of_its_thread() {
        let seen: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        let done = for_each(
            100,
            4,
            &Unwatched,
            || Ok::<_, ()>(0),
            |state, i| {
                *state += 1;
                seen[i].fetch_add(1, Ordering::Relaxed);
                Ok(())
            },
        );
        assert_eq!(done, Ok(true));
        assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn cancelling_ends_early_without_an_error() {
        struct AfterTen(AtomicUsize);
        impl Watch for AfterTen {
            fn progress(&self, done: usize, _total: usize) {
                self.0.fetch_max(done, Ordering::Relaxed);
            }
            fn cancelled(&self) -> bool {
                self.0.load(Ordering::Relaxed) >= 10
            }
        }
        let watch = AfterTen(AtomicUsize::new(0));
        assert_eq!(for_each(1_000_000, 2, &watch, || Ok::<_, ()>(()), |(), _| Ok(())), Ok(false));
        assert!(watch.0.into_inner() < 1_000_000);
    }
}
