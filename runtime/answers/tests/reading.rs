//! What is read is what was written, or an error that says why not.

mod common;

use std::path::Path;

use common::*;
use limbeck_answers::{Answers, AnswersError, Augment, Expected, HeadKind, LOGITS, View};
use proptest::prelude::*;

#[test]
fn answers_come_back_from_every_head() {
    let m = manifest(5, every_head());
    let bytes = bytes(&m);
    let answers = open(&bytes).unwrap();
    assert_eq!((answers.manifest(), answers.samples(), answers.classes()), (&m, 5, 3));
    assert_eq!(answers.bytes(), bytes.len() as u64);
    for (h, head) in m.heads.iter().enumerate() {
        let id = answers.head(&head.key).unwrap();
        for &view in &m.views {
            for sample in 0..5 {
                let said = value(&m, h, sample, view);
                let mut record = vec![0; head.stride() as usize];
                head.emit(&said, label(sample), &mut record);
                if head.is_dense() {
                    let (mut out, mut direct) = (vec![0.0; head.len()], vec![0.0; head.len()]);
                    answers.values_into(id, sample, view, &mut out).unwrap();
                    head.parse(&record, &mut direct);
                    assert_eq!(out, direct, "{} {sample} {view}", head.key);
                    if head.kind.to_string().ends_with("f32") {
                        assert_eq!(out, said, "bit for bit");
                    }
                } else {
                    let top = answers.top_k(id, sample, view).unwrap();
                    let all: Vec<u16> = label(sample).into_iter().collect();
                    assert!(all.iter().all(|y| top.index.contains(y)), "the true class is there");
                }
            }
        }
    }
    answers.verify().unwrap();
}

#[test]
fn the_name_of_the_answers_is_the_hash_in_the_footer() {
    let dir = tempfile::tempdir().unwrap();
    let path = in_folder(&dir);
    let said = write(&path, &manifest(5, every_head()));
    let bytes = std::fs::read(&path).unwrap();
    let answers = Answers::open(&path).unwrap();
    assert_eq!(answers.sha256(), said);
    assert_eq!(answers.sha256(), limbeck_files::sha256_hex(&bytes[..bytes.len() - 56]));
    assert_eq!(names(dir.path()), ["t.answers"]);
}

#[test]
fn the_probe_is_the_first_view_as_the_teacher_gave_it() {
    let m = manifest(40, vec![head(LOGITS, HeadKind::TopKF16 { k: 1 }, &[3])]);
    let probe = open(&bytes(&m)).unwrap().probe().unwrap();
    assert_eq!(probe.len(), 16);
    for (sample, values) in probe {
        assert_eq!(values, value(&m, 0, sample, m.views[0]), "{sample}");
    }
    let without = limbeck_answers::Manifest { probe: None, ..m };
    assert!(open(&bytes(&without)).unwrap().probe().unwrap().is_empty());
}

