//! Answers as NumPy arrays.
//!
//! | array | shape | what |
//! |---|---|---|
//! | `<key>` | (V, S, dims of the head) f32 | values of a dense head, as [`Answers::values_into`] gives them |
//! | `<key>.index` | (V, S, K) u16 | classes of the K largest logits |
//! | `<key>.z` | (V, S, K) f32 | those logits, relative to the largest |
//! | `<key>.lse`, `.mean`, `.sd` | (V, S) f32 | of all logits, see [`crate::TopK`] |
//! | `<key>.tail_lse` | (V, S, 3) f32 | of the logits that are not kept, at T = 1, 2, 4 |
//! | `<key>.flags` | (V, S) u8 | bit 0: the true class was forced in, bit 1: the first choice is the true class |
//! | `samples` | (S) u64 | number of each sample in the data set |
//! | `views`, `labels` | (V), (C) text | names of the views, of the teacher's classes |

use std::io::{self, Write};
use std::path::Path;

use limbeck_files::{FileError, Staged};

use crate::error::AnswersError;
use crate::head::{Head, TopK};
use crate::npz::Npz;
use crate::reader::{Answers, HeadId};

/// Gives the bytes of one column of a record of the largest logits.
type Column = fn(&TopK, &mut Vec<u8>);

/// Write all of `answers` to `out`, an `.npz` file. Held in memory: one record.
pub fn export(answers: &Answers, out: &Path) -> Result<(), AnswersError> {
    let failed = |source| FileError { path: out.to_owned(), doing: "write", source };
    let mut npz = Npz::new(Staged::create(out)?);
    for (h, head) in answers.heads().iter().enumerate() {
        match head.is_dense() {
            true => dense(&mut npz, answers, HeadId(h), head, out)?,
            false => top_k(&mut npz, answers, HeadId(h), head, out)?,
        }
    }
    let range = answers.manifest().range();
    let numbers = |put: &mut dyn FnMut(&[u8]) -> io::Result<()>| range.clone().try_for_each(|s| put(&s.to_le_bytes()));
    npz.array("samples", "<u8", &[answers.samples()], numbers).map_err(failed)?;
    let views: Vec<String> = answers.views().iter().map(ToString::to_string).collect();
    text(&mut npz, "views", &views).map_err(failed)?;
    text(&mut npz, "labels", &answers.manifest().card.labels).map_err(failed)?;
    Ok(npz.finish().map_err(failed)?.commit()?)
}

/// Call `one` for every answer in file order; what it fails with comes first, then what writing fails with.
fn array(
    npz: &mut Npz<impl Write>,
    name: &str,
    descr: &str,
    (answers, out): (&Answers, &Path),
    dims: &[u64],
    mut one: impl FnMut(u64, crate::View, &mut Vec<u8>) -> Result<(), AnswersError>,
) -> Result<(), AnswersError> {
    let shape = [&[answers.views().len() as u64, answers.samples()][..], dims].concat();
    let (mut bytes, mut broken) = (vec![], None);
    let written = npz.array(name, descr, &shape, |put| {
        for &view in answers.views() {
            for sample in answers.manifest().range() {
                bytes.clear();
                if let Err(error) = one(sample, view, &mut bytes) {
                    broken = Some(error);
                    return Err(io::ErrorKind::InvalidData.into());
                }
                put(&bytes)?;
            }
        }
        Ok(())
    });
    match broken {
        Some(error) => Err(error),
        None => written.map_err(|source| FileError { path: out.to_owned(), doing: "write", source }.into()),
    }
}

fn dense(
    npz: &mut Npz<impl Write>,
    answers: &Answers,
    id: HeadId,
    head: &Head,
    out: &Path,
) -> Result<(), AnswersError> {
    let dims: Vec<u64> = head.dims.iter().map(|d| u64::from(*d)).collect();
    let mut values = vec![0.0_f32; head.len()];
    array(npz, &head.key, "<f4", (answers, out), &dims, |sample, view, bytes| {
        answers.values_into(id, sample, view, &mut values)?;
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        Ok(())
    })
}

fn top_k(
    npz: &mut Npz<impl Write>,
    answers: &Answers,
    id: HeadId,
    head: &Head,
    out: &Path,
) -> Result<(), AnswersError> {
    let crate::HeadKind::TopKF16 { k } = head.kind else { return Ok(()) };
    let k = u64::from(k);
    let columns: [(&str, &str, &[u64], Column); 7] = [
        ("index", "<u2", &[k], |t, b| b.extend(t.index.iter().flat_map(|v| v.to_le_bytes()))),
        ("z", "<f4", &[k], |t, b| b.extend(t.z.iter().flat_map(|v| v.to_le_bytes()))),
        ("lse", "<f4", &[], |t, b| b.extend(t.lse.to_le_bytes())),
        ("tail_lse", "<f4", &[3], |t, b| b.extend(t.tail_lse.iter().flat_map(|v| v.to_le_bytes()))),
        ("mean", "<f4", &[], |t, b| b.extend(t.mean.to_le_bytes())),
        ("sd", "<f4", &[], |t, b| b.extend(t.sd.to_le_bytes())),
        ("flags", "|u1", &[], |t, b| b.push(u8::from(t.label_forced) | u8::from(t.label_first) << 1)),
    ];
    for (name, descr, dims, column) in columns {
        array(npz, &format!("{}.{name}", head.key), descr, (answers, out), dims, |sample, view, bytes| {
            column(&answers.top_k(id, sample, view)?, bytes);
            Ok(())
        })?;
    }
    Ok(())
}

/// Text of one width, UTF-32, as NumPy keeps it.
fn text(npz: &mut Npz<impl Write>, name: &str, lines: &[String]) -> io::Result<()> {
    let width = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0).max(1);
    npz.array(name, &format!("<U{width}"), &[lines.len() as u64], |put| {
        for line in lines {
            let characters = line.chars().map(u32::from).chain(std::iter::repeat(0)).take(width);
            put(&characters.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())?;
        }
        Ok(())
    })
}
