//! A bundle is whole or refused.

use super::*;
use std::path::PathBuf;

use limbeck_answers::Image;

const CARD_TOML: &str = r#"
    version = 1
    task = "classification"
    labels = ["a", "b"]
    [input]
    width = 2
    height = 1
    layout = "nchw"
    colour = "rgb"
    resize = "exact"
    scale = 1.0
    mean = [0.0, 0.0, 0.0]
    std = [1.0, 1.0, 1.0]
"#;

fn bundle() -> Bundle {
    let card = Card::parse(CARD_TOML, Path::new("card.toml")).unwrap();
    let image = Image { width: 2, height: 1, rgb: vec![1, 2, 3, 4, 5, 6] };
    let mut samples = Samples::default();
    samples.push(BundledSample { image: image.clone(), label: Some(1), teacher: None });
    samples.push(BundledSample { image, label: None, teacher: Some(0) });
    Bundle::new("tiny", b"not a real model".to_vec(), card, samples)
}

fn bytes() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("student.limbeck");
    bundle().write(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    (dir, path, bytes)
}

#[test]
fn what_is_written_is_read() {
    let (_dir, path, _) = bytes();
    let (read, made) = (Bundle::read(&path).unwrap(), bundle());
    assert_eq!((read.student, read.samples, read.manifest), (made.student, made.samples, made.manifest));
}

#[test]
fn every_truncation_is_refused() {
    let (_dir, path, bytes) = bytes();
    // The archive ends with two blocks of zeros, which carry nothing.
    let end = bytes.len() - 1024;
    for length in (0..end).step_by(7) {
        assert!(Bundle::parse(&bytes[..length], &path).is_err(), "cut at {length}");
    }
}

#[test]
fn a_changed_byte_in_a_member_is_refused_by_name() {
    let (_dir, path, mut bytes) = bytes();
    let at = bytes.windows(16).position(|w| w == b"not a real model").unwrap();
    bytes[at] ^= 1;
    let error = Bundle::parse(&bytes, &path).unwrap_err().to_string();
    assert!(error.contains("student.onnx") && error.contains("damaged"), "{error}");
}

#[test]
fn a_changed_byte_in_the_manifest_is_refused() {
    let (_dir, path, mut bytes) = bytes();
    let at = bytes.windows(6).position(|w| w == b"\"tiny\"").unwrap();
    bytes[at + 1] = b'T';
    let error = Bundle::parse(&bytes, &path).unwrap_err().to_string();
    assert!(error.contains("manifest.json") && error.contains("damaged"), "{error}");
}

fn with_replay() -> Bundle {
    let mut replay = Replay::new(2);
    let image = Image { width: 2, height: 1, rgb: vec![9, 8, 7, 6, 5, 4] };
    replay.push(ReplaySample { image, label: Some(0), teacher: vec![1.0, -1.0] });
    bundle().with_replay(replay)
}

#[test]
fn a_bundle_without_news_is_of_the_first_format() {
    assert_eq!(bundle().manifest.format, 1);
    let text = String::from_utf8(serde_json::to_vec(&bundle().manifest).unwrap()).unwrap();
    assert!(!text.contains("adapted") && !text.contains("replay"), "{text}");
}

#[test]
fn a_replay_set_and_what_was_adapted_come_back() {
    let adapted = Adapted {
        parent: "p".into(),
        answers: "a".into(),
        images: "i".into(),
        recipe: "adam".into(),
        recipe_sha256: sha256_hex(b"adam"),
        steps: 7,
    };
    let probe = Probe { sample: 1, class: 0, integers: 3, digest: "d".into() };
    let made = with_replay().with_adapted(b"another".to_vec(), adapted, vec![probe]);
    let read = Bundle::parse(&made.emit(), Path::new("b")).unwrap();
    assert_eq!((read.manifest.format, &read.student[..]), (2, &b"another"[..]));
    assert_eq!((read.manifest, read.replay, read.samples), (made.manifest, made.replay, made.samples));
}

#[test]
fn a_changed_byte_in_the_replay_set_is_refused_by_name() {
    let mut bytes = with_replay().emit();
    let at = bytes.windows(6).position(|w| w == [9, 8, 7, 6, 5, 4]).unwrap();
    bytes[at] ^= 1;
    let error = Bundle::parse(&bytes, Path::new("b")).unwrap_err().to_string();
    assert!(error.contains("replay.bin") && error.contains("damaged"), "{error}");
}

#[test]
fn a_newer_format_is_refused_by_number() {
    let (dir, _, _) = bytes();
    let path = dir.path().join("newer");
    let mut bundle = bundle();
    bundle.manifest.format = FORMAT + 1;
    bundle.write(&path).unwrap();
    assert!(matches!(Bundle::read(&path), Err(BundleError::TooNew { found, .. }) if found == FORMAT + 1));
}

// ── Version, budgets, plan ───────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_plan_a_version_and_budgets_come_back() {
    let budgets = Budgets::parse("max_latency_us = 5\n[boards.pi]\nmin_top1 = 0.5\n").unwrap();
    let made = with_replay().with_plan(b"a plan".to_vec()).with_promises(4, budgets);
    let read = Bundle::parse(&made.emit(), Path::new("b")).unwrap();
    assert_eq!((read.manifest.format, read.manifest.version, read.plan.as_deref()), (3, 4, Some(&b"a plan"[..])));
    assert_eq!((&read.manifest, &read.emit()), (&made.manifest, &made.emit()));
    let mut bytes = made.emit();
    let at = bytes.windows(6).position(|w| w == b"a plan").unwrap();
    bytes[at] ^= 1;
    let error = Bundle::parse(&bytes, Path::new("b")).unwrap_err().to_string();
    assert!(error.contains("student.plan") && error.contains("damaged"), "{error}");
}