#[test]
fn every_flipped_bit_is_found_by_verify_and_by_reading() {
    let m = manifest(5, every_head());
    let (shard, _) = shard(&m, 1, 3);
    for m in [m, shard] {
        let mut bytes = bytes(&m);
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let said = match open(&bytes) {
                Err(error) => error,
                Ok(answers) => {
                    answers.verify().expect_err(&format!("bit {bit} was not found by verify"));
                    read_all(&answers).expect_err(&format!("bit {bit} was not found by reading"))
                }
            };
            assert!(said.to_string().starts_with("t.answers: "), "bit {bit}: {said}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        read_all(&open(&bytes).unwrap()).unwrap();
    }
}

#[test]
fn truncations_and_additions_are_an_error_that_names_the_file() {
    let mut bytes = bytes(&manifest(5, every_head()));
    for length in 0..bytes.len() {
        assert!(open(&bytes[..length]).is_err(), "{length}");
    }
    bytes.push(0);
    let error = open(&bytes).unwrap_err().to_string();
    assert!(error.contains("t.answers") && error.contains("bytes were written"), "{error}");
}

#[test]
fn in_a_large_file_only_the_block_that_is_read_is_checked_and_its_bytes_are_named() {
    // 20 MiB of vectors: more than is kept in memory.
    let mut m = manifest(1280, vec![head("pooled", HeadKind::VecF32, &[4096])]);
    m.views.truncate(1);
    let dir = tempfile::tempdir().unwrap();
    let path = in_folder(&dir);
    write(&path, &m);
    let whole = std::fs::read(&path).unwrap();
    let (records, stride) = (u64::from_le_bytes(whole[48..56].try_into().unwrap()), 4 * 4096);
    let read = |sample: u64| {
        let answers = Answers::open(&path).unwrap();
        let mut out = vec![0.0; 4096];
        let result = answers.values_into(answers.head("pooled").unwrap(), sample, m.views[0], &mut out);
        result.map(|()| out)
    };
    assert_eq!(read(700).unwrap(), value(&m, 0, 700, m.views[0]));

    let mut damaged = whole.clone();
    damaged[10 * (1 << 20) + 5] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert_eq!(read(0).unwrap(), value(&m, 0, 0, m.views[0]), "another block");
    let error = read(((10 << 20) + 5 - records) / stride).map(drop).unwrap_err().to_string();
    assert!(error.contains("bytes 10485760..11534336"), "{error}");
    let error = Answers::open(&path).unwrap().verify().unwrap_err().to_string();
    assert!(error.contains("bytes 10485760..11534336"), "{error}");

    // Cut short while it is open: an error, not a signal.
    std::fs::write(&path, &whole).unwrap();
    let answers = Answers::open(&path).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(9 << 20).unwrap();
    let mut out = vec![0.0; 4096];
    let error = answers.values_into(answers.head("pooled").unwrap(), 1000, m.views[0], &mut out).unwrap_err();
    assert!(matches!(error, AnswersError::File(_)), "{error}");
}

#[test]
fn many_threads_read_the_same() {
    let mut m = manifest(1280, vec![head("pooled", HeadKind::VecF32, &[4096])]);
    m.views.truncate(1);
    let dir = tempfile::tempdir().unwrap();
    write(&in_folder(&dir), &m);
    let answers = Answers::open(&in_folder(&dir)).unwrap();
    let id = answers.head("pooled").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (answers, m) = (&answers, &m);
            scope.spawn(move || {
                let mut out = vec![0.0; 4096];
                for step in 0..1280 {
                    let sample = (step * 7 + thread * 320) % 1280;
                    answers.values_into(id, sample, m.views[0], &mut out).unwrap();
                    assert_eq!(out, value(m, 0, sample, m.views[0]));
                }
            });
        }
    });
}

#[test]
fn answers_for_something_else_are_refused_by_field() {
    let mut drawn = manifest(5, every_head());
    drawn.views.push(View::Drawn(0));
    drawn.augment = Augment::preset("light", 0).ok();
    let answers = open(&bytes(&drawn)).unwrap();
    let m = answers.manifest().clone();
    let right = Expected {
        teacher_sha256: Some(m.teacher.sha256),
        card_sha256: Some(m.card_sha256),
        dataset_sha256: Some(m.dataset.sha256),
        labels: Some(m.card.labels),
        augment_sha256: m.augment.map(|recipe| recipe.sha256()),
    };
    answers.check(&right).unwrap();
    answers.check(&Expected::default()).unwrap();
    let other = || Some("f".repeat(64));
    let cases = [
        ("teacher", Expected { teacher_sha256: other(), ..right.clone() }),
        ("teacher card", Expected { card_sha256: other(), ..right.clone() }),
        ("data set", Expected { dataset_sha256: other(), ..right.clone() }),
        ("labels", Expected { labels: Some(vec!["b".into(), "a".into(), "c".into()]), ..right.clone() }),
        ("augment", Expected { augment_sha256: other(), ..right.clone() }),
        // Another seed draws other pictures.
        ("augment", Expected { augment_sha256: Augment::preset("light", 1).ok().map(|a| a.sha256()), ..right.clone() }),
    ];
    for (name, wrong) in cases {
        match answers.check(&wrong).unwrap_err() {
            AnswersError::Mismatch { field, in_file, expected, .. } => {
                assert_eq!(field, name);
                assert_ne!(in_file, expected);
            }
            error => panic!("{error}"),
        }
    }
}

