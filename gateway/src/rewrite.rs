//! Path rewriting ahead of routing: the first rule that matches, applied once. [pure]

use std::fmt;

use regex::{Captures, Regex};

/// Longest path after rewriting, in bytes; the same bound as for a target on the wire.
pub const PATH_BYTES_MAX: usize = 16 * 1024;

/// The rules of `proxy.url_rewrites`, compiled, in order.
#[derive(Clone, Debug, Default)]
pub struct Rewrites(Box<[Rule]>);

/// One rule: what to look for, and what to put in its place.
#[derive(Clone, Debug)]
pub struct Rule {
    name: Option<Box<str>>,
    pattern: Regex,
    template: Box<[Part]>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Literal(Box<str>),
    Group(usize),
}

/// What is wrong with a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RuleError {
    /// The expression in `match`.
    Match(String),
    /// The template in `rewrite`.
    Rewrite(String),
}

/// A rule matched, but what it made of the path is no path; the request goes on unrewritten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAPath<'r> {
    /// Position of the rule, from 0.
    pub rule: usize,
    /// Its name, where it has one.
    pub name: Option<&'r str>,
}

impl fmt::Display for NotAPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.unwrap_or("unnamed");
        write!(
            f,
            "rule {} ({name}) does not result in a valid path",
            self.rule
        )
    }
}

impl Rewrites {
    /// The rules in the order in which they are tried.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules.into())
    }

    /// Whether there is nothing to do for any path.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Rewrites `path`, still percent-encoded and without its query; `None` where no rule matches.
    ///
    /// # Errors
    ///
    /// [`NotAPath`] when the result does not start with `/`, holds a byte that no path holds, or
    /// is longer than [`PATH_BYTES_MAX`].
    pub fn apply(&self, path: &str) -> Result<Option<String>, NotAPath<'_>> {
        for (rule, compiled) in self.0.iter().enumerate() {
            let Some(rewritten) = compiled.apply(path) else {
                continue;
            };
            if is_path(&rewritten) {
                return Ok(Some(rewritten));
            }
            let name = compiled.name.as_deref();
            return Err(NotAPath { rule, name });
        }
        Ok(None)
    }
}

impl Rule {
    /// Compiles one rule.
    ///
    /// In `rewrite`, `$1`, `$name` and `${name}` are groups of `pattern`, and `$$` is a `$`. A name
    /// without braces takes every letter, digit and underscore that follows.
    ///
    /// # Errors
    ///
    /// [`RuleError`], worded for the operator, for every case that config.md §3.3 refuses.
    pub fn compile(name: Option<&str>, pattern: &str, rewrite: &str) -> Result<Self, RuleError> {
        let pattern = Regex::new(pattern).map_err(|error| {
            RuleError::Match(format!(
                "is no valid regular expression: {}",
                reason(&error)
            ))
        })?;
        // `\b` and its like match emptily only beside a letter.
        if ["", "/a"]
            .iter()
            .any(|text| pattern.find_iter(text).any(|found| found.is_empty()))
        {
            return Err(RuleError::Match("must not match the empty string".into()));
        }
        let template = template(rewrite, &pattern).map_err(RuleError::Rewrite)?;
        Ok(Self {
            name: name.map(Box::from),
            pattern,
            template,
        })
    }

    fn apply(&self, path: &str) -> Option<String> {
        let groups = self.pattern.captures(path)?;
        let whole = groups.get(0).filter(|found| !found.is_empty())?;
        let (before, after) = (path.get(..whole.start())?, path.get(whole.end()..)?);
        let mut rewritten = String::with_capacity(path.len() + 64);
        rewritten.push_str(before);
        self.fill(&groups, &mut rewritten);
        rewritten.push_str(after);
        Some(rewritten)
    }

    fn fill(&self, groups: &Captures<'_>, out: &mut String) {
        for part in &self.template {
            match part {
                Part::Literal(text) => out.push_str(text),
                // A group that took no part in the match is empty.
                Part::Group(index) => {
                    out.push_str(groups.get(*index).map_or("", |group| group.as_str()));
                }
            }
        }
    }
}

/// The last line of a syntax error; the lines above it only repeat the expression.
pub(crate) fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn template(text: &str, pattern: &Regex) -> Result<Box<[Part]>, String> {
    if text.contains(|c: char| matches!(c, '?' | '#') || c.is_whitespace() || c.is_control()) {
        return Err("must not contain `?`, `#`, white space or control characters".into());
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            literal.push('$');
            rest = after;
            continue;
        }
        let (name, after) = group_name(after)?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal).into()));
        }
        parts.push(Part::Group(group_index(name, pattern)?));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.into()));
    }
    Ok(parts.into())
}

