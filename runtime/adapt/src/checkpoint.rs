//! The state of a training run as bytes, and two files that always hold a whole one.
//!
//! ```text
//! "LBCHKPT1"            8 bytes: magic, version
//! header length         u64, little-endian
//! header                JSON: what is trained, steps, sums, lengths of the lists that follow
//! values                f32, little-endian, list after list
//! sha-256               of all before it
//! ```

use std::path::{Path, PathBuf};

use limbeck_files::disk::Disk;
use limbeck_files::{FileError, sha256_hex};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"LBCHKPT1";
/// Hex digits of a SHA-256.
const HASH: usize = 64;

/// All that decides how a run goes on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Checkpoint {
    /// Names model, recipe, data: a checkpoint of another run is refused.
    pub identity: String,
    pub step: u64,
    pub total: u64,
    /// Bits of the sums of the epoch under way and the means of those that ended.
    pub sums: Vec<u64>,
    pub optimiser_steps: u32,
    /// Weights, first and second moments, moving average.
    pub lists: [Vec<Vec<f32>>; 4],
}

#[derive(Serialize, Deserialize)]
struct Header {
    identity: String,
    step: u64,
    total: u64,
    sums: Vec<u64>,
    optimiser_steps: u32,
    lens: [Vec<u64>; 4],
}

impl Checkpoint {
    /// Bytes with `lists` in place of its own, which are not looked at: the lists are most of a run's memory, and stand here once.
    pub(crate) fn emit_with(&self, lists: [&[Vec<f32>]; 4]) -> Vec<u8> {
        let lens = lists.map(|list| list.iter().map(|values| values.len() as u64).collect());
        let Checkpoint { identity, step, total, sums, optimiser_steps, .. } = self.clone();
        let header = Header { identity, step, total, sums, optimiser_steps, lens };
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let values: usize = lists.iter().copied().flatten().map(Vec::len).sum();
        let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + header.len() + 4 * values + HASH);
        bytes.extend(MAGIC);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        for values in lists.into_iter().flatten() {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        let hash = sha256_hex(&bytes);
        bytes.extend(hash.into_bytes());
        bytes
    }

    /// `None` when the bytes are not exactly what was written.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Checkpoint> {
        let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
        if hash != sha256_hex(body).as_bytes() {
            return None;
        }
        let rest = body.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk()?;
        let (header, mut values) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let Header { identity, step, total, sums, optimiser_steps, lens } = serde_json::from_slice(header).ok()?;
        let mut lists: [Vec<Vec<f32>>; 4] = Default::default();
        for (list, lens) in lists.iter_mut().zip(lens) {
            for len in lens {
                let (these, after) = values.split_at_checked(usize::try_from(len.checked_mul(4)?).ok()?)?;
                values = after;
                let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                list.push(these.chunks_exact(4).map(float).collect());
            }
        }
        values.is_empty().then_some(Checkpoint { identity, step, total, sums, optimiser_steps, lists })
    }
}

/// Two files in a folder, written in turn: whatever happens to one, the other is whole.
pub struct CheckpointStore<'a> {
    disk: &'a dyn Disk,
    dir: PathBuf,
}

const SLOTS: [&str; 2] = ["checkpoint.0", "checkpoint.1"];

