//! When a policy is suspended. [pure]

use std::cell::Cell;

use config_sync::model::rate_limit_policy::{Days, Schedule};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use time::Weekday;

const SECS_PER_DAY: i64 = 86_400;
const MINUTES_PER_DAY: u16 = 1_440;
/// Julian day of 1970-01-01.
const EPOCH_JULIAN_DAY: i64 = 2_440_588;

/// The schedules of one policy with their time zones, whose data is part of the binary.
#[derive(Debug)]
pub(super) struct Suspension {
    schedules: Vec<(TimeZone, Schedule)>,
    /// The last second that was asked for, and its answer.
    last: Cell<(u64, bool)>,
}

impl Suspension {
    /// Schedules in unknown time zones are left out: they never apply.
    pub(super) fn new(schedules: &[Schedule]) -> Self {
        let zones = TimeZoneDatabase::bundled();
        let zoned = schedules.iter().filter_map(|schedule| {
            let zone = zones.get(&schedule.timezone).ok()?;
            Some((zone, schedule.clone()))
        });
        Self {
            schedules: zoned.collect(),
            last: Cell::new((u64::MAX, false)),
        }
    }

    /// Whether a schedule applies at `now_ms`. Calculated once per second.
    pub(super) fn applies(&self, now_ms: u64) -> bool {
        if self.schedules.is_empty() {
            return false;
        }
        let now_secs = now_ms / 1_000;
        let (secs, answer) = self.last.get();
        if secs == now_secs {
            return answer;
        }
        let mut schedules = self.schedules.iter();
        let answer = schedules.any(|(zone, schedule)| holds(schedule, zone, now_secs));
        self.last.set((now_secs, answer));
        answer
    }
}

/// Whether the window holds the local time of `zone`, as its clocks show it: an hour that is skipped
/// is not there, one that comes twice counts twice.
fn holds(schedule: &Schedule, zone: &TimeZone, now_secs: u64) -> bool {
    let Some(local_secs) = local_secs(zone, now_secs) else {
        return false;
    };
    let day = local_secs.div_euclid(SECS_PER_DAY);
    // Below 1440.
    let minute = (local_secs.rem_euclid(SECS_PER_DAY) / 60) as u16;
    debug_assert!(minute < MINUTES_PER_DAY);
    let (start, end) = (schedule.start_minute, schedule.end_minute);
    if start <= end {
        return (start..end).contains(&minute) && starts_on(&schedule.days, day);
    }
    let began_today = minute >= start && starts_on(&schedule.days, day);
    let began_yesterday = minute < end && starts_on(&schedule.days, day - 1);
    began_today || began_yesterday
}

fn local_secs(zone: &TimeZone, now_secs: u64) -> Option<i64> {
    let secs = i64::try_from(now_secs).ok()?;
    let at = Timestamp::from_second(secs).ok()?;
    Some(secs + i64::from(zone.to_offset(at).seconds()))
}

