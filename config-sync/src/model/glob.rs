//! Name patterns with at most one `*`. [pure]

use std::fmt;

/// A pattern: exact text, or two literals around one `*` that stands for any text, also none.
///
/// Case-sensitive; the literals anchor both ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Glob {
    prefix: Box<str>,
    /// What follows the `*`; `None` for exact text.
    suffix: Option<Box<str>>,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GlobError {
    /// It is empty, so it could match nothing that has a name.
    Empty,
    /// It has two or more `*`.
    SeveralStars,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "must not be empty",
            Self::SeveralStars => "must hold at most one `*`",
        })
    }
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`GlobError`] for an empty text or a second `*`.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        let (prefix, suffix) = match pattern.split_once('*') {
            None => (pattern, None),
            Some((_, rest)) if rest.contains('*') => return Err(GlobError::SeveralStars),
            Some((prefix, suffix)) => (prefix, Some(suffix.into())),
        };
        Ok(Self {
            prefix: prefix.into(),
            suffix,
        })
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        match &self.suffix {
            None => *self.prefix == *text,
            Some(_) => self.capture(text).is_some(),
        }
    }

    /// The part of `text` that the `*` stands for; `None` without a match or without a `*`.
    pub fn capture<'t>(&self, text: &'t str) -> Option<&'t str> {
        let suffix = self.suffix.as_deref()?;
        // The suffix is looked for behind the prefix, so the two never overlap.
        text.strip_prefix(&*self.prefix)?.strip_suffix(suffix)
    }

    /// The text of a pattern without `*`.
    pub fn exact(&self) -> Option<&str> {
        match self.suffix {
            None => Some(&self.prefix),
            Some(_) => None,
        }
    }

    /// How many characters are literal: the more, the more specific is the pattern.
    pub fn literal_chars(&self) -> usize {
        let suffix = self.suffix.as_deref().unwrap_or("");
        self.prefix.chars().count() + suffix.chars().count()
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)?;
        match &self.suffix {
            None => Ok(()),
            Some(suffix) => write!(f, "*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_anchor_both_ends_and_the_star_takes_the_rest() {
        let cases = [
            ("chat", "chat", true, None),
            ("chat", "chats", false, None),
            ("chat", "Chat", false, None),
            ("fast-*", "fast-chat", true, Some("chat")),
            ("fast-*", "fast-", true, Some("")),
            ("fast-*", "slow-chat", false, None),
            ("*-chat", "fast-chat", true, Some("fast")),
            ("a*a", "aa", true, Some("")),
            ("a*a", "a", false, None),
            ("ab*bc", "abc", false, None),
            ("*", "", true, Some("")),
            ("*", "x/y", true, Some("x/y")),
            ("é*", "éa", true, Some("a")),
        ];
        for (pattern, text, matches, capture) in cases {
            let glob = Glob::parse(pattern).unwrap();
            assert_eq!(glob.matches(text), matches, "{pattern} on {text}");
            assert_eq!(glob.capture(text), capture, "{pattern} on {text}");
        }
    }

    #[test]
    fn empty_patterns_and_second_stars_are_refused() {
        assert_eq!(Glob::parse(""), Err(GlobError::Empty));
        for pattern in ["**", "a*b*c", "*a*"] {
            assert_eq!(
                Glob::parse(pattern),
                Err(GlobError::SeveralStars),
                "{pattern}"
            );
        }
    }

    #[test]
    fn specificity_counts_literal_characters_on_both_sides() {
        for (pattern, chars) in [("*", 0), ("é*z", 2), ("openai/*", 7), ("exact", 5)] {
            assert_eq!(Glob::parse(pattern).unwrap().literal_chars(), chars);
        }
    }

    proptest! {
        #[test]
        fn what_is_put_for_the_star_is_captured(prefix in "[^*]{0,8}", middle in ".{0,8}", suffix in "[^*]{0,8}") {
            let glob = Glob::parse(&format!("{prefix}*{suffix}")).unwrap();
            let text = format!("{prefix}{middle}{suffix}");
            prop_assert_eq!(glob.capture(&text), Some(middle.as_str()));
            prop_assert_eq!(glob.to_string(), format!("{prefix}*{suffix}"));
        }

        #[test]
        fn a_match_is_prefix_capture_suffix(pattern in "[ab]{0,3}\\*?[ab]{0,3}", text in "[ab]{0,6}") {
            prop_assume!(!pattern.is_empty());
            let glob = Glob::parse(&pattern).unwrap();
            let expected = match pattern.split_once('*') {
                None => pattern == text,
                Some((p, s)) => text.len() >= p.len() + s.len() && text.starts_with(p) && text.ends_with(s),
            };
            prop_assert_eq!(glob.matches(&text), expected);
        }
    }
}
