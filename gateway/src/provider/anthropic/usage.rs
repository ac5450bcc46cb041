//! Token counts as Anthropic reports them. [pure]

use crate::json::{Cursor, JsonError, Kind, text};
use crate::usage::Counts;

/// One report. Numbers that are missing or no numbers are 0.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Report {
    /// Cached tokens stand beside `prompt`; `total` is the sum of all.
    pub(super) counts: Counts,
    /// Whether it says how many tokens were written.
    pub(super) has_output: bool,
}

impl Report {
    /// Steps over a `usage` value; `None` where it is no object.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, JsonError> {
        if cursor.kind() != Kind::Object {
            return cursor.skip().map(|()| None);
        }
        let mut report = Self::default();
        cursor.object(|cursor, key| {
            let value = cursor.value()?;
            let number = text::count(cursor.document(), &value);
            match key.name {
                b"input_tokens" => report.counts.prompt = number,
                b"output_tokens" => {
                    report.counts.completion = number;
                    report.has_output = value.kind == Kind::Number;
                }
                b"cache_creation_input_tokens" => report.counts.cache_creation = number,
                b"cache_read_input_tokens" => report.counts.cache_read = number,
                _ => {}
            }
            Ok::<_, JsonError>(())
        })?;
        report.counts = with_total(report.counts);
        Ok(Some(report))
    }
}

/// `counts` with the sum of them all.
pub(super) fn with_total(counts: Counts) -> Counts {
    let parts = [
        counts.prompt,
        counts.completion,
        counts.cache_creation,
        counts.cache_read,
    ];
    let total = parts.into_iter().fold(0, u64::saturating_add);
    Counts { total, ..counts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_numbers_are_zero_and_the_total_is_the_sum() {
        let counts = |prompt, completion, cache_creation, cache_read| Counts {
            prompt,
            completion,
            cache_creation,
            cache_read,
            total: prompt + completion + cache_creation + cache_read,
            ..Counts::default()
        };
        let whole = r#"{"input_tokens":9,"cache_creation_input_tokens":100,"cache_read_input_tokens":20,
            "cache_creation":{"ephemeral_5m_input_tokens":100},"output_tokens":4,"service_tier":"standard"}"#;
        for (document, want, has_output) in [
            (whole, Some(counts(9, 4, 100, 20)), true),
            (
                r#"{"input_tokens":9,"cache_creation_input_tokens":null}"#,
                Some(counts(9, 0, 0, 0)),
                false,
            ),
            (r#"{"output_tokens":0}"#, Some(counts(0, 0, 0, 0)), true),
            (r#"{"output_tokens":null}"#, Some(counts(0, 0, 0, 0)), false),
            ("{}", Some(counts(0, 0, 0, 0)), false),
            ("null", None, false),
            ("[1]", None, false),
        ] {
            let mut cursor = Cursor::lenient(document.as_bytes());
            let got = Report::read(&mut cursor).unwrap();
            assert_eq!(got.map(|report| report.counts), want, "{document}");
            assert_eq!(got.is_some_and(|report| report.has_output), has_output);
            assert_eq!(cursor.offset(), document.len());
        }
    }
}
