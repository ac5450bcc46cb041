//! A parsed document, read field by field, with every problem noted under its path. [pure]
//!
//! Both the startup file and stored resources are read through [`Fields`]: a reader takes the keys
//! it knows, and whatever it did not take is an unknown key. Nothing stops at the first problem.

use std::cell::RefCell;
use std::fmt;

pub use serde_json::{Map, Value};

/// One thing wrong with a document, in the operator's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Dotted path of the field, array indices in brackets: `proxy.url_rewrites[2].match`. Empty for the root.
    pub path: String,
    /// What is wrong and what is accepted. Never holds the value itself: it may be a secret.
    pub message: String,
    /// Whether the document breaks a rule, or cannot be decoded at all.
    pub kind: ProblemKind,
}

/// How far a document came.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ProblemKind {
    /// It breaks a rule of its kind.
    Schema,
    /// It cannot be decoded: two spellings of one field, a number that does not fit its type.
    Parse,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Every problem found so far, in the order found, and the fields that were passed over.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Vec<Problem>>,
    ignored: RefCell<Vec<String>>,
}

impl Problems {
    /// Notes one problem.
    pub fn push(&self, path: impl Into<String>, message: impl Into<String>) {
        self.note(path.into(), message.into(), ProblemKind::Schema);
    }

    /// Notes one problem that keeps the document from being decoded.
    pub fn push_parse(&self, path: impl Into<String>, message: impl Into<String>) {
        self.note(path.into(), message.into(), ProblemKind::Parse);
    }

    /// Notes a field that is left out of account, by its path or as `inapplicable:<field>`.
    ///
    /// Array indices collapse: `routing.targets[3].x` is noted as `routing.targets.[].x`.
    pub fn ignore(&self, path: &str) {
        self.ignored.borrow_mut().push(without_indices(path));
    }

    /// The fields left out of account, in the order met; a path may be there several times.
    pub fn ignored(&self) -> Vec<String> {
        self.ignored.borrow().clone()
    }

    fn note(&self, path: String, message: String, kind: ProblemKind) {
        self.found.borrow_mut().push(Problem {
            path,
            message,
            kind,
        });
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The number of problems noted.
    pub fn len(&self) -> usize {
        self.found.borrow().len()
    }

    /// The paths of all problems, in the order found.
    pub fn paths(&self) -> Vec<String> {
        let problems = self.found.borrow();
        problems
            .iter()
            .map(|problem| problem.path.clone())
            .collect()
    }

    /// All problems, in the order found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.found.into_inner()
    }
}

