//! Shards on many machines make the file of one machine, or an error that names the shard.

mod common;

use std::path::{Path, PathBuf};

use common::*;
use limbeck_answers::{AnswersError, HeadKind, Manifest, MergeError, Shard, merge};
use proptest::prelude::*;

/// Write the shards `ranges` of `m` into a folder.
fn shards(folder: &Path, m: &Manifest, ranges: &[(u64, u64)]) -> Vec<PathBuf> {
    let one = |(i, &(first, count)): (usize, &(u64, u64))| {
        let path = folder.join(format!("{i}.shard"));
        write(&path, &shard(m, first, count).0);
        path
    };
    ranges.iter().enumerate().map(one).collect()
}

fn merged(m: &Manifest, ranges: &[(u64, u64)]) -> Result<Vec<u8>, MergeError> {
    let dir = tempfile::tempdir().unwrap();
    let paths = shards(dir.path(), m, ranges);
    let out = dir.path().join("out.answers");
    let said = merge(&paths, &out).inspect_err(|_| assert!(!out.exists()))?;
    let bytes = std::fs::read(&out).unwrap();
    assert_eq!(open(&bytes).unwrap().sha256(), said);
    Ok(bytes)
}

#[test]
fn shards_in_any_order_make_the_file_of_one_writer() {
    let m = manifest(7, every_head());
    let whole = bytes(&m);
    let cuts: [&[(u64, u64)]; 7] = [
        &[(0, 7)],
        &[(0, 3), (3, 4)],
        &[(3, 4), (0, 3)],
        &[(6, 1), (2, 2), (0, 2), (4, 2)],
        // A job that was run twice, and jobs that overlap.
        &[(0, 3), (3, 4), (0, 3)],
        &[(0, 5), (3, 4)],
        &[(2, 5), (0, 7), (1, 1)],
    ];
    for ranges in cuts {
        assert_eq!(merged(&m, ranges).unwrap(), whole, "{ranges:?}");
    }
}

#[test]
fn a_shard_that_was_killed_and_taken_up_is_no_other() {
    let m = manifest(7, every_head());
    let dir = tempfile::tempdir().unwrap();
    let paths = shards(dir.path(), &m, &[(0, 4)]);
    let (second, _) = shard(&m, 4, 3);
    let path = dir.path().join("second.shard");
    put(&mut writer(&path, &second).unwrap(), 5, m.views[1]).unwrap();
    let mut w = writer(&path, &second).unwrap();
    assert_eq!(w.resumed(), 1);
    for sample in 4..7 {
        for &view in &m.views {
            if !w.is_done(sample, view) {
                put(&mut w, sample, view).unwrap();
            }
        }
    }
    w.finish().unwrap();
    let out = dir.path().join("out");
    merge(&[path, paths[0].clone()], &out).unwrap();
    assert_eq!(std::fs::read(out).unwrap(), bytes(&m));
}

#[test]
fn missing_samples_are_named() {
    let m = manifest(7, vec![head("logits", HeadKind::DenseF16, &[3])]);
    let cases = [(vec![(1, 6)], 0, 1), (vec![(0, 2), (4, 3)], 2, 4), (vec![(0, 6)], 6, 7)];
    for (ranges, from, to) in cases {
        match merged(&m, &ranges).unwrap_err() {
            MergeError::Gap { first, end, of: 7 } => assert_eq!((first, end), (from, to)),
            error => panic!("{error}"),
        }
    }
    assert!(matches!(merged(&m, &[]), Err(MergeError::Nothing)));
}

#[test]
fn shards_that_contradict_each_other_are_both_named() {
    let m = manifest(7, every_head());
    let dir = tempfile::tempdir().unwrap();
    let paths = shards(dir.path(), &m, &[(0, 4), (3, 4)]);
    // The same shard from a teacher that says something else of sample 3.
    std::fs::remove_file(&paths[1]).unwrap();
    let (second, _) = shard(&m, 3, 4);
    let mut w = writer(&paths[1], &second).unwrap();
    for sample in 3..7 {
        for (v, &view) in m.views.iter().enumerate() {
            let mut values: Vec<Vec<f32>> = (0..m.heads.len()).map(|h| value(&m, h, sample, view)).collect();
            if (sample, v) == (3, 1) {
                values[4][2] += 1.0;
            }
            let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
            w.put(sample, view, label(sample), &values).unwrap();
        }
    }
    w.finish().unwrap();
    let error = merge(&paths, &dir.path().join("out")).unwrap_err();
    let said = error.to_string();
    assert!(matches!(&error, MergeError::Contradict { sample: 3, what, .. } if what == "pooled"), "{said}");
    assert!(said.contains("0.shard") && said.contains("1.shard"), "{said}");
}

#[test]
fn shards_of_different_runs_are_refused_by_field() {
    type Change = fn(&mut Manifest);
    let cases: [(&str, Change); 4] = [
        ("teacher.sha256", |m| m.teacher.sha256 = "9".repeat(64)),
        ("heads[3].kind.top_k_f16.k", |m| m.heads[3].kind = HeadKind::TopKF16 { k: 1 }),
        ("views", |m| m.views.truncate(1)),
        ("dataset.samples", |m| m.dataset.samples = 8),
    ];
    for (name, change) in cases {
        let m = manifest(7, every_head());
        let mut other = m.clone();
        change(&mut other);
        let dir = tempfile::tempdir().unwrap();
        let first = shards(dir.path(), &m, &[(0, 4)]).remove(0);
        let second = dir.path().join("second.shard");
        write(&second, &shard(&other, 4, 3).0);
        match merge(&[first, second], &dir.path().join("out")).unwrap_err() {
            MergeError::Differ { field, .. } => assert_eq!(field, name),
            error => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn a_whole_file_is_no_shard_and_a_damaged_one_is_named() {
    let m = manifest(7, every_head());
    let dir = tempfile::tempdir().unwrap();
    let paths = shards(dir.path(), &m, &[(0, 4), (4, 3)]);
    let whole = dir.path().join("whole");
    write(&whole, &m);
    let error = merge(std::slice::from_ref(&whole), &dir.path().join("out")).unwrap_err();
    assert!(matches!(error, MergeError::Whole { .. }), "{error}");
    let mut damaged = std::fs::read(&paths[1]).unwrap();
    let records = u64::from_le_bytes(damaged[48..56].try_into().unwrap()) as usize;
    damaged[records + 3] ^= 1;
    std::fs::write(&paths[1], damaged).unwrap();
    let error = merge(&paths, &dir.path().join("out")).unwrap_err();
    assert!(matches!(error, MergeError::Answers(AnswersError::Damaged { .. })), "{error}");
    assert!(error.to_string().contains("1.shard"), "{error}");
    assert!(!dir.path().join("out").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_number_of_equal_parts_makes_the_whole(samples in 1u64..24, parts in 1u64..6) {
        let m = manifest(samples, vec![head("logits", HeadKind::DenseI8, &[3]), head("sign", HeadKind::Sign, &[5])]);
        let parts = parts.min(samples);
        let ranges: Vec<_> = (0..parts).rev().map(|i| Shard::part(i, parts, samples)).map(|s| (s.first, s.count)).collect();
        prop_assert_eq!(merged(&m, &ranges).unwrap(), bytes(&m));
    }
}
