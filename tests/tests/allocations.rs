//! An int8 student that is one plan allocates nothing while it runs: not in the first inference, not in any after it.
//!
//! Every golden model, on every path of this CPU, with all allocations of the thread counted.

use std::path::Path;

use allocation_counter::measure;
use limbeck_engine::onnx::Model;
use limbeck_engine::{Isa, Student};

/// The golden models that are one plan, by name.
fn students(isa: Isa) -> Vec<(String, Student)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("tests/golden").map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    let load = |path: &std::path::PathBuf| {
        let student = Student::load_on(&Model::read(path).unwrap(), isa).unwrap();
        student.arena_bytes().map(|_| (path.file_name().unwrap().to_string_lossy().into_owned(), student))
    };
    files.iter().filter_map(load).collect()
}

#[test]
fn an_inference_of_one_plan_allocates_nothing() {
    for isa in Isa::available() {
        let students = students(isa);
        assert!(students.len() >= 10, "{} golden models are one plan", students.len());
        for (name, student) in students {
            let x = vec![0.25; student.input_len()];
            let mut logits = vec![0.0; student.output_len()];
            let mut worker = student.worker().unwrap();
            for inference in 1..=4 {
                let counted = measure(|| worker.run(&x, &mut logits).unwrap());
                let (count, bytes) = (counted.count_total, counted.bytes_total);
                assert_eq!((count, bytes), (0, 0), "{name} on {isa:?}, inference {inference}");
            }
        }
    }
}

#[test]
fn the_worker_is_the_arena_and_nothing_else() {
    for isa in Isa::available() {
        for (name, student) in students(isa) {
            let counted = measure(|| drop(student.worker().unwrap()));
            let arena = student.arena_bytes().unwrap() as u64;
            assert_eq!((counted.count_total, counted.bytes_total), (1, arena), "{name} on {isa:?}");
            assert_eq!(student.memory().arena as u64, arena);
            assert_eq!(student.memory(), student.memory_on(isa));
        }
    }
}

#[test]
fn the_counter_counts() {
    // Guards the tests above: a counter that is not linked in would find nothing anywhere.
    let counted = measure(|| drop(std::hint::black_box(vec![0u8; 1000])));
    assert_eq!((counted.count_total, counted.bytes_total), (1, 1000));
}
