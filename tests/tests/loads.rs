//! A model is read from its file once, and never again: not while it is compiled, not while it runs.
//!
//! Linux counts what each thread reads (`/proc/thread-self/io`, `rchar`); where it does not, the tests say so and are left out.

use std::path::Path;

use limbeck_engine::Student;
use limbeck_engine::onnx::Model;
use limbeck_tests::limbeck::skip;

/// Bytes that this thread has read so far; asking adds the few of the answer itself.
fn read_so_far() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("rchar: "))?.trim().parse().ok()
}

/// More than the answers of `/proc`, less than any model of these tests.
const ASKING: u64 = 1024;

#[test]
fn a_model_is_read_once_and_not_again() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["residual_net", "separable_net"] {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.onnx"));
        let path = folder.path().join("model.onnx");
        std::fs::copy(&golden, &path).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length > 2 * ASKING, "{name}: {length} bytes prove nothing");

        let Some(before) = read_so_far() else {
            return skip("a_model_is_read_once_and_not_again", "this system does not count what a thread reads");
        };
        let student = Student::load(&Model::read(&path).unwrap()).unwrap();
        let loaded = read_so_far().unwrap();
        assert!((length..length + ASKING).contains(&(loaded - before)), "{name}: {} of {length}", loaded - before);

        // Whoever wanted the file again would not find it.
        std::fs::remove_file(&path).unwrap();
        let mut logits = vec![0.0; student.output_len()];
        let mut worker = student.worker().unwrap();
        for _ in 0..3 {
            worker.run(&vec![0.5; student.input_len()], &mut logits).unwrap();
        }
        assert!(logits.iter().any(|&v| v != 0.0), "{name}");
        let ran = read_so_far().unwrap() - loaded;
        assert!(ran < ASKING, "{name}: {ran} bytes read while running");
    }
}
