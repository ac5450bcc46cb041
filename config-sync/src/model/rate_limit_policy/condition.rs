//! Conditions on requests: a tree of tests and groups. [pure]

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::super::field;
use crate::tree::{Fields, Value, kind};

/// Deepest node; the top level is 1.
const DEPTH_MAX: usize = 3;
/// Most leaves of a tree.
const LEAVES_MAX: usize = 16;
/// Longest pattern.
const REGEX_BYTES_MAX: usize = 256;
/// Most memory of a compiled pattern: a counted repeat of `\w` takes up to 100 KiB per count.
const REGEX_PROGRAM_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Most values of an `in`.
const VALUES_MAX: usize = 64;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// One test.
    Leaf(Leaf),
    /// Several nodes.
    Group(Group),
}

/// A test of one dimension. False where the request lacks the dimension, also when negated.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// What is tested.
    pub dimension: ConditionDimension,
    /// For what.
    pub test: Test,
    /// Whether the test must fail.
    pub negated: bool,
}

/// Nodes taken together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Whether all must hold, or one.
    pub logic: Logic,
    /// At least one.
    pub children: Vec<Condition>,
    /// Whether the opposite must hold.
    pub negated: bool,
}

/// How a group's children combine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Logic {
    /// All hold.
    And,
    /// At least one holds.
    Or,
}

/// A dimension of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConditionDimension {
    /// Id of the team.
    Team,
    /// Id of the user.
    Member,
    /// Id of the caller's key.
    ApiKey,
    /// Id of the model.
    Model,
    /// Display name of the model.
    ModelName,
    /// Vendor of the model.
    Provider,
}

impl ConditionDimension {
    fn takes_patterns(self) -> bool {
        match self {
            Self::ModelName | Self::Provider => true,
            Self::Team | Self::Member | Self::ApiKey | Self::Model => false,
        }
    }
}

/// What a dimension must be. No text is empty.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// This text.
    Is(Arc<str>),
    /// Another text.
    IsNot(Arc<str>),
    /// One of 1 to 64 texts.
    In(Vec<Arc<str>>),
    /// A text in which the pattern is found.
    Matches(Pattern),
}

/// A compiled pattern, at most 256 bytes long, of at most 10 MiB. Linear time: no look-around, no backreferences.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    ignores_case: bool,
}

impl Pattern {
    /// Whether it is found in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    fn parse(text: &str, ignores_case: bool) -> Result<Self, String> {
        if text.len() > REGEX_BYTES_MAX {
            return Err(format!("must be at most {REGEX_BYTES_MAX} bytes"));
        }
        let built = RegexBuilder::new(text)
            .case_insensitive(ignores_case)
            .size_limit(REGEX_PROGRAM_BYTES_MAX)
            .build();
        built
            .map(|regex| Self {
                regex,
                ignores_case,
            })
            .map_err(|_| {
                "must be a regular expression without look-around, of moderate size".to_owned()
            })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str() && self.ignores_case == other.ignores_case
    }
}

const DIMENSIONS: [(&str, ConditionDimension); 6] = [
    ("team", ConditionDimension::Team),
    ("member", ConditionDimension::Member),
    ("api_key", ConditionDimension::ApiKey),
    ("model", ConditionDimension::Model),
    ("model_name", ConditionDimension::ModelName),
    ("provider", ConditionDimension::Provider),
];

#[derive(Clone, Copy)]
enum Operator {
    Is,
    IsNot,
    In,
    Matches,
    MatchesAnyCase,
}

const OPERATORS: [(&str, Operator); 5] = [
    ("==", Operator::Is),
    ("~=", Operator::IsNot),
    ("in", Operator::In),
    ("~~", Operator::Matches),
    ("~*", Operator::MatchesAnyCase),
];
/// How many of [`OPERATORS`] every dimension takes.
const PLAIN_OPERATORS: usize = 3;