/// `day`: days since 1970-01-01, a Thursday.
fn starts_on(days: &Days, day: i64) -> bool {
    match days {
        Days::OfWeek(weekdays) => {
            let since_monday = (day + 3).rem_euclid(7);
            let is =
                |weekday: &Weekday| i64::from(weekday.number_days_from_monday()) == since_monday;
            weekdays.iter().any(is)
        }
        Days::Dates(dates) => dates
            .iter()
            .any(|date| i64::from(date.to_julian_day()) - EPOCH_JULIAN_DAY == day),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;
    use crate::limit::tests::fixture;

    fn ms(utc: &str) -> u64 {
        let at = OffsetDateTime::parse(utc, &Rfc3339).unwrap();
        u64::try_from(at.unix_timestamp()).unwrap() * 1_000
    }

    fn suspension(zone: &str, days: &Value, start: &str, end: &str) -> Suspension {
        let key = if days[0].as_str().unwrap().len() == 3 {
            "days_of_week"
        } else {
            "dates"
        };
        let schedule = json!({"timezone": zone, key: days, "start_time": start, "end_time": end});
        let doc = json!({"name": "p", "limits": {"rpm": 1}, "schedules": [schedule]});
        Suspension::new(&fixture::policy(&doc).schedules)
    }

    #[test]
    fn a_schedule_follows_the_clocks_of_its_place() {
        let weekend = json!(["sat", "sun"]);
        let friday = json!(["fri"]);
        let leap = json!(["2028-02-29"]);
        let sunday = json!(["sun"]);
        let cases = [
            // 2026-11-28 is a Saturday.
            (
                ("UTC", &weekend, "00:00", "24:00"),
                "2026-11-28T00:00:00Z",
                true,
            ),
            (
                ("UTC", &weekend, "00:00", "24:00"),
                "2026-11-29T23:59:59Z",
                true,
            ),
            (
                ("UTC", &weekend, "00:00", "24:00"),
                "2026-11-30T00:00:00Z",
                false,
            ),
            (
                ("UTC", &weekend, "00:00", "24:00"),
                "2026-11-27T23:59:59Z",
                false,
            ),
            // Berlin is an hour ahead in winter, two in summer.
            (
                ("Europe/Berlin", &weekend, "00:00", "24:00"),
                "2026-11-27T23:00:00Z",
                true,
            ),
            (
                ("Europe/Berlin", &weekend, "00:00", "24:00"),
                "2026-11-27T22:59:59Z",
                false,
            ),
            (
                ("Europe/Berlin", &weekend, "00:00", "24:00"),
                "2026-07-03T22:00:00Z",
                true,
            ),
            (
                ("Europe/Berlin", &weekend, "00:00", "24:00"),
                "2026-07-03T21:59:59Z",
                false,
            ),
            (
                ("Asia/Kolkata", &weekend, "00:00", "24:00"),
                "2026-11-27T18:30:00Z",
                true,
            ),
            (
                ("Asia/Kolkata", &weekend, "00:00", "24:00"),
                "2026-11-27T18:29:59Z",
                false,
            ),
            // Across midnight, it belongs to the day it starts on.
            (
                ("UTC", &friday, "22:00", "06:15"),
                "2026-11-27T22:00:00Z",
                true,
            ),
            (
                ("UTC", &friday, "22:00", "06:15"),
                "2026-11-27T21:59:59Z",
                false,
            ),
            (
                ("UTC", &friday, "22:00", "06:15"),
                "2026-11-28T06:14:59Z",
                true,
            ),
            (
                ("UTC", &friday, "22:00", "06:15"),
                "2026-11-28T06:15:00Z",
                false,
            ),
            (
                ("UTC", &friday, "22:00", "06:15"),
                "2026-11-27T05:00:00Z",
                false,
            ),
            // On a date, also across midnight.
            (
                ("UTC", &leap, "08:00", "09:30"),
                "2028-02-29T09:29:59Z",
                true,
            ),
            (
                ("UTC", &leap, "08:00", "09:30"),
                "2028-02-29T09:30:00Z",
                false,
            ),
            (
                ("UTC", &leap, "08:00", "09:30"),
                "2027-02-28T09:00:00Z",
                false,
            ),
            (
                ("UTC", &leap, "22:00", "02:00"),
                "2028-03-01T01:59:59Z",
                true,
            ),
            (
                ("America/New_York", &leap, "00:00", "24:00"),
                "2028-03-01T04:59:59Z",
                true,
            ),
            (
                ("America/New_York", &leap, "00:00", "24:00"),
                "2028-03-01T05:00:00Z",
                false,
            ),
            // On 2027-03-28 Berlin's clocks go from 02:00 to 03:00.
            (
                ("Europe/Berlin", &sunday, "02:00", "03:00"),
                "2027-03-28T00:59:59Z",
                false,
            ),
            (
                ("Europe/Berlin", &sunday, "02:00", "03:00"),
                "2027-03-28T01:00:00Z",
                false,
            ),
            // On 2027-10-31 they show 02:30 twice.
            (
                ("Europe/Berlin", &sunday, "02:00", "03:00"),
                "2027-10-31T00:30:00Z",
                true,
            ),
            (
                ("Europe/Berlin", &sunday, "02:00", "03:00"),
                "2027-10-31T01:30:00Z",
                true,
            ),
            (
                ("Europe/Berlin", &sunday, "02:00", "03:00"),
                "2027-10-31T02:00:00Z",
                false,
            ),
            // No such place.
            (
                ("Europe/Nowhere", &weekend, "00:00", "24:00"),
                "2026-11-28T12:00:00Z",
                false,
            ),
        ];
        for ((zone, days, start, end), at, want) in cases {
            let suspension = suspension(zone, days, start, end);
            let case = format!("{zone} {days} {start}-{end} at {at}");
            assert_eq!(suspension.applies(ms(at)), want, "{case}");
        }
    }

    #[test]
    fn an_empty_window_never_applies_and_any_schedule_is_enough() {
        let mut empty = fixture::policy(&json!({"name": "p", "limits": {"rpm": 1}, "schedules": [
            {"timezone": "UTC", "days_of_week": ["sat"], "start_time": "08:00", "end_time": "09:00"}]}))
        .schedules;
        empty[0].end_minute = empty[0].start_minute;
        let at = ms("2026-11-28T08:00:00Z");
        assert!(!Suspension::new(&empty).applies(at));
        let mut both = empty.clone();
        both.push(Schedule {
            end_minute: 500,
            ..empty[0].clone()
        });
        assert!(Suspension::new(&both).applies(at));
        assert!(!Suspension::new(&[]).applies(at));
    }

    #[test]
    fn the_answer_is_kept_for_its_second_only() {
        let sat = suspension("UTC", &json!(["sat"]), "00:00", "24:00");
        let midnight = ms("2026-11-28T00:00:00Z");
        for _ in 0..2 {
            for (at_ms, want) in [
                (midnight - 1, false),
                (midnight, true),
                (midnight + 999, true),
            ] {
                assert_eq!(sat.applies(at_ms), want);
                assert_eq!(sat.last.get(), (at_ms / 1_000, want));
            }
        }
        assert!(!sat.applies(u64::MAX));
    }
}
