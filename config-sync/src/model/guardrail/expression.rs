//! Regular expressions of content checks, compiled once and within bounds. [pure]

use std::fmt;

use regex::{Error, Regex, RegexBuilder};

/// Most expressions in one row.
const EXPRESSIONS_MAX: usize = 512;
/// Longest compiled program of an expression, in bytes: what the library takes by default.
const PROGRAM_BYTES_MAX: usize = 10 << 20;
/// Programs longer than this count as large.
const SMALL_PROGRAM_BYTES_MAX: usize = 256 << 10;
/// Most large programs in one row. Worst case per row, with all others small: 80 MiB + 126 MiB.
const LARGE_PROGRAMS_MAX: usize = 8;
/// What a thread that matches keeps per expression, in bytes; beyond it matching is slower.
const MATCHER_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(SMALL_PROGRAM_BYTES_MAX < PROGRAM_BYTES_MAX);

/// A compiled regular expression; equal where the text is.
#[derive(Clone)]
pub struct Expression(Regex);

impl Expression {
    /// The compiled form. Matching takes time linear in the text.
    pub fn regex(&self) -> &Regex {
        &self.0
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.as_str(), f)
    }
}

/// Compiles the expressions of one row.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    compiled: usize,
    large: usize,
}

impl Compiler {
    /// Compiles one expression.
    ///
    /// # Errors
    ///
    /// What is accepted, for the operator; never the text.
    pub(super) fn compile(&mut self, text: &str) -> Result<Expression, String> {
        if self.compiled == EXPRESSIONS_MAX {
            return Err(format!(
                "must be one of at most {EXPRESSIONS_MAX} regular expressions"
            ));
        }
        self.compiled += 1;
        let regex = match build(text, SMALL_PROGRAM_BYTES_MAX) {
            Err(Error::CompiledTooBig(_)) if self.large < LARGE_PROGRAMS_MAX => {
                self.large += 1;
                build(text, PROGRAM_BYTES_MAX)
            }
            built => built,
        };
        regex.map(Expression).map_err(|error| match error {
            Error::CompiledTooBig(_) => format!(
                "must compile to at most {} MiB, and to at most {} KiB after the first {} that are \
                 larger",
                PROGRAM_BYTES_MAX >> 20,
                SMALL_PROGRAM_BYTES_MAX >> 10,
                LARGE_PROGRAMS_MAX
            ),
            // The library's texts quote the expression.
            _ => "must be a regular expression, without look-around and back-references".to_owned(),
        })
    }
}

fn build(text: &str, bytes_max: usize) -> Result<Regex, Error> {
    RegexBuilder::new(text)
        .size_limit(bytes_max)
        .dfa_size_limit(MATCHER_BYTES_MAX)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compiles_is_kept_and_what_does_not_says_so_without_the_text() {
        let cases = [
            (r"(?i)\bcard[- ]no\b", None),
            (r"\p{Han}{2,4}", None),
            (r"\w{1,64}@\w{1,64}", None),
            ("", None),
            ("canary(", Some("must be a regular expression")),
            (r"(?=canary)", Some("must be a regular expression")),
            (r"(canary)\1", Some("must be a regular expression")),
            (
                r"(?:canary\w{100}){100}",
                Some("must compile to at most 10 MiB"),
            ),
        ];
        for (text, problem) in cases {
            match (Compiler::default().compile(text), problem) {
                (Ok(expression), None) => assert_eq!(expression.regex().as_str(), text),
                (Err(message), Some(problem)) => {
                    assert!(message.starts_with(problem), "{text}: {message}");
                    assert!(!message.contains("canary"), "{message}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_row_has_a_bounded_number_of_expressions_and_fewer_large_ones() {
        let large = r"\d{100}";
        let mut compiler = Compiler::default();
        for _ in 0..LARGE_PROGRAMS_MAX {
            assert!(compiler.compile(large).is_ok());
        }
        assert!(compiler.compile(large).is_err());
        for _ in compiler.compiled..EXPRESSIONS_MAX {
            assert!(compiler.compile("a").is_ok());
        }
        assert!(compiler.compile("a").is_err());
    }

    #[test]
    fn expressions_are_equal_by_their_text() {
        let compile = |text| Compiler::default().compile(text).unwrap();
        assert_eq!(compile("a+"), compile("a+"));
        assert_ne!(compile("a+"), compile("a*"));
    }
}
