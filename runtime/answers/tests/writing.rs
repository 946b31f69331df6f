//! Writing: any order, any number of runs, the same bytes.

mod common;

use std::path::Path;

use common::*;
use limbeck_answers::{Answers, AnswersError, AnswersWriter, HeadKind, LOGITS, Manifest, View};

#[test]
fn the_order_of_writing_does_not_matter() {
    let m = manifest(5, every_head());
    let dir = tempfile::tempdir().unwrap();
    let mut w = writer(&in_folder(&dir), &m).unwrap();
    for view in [View::Flip, View::Identity] {
        for sample in [3, 0, 4, 1, 2] {
            put(&mut w, sample, view).unwrap();
        }
    }
    w.finish().unwrap();
    assert_eq!(std::fs::read(in_folder(&dir)).unwrap(), bytes(&m));
}

#[test]
fn an_unfinished_run_is_taken_up_and_ends_with_the_same_bytes() {
    let m = manifest(5, every_head());
    let (whole, all) = (bytes(&m), 5 * m.views.len());
    for stops in 0..=all {
        let dir = tempfile::tempdir().unwrap();
        let jobs = || m.views.iter().flat_map(|&v| (0..5).map(move |s| (s, v)));
        let mut w = writer(&in_folder(&dir), &m).unwrap();
        assert_eq!(w.resumed(), 0);
        jobs().take(stops).for_each(|(s, v)| put(&mut w, s, v).unwrap());
        if stops < all {
            match w.finish().unwrap_err() {
                AnswersError::Missing { missing, all: of, .. } => {
                    assert_eq!((missing, of), ((all - stops) as u64, all as u64))
                }
                error => panic!("{error}"),
            }
        } else {
            drop(w);
        }
        assert_eq!(names(dir.path()), ["t.answers.partial"]);
        let mut w = writer(&in_folder(&dir), &m).unwrap();
        assert_eq!(w.resumed(), stops as u64);
        for (i, (s, v)) in jobs().enumerate() {
            assert_eq!(w.is_done(s, v), i < stops);
            if !w.is_done(s, v) {
                put(&mut w, s, v).unwrap();
            }
        }
        w.finish().unwrap();
        assert_eq!(names(dir.path()), ["t.answers"]);
        assert_eq!(std::fs::read(in_folder(&dir)).unwrap(), whole, "stopped after {stops}");
    }
}

