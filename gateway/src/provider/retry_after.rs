//! The `Retry-After` header. [pure]

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Longest wait that is passed on, in seconds: a day.
const SECONDS_MAX: u32 = 24 * 60 * 60;

/// Seconds to wait, from a count of seconds or an HTTP date; `None` for anything else.
///
/// A date in the past means now.
pub(super) fn seconds(value: &[u8], now_unix_s: i64) -> Option<u32> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(SECONDS_MAX).min(SECONDS_MAX));
    }
    let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    let wait = date.unix_timestamp().saturating_sub(now_unix_s).max(0);
    Some(u32::try_from(wait).unwrap_or(SECONDS_MAX).min(SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood_and_bounded() {
        const NOW: i64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT
        for (value, want) in [
            ("0", Some(0)),
            (" 30 ", Some(30)),
            ("86401", Some(86_400)),
            ("99999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 2094 08:49:37 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(seconds(value.as_bytes(), NOW), want, "{value}");
        }
        assert_eq!(seconds(b"\xff", NOW), None);
    }
}