#[test]
fn a_shard_is_not_taken_for_the_whole() {
    let (m, _) = shard(&manifest(5, every_head()), 1, 3);
    let answers = open(&bytes(&m)).unwrap();
    let error = answers.check(&Expected::default()).unwrap_err().to_string();
    assert!(error.contains("samples 1..4 of 5") && error.contains("limbeck answers merge"), "{error}");
    let mut out = [0.0; 3];
    answers.logits_into(3, View::Identity, &mut out).unwrap();
    assert_eq!(out.to_vec(), value(&m, 0, 3, View::Identity));
    for sample in [0, 4] {
        let error = answers.logits_into(sample, View::Identity, &mut out).unwrap_err().to_string();
        assert!(error.contains("samples 1..4"), "{error}");
    }
}

#[test]
fn what_is_not_in_the_file_is_an_error_with_the_way_out() {
    let mut m =
        manifest(5, vec![head(LOGITS, HeadKind::TopKF16 { k: 2 }, &[3]), head("pooled", HeadKind::VecI8, &[5])]);
    m.views = vec![View::Identity];
    let answers = open(&bytes(&m)).unwrap();
    let (logits, pooled) = (answers.head(LOGITS).unwrap(), answers.head("pooled").unwrap());
    let mut out = [0.0; 5];
    let says = |error: AnswersError, parts: &[&str]| {
        let said = error.to_string();
        assert!(parts.iter().all(|p| said.contains(p)), "{said}");
    };
    says(answers.head("feat").unwrap_err(), &["`feat`", "logits, pooled", "--head feat"]);
    says(answers.logits_into(0, View::Identity, &mut out[..3]).unwrap_err(), &["largest 2", "--head logits:dense"]);
    says(answers.top_k(pooled, 0, View::Identity).unwrap_err(), &["`pooled`", "vec_i8"]);
    says(answers.values_into(pooled, 0, View::Flip, &mut out).unwrap_err(), &["view flip"]);
    says(answers.top_k(logits, 5, View::Identity).unwrap_err(), &["no sample 5", "0..5"]);
    says(answers.values_into(pooled, 0, View::Identity, &mut out[..4]).unwrap_err(), &["5 values", "not 4"]);
}

#[test]
fn something_else_is_called_something_else() {
    let error = open(b"\x08\x0aONNX, perhaps").unwrap_err().to_string();
    assert!(error.contains("not an answers file") && error.contains("limbeck teach"), "{error}");
    assert!(Answers::open(Path::new("/no/such/t.answers")).unwrap_err().to_string().contains("/no/such/t.answers"));
    let error = open(b"LBANSWER\x01\0\0\0 and more").unwrap_err().to_string();
    assert!(error.contains("format 1") && error.contains("teach again"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..300), version in 0u32..4) {
        let mut bytes = b"LBANSWER".to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend(tail);
        prop_assert!(open(&bytes).is_err());
    }
}

/// The checksums made right again after `change`, as a hostile writer would.
fn resealed(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    use xxhash_rust::xxh3::xxh3_64;
    change(&mut bytes);
    let crc = crc32fast::hash(&bytes[..76]).to_le_bytes();
    bytes[76..80].copy_from_slice(&crc);
    let table = u64::from_le_bytes(bytes[56..64].try_into().unwrap()) as usize;
    let Some(covered) = bytes.get(..table) else { return bytes };
    let mut end: Vec<u8> = covered.chunks(1 << 20).flat_map(|b| xxh3_64(b).to_le_bytes()).collect();
    let mut body = covered.to_vec();
    let digest = limbeck_files::sha256(&[covered, &end[..]].concat());
    end.extend(digest);
    end.extend((table as u64 + end.len() as u64 + 24).to_le_bytes());
    end.extend(xxh3_64(&end).to_le_bytes());
    end.extend(b"LBANSEND");
    body.extend(end);
    body
}

#[test]
fn a_hostile_writer_cannot_make_it_panic_or_hand_out_what_is_no_number() {
    let whole = bytes(&manifest(5, every_head()));
    assert_eq!(resealed(whole.clone(), |_| ()), whole, "nothing changed, the same file");
    for at in 8..whole.len() - 64 {
        for to in [0, 0x7F, 0xFF] {
            let made = resealed(whole.clone(), |bytes| bytes[at] = to);
            if let Ok(answers) = open(&made)
                && let Ok(values) = read_all(&answers)
            {
                assert!(values.iter().all(|v| v.is_finite()), "byte {at}");
            }
        }
    }
}