#[test]
fn what_was_put_and_not_synced_may_be_lost_but_never_spoils_the_file() {
    let m = manifest(5, every_head());
    let whole = bytes(&m);
    let dir = tempfile::tempdir().unwrap();
    let path = in_folder(&dir);
    let mut w = writer(&path, &m).unwrap();
    for s in 0..5 {
        put(&mut w, s, View::Identity).unwrap();
    }
    drop(w);
    let partial = dir.path().join("t.answers.partial");
    let kept = std::fs::read(&partial).unwrap();
    // Any bit of a record or of the journal: that answer is asked for again.
    let records = u64::from_le_bytes(whole[48..56].try_into().unwrap()) as usize;
    let mut lost = std::collections::BTreeSet::new();
    for at in (records..kept.len()).step_by(5) {
        let mut bytes = kept.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&partial, &bytes).unwrap();
        let mut w = writer(&path, &m).unwrap();
        lost.insert(5 - w.resumed());
        for &view in &m.views {
            for s in 0..5 {
                if !w.is_done(s, view) {
                    put(&mut w, s, view).unwrap();
                }
            }
        }
        w.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "byte {at}");
    }
    assert_eq!(lost.into_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_partial_of_another_run_is_refused_by_field_with_the_way_out() {
    type Change = fn(&mut Manifest);
    let cases: [(&str, Change); 6] = [
        ("teacher.sha256", |m| m.teacher.sha256 = "9".repeat(64)),
        ("dataset.sha256", |m| m.dataset.sha256 = "9".repeat(64)),
        ("card.input.mean[0]", |m| {
            m.card.input.mean[0] = 0.2;
            m.card_sha256 = m.card.sha256();
        }),
        ("views", |m| m.views.truncate(1)),
        ("heads[0].kind", |m| m.heads[0].kind = HeadKind::DenseF16),
        ("tool", |m| m.tool = "limbeck 0.2.0".into()),
    ];
    let m = manifest(5, every_head());
    let dir = tempfile::tempdir().unwrap();
    let path = in_folder(&dir);
    put(&mut writer(&path, &m).unwrap(), 0, View::Identity).unwrap();
    for (field, change) in cases {
        let mut other = m.clone();
        change(&mut other);
        let error = writer(&path, &other).map(drop).unwrap_err();
        let said = error.to_string();
        assert!(matches!(&error, AnswersError::OtherRun { field: f, .. } if f == field), "{field}: {said}");
        assert!(said.contains("t.answers.partial") && said.contains("--restart"), "{said}");
    }
    AnswersWriter::restart(&path).unwrap();
    AnswersWriter::restart(&path).unwrap();
    let mut other = m.clone();
    other.views.truncate(1);
    assert_eq!(writer(&path, &other).unwrap().resumed(), 0);
}

#[test]
fn a_partial_that_is_none_is_refused_and_left_alone() {
    let m = manifest(5, every_head());
    let dir = tempfile::tempdir().unwrap();
    let (path, partial) = (in_folder(&dir), dir.path().join("t.answers.partial"));
    drop(writer(&path, &m).unwrap());
    let whole = std::fs::read(&partial).unwrap();
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    for bytes in [&b"my thesis"[..], b"", &whole[..whole.len() - 1], &whole[..90], &flipped] {
        std::fs::write(&partial, bytes).unwrap();
        let error = writer(&path, &m).map(drop).unwrap_err().to_string();
        assert!(error.contains("t.answers.partial: the unfinished file is damaged"), "{error}");
        assert_eq!(std::fs::read(&partial).unwrap(), bytes);
    }
}

#[test]
fn two_writers_do_not_share_a_partial() {
    let m = manifest(5, every_head());
    let dir = tempfile::tempdir().unwrap();
    let first = writer(&in_folder(&dir), &m).unwrap();
    let error = writer(&in_folder(&dir), &m).map(drop).unwrap_err();
    assert!(matches!(error, AnswersError::Busy { .. }), "{error}");
    assert!(matches!(AnswersWriter::restart(&in_folder(&dir)), Err(AnswersError::Busy { .. })));
    drop(first);
    writer(&in_folder(&dir), &m).unwrap();
}

#[test]
fn answers_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut m = manifest(5, vec![head(LOGITS, HeadKind::DenseF32, &[3])]);
    m.views = vec![View::Identity];
    let mut w = writer(&in_folder(&dir), &m).unwrap();
    let mut said = |sample, view, values: &[&[f32]]| w.put(sample, view, None, values).unwrap_err().to_string();
    assert!(said(5, View::Identity, &[&[0.0; 3]]).contains("no sample 5"));
    assert!(said(0, View::Flip, &[&[0.0; 3]]).contains("view flip"));
    assert!(said(0, View::Identity, &[&[0.0; 4]]).contains("3 values under `logits`, not 4"));
    assert!(said(0, View::Identity, &[]).contains("1 heads, not 0"));
    assert!(said(2, View::Identity, &[&[0.0, f32::NAN, 0.0]]).contains("`logits` value 1 of sample 2"));
    put(&mut w, 1, View::Identity).unwrap();
    assert!(put(&mut w, 1, View::Identity).unwrap_err().to_string().contains("twice"));
}

#[test]
fn a_path_that_cannot_be_written_fails_at_once() {
    let error = writer(Path::new("/no/such/folder/t.answers"), &manifest(5, every_head())).map(drop).unwrap_err();
    assert!(matches!(error, AnswersError::File(_)), "{error}");
}

#[test]
fn impossible_sizes_are_an_error_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for samples in [u64::MAX, u64::MAX / 8, 1 << 61, 1 << 55] {
        let mut m = manifest(5, vec![head(LOGITS, HeadKind::DenseF32, &[3])]);
        m.dataset.samples = samples;
        let error = writer(&in_folder(&dir), &m).map(drop).unwrap_err();
        assert!(matches!(error, AnswersError::TooLarge { .. } | AnswersError::File(_)), "{error}");
    }
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_shard_needs_the_leaves_of_its_samples() {
    let dir = tempfile::tempdir().unwrap();
    let (m, leaves) = shard(&manifest(5, every_head()), 1, 3);
    let start = |m: &Manifest, leaves: &[[u8; 32]]| {
        AnswersWriter::create_or_resume_shard(&in_folder(&dir), m.clone(), leaves).map(drop).unwrap_err().to_string()
    };
    assert!(start(&m, &leaves[1..]).contains("2 leaves"));
    assert!(start(&m, &[leaves[1], leaves[0], leaves[2]]).contains("`dataset.sha256`"));
    assert!(start(&manifest(5, every_head()), &leaves).contains("`shard` is missing"));
    let whole = AnswersWriter::create_or_resume(&in_folder(&dir), m.clone()).map(drop).unwrap_err().to_string();
    assert!(whole.contains("`shard`"), "{whole}");
    AnswersWriter::create_or_resume_shard(&in_folder(&dir), m, &leaves).unwrap();
    assert!(!in_folder(&dir).exists());
    assert!(Answers::open(&in_folder(&dir)).is_err());
}
