//! One hash over many files in order, made so that parts of the list can be hashed on different machines.
//!
//! leaf(bytes)      = SHA-256(0x00 ‖ bytes)
//! node(left,right) = SHA-256(0x01 ‖ left ‖ right)
//!
//! root of n leaves: the left side has the largest power of two below n, the right side the rest; of none: SHA-256 of
//! nothing. This is the tree of RFC 6962 ("Certificate Transparency"), section 2.1. The two prefixes keep a list of two
//! files from having the root of a list of one.

use sha2::{Digest, Sha256};

/// SHA-256 of a leaf or of a node.
pub type Hash = [u8; 32];

/// The leaf of a file or of anything else that is bytes.
pub fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new_with_prefix([0x00]).chain_update(bytes).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([0x01]).chain_update(left).chain_update(right).finalize().into()
}

/// The root over `leaves`, in order, in memory that grows with the logarithm of their number.
pub fn merkle_root(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    // Whole subtrees that wait for their right sibling, largest first; their sizes are the binary digits of the count.
    let mut waiting: Vec<Hash> = Vec::new();
    for (i, leaf) in leaves.into_iter().enumerate() {
        let mut subtree = leaf;
        for _ in 0..(i as u64 + 1).trailing_zeros() {
            if let Some(left) = waiting.pop() {
                subtree = node(&left, &subtree);
            }
        }
        waiting.push(subtree);
    }
    match waiting.pop() {
        Some(last) => waiting.iter().rev().fold(last, |right, left| node(left, &right)),
        None => Sha256::digest([]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    /// The definition of RFC 6962, section 2.1, word by word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => Sha256::digest([]).into(),
            1 => leaves[0],
            n => {
                let k = n.next_power_of_two() / 2;
                node(&by_definition(&leaves[..k]), &by_definition(&leaves[k..]))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition_for_every_small_count() {
        let leaves: Vec<Hash> = (0..70u8).map(|i| leaf(&[i])).collect();
        for n in 0..leaves.len() {
            assert_eq!(merkle_root(leaves[..n].iter().copied()), by_definition(&leaves[..n]), "{n}");
        }
    }

    #[test]
    fn published_roots_come_out() {
        // The test vectors of the certificate-transparency reference implementation (merkle_tree_test).
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (n, root) in roots.iter().enumerate() {
            assert_eq!(hex(&merkle_root(inputs[..=n].iter().map(|b| leaf(b)))), *root, "{n}");
        }
    }

    #[test]
    fn every_leaf_and_the_order_count() {
        let leaves: Vec<Hash> = (0..5u8).map(|i| leaf(&[i])).collect();
        let root = merkle_root(leaves.iter().copied());
        for i in 0..5 {
            let mut other = leaves.clone();
            other[i][31] ^= 1;
            assert_ne!(merkle_root(other), root);
        }
        assert_ne!(merkle_root(leaves.iter().rev().copied()), root);
    }
}