/// The name that follows a `$`, and what follows the name.
fn group_name(text: &str) -> Result<(&str, &str), String> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced
            .split_once('}')
            .ok_or_else(|| "has an unterminated `${`".to_owned());
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    if end == 0 {
        return Err("has a `$` without a group after it (write `$$` for a `$`)".into());
    }
    Ok(text.split_at(end))
}

fn group_index(name: &str, pattern: &Regex) -> Result<usize, String> {
    let known = match name.parse::<usize>() {
        Ok(index) => Some(index).filter(|index| *index < pattern.captures_len()),
        Err(_) => pattern
            .capture_names()
            .position(|known| known == Some(name)),
    };
    known.ok_or_else(|| format!("refers to the group `{name}`, which `match` does not have"))
}

/// Visible ASCII that may stand in a path; `"<>\` never do, on any server.
fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= PATH_BYTES_MAX
        && text.bytes().all(|byte| {
            byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'"' | b'<' | b'>' | b'\\')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(list: &[(&str, &str)]) -> Rewrites {
        let compile = |(pattern, rewrite): &(&str, &str)| Rule::compile(None, pattern, rewrite);
        Rewrites::new(
            list.iter()
                .map(compile)
                .collect::<Result<_, _>>()
                .expect("valid"),
        )
    }

    #[test]
    fn the_first_match_is_replaced_once_and_the_rest_stays() {
        type Case<'c> = (&'c [(&'c str, &'c str)], &'c str, Option<&'c str>);
        let cases: [Case<'_>; 11] = [
            (&[], "/v1/models", None),
            (&[("^/openai", "")], "/openai/v1/models", Some("/v1/models")),
            (&[("^/openai", "")], "/v1/openai", None),
            (&[("/a", "/b")], "/a/a", Some("/b/a")),
            (&[("^/x", "/y"), ("^/", "/z/")], "/x", Some("/y")),
            (&[("^/x", "/y"), ("^/", "/z/")], "/w", Some("/z/w")),
            (
                &[(r"^/t/([^/]+)/(.*)", "/$2/$1")],
                "/t/acme/v1",
                Some("/v1/acme"),
            ),
            (
                &[(r"^/(?P<team>\w+)/v1", "/v1/${team}x")],
                "/acme/v1",
                Some("/v1/acmex"),
            ),
            (
                &[(r"^/(?<team>\w+)/v1", "/v1/$team")],
                "/acme/v1/z",
                Some("/v1/acme/z"),
            ),
            (&[("^/a(b)?", "/c$1")], "/a", Some("/c")),
            (&[("^/a", "/$$0")], "/a%20b", Some("/$0%20b")),
        ];
        for (list, path, want) in cases {
            let rewrites = rules(list);
            let got = rewrites.apply(path);
            assert_eq!(got, Ok(want.map(str::to_owned)), "{list:?} {path}");
        }
    }

    #[test]
    fn what_is_no_path_is_reported_with_its_rule() {
        let long = "/$1".repeat(30);
        let cases = [
            ("^/a/", ""),
            ("^/a", "x"),
            ("^/a", "/<"),
            ("^/a/(.*)", &long),
        ];
        let path = format!("/a/{}", "b".repeat(1000));
        for (pattern, rewrite) in cases {
            let named = Rule::compile(Some("strip"), pattern, rewrite).expect("valid");
            let list = Rewrites::new(vec![
                Rule::compile(None, "^/never", "").expect("valid"),
                named,
            ]);
            let error = list.apply(&path).expect_err("no path");
            assert_eq!((error.rule, error.name), (1, Some("strip")), "{rewrite}");
        }
    }

    #[test]
    fn a_bad_rule_does_not_compile() {
        let in_match = ["(", "", "a*", "^", r"\b", "(a|)", r"(a)\1", "(?=a)"];
        for pattern in in_match {
            let got = Rule::compile(None, pattern, "/x");
            assert!(matches!(got, Err(RuleError::Match(_))), "{pattern}");
        }
        let in_rewrite = [
            "/a?b", "/a#b", "/a b", "/a\n", "/${1", "/$2", "/$1x", "/${who}", "/${}", "/a$", "/$/",
        ];
        for rewrite in in_rewrite {
            let got = Rule::compile(None, "^/(a)", rewrite);
            assert!(matches!(got, Err(RuleError::Rewrite(_))), "{rewrite}");
        }
    }

    #[test]
    fn the_reason_of_a_bad_expression_fits_on_a_line() {
        let got = Rule::compile(None, "/(a", "/x").expect_err("unclosed");
        let want = "is no valid regular expression: unclosed group";
        assert_eq!(got, RuleError::Match(want.into()));
    }
}
