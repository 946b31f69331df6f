//! The tar archive: a handful of plain members, read without trust and written the same every time.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

/// A tar archive is made of blocks of this size.
const TAR_BLOCK: usize = 512;

/// A member larger than this is refused before it is read into memory.
const MEMBER_LIMIT: u64 = 4 << 30;

/// An archive of these members, in this order.
pub(crate) fn emit(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = vec![];
    for &(name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        let name_field = &mut header.as_old_mut().name;
        name_field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_cksum();
        archive.extend(header.as_bytes());
        archive.extend(bytes);
        archive.resize(archive.len().next_multiple_of(TAR_BLOCK), 0);
    }
    // Two blocks of zeros end an archive.
    archive.resize(archive.len() + 2 * TAR_BLOCK, 0);
    archive
}

/// The archive's members by name. Only plain files with plain names, each once.
pub(crate) fn members(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut archive = tar::Archive::new(Cursor::new(bytes));
    let mut members = BTreeMap::new();
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() || name.contains(['/', '\\']) {
            return Err(format!("`{name}` is not a plain member"));
        }
        if entry.size() > MEMBER_LIMIT || entry.size() > bytes.len() as u64 {
            return Err(format!("`{name}` claims {} bytes", entry.size()));
        }
        let size = entry.size();
        let mut contents = vec![];
        entry.take(size).read_to_end(&mut contents).map_err(|e| format!("`{name}`: {e}"))?;
        if contents.len() as u64 != size {
            return Err(format!("`{name}` is cut short"));
        }
        if members.insert(name.clone(), contents).is_some() {
            return Err(format!("`{name}` is in it twice"));
        }
    }
    Ok(members)
}
