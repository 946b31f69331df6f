//! What kind of work an aarch64 instruction does, from its 32 bits.
//!
//! Masks are those of the Arm Architecture Reference Manual (DDI 0487), "A64 instruction set encoding", C4.1. The emulator's
//! plugin (`tests/instructions/plugin.rs`) is compiled with this very file, so it names nothing of any crate.

/// One kind of instruction. `Other` is integer, branch and address work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `sdot`, `udot`: 16 multiply-accumulates.
    Dot8,
    /// `smmla`, `ummla`, `usmmla`: 32 multiply-accumulates.
    I8mm,
    /// `s/u mull mlal mlsl` of 8-bit sources: 8 products.
    Mlal8To16,
    /// The same of 16-bit or 32-bit sources, vector or by element: 4 products or 2.
    Mlal16To32,
    /// `fmla`, `fmls` of f32: 4 multiply-accumulates.
    FmlaF32,
    /// All other SIMD and floating-point data processing.
    OtherSimd,
    /// Loads and stores, of any register.
    LoadStore,
    /// Everything else.
    Other,
}

/// Names of the classes that are counted apart, in the order of [`Class`]; `Other` is what is left of all instructions.
pub const NAMES: [&str; 7] = ["dot8", "i8mm", "mlal8to16", "mlal16to32", "fmla_f32", "other_simd", "ldst"];

/// The class of the instruction `word`.
pub fn class(word: u32) -> Class {
    let is = |mask: u32, bits: u32| word & mask == bits;
    let size = word >> 22 & 3;
    let opcode = word >> 12 & 15;
    // "Advanced SIMD three same extra" and "vector x indexed element".
    let dot = is(0x9f20_fc00, 0x0e00_9400) || is(0x9f00_f400, 0x0f00_e000);
    if dot && size == 2 {
        return Class::Dot8;
    }
    if is(0xdfe0_f400, 0x4e80_a400) {
        return Class::I8mm;
    }
    // "Three same": the bit for double is clear. "Indexed element": size is 10.
    if is(0xbf60_fc00, 0x0e20_cc00) || is(0xbfc0_b400, 0x0f80_1000) {
        return Class::FmlaF32;
    }
    // "Three different": mlal, mlsl, mull.
    if is(0x9f20_0c00, 0x0e20_0000) && matches!(opcode, 8 | 10 | 12) {
        return if size == 0 { Class::Mlal8To16 } else { Class::Mlal16To32 };
    }
    // "Indexed element": the same three; there are none of 8 bits.
    if is(0x9f00_0400, 0x0f00_0000) && matches!(opcode, 2 | 6 | 10) && size != 0 {
        return Class::Mlal16To32;
    }
    if is(0x0e00_0000, 0x0e00_0000) {
        return Class::OtherSimd;
    }
    if is(0x0a00_0000, 0x0800_0000) {
        return Class::LoadStore;
    }
    Class::Other
}

#[cfg(test)]
mod tests {
    use super::Class::*;
    use super::*;

    /// Words as GNU as 2.40 encodes the text beside them.
    const CASES: &[(u32, &str, Class)] = &[
        (0x4e82_9420, "sdot v0.4s, v1.16b, v2.16b", Dot8),
        (0x2e82_9420, "udot v0.2s, v1.8b, v2.8b", Dot8),
        (0x4fa2_e820, "sdot v0.4s, v1.16b, v2.4b[3]", Dot8),
        (0x4e82_a420, "smmla v0.4s, v1.16b, v2.16b", I8mm),
        (0x4e82_ac20, "usmmla v0.4s, v1.16b, v2.16b", I8mm),
        (0x6e82_a43f, "ummla v31.4s, v1.16b, v2.16b", I8mm),
        (0x0e22_c020, "smull v0.8h, v1.8b, v2.8b", Mlal8To16),
        (0x4e22_8020, "smlal2 v0.8h, v1.16b, v2.16b", Mlal8To16),
        (0x2e22_a020, "umlsl v0.8h, v1.8b, v2.8b", Mlal8To16),
        (0x0e62_8020, "smlal v0.4s, v1.4h, v2.4h", Mlal16To32),
        (0x4f72_2820, "smlal2 v0.4s, v1.8h, v2.h[7]", Mlal16To32),
        (0x0f42_a020, "smull v0.4s, v1.4h, v2.h[0]", Mlal16To32),
        (0x2ea2_8020, "umlal v0.2d, v1.2s, v2.2s", Mlal16To32),
        (0x4e22_cc20, "fmla v0.4s, v1.4s, v2.4s", FmlaF32),
        (0x0fa2_5020, "fmls v0.2s, v1.2s, v2.s[1]", FmlaF32),
        (0x4e62_cc20, "fmla v0.2d, v1.2d, v2.2d", OtherSimd),
        (0x4e60_6820, "sadalp v0.4s, v1.8h", OtherSimd),
        (0x4ea2_9420, "mla v0.4s, v1.4s, v2.4s", OtherSimd),
        (0x0e22_e020, "pmull v0.8h, v1.8b, v2.8b", OtherSimd),
        (0x0f08_a420, "sshll v0.8h, v1.8b, #0", OtherSimd),
        (0x4e21_a820, "fcvtns v0.4s, v1.4s", OtherSimd),
        (0x1f02_0c20, "fmadd s0, s1, s2, s3", OtherSimd),
        (0x4e42_0c20, "fmla v0.8h, v1.8h, v2.8h", OtherSimd),
        (0x3cc1_0420, "ldr q0, [x1], #16", LoadStore),
        (0x4c40_a040, "ld1 {v0.16b, v1.16b}, [x2]", LoadStore),
        (0xa940_07e0, "ldp x0, x1, [sp]", LoadStore),
        (0x3900_0020, "strb w0, [x1]", LoadStore),
        (0x8b02_0020, "add x0, x1, x2", Other),
        (0x1b02_0c20, "madd w0, w1, w2, w3", Other),
        (0x5400_0001, "b.ne .", Other),
        (0xd400_0001, "svc #0", Other),
        (0x9b22_0c20, "smaddl x0, w1, w2, x3", Other),
    ];

    #[test]
    fn instructions_fall_into_the_class_of_their_work() {
        for &(word, text, expected) in CASES {
            assert_eq!(class(word), expected, "{text}");
        }
    }

    #[test]
    fn classes_index_their_names() {
        assert_eq!((Dot8 as usize, NAMES[Mlal16To32 as usize], NAMES[LoadStore as usize]), (0, "mlal16to32", "ldst"));
        assert_eq!(Other as usize, NAMES.len());
    }
}