impl<'a> CheckpointStore<'a> {
    /// In a folder that exists.
    pub fn new(disk: &'a dyn Disk, dir: &Path) -> CheckpointStore<'a> {
        CheckpointStore { disk, dir: dir.to_owned() }
    }

    /// The newest whole checkpoint; damaged ones are passed over.
    pub fn load(&self) -> Result<Option<Vec<u8>>, FileError> {
        let mut newest: Option<(u64, Vec<u8>)> = None;
        for slot in SLOTS {
            if let Some((step, bytes)) = self.slot(slot)?
                && newest.as_ref().is_none_or(|(at, _)| step > *at)
            {
                newest = Some((step, bytes));
            }
        }
        Ok(newest.map(|(_, bytes)| bytes))
    }

    /// Keep `bytes`, in place of the older of the two.
    pub fn save(&self, bytes: &[u8]) -> Result<(), FileError> {
        let steps = [self.slot(SLOTS[0])?, self.slot(SLOTS[1])?].map(|slot| slot.map(|(step, _)| step));
        // None is older than any step.
        let older = if steps[1] < steps[0] { SLOTS[1] } else { SLOTS[0] };
        self.disk.replace(&self.dir.join(older), bytes)
    }

    /// Remove both: the run is over.
    pub fn clear(&self) -> Result<(), FileError> {
        SLOTS.iter().try_for_each(|slot| self.disk.remove(&self.dir.join(slot)))?;
        self.disk.sync_dir(&self.dir)
    }

    fn slot(&self, name: &str) -> Result<Option<(u64, Vec<u8>)>, FileError> {
        let Some(bytes) = self.disk.read(&self.dir.join(name))? else { return Ok(None) };
        Ok(Checkpoint::parse(&bytes).map(|checkpoint| (checkpoint.step, bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbeck_files::disk::{Crash, SimulatedDisk};

    impl Checkpoint {
        fn emit(&self) -> Vec<u8> {
            self.emit_with(self.lists.each_ref().map(Vec::as_slice))
        }
    }

    fn at(step: u64) -> Checkpoint {
        let list = |n: usize| (0..n).map(|i| vec![(step as f32 + i as f32) * 0.1; i + 2]).collect();
        Checkpoint {
            identity: "run \"a\"".into(),
            step,
            total: 9,
            sums: vec![f64::NAN.to_bits(), 1],
            optimiser_steps: step as u32,
            lists: [list(3), list(2), list(0), list(1)],
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let bytes = at(4).emit();
        assert_eq!(Checkpoint::parse(&bytes), Some(at(4)));
        for length in 0..bytes.len() {
            assert_eq!(Checkpoint::parse(&bytes[..length]), None, "cut at {length}");
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 4;
            assert_eq!(Checkpoint::parse(&damaged), None, "bit of byte {place}");
        }
    }

    #[test]
    fn a_power_cut_at_any_write_leaves_a_whole_checkpoint() {
        let dir = Path::new("/work");
        for operation in 0.. {
            let disk = SimulatedDisk::default();
            disk.make_dir(dir).unwrap();
            let store = CheckpointStore::new(&disk, dir);
            (1..=3).for_each(|step| store.save(&at(step).emit()).unwrap());
            disk.cut_at(operation);
            let done = store.save(&at(4).emit()).is_ok();
            for crash in Crash::ALL {
                let after = disk.after(crash);
                let left = CheckpointStore::new(&after, dir).load().unwrap().unwrap();
                let step = Checkpoint::parse(&left).unwrap().step;
                assert!(step == 4 || (step == 3 && !done), "cut at {operation}, {crash:?}: step {step}");
            }
            if done {
                return;
            }
        }
    }

    #[test]
    fn a_damaged_slot_is_passed_over_and_written_next() {
        let disk = SimulatedDisk::default();
        let dir = Path::new("/work");
        disk.make_dir(dir).unwrap();
        let store = CheckpointStore::new(&disk, dir);
        (1..=2).for_each(|step| store.save(&at(step).emit()).unwrap());
        let newest = SLOTS
            .map(|s| dir.join(s))
            .into_iter()
            .find(|p| disk.read(p).unwrap().and_then(|b| Checkpoint::parse(&b)).is_some_and(|c| c.step == 2));
        disk.write(&newest.unwrap(), b"LBCHKPT1 and then garbage").unwrap();
        let step = |store: &CheckpointStore<'_>| Checkpoint::parse(&store.load().unwrap().unwrap()).unwrap().step;
        assert_eq!(step(&store), 1);
        store.save(&at(3).emit()).unwrap();
        assert_eq!(step(&store), 3);
        store.clear().unwrap();
        assert_eq!(store.load().unwrap(), None);
    }
}
