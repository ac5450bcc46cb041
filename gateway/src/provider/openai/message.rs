//! A `message` or `delta`: how much text it holds, and reasoning under its common name. [pure]

use crate::json::{Cursor, Edits, JsonError, Key, Kind, Span, Text, Value, text};

const COMMON: &[u8] = b"reasoning_content";

/// What a message or delta says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Message {
    /// UTF-8 bytes the model wrote: content, reasoning, refusal, tool calls.
    pub(super) text_bytes: u64,
    /// Whether it has any member.
    pub(super) has_members: bool,
}

/// Reasoning found so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reasoning {
    /// The value of `reasoning_content`.
    common: Option<Value>,
    /// A text under the name the provider key configures.
    configured: Option<Value>,
    /// A text under `reasoning`, as OpenRouter and others have it.
    plain: Option<Value>,
}

/// Steps over a message or delta, and notes the edits that show its reasoning as
/// `reasoning_content` where the upstream uses another name. A text already there wins.
///
/// `field` is the path of a configured name below the message, such as `thinking`.
pub(super) fn read(
    cursor: &mut Cursor<'_>,
    field: Option<&str>,
    edits: &mut Edits<'_>,
) -> Result<Message, JsonError> {
    if cursor.kind() != Kind::Object {
        cursor.skip()?;
        return Ok(Message::default());
    }
    let mut message = Message::default();
    let mut reasoning = Reasoning::default();
    let span = cursor.object(|cursor, key| {
        message.has_members = true;
        let bytes = member(cursor, &key, field, &mut reasoning)?;
        message.text_bytes = message.text_bytes.saturating_add(bytes);
        Ok::<_, JsonError>(())
    })?;
    let bytes = reasoning.settle(cursor.document(), span, edits);
    message.text_bytes = message.text_bytes.saturating_add(bytes);
    Ok(message)
}

/// Steps over one member; returns its text bytes, reasoning left out.
fn member(
    cursor: &mut Cursor<'_>,
    key: &Key<'_>,
    field: Option<&str>,
    reasoning: &mut Reasoning,
) -> Result<u64, JsonError> {
    let document = cursor.document();
    match key.name {
        b"tool_calls" | b"function_call" => return tool_text(cursor),
        b"content" | b"refusal" => {
            let value = cursor.value()?;
            return Ok(text::decoded_len(document, &value));
        }
        _ => {}
    }
    let value = cursor.value()?;
    reasoning.note(document, key.name, value, field);
    Ok(0)
}

impl Reasoning {
    /// Looks at the member `name` of a message.
    pub(super) fn note(&mut self, document: &[u8], name: &[u8], value: Value, field: Option<&str>) {
        match name {
            COMMON => self.common = Some(value),
            b"reasoning" => self.plain = some_text(value),
            _ => {}
        }
        if let Some(path) = field {
            let (head, rest) = path
                .split_once('.')
                .map_or((path, None), |(head, rest)| (head, Some(rest)));
            if name == head.as_bytes() {
                self.configured = match rest {
                    None => some_text(value),
                    Some(rest) => nested(document, value, rest),
                };
            }
        }
    }

    /// The text, under whichever name it is; never empty.
    pub(super) fn found(&self) -> Option<Value> {
        let common = self.common.and_then(some_text);
        common.or(self.configured).or(self.plain)
    }

    /// Notes the edits for a message in `span`; returns the text bytes of its reasoning.
    fn settle(&self, document: &[u8], span: Span, edits: &mut Edits<'_>) -> u64 {
        if let Some(common) = self.common.and_then(some_text) {
            return text::decoded_len(document, &common);
        }
        let Some(found) = self.configured.or(self.plain) else {
            return 0;
        };
        if let Some(common) = self.common {
            edits.replace(common.span, Text::Copy(found.span));
        } else {
            let end = span.end - 1;
            edits.insert(end, Text::Raw(b",\"reasoning_content\":"));
            edits.insert(end, Text::Copy(found.span));
        }
        text::decoded_len(document, &found)
    }
}

/// The value, if it is a string that is not empty.
pub(super) fn some_text(value: Value) -> Option<Value> {
    let inner = value.inner();
    (value.kind == Kind::String && inner.start < inner.end).then_some(value)
}

/// The text at a dotted `path` below `value`.
fn nested(document: &[u8], value: Value, path: &str) -> Option<Value> {
    let mut value = value;
    for name in path.split('.') {
        let inside = value.span.of(document);
        let mut found = None;
        let mut cursor = Cursor::lenient(inside);
        let walked = cursor.object(|cursor, key| {
            let member = cursor.value()?;
            if key.name == name.as_bytes() {
                found = Some(member);
            }
            Ok::<_, JsonError>(())
        });
        walked.ok()?;
        let member = found?;
        let base = value.span.start;
        let span = Span {
            start: base + member.span.start,
            end: base + member.span.end,
        };
        value = Value { span, ..member };
    }
    some_text(value)
}

