//! The same integers on every CPU and by every kernel path: this machine's, and those of emulated ones.
//!
//! ```text
//! LIMBECK_EMULATED=1 cargo test -p limbeck-tests --test same_integers
//! ```

use limbeck_tests::guest::{COMPARED, Guest};
use limbeck_tests::limbeck::{is_set, skip, tell};
use limbeck_tests::subjects;

#[test]
fn the_integers_are_the_same_everywhere() {
    let test = "the_integers_are_the_same_everywhere";
    if !is_set("LIMBECK_EMULATED") {
        return skip(test, "it cross-builds and emulates; ask for it with LIMBECK_EMULATED=1");
    }
    if let Some(missing) = COMPARED.iter().find_map(|cpu| cpu.missing()) {
        return skip(test, &missing);
    }
    let (published, absent) = subjects::published();
    let subjects: Vec<_> = subjects::own().into_iter().chain(published).collect();
    absent.iter().for_each(|file| tell(&format!("{test}: not compared, as it is not here: {}", file.display())));
    let expected: Vec<(u64, String)> = subjects.iter().map(|subject| subject.integers_here()).collect();

    let emulated = COMPARED.iter().map(|&cpu| (cpu.name, Guest::on(cpu)));
    for (place, guest) in std::iter::once(("this machine", Guest::here())).chain(emulated) {
        let paths = guest.paths();
        assert!(paths.iter().any(|path| path == "portable"), "{place} has only the paths {paths:?}");
        for path in &paths {
            for (subject, (count, digest)) in subjects.iter().zip(&expected) {
                let ran = guest.run(&subject.plan, Some(path));
                let what = format!("{} on {place} by {path}", subject.name);
                assert_eq!(ran.path, *path, "{what}: it went another way");
                assert_eq!(
                    (ran.integers, &ran.digest),
                    (*count, digest),
                    "{what}: other integers than the engine's here"
                );
            }
        }
        tell(&format!("{place}: the integers of {} models by {}", subjects.len(), paths.join(", ")));
    }
}

#[test]
fn every_kernel_of_every_path_meets_its_reference_on_every_cpu() {
    let test = "every_kernel_of_every_path_meets_its_reference_on_every_cpu";
    if !is_set("LIMBECK_EMULATED") {
        return skip(test, "it cross-builds and emulates; ask for it with LIMBECK_EMULATED=1");
    }
    if let Some(missing) = COMPARED.iter().find_map(|cpu| cpu.missing()) {
        return skip(test, &missing);
    }
    for cpu in COMPARED {
        let guest = Guest::on(cpu);
        assert_eq!(guest.suite(), guest.paths(), "paths whose kernels met their references on {}", cpu.name);
    }
}

#[test]
fn a_path_that_is_not_there_is_refused_by_name() {
    let test = "a_path_that_is_not_there_is_refused_by_name";
    if !is_set("LIMBECK_EMULATED") {
        return skip(test, "it builds the guest; ask for it with LIMBECK_EMULATED=1");
    }
    Guest::here().refuses_path("abacus", "LIMBECK_ISA=abacus: this CPU has");
}
