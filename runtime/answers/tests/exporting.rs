//! The NumPy archive, read back with a reader of its own.

mod common;

use std::collections::BTreeMap;

use common::*;
use limbeck_answers::export;

struct Array {
    descr: String,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Array {
    fn f32(&self) -> Vec<f32> {
        assert_eq!(self.descr, "<f4");
        self.data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    bytes[at..at + size].iter().rev().fold(0, |n, b| n << 8 | usize::from(*b))
}

/// Members by way of the directory, as Python's `zipfile` goes.
fn members(zip: &[u8]) -> BTreeMap<String, Array> {
    let locator = zip.len() - 22 - 20;
    assert_eq!(number(zip, zip.len() - 22, 4), 0x0605_4b50);
    assert_eq!(number(zip, locator, 4), 0x0706_4b50);
    let end = number(zip, locator + 8, 8);
    assert_eq!(number(zip, end, 4), 0x0606_4b50);
    let (count, mut at) = (number(zip, end + 32, 8), number(zip, end + 48, 8));
    let mut found = BTreeMap::new();
    for _ in 0..count {
        assert_eq!(number(zip, at, 4), 0x0201_4b50);
        let (name_len, extra_len) = (number(zip, at + 28, 2), number(zip, at + 30, 2));
        let name = String::from_utf8(zip[at + 46..][..name_len].to_vec()).unwrap();
        let extra = at + 46 + name_len;
        assert_eq!((number(zip, extra, 2), number(zip, extra + 2, 2)), (1, 24));
        let (size, offset) = (number(zip, extra + 4, 8), number(zip, extra + 20, 8));
        assert_eq!(number(zip, offset, 4), 0x0403_4b50);
        let data = offset + 30 + number(zip, offset + 26, 2) + number(zip, offset + 28, 2);
        let member = &zip[data..data + size];
        assert_eq!(number(zip, at + 16, 4) as u32, crc32fast::hash(member), "{name}");
        found.insert(name.strip_suffix(".npy").unwrap().to_owned(), array(member));
        at = extra + extra_len;
    }
    assert_eq!(at, end);
    found
}

fn array(npy: &[u8]) -> Array {
    assert_eq!(npy[..8], *b"\x93NUMPY\x01\x00");
    let header = 10 + number(npy, 8, 2);
    assert_eq!(header % 64, 0);
    let text = std::str::from_utf8(&npy[10..header]).unwrap();
    let between = |from: &str, to: &str| text.split(from).nth(1).unwrap().split(to).next().unwrap().to_owned();
    let shape = between("'shape': (", ")");
    let shape = shape.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
    Array { descr: between("'descr': '", "'"), shape, data: npy[header..].to_vec() }
}

#[test]
fn every_head_is_an_array_with_its_values() {
    let m = manifest(5, every_head());
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("t.npz");
    let answers = open(&bytes(&m)).unwrap();
    export(&answers, &out).unwrap();
    let found = members(&std::fs::read(&out).unwrap());
    for head in &m.heads {
        if !head.is_dense() {
            continue;
        }
        let array = &found[&head.key];
        let dims: Vec<usize> = head.dims.iter().map(|d| *d as usize).collect();
        assert_eq!(array.shape, [&[2, 5][..], &dims].concat());
        let id = answers.head(&head.key).unwrap();
        let mut expected = vec![];
        for &view in &m.views {
            for sample in 0..5 {
                let mut out = vec![0.0; head.len()];
                answers.values_into(id, sample, view, &mut out).unwrap();
                expected.extend(out);
            }
        }
        assert_eq!(array.f32(), expected, "{}", head.key);
    }
    let top = answers.top_k(answers.head("logits:top").unwrap(), 1, m.views[0]).unwrap();
    let column = |name: &str| &found[&format!("logits:top.{name}")];
    assert_eq!((column("index").descr.as_str(), &column("index").shape), ("<u2", &vec![2, 5, 2]));
    assert_eq!(column("index").data[4..8], top.index.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<_>>());
    assert_eq!(column("z").f32()[2..4], top.z);
    assert_eq!(column("tail_lse").f32()[3..6], top.tail_lse);
    assert_eq!((column("lse").f32()[1], column("mean").f32()[1], column("sd").f32()[1]), (top.lse, top.mean, top.sd));
    assert_eq!((column("flags").descr.as_str(), &column("flags").shape), ("|u1", &vec![2, 5]));
    assert_eq!(found["samples"].data, (0..5_u64).flat_map(u64::to_le_bytes).collect::<Vec<_>>());
    let name = m.views[1].to_string();
    let wide: usize = found["views"].descr.strip_prefix("<U").unwrap().parse().unwrap();
    let text = found["views"].data[4 * wide..].chunks_exact(4).map(|b| char::from(b[0])).collect::<String>();
    assert_eq!(text.trim_end_matches('\0'), name);
    assert_eq!(found["labels"].shape, [3]);
}

#[test]
fn damaged_answers_are_not_exported() {
    let mut bytes = bytes(&manifest(5, every_head()));
    let records = number(&bytes, 48, 8);
    bytes[records] ^= 1;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.answers");
    std::fs::write(&path, bytes).unwrap();
    let result = limbeck_answers::Answers::open(&path).and_then(|a| export(&a, &dir.path().join("t.npz")));
    assert!(result.unwrap_err().to_string().contains("checksum"));
    assert_eq!(names(dir.path()), ["t.answers"]);
}
