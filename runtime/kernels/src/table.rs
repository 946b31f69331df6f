//! Any function of one stored value, as 256 entries: sigmoid, hard swish, tanh, a change of scale.
//!
//! ```text
//! y[i] = table[x[i] + 128]
//! ```
//!
//! The builder fills the table with `f32-rne/1`'s quantize of the float function, so all cores agree whatever their libm.

#[cfg(target_arch = "x86_64")]
use crate::arch::x86_64;
use crate::isa::Isa;

/// What a table lookup is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Input.
    pub x: &'a [i8],
    /// Entry `n` is the answer to the stored value `n - 128`.
    pub table: &'a [i8; 256],
}

/// The definition; every other version is tested against it.
pub fn reference(t: &Table<'_>, y: &mut [i8]) {
    assert_eq!(t.x.len(), y.len(), "x against y");
    for (y, &x) in y.iter_mut().zip(t.x) {
        *y = t.table[(x as i32 + 128) as usize];
    }
}

/// The same without bounds checks: `u8` cannot leave 256 entries.
pub fn portable(t: &Table<'_>, y: &mut [i8]) {
    assert_eq!(t.x.len(), y.len(), "x against y");
    for (y, &x) in y.iter_mut().zip(t.x) {
        // A flipped sign bit is + 128 within a u8.
        *y = t.table[(x as u8 ^ 0x80) as usize];
    }
}

/// The same on a path: the fastest version that it has.
pub fn run(isa: Isa, t: &Table<'_>, y: &mut [i8]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(have) = isa.avx2() {
        return x86_64::table(have, t, y);
    }
    // NEON is part of plain aarch64, so the portable loops have it.
    let _ = isa;
    portable(t, y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn every_path_agrees_with_reference() {
        for isa in Isa::available() {
            suite::table(|contract, y| run(isa, contract, y));
        }
    }

    #[test]
    fn portable_agrees_with_reference() {
        suite::table(portable);
    }
}
