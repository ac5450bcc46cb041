//! Names that are too long for other protocols: shortened on the way out, mapped back on the way
//! in. [pure]

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Longest name of a function, and longest name of a user, that OpenAI takes.
const NAME_BYTES_MAX: usize = 64;
/// Hex digits of the hash that tells shortened names apart.
const HASH_DIGITS: usize = 8;

/// The tools whose names were shortened.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Shortened and original, a handful at most.
    pairs: Vec<(Box<str>, Box<str>)>,
}

impl Names {
    /// The name of a tool for the target; remembered where it is not the caller's.
    pub(super) fn of_tool<'b>(&mut self, name: Cow<'b, str>) -> Cow<'b, str> {
        match shorter(&name) {
            None => name,
            Some(short) => {
                self.pairs.push((short.as_str().into(), name.into()));
                Cow::Owned(short)
            }
        }
    }

    /// The caller's name for the target's.
    pub(super) fn original<'n>(&'n self, name: &'n str) -> &'n str {
        let pair = self.pairs.iter().find(|(short, _)| **short == *name);
        pair.map_or(name, |(_, original)| original)
    }

    /// Whether every name is the caller's own.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// The name itself, or its beginning and a hash of all of it: equal names stay equal, wherever in a
/// conversation they stand.
pub(super) fn shortened(name: Cow<'_, str>) -> Cow<'_, str> {
    shorter(&name).map_or(name, Cow::Owned)
}

fn shorter(name: &str) -> Option<String> {
    if name.len() <= NAME_BYTES_MAX {
        return None;
    }
    let kept = name.floor_char_boundary(NAME_BYTES_MAX - HASH_DIGITS - 1);
    let mut short = String::with_capacity(NAME_BYTES_MAX);
    short.push_str(name.get(..kept).unwrap_or_default());
    short.push('_');
    let digest = Sha256::digest(name.as_bytes());
    let nibbles = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let digits = nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16));
    short.extend(digits.take(HASH_DIGITS));
    Some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_apart_and_found_again() {
        let long = |end: &str| format!("{}{end}", "n".repeat(70));
        let mut names = Names::default();
        let fits = "f".repeat(64);
        assert_eq!(names.of_tool(fits.as_str().into()), fits);
        assert!(names.is_empty());
        let (a, b) = (long("a"), long("b"));
        let short_a = names.of_tool(a.as_str().into()).into_owned();
        let short_b = names.of_tool(b.as_str().into()).into_owned();
        assert_ne!(short_a, short_b);
        for (short, original) in [(&short_a, &a), (&short_b, &b)] {
            assert_eq!(short.len(), 64);
            assert_eq!(shortened(original.as_str().into()), *short);
            assert_eq!(names.original(short), original);
        }
        assert_eq!(names.original("other"), "other");
        // A stable name: prompt caches and logs see the same one tomorrow.
        assert_eq!(
            shortened("x".repeat(65).into()),
            format!("{}_9537c5fd", "x".repeat(55))
        );
        assert!(shortened("é".repeat(40).into()).len() <= 64);
    }
}
