//! What a reasoning item keeps for the provider that wrote it, in `encrypted_content`. [pure]
//!
//! OpenAI's own place for what only the provider can read: callers send the item back as they got it.
//! A prefix tells what it is, and tells it from what other services put there.

use std::borrow::Cow;

use super::node::{Node, Problem, optional};
use crate::canonical::Part;

/// Of what the provider can read only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opaque {
    /// The signature of the reasoning in the summary.
    Signature,
    /// Reasoning that is not shown.
    Redacted,
}

const SIGNATURE: &str = "sluice.signature:";
const REDACTED: &str = "sluice.redacted:";

impl Opaque {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Signature => SIGNATURE,
            Self::Redacted => REDACTED,
        }
    }
}

/// A reasoning item as the reasoning it was made of; `None` for one of another service, or of nothing.
pub(super) fn read<'b>(item: Node<'b>) -> Result<Option<Part<'b>>, Problem> {
    let [opaque, summary] = item.members(["encrypted_content", "summary"])?;
    let opaque = optional("encrypted_content", opaque, Node::text)?;
    let signature = match opaque {
        None => None,
        Some(opaque) => match (after(&opaque, SIGNATURE), after(&opaque, REDACTED)) {
            (Some(signature), _) => Some(signature),
            (None, Some(data)) => return Ok(Some(Part::RedactedThinking { data })),
            (None, None) => return Ok(None),
        },
    };
    let text = optional("summary", summary, joined)?.unwrap_or_default();
    if text.is_empty() && signature.is_none() {
        return Ok(None);
    }
    Ok(Some(Part::Thinking { text, signature }))
}

/// What follows `prefix`.
fn after<'b>(text: &Cow<'b, str>, prefix: &str) -> Option<Cow<'b, str>> {
    match text {
        Cow::Borrowed(text) => text.strip_prefix(prefix).map(Cow::Borrowed),
        Cow::Owned(text) => text
            .strip_prefix(prefix)
            .map(|rest| Cow::Owned(rest.to_owned())),
    }
}

/// The texts of a summary, put together.
fn joined<'b>(summary: Node<'b>) -> Result<Cow<'b, str>, Problem> {
    let mut all = Cow::Borrowed("");
    summary.items(|part| {
        let [text] = part.members(["text"])?;
        if let Some(text) = optional("text", text, Node::text)? {
            all += text;
        }
        Ok(())
    })?;
    Ok(all)
}
