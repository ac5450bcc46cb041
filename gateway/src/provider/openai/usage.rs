//! Token counts as OpenAI and its relatives report them. [pure]

use crate::json::{Cursor, JsonError, Kind, text};
use crate::usage::Counts;

/// Steps over a `usage` value. Numbers that are missing or no numbers are 0.
///
/// `None` where it is no object, as in the `null` of chunks before the last.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Counts>, JsonError> {
    if cursor.kind() != Kind::Object {
        return cursor.skip().map(|()| None);
    }
    let mut counts = Counts::default();
    // DeepSeek's name for cached tokens; the common one wins where it counts anything.
    let mut cache_hits = 0;
    cursor.object(|cursor, key| {
        match key.name {
            b"prompt_tokens" => counts.prompt = number(cursor)?,
            b"completion_tokens" => counts.completion = number(cursor)?,
            b"total_tokens" => counts.total = number(cursor)?,
            b"prompt_cache_hit_tokens" => cache_hits = number(cursor)?,
            b"prompt_tokens_details" => counts.cached_prompt = detail(cursor, b"cached_tokens")?,
            b"completion_tokens_details" => {
                counts.reasoning = detail(cursor, b"reasoning_tokens")?;
            }
            _ => cursor.skip()?,
        }
        Ok::<_, JsonError>(())
    })?;
    if counts.cached_prompt == 0 {
        counts.cached_prompt = cache_hits;
    }
    Ok(Some(counts))
}

/// Steps over a value; 0 where it is no number.
pub(super) fn number(cursor: &mut Cursor<'_>) -> Result<u64, JsonError> {
    let value = cursor.value()?;
    Ok(text::count(cursor.document(), &value))
}

/// One number of a nested object; 0 where there is no object.
pub(super) fn detail(cursor: &mut Cursor<'_>, name: &[u8]) -> Result<u64, JsonError> {
    if cursor.kind() != Kind::Object {
        return cursor.skip().map(|()| 0);
    }
    let mut found = 0;
    cursor.object(|cursor, key| {
        let count = number(cursor)?;
        if key.name == name {
            found = count;
        }
        Ok::<_, JsonError>(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendors_way_of_counting_is_understood() {
        let counts = |prompt, completion, total, cached_prompt, reasoning| {
            Some(Counts {
                prompt,
                completion,
                total,
                cached_prompt,
                reasoning,
                ..Counts::default()
            })
        };
        let openai = r#"{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,
            "prompt_tokens_details":{"cached_tokens":5,"audio_tokens":0},
            "completion_tokens_details":{"x":{},"reasoning_tokens":3}}"#;
        for (document, want) in [
            (openai, counts(9, 4, 13, 5, 3)),
            (
                r#"{"prompt_tokens":9,"prompt_cache_hit_tokens":7,"prompt_cache_miss_tokens":2}"#,
                counts(9, 0, 0, 7, 0),
            ),
            (
                r#"{"prompt_cache_hit_tokens":7,"prompt_tokens_details":{"cached_tokens":6}}"#,
                counts(0, 0, 0, 6, 0),
            ),
            (r#"{"total_tokens":8}"#, counts(0, 0, 8, 0, 0)),
            (
                r#"{"prompt_tokens":null,"completion_tokens":"4","prompt_tokens_details":null}"#,
                counts(0, 0, 0, 0, 0),
            ),
            ("{}", counts(0, 0, 0, 0, 0)),
            ("null", None),
            ("[1]", None),
        ] {
            let mut cursor = Cursor::lenient(document.as_bytes());
            assert_eq!(read(&mut cursor), Ok(want), "{document}");
            assert_eq!(cursor.offset(), document.len());
        }
    }
}