#[test]
fn what_a_board_tuned_has_neither_the_old_plan_nor_the_old_signature() {
    let (made, _) = signed();
    let adapted = Adapted {
        parent: "p".into(),
        answers: "a".into(),
        images: "i".into(),
        recipe: "r".into(),
        recipe_sha256: "h".into(),
        steps: 1,
    };
    let tuned = made.with_plan(vec![1]).with_adapted(b"another".to_vec(), adapted, vec![]);
    let read = Bundle::parse(&tuned.emit(), Path::new("b")).unwrap();
    assert!(read.plan.is_none() && read.signature().is_none());
    assert_eq!(read.manifest.format, FORMAT);
}

// ── Signatures ───────────────────────────────────────────────────────────────────────────────────────────────────

/// A bundle of version 3 with its signature, and the key of who signed.
fn signed() -> (Bundle, PublicKey) {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let mut made = bundle().with_promises(3, Budgets::default());
    let signature = minisign::sign(None, &pair.sk, &made.signable()[..], Some("version 3"), None).unwrap();
    let key = PublicKey::parse(&pair.pk.to_box().unwrap().to_string()).unwrap();
    (made.with_signature(signature.to_string()), key)
}

fn refusal(trust: &Trust, bundle: &Bundle) -> String {
    trust.admit(bundle, Path::new("b.limbeck")).map_err(|e| e.to_string()).expect_err("it was admitted")
}

#[test]
fn a_signed_bundle_is_admitted_by_its_key_alone() {
    let (made, key) = signed();
    let read = Bundle::parse(&made.emit(), Path::new("b")).unwrap();
    let trust = |key: &PublicKey| Trust { key: Some(key.clone()), version: None };
    trust(&key).admit(&read, Path::new("b")).unwrap();
    assert!(refusal(&trust(&signed().1), &read).contains("not signed by the key that the board trusts"));
    assert!(refusal(&trust(&key), &bundle()).contains("nobody signed it"));
    Trust::default().admit(&bundle(), Path::new("b")).unwrap();
}

#[test]
fn any_flipped_bit_is_refused() {
    let (made, key) = signed();
    let bytes = made.emit();
    let trust = Trust { key: Some(key), version: None };
    let original = Bundle::parse(&bytes, Path::new("b")).unwrap();
    for i in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[i] ^= 1 << (i % 8);
        let Ok(read) = Bundle::parse(&flipped, Path::new("b")) else { continue };
        // What is left is padding of the archive and its headers, and what minisign itself says is not signed.
        if trust.admit(&read, Path::new("b")).is_ok() {
            assert_eq!(
                (read.manifest, read.student),
                (original.manifest.clone(), original.student.clone()),
                "byte {i}"
            );
            assert_eq!((read.card, read.samples), (original.card.clone(), original.samples.clone()), "byte {i}");
        }
    }
    let minisig = made.signature().unwrap().minisig().to_owned();
    let signature_line = minisig.lines().nth(1).unwrap();
    for (i, old) in signature_line.char_indices().filter(|(_, c)| *c != '=') {
        let mut text = minisig.clone();
        let at = minisig.find(signature_line).unwrap() + i;
        text.replace_range(at..=at, if old == 'A' { "B" } else { "A" });
        let forged = bundle().with_promises(3, Budgets::default()).with_signature(text);
        assert!(trust.admit(&forged, Path::new("b")).is_err(), "character {i} of the signature");
    }
}

#[test]
fn changing_a_signed_bundle_drops_the_signature() {
    let (mut made, key) = signed();
    made.manifest.version = 99;
    let trust = Trust { key: Some(key), version: None };
    assert!(refusal(&trust, &made).contains("nobody signed it"));
    assert!(refusal(&trust, &Bundle::parse(&made.emit(), Path::new("b")).unwrap()).contains("nobody signed it"));
}

#[test]
fn an_older_version_is_refused_and_the_same_is_not() {
    let at = |version| Trust { key: None, version: Some(version) };
    let (made, _) = signed();
    at(2).admit(&made, Path::new("b")).unwrap();
    at(3).admit(&made, Path::new("b")).unwrap();
    assert!(refusal(&at(4), &made).contains("version 3, and the board had version 4"));
    assert!(refusal(&at(1), &bundle()).contains("version 0"), "a bundle that nobody numbered is the oldest");
}

#[test]
fn a_boards_trust_is_read_from_its_folder_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Trust::read(dir.path()).unwrap(), Trust::default());
    let (_, key) = signed();
    std::fs::write(dir.path().join(TRUSTED_KEY), format!("untrusted comment: a key\n{}\n", key.text())).unwrap();
    std::fs::write(dir.path().join(VERSION_FILE), "7\n").unwrap();
    let trust = Trust { key: Some(key.clone()), version: Some(7) };
    assert_eq!(Trust::read(dir.path()).unwrap(), trust);
    assert_eq!(Trust::parse(Some(key.text()), Some("7"), dir.path()).unwrap(), trust);
    std::fs::write(dir.path().join(VERSION_FILE), "seven").unwrap();
    let error = Trust::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("version") && error.contains("`seven`"), "{error}");
    // A broken key is no missing key: everything is refused until someone looks.
    std::fs::write(dir.path().join(TRUSTED_KEY), "").unwrap();
    let error = Trust::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("trusted.pub: not a minisign public key"), "{error}");
}
