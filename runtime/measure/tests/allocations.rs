//! Between the first run and the last the driver allocates nothing, and what watches the machine is kept out of the windows.

use std::cell::Cell;

use allocation_counter::measure;
use limbeck_measure::{
    Buffers, Conditions, Edge, Instruments, Protocol, Samples, Stretches, measure_watched_into, sustain,
};

/// A pretend model of 1 ms, and how many allocations were live when it ran.
const RUN_NS: u64 = 1_000_000;

#[test]
fn the_whole_measurement_allocates_nothing_by_itself() {
    let now = Cell::new(0u64);
    let mut buffers = Box::new(Buffers::<4096>::new());
    let mut instruments = Instruments { clock: || now.get(), conditions: |_| Conditions::default() };
    let mut run = || -> Result<(), ()> {
        now.set(now.get() + RUN_NS);
        Ok(())
    };
    let counted = measure(|| {
        measure_watched_into(&mut instruments, &mut run, &Protocol::full(), &mut buffers).map(drop).unwrap();
    });
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0), "warm-up, windows, summaries, bootstrap");
    assert_eq!(buffers.all().n(), 50_000);
}

#[test]
fn a_watcher_that_allocates_is_in_no_window() {
    let (now, is_in_window, watched) = (Cell::new(0u64), Cell::new(false), Cell::new(0));
    let mut buffers = Box::new(Buffers::<512>::new());
    let conditions = |edge| {
        is_in_window.set(matches!(edge, Edge::Start(_)));
        watched.set(watched.get() + 1);
        now.set(now.get() + 77 * RUN_NS); // reading sensors is slow
        drop(std::hint::black_box(vec![0u8; 1000]));
        Conditions::default()
    };
    let mut runs_in_windows = 0;
    let mut instruments = Instruments { clock: || now.get(), conditions };
    let mut run = || -> Result<(), ()> {
        runs_in_windows += u64::from(is_in_window.get());
        now.set(now.get() + RUN_NS);
        Ok(())
    };
    let mut latency = None;
    let counted = measure(|| {
        latency = measure_watched_into(&mut instruments, &mut run, &Protocol::quick(0.5), &mut buffers).ok();
    });
    let latency = latency.unwrap();
    assert_eq!((watched.get(), counted.count_total), (6, 6), "three windows, two edges, one allocation each");
    assert_eq!(runs_in_windows, latency.all.n);
    assert_eq!((latency.all.max_us, latency.windows[0].n), (1000.0, 500), "its time is in no sample and in no window");
}

#[test]
fn half_an_hour_allocates_nothing_by_itself() {
    let now = Cell::new(0u64);
    let mut samples = Box::new(Samples::<4096>::new());
    let mut instruments = Instruments { clock: || now.get(), conditions: |_| Conditions::default() };
    let mut run = || -> Result<(), ()> {
        now.set(now.get() + RUN_NS);
        Ok(())
    };
    let stretches = Stretches::minutes_of(1800.0);
    let counted = measure(|| {
        sustain(&mut instruments, &mut run, stretches, &mut samples, &mut |_| Ok(())).map(drop).unwrap();
    });
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
}

#[test]
fn the_counter_counts() {
    // Guards the tests above: a counter that is not linked in would find nothing anywhere.
    let counted = measure(|| drop(std::hint::black_box(vec![0u8; 1000])));
    assert_eq!((counted.count_total, counted.bytes_total), (1, 1000));
}
