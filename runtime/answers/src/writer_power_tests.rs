//! Power is cut before every operation of a writer, and what was not synced is kept, lost, torn or reordered: the next run
//! goes on, and ends with the same bytes.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::head::{Head, HeadKind};
use crate::manifest::tests::manifest;

#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

/// A file in memory that remembers what was done to it.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<(Vec<u8>, Vec<Op>)>>);

impl Recorded {
    fn of(bytes: Vec<u8>) -> Recorded {
        Recorded(Arc::new(Mutex::new((bytes, vec![]))))
    }
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().0.clone()
    }
    fn ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().1.clone()
    }
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(at, data) => bytes[*at as usize..][..data.len()].copy_from_slice(data),
        Op::Length(length) => bytes.resize(*length as usize, 0),
        Op::Sync => {}
    }
}

impl Storage for Recorded {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().0.len() as u64)
    }
    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let file = self.0.lock().unwrap();
        let found = file.0.get(at as usize..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.record(Op::Write(at, bytes.to_vec()))
    }
    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.record(Op::Length(length))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.record(Op::Sync)
    }
}

impl Recorded {
    fn record(&self, op: Op) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        apply(&mut file.0, &op);
        file.1.push(op);
        Ok(())
    }
}

/// What a power cut keeps of what was not synced.
#[derive(Clone, Copy, Debug)]
enum Keeps {
    Nothing,
    All,
    /// The first half of every write.
    Halves,
    /// The last half of every write.
    LastHalves,
    /// Every other write.
    Even,
    Odd,
}

fn after_cut(start: &[u8], ops: &[Op], keeps: Keeps) -> Vec<u8> {
    let synced = ops.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |i| i + 1);
    let mut bytes = start.to_vec();
    ops[..synced].iter().for_each(|op| apply(&mut bytes, op));
    for (i, op) in ops[synced..].iter().enumerate() {
        let kept = match (keeps, op) {
            (Keeps::Nothing, _) => None,
            (Keeps::Even, _) => Some(op.clone()).filter(|_| i % 2 == 0),
            (Keeps::Odd, _) => Some(op.clone()).filter(|_| i % 2 == 1),
            (Keeps::Halves, Op::Write(at, data)) => Some(Op::Write(*at, data[..data.len() / 2].to_vec())),
            (Keeps::LastHalves, Op::Write(at, data)) => {
                Some(Op::Write(*at + data.len() as u64 / 2, data[data.len() / 2..].to_vec()))
            }
            (Keeps::All | Keeps::Halves | Keeps::LastHalves, _) => Some(op.clone()),
        };
        kept.iter().for_each(|op| apply(&mut bytes, op));
    }
    bytes
}

fn value(sample: u64, view: u64, h: u64, len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| (sample * 7 + view * 31 + h * 3 + i) as f32 - 20.5).collect()
}

fn put_missing(writer: &mut AnswersWriter, at_most: usize) {
    let m = writer.manifest().clone();
    let jobs = (0..m.dataset.samples).flat_map(|s| (0..m.views.len()).map(move |v| (s, v)));
    let missing: Vec<_> = jobs.filter(|&(s, v)| !writer.is_done(s, m.views[v])).take(at_most).collect();
    for (s, v) in missing {
        let (a, b) = (value(s, v as u64, 0, 3), value(s, v as u64, 1, 8));
        writer.put(s, m.views[v], None, &[&a, &b]).unwrap();
    }
}

#[test]
fn whenever_the_power_is_cut_the_next_run_ends_with_the_same_bytes() {
    let mut m = manifest(HeadKind::DenseF16);
    m.heads.push(Head { key: "feat".into(), dims: vec![2, 2, 2], kind: HeadKind::FeatI8, ..m.heads[0].clone() });
    let path = Path::new("t.answers");
    let (layout, json) = plan(path, &m).unwrap();
    let mut start = layout.front(&json);
    start.resize(partial::length(&layout).unwrap() as usize, 0);

    let file = Recorded::of(start.clone());
    let mut writer = AnswersWriter::resume(path, m.clone(), Box::new(file.clone())).unwrap();
    // Operations after which so many answers are durable.
    let mut promised = vec![(0, 0)];
    for batch in [3, 4, 3] {
        put_missing(&mut writer, batch);
        writer.sync().unwrap();
        promised.push((file.ops().len(), promised.last().unwrap().1 + batch as u64));
    }
    writer.seal().unwrap();
    let (whole, ops) = (file.bytes(), file.ops());
    crate::Answers::from_bytes(whole.clone(), path).unwrap().verify().unwrap();

    for cut in 0..=ops.len() {
        for keeps in [Keeps::Nothing, Keeps::All, Keeps::Halves, Keeps::LastHalves, Keeps::Even, Keeps::Odd] {
            let left = after_cut(&start, &ops[..cut], keeps);
            let file = Recorded::of(left);
            let mut writer = AnswersWriter::resume(path, m.clone(), Box::new(file.clone()))
                .unwrap_or_else(|e| panic!("cut before {cut}, {keeps:?}: {e}"));
            let durable = promised.iter().rev().find(|(op, _)| *op <= cut).unwrap().1;
            assert!(writer.resumed() >= durable, "cut before {cut}, {keeps:?}: {} of {durable}", writer.resumed());
            put_missing(&mut writer, usize::MAX);
            writer.seal().unwrap();
            assert_eq!(file.bytes(), whole, "cut before {cut}, {keeps:?}");
        }
    }
}

#[test]
fn records_are_on_the_disk_before_their_journal_entries_are_written() {
    let mut m = manifest(HeadKind::DenseF16);
    m.heads.push(Head { key: "feat".into(), dims: vec![2, 2, 2], kind: HeadKind::FeatI8, ..m.heads[0].clone() });
    let path = Path::new("t.answers");
    let (layout, json) = plan(path, &m).unwrap();
    let mut start = layout.front(&json);
    start.resize(partial::length(&layout).unwrap() as usize, 0);
    let file = Recorded::of(start);
    let mut writer = AnswersWriter::resume(path, m, Box::new(file.clone())).unwrap();
    put_missing(&mut writer, 4);
    writer.sync().unwrap();
    let kinds: Vec<&str> = file
        .ops()
        .iter()
        .map(|op| match op {
            Op::Sync => "sync",
            Op::Write(at, _) if *at >= layout.length => "journal",
            Op::Write(..) => "record",
            Op::Length(_) => "length",
        })
        .collect();
    let mut order = kinds.clone();
    order.dedup();
    assert_eq!(order, ["record", "sync", "journal", "sync"]);
}
