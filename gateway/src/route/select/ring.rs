//! The ring of a consistent hash. [pure]
//!
//! Each target owns points on a circle of 64-bit numbers; a key belongs to the target whose point
//! follows it. A target that comes or goes moves only the keys of its own points.

/// Points of a target per unit of its weight.
const POINTS_PER_UNIT: u64 = 160;
/// Most units of a tier, that is 10,240 points of 10 bytes, and up to one more for each target whose
/// weight is too small for any.
const UNITS_MAX: u64 = 64;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// Points of all targets of a tier, ascending.
#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[u64]>,
    /// Whose point it is: positions in the group.
    owners: Box<[u16]>,
}

impl Ring {
    /// The ring of targets given by position, name and weight, which is 1 or more.
    pub(super) fn new(targets: &[(u16, &str, u32)]) -> Self {
        let weights: Vec<u64> = targets.iter().map(|target| target.2.into()).collect();
        let mut points = Vec::new();
        for ((owner, name, _), units) in targets.iter().zip(units(&weights)) {
            let name = fnv1a(fnv1a(FNV_OFFSET, name.as_bytes()), &[0]);
            // At most 160 * 64 a target, which 32 bits hold.
            for point in 0..(POINTS_PER_UNIT * units) as u32 {
                points.push((mix(fnv1a(name, &point.to_le_bytes())), *owner));
            }
        }
        points.sort_unstable();
        let (points, owners): (Vec<u64>, Vec<u16>) = points.into_iter().unzip();
        Self {
            points: points.into(),
            owners: owners.into(),
        }
    }

    /// The owners of the points from the key's on, once around.
    pub(super) fn walk(&self, key: &[u8]) -> impl Iterator<Item = u16> + '_ {
        let key = mix(fnv1a(FNV_OFFSET, key));
        let start = self.points.partition_point(|point| *point < key);
        let (before, after) = self.owners.split_at(start);
        after.iter().chain(before).copied()
    }
}

/// Weights in smaller numbers of nearly the same proportions.
fn units(weights: &[u64]) -> impl Iterator<Item = u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|weight| weight / divisor).sum();
    weights.iter().map(move |weight| {
        let units = weight / divisor;
        if sum > UNITS_MAX {
            (units * UNITS_MAX / sum).max(1)
        } else {
            units
        }
    })
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// FNV-1a of `bytes`, carried on from `hash`.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
    })
}

/// Spreads the bits of `hash`: neighbours end up anywhere.
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 30;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 27;
    hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_computed_by_other_means() {
        // The first column from the FNV paper, the others by arithmetic on big integers.
        for (text, fnv, mixed) in [
            ("", 0xcbf2_9ce4_8422_2325, 0xf52a_15e9_a9b5_e89b),
            ("a", 0xaf63_dc4c_8601_ec8c, 0x02c0_bdbf_4814_20f8),
            ("foobar", 0x8594_4171_f739_67e8, 0x404d_a9e3_b740_78c2),
            ("sk-1", 0x3e4d_f418_ddbd_09f9, 0x24ab_e5e4_b009_c5ff),
        ] {
            let hash = fnv1a(FNV_OFFSET, text.as_bytes());
            assert_eq!((hash, mix(hash)), (fnv, mixed), "{text}");
        }
        assert_eq!((mix(0), mix(1)), (0, 0x5692_161d_100b_05e5));
    }

    #[test]
    fn points_are_made_of_name_and_number() {
        let ring = Ring::new(&[(7, "fast-chat", 3), (9, "eu-chat", 5)]);
        assert_eq!(ring.points.len(), 8 * 160);
        assert!(ring.points.is_sorted());
        for (point, owner) in [
            (0x4dbe_5933_177e_a6a8, 7), // fast-chat, 0
            (0xadce_f31c_2a1a_9258, 7), // fast-chat, 159
            (0xd78c_e429_7752_14db, 9), // eu-chat, 0
            (0xd02f_2b8b_6689_5991, 9), // eu-chat, 256
        ] {
            let at = ring.points.binary_search(&point).unwrap();
            assert_eq!(ring.owners[at], owner, "{point:x}");
        }
    }

    #[test]
    fn units_keep_proportions_within_the_limit() {
        let cases: [(&[u64], &[u64]); 7] = [
            (&[1, 1, 1], &[1, 1, 1]),
            (&[10, 20, 30], &[1, 2, 3]),
            (&[63, 1], &[63, 1]),
            (&[64, 1], &[63, 1]),
            (&[900, 99, 1], &[57, 6, 1]),
            (&[4_294_967_295, 1], &[63, 1]),
            (&[], &[]),
        ];
        for (weights, want) in cases {
            let got: Vec<u64> = units(weights).collect();
            assert_eq!(got, want, "{weights:?}");
        }
        assert_eq!(units(&[3; 200]).sum::<u64>(), 200);
    }

    #[test]
    fn a_walk_passes_every_point_once_from_wherever_it_starts() {
        let ring = Ring::new(&[(0, "a", 1), (1, "b", 2)]);
        for key in ["", "alice", "bob", "x"] {
            assert_eq!(ring.walk(key.as_bytes()).count(), 480);
            assert_eq!(ring.walk(key.as_bytes()).filter(|at| *at == 1).count(), 320);
        }
        assert_eq!(Ring::new(&[]).walk(b"a").count(), 0);
    }

    #[test]
    fn a_key_on_a_point_belongs_to_it() {
        let ring = Ring::new(&[(0, "a", 1), (1, "b", 1)]);
        for (owner, name) in [(0, "a"), (1, "b")] {
            for point in 0..160_u32 {
                let key = [name.as_bytes(), &[0], &point.to_le_bytes()].concat();
                assert_eq!(ring.walk(&key).next(), Some(owner), "{name}, {point}");
            }
        }
    }
}
