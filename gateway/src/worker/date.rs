//! The `date` header, made once per second. [ring]

use std::cell::{Cell, RefCell};

use time::OffsetDateTime;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The current date as RFC 9110, section 5.6.7 wants it.
#[derive(Debug, Default)]
pub(crate) struct HttpDate {
    second: Cell<Option<i64>>,
    text: RefCell<String>,
}

impl HttpDate {
    /// Hands the text for `unix_ms` to `append`.
    pub(crate) fn with(&self, unix_ms: i64, append: impl FnOnce(&[u8])) {
        let second = unix_ms.div_euclid(1000);
        if self.second.replace(Some(second)) != Some(second) {
            *self.text.borrow_mut() = imf_fixdate(second);
        }
        append(self.text.borrow().as_bytes());
    }
}

fn imf_fixdate(unix_seconds: i64) -> String {
    let at =
        OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        DAYS[usize::from(at.weekday().number_days_from_monday())],
        at.day(),
        MONTHS[usize::from(u8::from(at.month()) - 1)],
        at.year(),
        at.hour(),
        at.minute(),
        at.second(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_the_example_of_the_standard() {
        assert_eq!(imf_fixdate(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn the_text_follows_the_second() {
        let date = HttpDate::default();
        let mut seen = Vec::new();
        for ms in [0, 999, 1000] {
            date.with(ms, |text| seen.push(text[20..25].to_vec()));
        }
        assert_eq!(seen, [b"00:00", b"00:00", b"00:01"].map(|t| t.to_vec()));
    }
}
