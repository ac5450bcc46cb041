//! Windows of time by the calendar of a place. [pure]

use std::sync::Arc;

use time::{Date, Month, Weekday};

use super::super::field;
use crate::tree::{Fields, Unknown};

const MINUTES_PER_DAY: u16 = 24 * 60;

/// A window on some days. A window whose end is before its start crosses midnight and belongs to the
/// day of its start; one whose end is its start never applies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule {
    /// IANA name of the time zone. One that is unknown never applies.
    pub timezone: Arc<str>,
    /// The days on which it starts.
    pub days: Days,
    /// Minutes from midnight at which it starts, below 1440.
    pub start_minute: u16,
    /// Minutes from midnight at which it ends, at most 1440.
    pub end_minute: u16,
}

/// On which days a window starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Days {
    /// Every week on these.
    OfWeek(Vec<Weekday>),
    /// On these only. Dates that no calendar has are left out.
    Dates(Vec<Date>),
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// The first parts of names in the IANA database. Whether there is such a place is not known here.
const AREAS: [&str; 16] = [
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Brazil",
    "Canada",
    "Chile",
    "Etc",
    "Europe",
    "Indian",
    "Mexico",
    "Pacific",
    "US",
];

/// The names in the IANA database that have one part.
#[rustfmt::skip]
const WITHOUT_AREA: [&str; 41] = [
    "CET", "CST6CDT", "Cuba", "EET", "EST", "EST5EDT", "Egypt", "Eire", "GB", "GB-Eire", "GMT", "GMT+0",
    "GMT-0", "GMT0", "Greenwich", "HST", "Hongkong", "Iceland", "Iran", "Israel", "Jamaica", "Japan",
    "Kwajalein", "Libya", "MET", "MST", "MST7MDT", "NZ", "NZ-CHAT", "Navajo", "PRC", "PST8PDT", "Poland",
    "Portugal", "ROC", "ROK", "Singapore", "Turkey", "UTC", "WET", "Zulu",
];

/// The windows at `key`.
pub(super) fn read<'a>(fields: &Fields<'a>, key: &'a str) -> Vec<Schedule> {
    let items = fields.take_list(key).unwrap_or_default();
    let schedules = items.into_iter().filter_map(|(path, item)| {
        let block = field::mapping(fields, &path, item)?;
        let schedule = read_one(&block, &path);
        block.finish();
        schedule
    });
    schedules.collect()
}

fn read_one(block: &Fields<'_>, path: &str) -> Option<Schedule> {
    let is_strict = block.unknown() == Unknown::Refused;
    let timezone = field::text(block, "timezone");
    if is_strict && timezone.as_ref().is_some_and(|name| !may_be_timezone(name)) {
        let message = "must be an IANA time zone such as Europe/Berlin or UTC";
        block.problem("timezone", message);
    }
    let days = read_days(block, path);
    let start = read_time(block, "start_time");
    let end = read_time(block, "end_time");
    if start == Some(MINUTES_PER_DAY) {
        block.problem("start_time", "must be before 24:00");
    }
    if is_strict && start.is_some() && start == end {
        block.problem("end_time", "must differ from `start_time`");
    }
    Some(Schedule {
        timezone: timezone?,
        days: days?,
        start_minute: start?,
        end_minute: end?,
    })
}

/// By shape only: a part of the world and a place, or one of the names without a `/`.
fn may_be_timezone(name: &str) -> bool {
    let is_part = |part: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
        !part.is_empty() && part.len() <= 32 && part.bytes().all(legal)
    };
    match name.split_once('/') {
        None => WITHOUT_AREA.contains(&name),
        Some((area, places)) => {
            AREAS.contains(&area)
                && places.split('/').count() <= 2
                && places.split('/').all(is_part)
        }
    }
}

fn read_days(block: &Fields<'_>, path: &str) -> Option<Days> {
    match (block.has("days_of_week"), block.has("dates")) {
        (true, false) => read_weekdays(block).map(Days::OfWeek),
        (false, true) => read_dates(block).map(Days::Dates),
        (has_both, _) => {
            block.take("days_of_week");
            block.take("dates");
            let message = if has_both {
                "must have only one of `days_of_week` and `dates`"
            } else {
                "must have `days_of_week` or `dates`"
            };
            block.problems().push(path, message);
            None
        }
    }
}

fn read_weekdays(block: &Fields<'_>) -> Option<Vec<Weekday>> {
    let mut days = Vec::new();
    for (path, item) in field::items(block, "days_of_week") {
        let word = item.as_str();
        match WEEKDAYS.iter().find(|(known, _)| Some(*known) == word) {
            Some((_, day)) if days.contains(day) => {}
            Some((_, day)) => days.push(*day),
            None => {
                let words = WEEKDAYS.map(|(known, _)| known).join(", ");
                let message = format!("must be one of {words}");
                block.problems().push(path, message);
            }
        }
    }
    (!days.is_empty()).then_some(days)
}

fn read_dates(block: &Fields<'_>) -> Option<Vec<Date>> {
    let items = field::items(block, "dates");
    if items.is_empty() {
        return None;
    }
    let mut dates = Vec::new();
    for (path, item) in items {
        match item.as_str().and_then(parse_date) {
            Some(Some(date)) => dates.push(date),
            Some(None) if block.unknown() == Unknown::Ignored => {}
            Some(None) => block.problems().push(path, "must be a date that exists"),
            None => block.problems().push(path, "must be a date as YYYY-MM-DD"),
        }
    }
    Some(dates)
}

/// `None`: not `YYYY-MM-DD`. `Some(None)`: no such day.
fn parse_date(text: &str) -> Option<Option<Date>> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = text.as_bytes() else {
        return None;
    };
    let year = digits(&[y0, y1, y2, y3])?;
    let month = digits(&[m0, m1])?;
    let day = digits(&[d0, d1])?;
    let month = u8::try_from(month)
        .ok()
        .and_then(|month| Month::try_from(month).ok());
    let date = month
        .zip(u8::try_from(day).ok())
        .and_then(|(month, day)| Date::from_calendar_date(year.into(), month, day).ok());
    Some(date)
}

/// Minutes from midnight: 00:00 to 23:59, and 24:00.
fn read_time<'a>(block: &Fields<'a>, key: &'a str) -> Option<u16> {
    let text = block.take_required_str(key)?;
    let minutes = parse_time(text);
    if minutes.is_none() {
        block.problem(key, "must be a time of day as HH:MM");
    }
    minutes
}

fn parse_time(text: &str) -> Option<u16> {
    let &[h0, h1, b':', m0, m1] = text.as_bytes() else {
        return None;
    };
    let (hour, minute) = (digits(&[h0, h1])?, digits(&[m0, m1])?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= MINUTES_PER_DAY).then_some(minutes)
}

/// At most four decimal digits as a number.
fn digits(bytes: &[u8]) -> Option<u16> {
    bytes.iter().try_fold(0, |number: u16, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}
