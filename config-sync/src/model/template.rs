//! Header values with placeholders. [pure]

use std::fmt;

use zeroize::Zeroizing;

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Var {
    /// `request.id`
    RequestId,
    /// `request.api_key.id`
    ApiKeyId,
    /// `request.api_key.name`
    ApiKeyName,
    /// `request.api_key.team_id`
    ApiKeyTeamId,
    /// `request.api_key.user_id`
    ApiKeyUserId,
    /// `model.id`
    ModelId,
    /// `model.name`: the display name of the target.
    ModelName,
    /// `provider_key.id`
    ProviderKeyId,
    /// `provider_key.name`
    ProviderKeyName,
}

/// The closed set of placeholders, as spelled in documents.
const VARS: [(&str, Var); 9] = [
    ("request.id", Var::RequestId),
    ("request.api_key.id", Var::ApiKeyId),
    ("request.api_key.name", Var::ApiKeyName),
    ("request.api_key.team_id", Var::ApiKeyTeamId),
    ("request.api_key.user_id", Var::ApiKeyUserId),
    ("model.id", Var::ModelId),
    ("model.name", Var::ModelName),
    ("provider_key.id", Var::ProviderKeyId),
    ("provider_key.name", Var::ProviderKeyName),
];

/// A header value: literal text and placeholders. Its text may be a credential and is not printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Template {
    parts: Box<[Part]>,
}

#[derive(Clone, Eq, PartialEq)]
enum Part {
    Literal(Zeroizing<Box<str>>),
    Var(Var),
}

/// Why a text is no header template. Holds nothing of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TemplateError {
    /// Nothing would be sent.
    Empty,
    /// A `${` without its `}`.
    Unterminated,
    /// `${name}` with a name outside the closed set.
    UnknownVariable,
    /// A control character, such as a line break.
    IllegalCharacter,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::Unterminated => f.write_str("has a `${` without `}`"),
            Self::UnknownVariable => {
                f.write_str("has an unknown placeholder (known:")?;
                for (index, (name, _)) in VARS.iter().enumerate() {
                    write!(f, "{} {name}", if index == 0 { "" } else { "," })?;
                }
                f.write_str(")")
            }
            Self::IllegalCharacter => {
                f.write_str("must not hold line breaks or other control characters")
            }
        }
    }
}

impl Template {
    /// Reads a header value; blanks inside `${ }` are ignored.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] where the value could never be sent.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        if !is_header_value(text.as_bytes()) {
            return Err(TemplateError::IllegalCharacter);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, tail)) = rest.split_once("${") {
            push_literal(&mut parts, literal);
            let (name, after) = tail.split_once('}').ok_or(TemplateError::Unterminated)?;
            parts.push(Part::Var(var(name.trim())?));
            rest = after;
        }
        push_literal(&mut parts, rest);
        Ok(Self {
            parts: parts.into(),
        })
    }

    /// What the operator wrote between the placeholders: may be confidential.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(&***text),
            Part::Var(_) => None,
        })
    }

    /// Appends the value to `out`. `false`: a placeholder has no value, an empty one, or one that is
    /// no legal header value; then `out` is as before and the header is left out.
    pub fn render<'v>(&self, vars: &impl Fn(Var) -> Option<&'v str>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        for part in &self.parts {
            let text = match part {
                Part::Literal(text) => &***text,
                Part::Var(var) => vars(*var).unwrap_or(""),
            };
            if text.is_empty() || !is_header_value(text.as_bytes()) {
                out.truncate(start);
                return false;
            }
            out.extend_from_slice(text.as_bytes());
        }
        true
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(***)")
    }
}

/// Whether `bytes` may stand in a header value: no control character but the tab (RFC 9110, 5.5).
pub fn is_header_value(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f))
}

fn var(name: &str) -> Result<Var, TemplateError> {
    VARS.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, var)| *var)
        .ok_or(TemplateError::UnknownVariable)
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Literal(Zeroizing::new(text.into())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(var: Var) -> Option<&'static str> {
        match var {
            Var::RequestId => Some("r-1"),
            Var::ApiKeyTeamId => Some("team-7"),
            Var::ApiKeyName => Some("bad\r\nname"),
            Var::ApiKeyUserId => Some(""),
            Var::ModelName => Some("fast-chat"),
            _ => None,
        }
    }

    #[test]
    fn placeholders_are_filled_or_the_header_is_dropped() {
        let cases = [
            ("plain", Some("plain")),
            ("a ${request.id} b", Some("a r-1 b")),
            (
                "${ request.api_key.team_id }/${model.name}",
                Some("team-7/fast-chat"),
            ),
            ("$5 $$ }", Some("$5 $$ }")),
            ("x${model.id}", None),                // no value
            ("x${request.api_key.user_id}", None), // empty value
            ("x${request.api_key.name}", None),    // line break in the value
        ];
        for (text, want) in cases {
            let mut out = b"before:".to_vec();
            let sent = Template::parse(text).unwrap().render(&vars, &mut out);
            assert_eq!(sent, want.is_some(), "{text}");
            let expected = format!("before:{}", want.unwrap_or(""));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn values_that_could_never_be_sent_are_refused() {
        let cases = [
            ("", TemplateError::Empty),
            ("a${request.id", TemplateError::Unterminated),
            ("${}", TemplateError::UnknownVariable),
            ("${request.ID}", TemplateError::UnknownVariable),
            ("${HOME}", TemplateError::UnknownVariable),
            ("a\r\nb: c", TemplateError::IllegalCharacter),
            ("a\0", TemplateError::IllegalCharacter),
        ];
        for (text, want) in cases {
            assert_eq!(Template::parse(text), Err(want), "{text:?}");
        }
    }

    #[test]
    fn every_placeholder_of_the_set_is_known() {
        for (name, var) in VARS {
            let template = Template::parse(&format!("${{{name}}}")).unwrap();
            let mut out = Vec::new();
            assert!(template.render(&|asked| (asked == var).then_some("v"), &mut out));
            assert_eq!(out, b"v");
        }
    }

    #[test]
    fn the_text_is_not_printed() {
        let template = Template::parse("canary-1 ${request.id}").unwrap();
        assert!(!format!("{template:?}").contains("canary"));
        assert!(!TemplateError::UnknownVariable.to_string().is_empty());
    }
}