/// `a[0].b[12].c` to `a.[].b.[].c`.
fn without_indices(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('[') {
        text.push_str(before);
        match after.split_once(']') {
            Some((index, tail)) if index.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.push_str(if text.is_empty() { "[]" } else { ".[]" });
                rest = tail;
            }
            _ => {
                text.push('[');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

/// How unknown keys are treated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unknown {
    /// A key nobody took is a problem (startup file, resources file, Admin writes).
    Refused,
    /// A key nobody took is left out of account, and noted as such (documents of a newer writer).
    Ignored,
}

/// One mapping being read.
///
/// Each `take_*` marks its key as known. Absent and `null` are the same: `None`. A value of another
/// type is noted as a problem and reads as `None`. Call [`Fields::finish`] last.
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    map: Option<&'a Map<String, Value>>,
    taken: RefCell<Vec<&'a str>>,
    problems: &'a Problems,
    unknown: Unknown,
}

impl<'a> Fields<'a> {
    /// Reads `value`, which must be a mapping (`null` counts as an empty one), found at `path`.
    pub fn new(value: &'a Value, path: &str, problems: &'a Problems, unknown: Unknown) -> Self {
        let map = match value {
            Value::Object(map) => Some(map),
            Value::Null => None,
            other => {
                problems.push(path, format!("must be a mapping, not {}", kind(other)));
                None
            }
        };
        Self {
            path: path.to_owned(),
            map,
            taken: RefCell::default(),
            problems,
            unknown,
        }
    }

    /// The path of a field of this mapping.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Notes a problem with one of this mapping's fields.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        self.problems.push(self.path_of(key), message);
    }

    /// The raw value of `key`; `None` where absent or `null`.
    pub fn take(&self, key: &'a str) -> Option<&'a Value> {
        self.taken.borrow_mut().push(key);
        self.map?.get(key).filter(|value| !value.is_null())
    }

    /// Whether the document has `key`, be it `null`.
    pub fn has(&self, key: &str) -> bool {
        self.map.is_some_and(|map| map.contains_key(key))
    }

    /// A nested mapping; an absent one reads as empty.
    pub fn take_block(&self, key: &'a str) -> Fields<'a> {
        let value = self.take(key).unwrap_or(&Value::Null);
        Fields::new(value, &self.path_of(key), self.problems, self.unknown)
    }

    /// A string.
    pub fn take_str(&self, key: &'a str) -> Option<&'a str> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A string that must be present and not empty.
    pub fn take_required_str(&self, key: &'a str) -> Option<&'a str> {
        if self.take(key).is_none() {
            self.problem(key, "is required");
            return None;
        }
        self.take_nonempty_str(key)
    }

    /// A string that must not be empty.
    pub fn take_nonempty_str(&self, key: &'a str) -> Option<&'a str> {
        let text = self.take_str(key)?;
        if text.is_empty() {
            self.problem(key, "must not be empty");
            return None;
        }
        Some(text)
    }

    /// One of a closed set of words.
    pub fn take_choice<T: Copy>(&self, key: &'a str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.take_str(key)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.problem(key, format!("must be one of {}", words.join(", ")));
        }
        found.map(|(_, choice)| *choice)
    }

    /// Notes each of `keys` that is written as `null`, where leaving it out is the way to default it.
    pub fn refuse_null(&self, keys: &[&str]) {
        for key in keys {
            let value = self.map.and_then(|map| map.get(*key));
            if value.is_some_and(Value::is_null) {
                self.problem(key, "must not be null (leave it out for the default)");
            }
        }
    }

    /// How unknown keys are treated here.
    pub fn unknown(&self) -> Unknown {
        self.unknown
    }

    /// The entries of a free-form mapping, each with its path, all known; an absent one has none.
    pub fn take_entries(&self, key: &'a str) -> Vec<(String, &'a str, &'a Value)> {
        let path = self.path_of(key);
        let Some(map) = self.typed(key, "a mapping", Value::as_object) else {
            return Vec::new();
        };
        map.iter()
            .map(|(name, value)| (format!("{path}.{name}"), name.as_str(), value))
            .collect()
    }

    /// The problems this mapping notes into.
    pub fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// A boolean.
    pub fn take_bool(&self, key: &'a str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// An integer of 0 to 2^64 - 1; another one cannot be decoded.
    pub fn take_u64(&self, key: &'a str) -> Option<u64> {
        self.take_integer(key, Value::as_u64, "a whole number, 0 or more", None)
    }

    /// An integer of 0 to 2^32 - 1; another one cannot be decoded.
    pub fn take_u32(&self, key: &'a str) -> Option<u32> {
        self.take_u32_in(key, 0, u32::MAX)
    }

    /// An integer of `min` to `max`; one that 32 bits do not hold cannot be decoded.
    pub fn take_u32_in(&self, key: &'a str, min: u32, max: u32) -> Option<u32> {
        let narrow = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let wanted = "a whole number, 0 or more";
        let number = self.take_integer(key, narrow, wanted, Some((min, max)))?;
        self.within(key, number, min, max)
    }

    /// An integer of -2^31 to 2^31 - 1; another one cannot be decoded.
    pub fn take_i32(&self, key: &'a str) -> Option<i32> {
        let narrow = |value: &Value| i32::try_from(value.as_i64()?).ok();
        let range = Some((i32::MIN, i32::MAX));
        self.take_integer(key, narrow, "a whole number", range)
    }

    /// An integer of `min` to `max`.
    pub fn take_u64_in(&self, key: &'a str, min: u64, max: u64) -> Option<u64> {
        let number = self.take_u64(key)?;
        self.within(key, number, min, max)
    }

    fn within<T: Copy + PartialOrd + fmt::Display>(
        &self,
        key: &str,
        number: T,
        min: T,
        max: T,
    ) -> Option<T> {
        if number >= min && number <= max {
            return Some(number);
        }
        self.problem(key, format!("must be {min} to {max}"));
        None
    }

    /// What `narrow` makes of a number; `range` is what is accepted, where that is worth telling.
    fn take_integer<T: Copy + fmt::Display>(
        &self,
        key: &'a str,
        narrow: impl Fn(&Value) -> Option<T>,
        wanted: &str,
        range: Option<(T, T)>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let number = narrow(value);
        if number.is_none() {
            let path = self.path_of(key);
            let mistyped = format!("must be {wanted}, not {}", kind(value));
            match range {
                Some((min, max)) if is_whole(value) => {
                    let message = format!("must be {min} to {max}");
                    self.problems.push_parse(path, message);
                }
                None if is_whole(value) => self.problems.push_parse(path, mistyped),
                Some(_) | None => self.problems.push(path, mistyped),
            }
        }
        number
    }

    /// A string under its present name, or a former one; both at once cannot be decoded.
    pub fn take_renamed(&self, key: &'a str, former: &'a str) -> Option<&'a Value> {
        let (now, before) = (self.take(key), self.take(former));
        if now.is_some() && before.is_some() {
            let message = format!("`{key}` and its former name `{former}` are mutually exclusive");
            self.problems.push_parse(self.path_of(key), message);
        }
        now.or(before)
    }

    /// Any number.
    pub fn take_f64(&self, key: &'a str) -> Option<f64> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// A list, each item with its path.
    pub fn take_list(&self, key: &'a str) -> Option<Vec<(String, &'a Value)>> {
        let items = self.typed(key, "a list", Value::as_array)?;
        let path = self.path_of(key);
        Some(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| (format!("{path}[{index}]"), item))
                .collect(),
        )
    }

    /// A list of strings; items of another type are problems and left out.
    pub fn take_strings(&self, key: &'a str) -> Option<Vec<&'a str>> {
        let items = self.take_list(key)?;
        Some(
            items
                .into_iter()
                .filter_map(|(path, item)| {
                    let text = item.as_str();
                    if text.is_none() {
                        self.problems
                            .push(path, format!("must be a string, not {}", kind(item)));
                    }
                    text
                })
                .collect(),
        )
    }

    /// The keys nobody took.
    pub fn unknown_keys(&self) -> Vec<&'a str> {
        let taken = self.taken.borrow();
        let Some(map) = self.map else {
            return Vec::new();
        };
        map.keys()
            .map(String::as_str)
            .filter(|key| !taken.contains(key))
            .collect()
    }

    /// Notes what nobody took: as a problem, or as left out of account.
    pub fn finish(self) {
        if self.unknown == Unknown::Ignored {
            for key in self.unknown_keys() {
                self.problems.ignore(&self.path_of(key));
            }
            return;
        }
        let mut known = self.taken.borrow().clone();
        known.sort_unstable();
        known.dedup();
        for key in self.unknown_keys() {
            self.problem(
                key,
                format!("unknown key `{key}` (known here: {})", known.join(", ")),
            );
        }
    }

    fn typed<T>(
        &self,
        key: &'a str,
        wanted: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let converted = convert(value);
        if converted.is_none() {
            self.problem(key, format!("must be {wanted}, not {}", kind(value)));
        }
        converted
    }
}

/// Whether `value` is a number without a fraction, however large.
pub fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// What a value is, for an error text.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_problem_is_noted_with_its_path() {
        let doc = json!({"proxy": {"addr": 1, "workers": 0, "extra": true}, "list": ["a", 2]});
        let problems = Problems::default();
        let root = Fields::new(&doc, "", &problems, Unknown::Refused);
        let proxy = root.take_block("proxy");
        assert_eq!(proxy.take_str("addr"), None);
        assert_eq!(proxy.take_u64_in("workers", 1, 1024), None);
        proxy.finish();
        assert_eq!(root.take_strings("list"), Some(vec!["a"]));
        root.finish();
        let said: Vec<String> = problems.into_vec().iter().map(Problem::to_string).collect();
        assert_eq!(
            said,
            [
                "proxy.addr: must be a string, not a number",
                "proxy.workers: must be 1 to 1024",
                "proxy.extra: unknown key `extra` (known here: addr, workers)",
                "list[1]: must be a string, not a number",
            ]
        );
    }

    #[test]
    fn required_texts_choices_and_nulls_are_checked() {
        let doc = json!({"empty": "", "word": "blue", "none": null, "map": {"b": 1, "a": 2}});
        let problems = Problems::default();
        let root = Fields::new(&doc, "", &problems, Unknown::Refused);
        assert_eq!(root.take_required_str("missing"), None);
        assert_eq!(root.take_required_str("empty"), None);
        assert_eq!(root.take_choice("word", &[("red", 1), ("green", 2)]), None);
        assert_eq!(
            root.take_choice("word", &[("red", 1), ("blue", 2)]),
            Some(2)
        );
        root.refuse_null(&["none", "word", "missing"]);
        let entries: Vec<String> = root.take_entries("map").into_iter().map(|e| e.0).collect();
        assert_eq!(entries, ["map.b", "map.a"]);
        let said: Vec<String> = problems.into_vec().iter().map(Problem::to_string).collect();
        assert_eq!(
            said,
            [
                "missing: is required",
                "empty: must not be empty",
                "word: must be one of red, green",
                "none: must not be null (leave it out for the default)",
            ]
        );
    }

    #[test]
    fn a_lenient_reader_notes_what_it_passes_over_without_indices() {
        let doc = json!({"new": 1, "list": [{"x": 1}, {"x": 2, "y[0]z": 3}]});
        let problems = Problems::default();
        let root = Fields::new(&doc, "", &problems, Unknown::Ignored);
        for (path, item) in root.take_list("list").unwrap() {
            Fields::new(item, &path, &problems, Unknown::Ignored).finish();
        }
        root.finish();
        assert_eq!(
            problems.ignored(),
            ["list.[].x", "list.[].x", "list.[].y.[]z", "new"]
        );
        assert!(problems.is_empty());
    }

    #[test]
    fn what_cannot_be_decoded_is_told_from_what_breaks_a_rule() {
        let doc = json!({"old": "a", "now": "b"});
        let problems = Problems::default();
        let root = Fields::new(&doc, "", &problems, Unknown::Refused);
        assert_eq!(root.take_renamed("now", "old"), Some(&json!("b")));
        root.finish();
        assert_eq!(problems.into_vec()[0].kind, ProblemKind::Parse);

        type Reader = for<'a> fn(&Fields<'a>) -> Option<i64>;
        let u64: Reader = |fields| fields.take_u64("n").map(|_| 0);
        let low: Reader = |fields| fields.take_u64_in("n", 1, 10).map(|_| 0);
        let u32: Reader = |fields| fields.take_u32("n").map(i64::from);
        let narrow: Reader = |fields| fields.take_u32_in("n", 1, 10).map(i64::from);
        let i32: Reader = |fields| fields.take_i32("n").map(i64::from);
        let (schema, parse) = (Some(ProblemKind::Schema), Some(ProblemKind::Parse));
        let cases = [
            (u64, json!(u64::MAX), None),
            (u64, json!(-1), parse),
            (u64, json!(1e20), parse),
            (u64, json!(1.5), schema),
            (u64, json!("1"), schema),
            (low, json!(0), schema),
            (low, json!(11), schema),
            (low, json!(-1), parse),
            (u32, json!(u32::MAX), None),
            (u32, json!(4_294_967_296_u64), parse),
            (u32, json!(-1), parse),
            (u32, json!([]), schema),
            (narrow, json!(10), None),
            (narrow, json!(0), schema),
            (narrow, json!(u64::MAX), parse),
            (i32, json!(i32::MIN), None),
            (i32, json!(2_147_483_648_u64), parse),
            (i32, json!(-1e30), parse),
            (i32, json!(0.5), schema),
        ];
        for (read, number, want) in cases {
            let doc = json!({ "n": number });
            let problems = Problems::default();
            let fields = Fields::new(&doc, "", &problems, Unknown::Refused);
            assert_eq!(read(&fields).is_some(), want.is_none(), "{number}");
            let found = problems.into_vec().first().map(|problem| problem.kind);
            assert_eq!(found, want, "{number}");
        }
    }

    #[test]
    fn an_absent_block_reads_like_an_empty_one() {
        let doc = json!({"a": null});
        let problems = Problems::default();
        let root = Fields::new(&doc, "", &problems, Unknown::Refused);
        for key in ["a", "b"] {
            let block = root.take_block(key);
            assert_eq!(block.take_bool("x"), None);
            block.finish();
        }
        root.finish();
        assert!(problems.is_empty());
    }
}
