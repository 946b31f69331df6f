//! Looking into a run from outside: nobody, a hasher of integers, a recorder of them, or a stopwatch.
//!
//! A plan inside a tract graph has no other way to reach whoever started the run than through its thread. Whoever starts one
//! sets the observer before and takes it away after; a run that nobody observes pays one branch a plan.

use std::cell::RefCell;
use std::time::Instant;

use limbeck_plan::Tensor;
use xxhash_rust::xxh3::Xxh3;

/// What a run did with integers: XXH3-128 over every integer tensor in execution order, each preceded by its name.
///
/// Equal digests on two machines mean that every integer of the run is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integers {
    /// The digest.
    pub digest: u128,
    /// How many integers went into it.
    pub count: u64,
}

/// The digests of many runs, in order, as one: 32 hex digits.
pub fn combined_digest(runs: impl Iterator<Item = Integers>) -> String {
    let mut hasher = Xxh3::new();
    runs.for_each(|run| hasher.update(&run.digest.to_le_bytes()));
    format!("{:032x}", hasher.digest128())
}

/// When a step ran, in nanoseconds since the inference began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// The part of it that belongs to no step inside it.
    pub own_ns: u64,
}

enum Observer {
    Nobody,
    Hasher { hasher: Box<Xxh3>, count: u64 },
    Recorder(Vec<(String, Vec<i8>)>),
    Stopwatch(Stopwatch),
}

/// Spans in the order in which they end.
struct Stopwatch {
    start: Instant,
    spans: Vec<Span>,
    /// Where the step that runs began.
    from_ns: u64,
}

impl Stopwatch {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The step that runs ends here, and the next one begins.
    fn lap(&mut self) {
        let (start_ns, end_ns) = (self.from_ns, self.now());
        self.spans.push(Span { start_ns, end_ns, own_ns: end_ns - start_ns });
        self.from_ns = end_ns;
    }
}

thread_local! {
    static OBSERVER: RefCell<Observer> = const { RefCell::new(Observer::Nobody) };
}

/// Run `f` with the observer that a plan must call after each tensor; `f` is one run of one plan.
///
/// A stopwatch gets one span for each tensor and one for what follows the last: the outputs.
pub(crate) fn observed<T>(f: impl FnOnce(&mut dyn FnMut(Tensor<'_>, &[i8])) -> T) -> T {
    OBSERVER.with_borrow_mut(|observer| match observer {
        Observer::Nobody => f(&mut |_, _| ()),
        Observer::Hasher { hasher, count } => f(&mut |tensor, data| {
            hasher.update(tensor.name.as_bytes());
            hasher.update(&[0]);
            let mut block = [0u8; 512];
            for chunk in data.chunks(block.len()) {
                block.iter_mut().zip(chunk).for_each(|(b, &q)| *b = q as u8);
                hasher.update(&block[..chunk.len()]);
            }
            *count += data.len() as u64;
        }),
        Observer::Recorder(seen) => f(&mut |tensor, data| seen.push((tensor.name.to_owned(), data.to_vec()))),
        Observer::Stopwatch(watch) => {
            watch.from_ns = watch.now();
            let result = f(&mut |_, _| watch.lap());
            watch.lap();
            result
        }
    })
}

/// Run `f`, which runs a model, and hash its integers.
pub(crate) fn hashed<T>(f: impl FnOnce() -> T) -> (T, Integers) {
    OBSERVER.set(Observer::Hasher { hasher: Box::new(Xxh3::new()), count: 0 });
    let result = f();
    let integers = match OBSERVER.replace(Observer::Nobody) {
        Observer::Hasher { hasher, count } => Integers { digest: hasher.digest128(), count },
        _ => Integers { digest: 0, count: 0 },
    };
    (result, integers)
}

/// Run `f`, which runs a model, and keep its integers: name and values (H W C) of each tensor in execution order.
pub(crate) fn recorded<T>(f: impl FnOnce() -> T) -> (T, Vec<(String, Vec<i8>)>) {
    OBSERVER.set(Observer::Recorder(vec![]));
    let result = f();
    match OBSERVER.replace(Observer::Nobody) {
        Observer::Recorder(seen) => (result, seen),
        _ => (result, vec![]),
    }
}

/// Run `f`, which runs a model of `steps` steps, and time them; also nanoseconds of the whole. Memory is taken before.
pub(crate) fn timed<T>(steps: usize, f: impl FnOnce() -> T) -> (T, Vec<Span>, u64) {
    let spans = Vec::with_capacity(steps + 1);
    OBSERVER.set(Observer::Stopwatch(Stopwatch { start: Instant::now(), spans, from_ns: 0 }));
    let result = f();
    match OBSERVER.replace(Observer::Nobody) {
        Observer::Stopwatch(watch) => {
            let whole = watch.now();
            (result, watch.spans, whole)
        }
        _ => (result, vec![], 0),
    }
}

/// Run `f`, one node of a tract graph. A stopwatch gets its span after those of the steps inside it.
pub(crate) fn timed_node<T>(f: impl FnOnce() -> T) -> T {
    let before = OBSERVER.with_borrow(|o| match o {
        Observer::Stopwatch(watch) => Some((watch.now(), watch.spans.len())),
        _ => None,
    });
    let result = f();
    if let Some((start_ns, first)) = before {
        OBSERVER.with_borrow_mut(|o| {
            if let Observer::Stopwatch(watch) = o {
                let end_ns = watch.now();
                let inside: u64 = watch.spans[first..].iter().map(|s| s.own_ns).sum();
                let own_ns = (end_ns - start_ns).saturating_sub(inside);
                watch.spans.push(Span { start_ns, end_ns, own_ns });
            }
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_owns_what_no_step_inside_it_does() {
        let ((), spans, whole) = timed(3, || {
            timed_node(|| observed(|_| std::thread::sleep(std::time::Duration::from_millis(2))));
            timed_node(|| ());
        });
        let [inner, outer, last] = spans[..] else { panic!("{spans:?}") };
        assert!(inner.own_ns >= 2_000_000 && outer.own_ns < inner.own_ns, "{spans:?}");
        assert!(outer.start_ns <= inner.start_ns && inner.end_ns <= outer.end_ns);
        assert_eq!(outer.own_ns + inner.own_ns, outer.end_ns - outer.start_ns);
        assert!(last.start_ns >= outer.end_ns && whole >= last.end_ns);
    }

    #[test]
    fn nobody_is_left_behind() {
        let (_, spans, _) = timed(0, || ());
        assert_eq!(spans, []);
        observed(|_| ());
        let ((), integers) = hashed(|| observed(|_| ()));
        assert_eq!(integers.count, 0);
    }
}
