//! Tool names cut to what an upstream takes. [pure]

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Hex digits of the digest that tells cut names apart.
const DIGITS: usize = 8;

/// `name` where it has at most `chars_max` characters, else its start, `_` and eight hex digits of its
/// digest.
///
/// The same name gives the same text wherever it stands, so that whoever knows a request's tools can
/// tell which of them an answer means.
pub fn shortened(name: &str, chars_max: usize) -> Cow<'_, str> {
    if name.len() <= chars_max || name.chars().count() <= chars_max {
        return Cow::Borrowed(name);
    }
    let kept = name.chars().take(chars_max.saturating_sub(DIGITS + 1));
    let mut short: String = kept.chain(['_']).collect();
    let digest = Sha256::digest(name.as_bytes());
    short.extend(
        digest
            .iter()
            .take(DIGITS / 2)
            .map(|byte| format!("{byte:02x}")),
    );
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        assert_eq!(shortened("get_weather", 64), "get_weather");
        assert_eq!(shortened(&"é".repeat(64), 64), "é".repeat(64));
        let (one, other) = ("n".repeat(64) + "1", "n".repeat(64) + "2");
        let (short, other) = (shortened(&one, 64), shortened(&other, 64));
        assert_eq!(short.len(), 64);
        assert!(short.starts_with(&"n".repeat(55)));
        assert_ne!(short, other);
        assert_eq!(short, shortened(&one, 64));
        assert_eq!(shortened(&short, 64), short);
    }
}
