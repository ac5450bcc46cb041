//! Tokens in an answer of whatever protocol reports them. [pure]

use crate::json::{Cursor, JsonError, Kind, text};
use crate::usage::Counts;

/// The tokens that a JSON document reports: in `usage` at its top level, or one level down in
/// `message` or `response`, as the events of two protocols have it. `None` where it reports none.
pub(super) fn of_document(document: &[u8]) -> Option<Counts> {
    let mut cursor = Cursor::lenient(document);
    let mut found = None;
    let walked = members(&mut cursor, &mut |cursor, name| match name {
        b"usage" => {
            found = counts(cursor)?.or(found);
            Ok(())
        }
        b"message" | b"response" => members(cursor, &mut |cursor, name| {
            if name != b"usage" {
                return cursor.skip();
            }
            found = counts(cursor)?.or(found);
            Ok(())
        }),
        _ => cursor.skip(),
    });
    walked.ok()?;
    found
}

type Member<'m> = dyn FnMut(&mut Cursor<'_>, &[u8]) -> Result<(), JsonError> + 'm;

/// Walks an object; steps over anything else.
fn members(cursor: &mut Cursor<'_>, member: &mut Member<'_>) -> Result<(), JsonError> {
    if cursor.kind() != Kind::Object {
        return cursor.skip();
    }
    cursor
        .object(|cursor, key| member(cursor, key.name))
        .map(|_| ())
}

/// Steps over a `usage` value; `None` where it is no object, or counts nothing that is known.
fn counts(cursor: &mut Cursor<'_>) -> Result<Option<Counts>, JsonError> {
    let mut counts = Counts::default();
    let mut known = false;
    members(cursor, &mut |cursor, name| {
        let place = match name {
            b"prompt_tokens" | b"input_tokens" => &mut counts.prompt,
            b"completion_tokens" | b"output_tokens" => &mut counts.completion,
            b"total_tokens" => &mut counts.total,
            b"cache_creation_input_tokens" => &mut counts.cache_creation,
            b"cache_read_input_tokens" => &mut counts.cache_read,
            b"prompt_tokens_details" | b"input_tokens_details" => {
                return detail(cursor, b"cached_tokens", &mut counts.cached_prompt);
            }
            b"completion_tokens_details" | b"output_tokens_details" => {
                return detail(cursor, b"reasoning_tokens", &mut counts.reasoning);
            }
            _ => return cursor.skip(),
        };
        let value = cursor.value()?;
        known |= value.kind == Kind::Number;
        *place = text::count(cursor.document(), &value);
        Ok(())
    })?;
    Ok(known.then_some(counts))
}

fn detail(cursor: &mut Cursor<'_>, wanted: &[u8], place: &mut u64) -> Result<(), JsonError> {
    members(cursor, &mut |cursor, name| {
        let value = cursor.value()?;
        if name == wanted {
            *place = text::count(cursor.document(), &value);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocols_report_is_found_where_it_stands() {
        let counts = |prompt, completion, total| Counts {
            prompt,
            completion,
            total,
            ..Counts::default()
        };
        let openai = r#"{"id":"x","usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,
            "prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":3}}}"#;
        let anthropic = r#"{"type":"message","usage":{"input_tokens":9,"output_tokens":4,
            "cache_creation_input_tokens":1,"cache_read_input_tokens":2}}"#;
        for (document, want) in [
            (
                openai,
                Some(Counts {
                    cached_prompt: 5,
                    reasoning: 3,
                    ..counts(9, 4, 13)
                }),
            ),
            (
                anthropic,
                Some(Counts {
                    cache_creation: 1,
                    cache_read: 2,
                    ..counts(9, 4, 0)
                }),
            ),
            (
                r#"{"type":"message_start","message":{"usage":{"input_tokens":7}}}"#,
                Some(counts(7, 0, 0)),
            ),
            (
                r#"{"type":"response.completed","response":{"usage":{"input_tokens":7,"output_tokens":2,"total_tokens":9}}}"#,
                Some(counts(7, 2, 9)),
            ),
            (r#"{"usage":null}"#, None),
            (r#"{"usage":{"queries":3}}"#, None),
            (r#"{"usage":{"prompt_tokens":"9"}}"#, None),
            (r#"{"data":{"usage":{"prompt_tokens":9}}}"#, None),
            (r#"{"usage":{"prompt_tokens":9}"#, None),
            ("[DONE]", None),
            ("", None),
        ] {
            assert_eq!(of_document(document.as_bytes()), want, "{document}");
        }
    }
}