/// Steps over tool calls; returns the bytes of their names and arguments.
fn tool_text(cursor: &mut Cursor<'_>) -> Result<u64, JsonError> {
    let mut bytes = 0_u64;
    match cursor.kind() {
        Kind::Array => {
            cursor.array(|cursor, _| {
                bytes = bytes.saturating_add(function_text(cursor)?);
                Ok::<_, JsonError>(())
            })?;
        }
        _ => bytes = function_text(cursor)?,
    }
    Ok(bytes)
}

/// `{"function":{"name","arguments"}}`, or its inner object by itself.
fn function_text(cursor: &mut Cursor<'_>) -> Result<u64, JsonError> {
    if cursor.kind() != Kind::Object {
        return cursor.skip().map(|()| 0);
    }
    let mut bytes = 0_u64;
    cursor.object(|cursor, key| {
        let more = match key.name {
            b"function" if cursor.kind() == Kind::Object => function_members(cursor)?,
            name => named_text(cursor, name)?,
        };
        bytes = bytes.saturating_add(more);
        Ok::<_, JsonError>(())
    })?;
    Ok(bytes)
}

fn function_members(cursor: &mut Cursor<'_>) -> Result<u64, JsonError> {
    let mut bytes = 0_u64;
    cursor.object(|cursor, key| {
        bytes = bytes.saturating_add(named_text(cursor, key.name)?);
        Ok::<_, JsonError>(())
    })?;
    Ok(bytes)
}

fn named_text(cursor: &mut Cursor<'_>, name: &[u8]) -> Result<u64, JsonError> {
    let value = cursor.value()?;
    Ok(match name {
        b"name" | b"arguments" => text::decoded_len(cursor.document(), &value),
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The edited message and its text bytes.
    fn lifted(document: &str, field: Option<&str>) -> (String, u64) {
        let mut edits = Edits::default();
        let message = read(&mut Cursor::lenient(document.as_bytes()), field, &mut edits).unwrap();
        let mut out = Vec::new();
        edits.apply(document.as_bytes(), &mut out);
        (String::from_utf8(out).unwrap(), message.text_bytes)
    }

    #[test]
    fn reasoning_appears_under_its_common_name_once() {
        let cases = [
            (
                r#"{"reasoning":"h\n"}"#,
                None,
                r#"{"reasoning":"h\n","reasoning_content":"h\n"}"#,
            ),
            (r#"{"reasoning":"h","reasoning_content":"k"}"#, None, ""),
            (
                r#"{"reasoning":"h","reasoning_content":""}"#,
                None,
                r#"{"reasoning":"h","reasoning_content":"h"}"#,
            ),
            (
                r#"{"reasoning_content":null,"reasoning":"h"}"#,
                None,
                r#"{"reasoning_content":"h","reasoning":"h"}"#,
            ),
            (r#"{"reasoning":""}"#, None, ""),
            (r#"{"reasoning":null,"content":"x"}"#, None, ""),
            (r#"{"thinking":"h"}"#, None, ""),
            (
                r#"{"thinking":"h" }"#,
                Some("thinking"),
                r#"{"thinking":"h" ,"reasoning_content":"h"}"#,
            ),
            (
                r#"{"a":{"b":{"c":"h"}}}"#,
                Some("a.b.c"),
                r#"{"a":{"b":{"c":"h"}},"reasoning_content":"h"}"#,
            ),
            (r#"{"a":{"b":1}}"#, Some("a.b.c"), ""),
            (r#"{"a":"h"}"#, Some("a.b"), ""),
            (
                r#"{"thinking":"t","reasoning":"r"}"#,
                Some("thinking"),
                r#"{"thinking":"t","reasoning":"r","reasoning_content":"t"}"#,
            ),
            ("{}", Some("thinking"), ""),
            ("null", Some("thinking"), ""),
        ];
        for (document, field, want) in cases {
            let want = if want.is_empty() { document } else { want };
            assert_eq!(lifted(document, field).0, want);
        }
    }

    #[test]
    fn all_text_a_model_wrote_counts_once() {
        for (document, want) in [
            (r#"{"role":"assistant","content":"four"}"#, 4),
            (r#"{"content":"\u00e9\n","refusal":"no"}"#, 5),
            (r#"{"reasoning":"hm","content":null}"#, 2),
            (r#"{"reasoning":"hm","reasoning_content":"hmm"}"#, 3),
            (
                r#"{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":"{}"}},{"function":{"arguments":"abc"}}]}"#,
                6,
            ),
            (
                r#"{"function_call":{"name":"f","arguments":"{\"a\":1}"}}"#,
                8,
            ),
            (r#"{"tool_calls":null,"content":[{"type":"text"}]}"#, 0),
            ("{}", 0),
        ] {
            assert_eq!(lifted(document, None).1, want, "{document}");
        }
    }
}
