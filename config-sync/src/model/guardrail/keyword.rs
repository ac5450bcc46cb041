//! Words and expressions that a text must not hold. [pure]

use super::super::field;
use super::expression::{Compiler, Expression};
use crate::tree::Fields;

/// Words and expressions matched in process; none at all is inert.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keyword {
    /// In the order written.
    pub patterns: Vec<KeywordPattern>,
}

/// What a text must not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeywordPattern {
    /// This text, never empty.
    Literal(Box<str>),
    /// Whatever this matches.
    Expression(Expression),
}

#[derive(Clone, Copy)]
enum Form {
    Literal,
    Regex,
}

const FORMS: [(&str, Form); 2] = [("literal", Form::Literal), ("regex", Form::Regex)];

pub(super) fn read(fields: &Fields<'_>) -> Option<Keyword> {
    if fields.take("patterns").is_none() {
        fields.problem("patterns", "is required");
    }
    let mut compiler = Compiler::default();
    let patterns = fields
        .take_list("patterns")?
        .into_iter()
        .filter_map(|(path, item)| {
            let pattern = Fields::new(item, &path, fields.problems(), fields.unknown());
            let form = field::required_choice(&pattern, "kind", &FORMS);
            let text = pattern.take_required_str("value");
            let read = match (form, text) {
                (Some(Form::Literal), Some(text)) => Some(KeywordPattern::Literal(text.into())),
                (Some(Form::Regex), Some(text)) => compiler
                    .compile(text)
                    .map_err(|message| pattern.problem("value", message))
                    .map(KeywordPattern::Expression)
                    .ok(),
                (None, _) | (_, None) => None,
            };
            pattern.finish();
            read
        });
    Some(Keyword {
        patterns: patterns.collect(),
    })
}