/// The conditions at `key`; none where there are none, or where a problem was noted.
pub(super) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Vec<Condition> {
    let mut leaves = 0;
    let items = fields.take_list(key).unwrap_or_default();
    let conditions = read_nodes(fields, items, 1, &mut leaves);
    if leaves > LEAVES_MAX {
        let message = format!("must hold at most {LEAVES_MAX} tests in all");
        fields.problem(key, message);
    }
    conditions
}

fn read_nodes<'a>(
    fields: &Fields<'a>,
    items: Vec<(String, &'a Value)>,
    depth: usize,
    leaves: &mut usize,
) -> Vec<Condition> {
    let nodes = items.into_iter().filter_map(|(path, item)| {
        let block = field::mapping(fields, &path, item)?;
        if depth > DEPTH_MAX {
            let message = format!("must not be nested deeper than {DEPTH_MAX}");
            block.problems().push(path, message);
            return None;
        }
        read_node(block, &path, depth, leaves)
    });
    nodes.collect()
}

fn read_node(block: Fields<'_>, path: &str, depth: usize, leaves: &mut usize) -> Option<Condition> {
    let is_leaf = ["dimension", "operator", "value"]
        .iter()
        .any(|key| block.has(key));
    let is_group = ["logic", "children"].iter().any(|key| block.has(key));
    if is_leaf == is_group {
        let message =
            "must be either a test (dimension, operator, value) or a group (logic, children)";
        block.problems().push(path, message);
        return None;
    }
    let negated = block.take_bool("negate").unwrap_or(false);
    let node = if is_group {
        read_group(&block, depth, leaves, negated).map(Condition::Group)
    } else {
        *leaves += 1;
        // What comes after the last one that may be is refused anyway: nothing more is compiled.
        if *leaves > LEAVES_MAX {
            return None;
        }
        read_leaf(&block, negated).map(Condition::Leaf)
    };
    block.finish();
    node
}

fn read_group(
    block: &Fields<'_>,
    depth: usize,
    leaves: &mut usize,
    negated: bool,
) -> Option<Group> {
    let words = [("and", Logic::And), ("or", Logic::Or)];
    let logic = field::required_choice(block, "logic", &words);
    let items = field::items(block, "children");
    let children = read_nodes(block, items, depth + 1, leaves);
    Some(Group {
        logic: logic?,
        children,
        negated,
    })
}

fn read_leaf(block: &Fields<'_>, negated: bool) -> Option<Leaf> {
    let dimension = field::required_choice(block, "dimension", &DIMENSIONS);
    let known = match dimension {
        Some(dimension) if !dimension.takes_patterns() => OPERATORS.get(..PLAIN_OPERATORS),
        Some(_) | None => None,
    };
    let operator = field::required_choice(block, "operator", known.unwrap_or(&OPERATORS));
    if !field::required(block, "value") {
        return None;
    }
    let test = match operator? {
        Operator::Is => Test::Is(read_text(block)?.into()),
        Operator::IsNot => Test::IsNot(read_text(block)?.into()),
        Operator::In => Test::In(read_values(block)),
        Operator::Matches => Test::Matches(read_pattern(block, false)?),
        Operator::MatchesAnyCase => Test::Matches(read_pattern(block, true)?),
    };
    Some(Leaf {
        dimension: dimension?,
        test,
        negated,
    })
}

fn read_text<'a>(block: &Fields<'a>) -> Option<&'a str> {
    match block.take("value")? {
        Value::String(text) if text.is_empty() => {
            block.problem("value", "must not be empty");
            None
        }
        Value::String(text) => Some(text),
        other => {
            let message = format!("must be a string with this operator, not {}", kind(other));
            block.problem("value", message);
            None
        }
    }
}

fn read_values(block: &Fields<'_>) -> Vec<Arc<str>> {
    let values = field::required_texts(block, "value");
    if values.len() > VALUES_MAX {
        block.problem("value", format!("must hold at most {VALUES_MAX} entries"));
    }
    values
}

fn read_pattern(block: &Fields<'_>, ignores_case: bool) -> Option<Pattern> {
    let parsed = Pattern::parse(read_text(block)?, ignores_case);
    parsed
        .map_err(|message| block.problem("value", message))
        .ok()
}
