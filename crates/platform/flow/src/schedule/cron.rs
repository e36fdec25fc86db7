//! Cron expressions: five fields, names, lists, ranges and steps.

use base::Timestamp;
use jiff::{
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// A parsed expression: one bit per allowed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both day fields are restricted: a day has to match either, as cron has it.
    either_day: bool,
}

struct Field {
    what: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { what: "minute", min: 0, max: 59, names: &[] },
    Field { what: "hour", min: 0, max: 23, names: &[] },
    Field { what: "day of month", min: 1, max: 31, names: &[] },
    Field {
        what: "month",
        min: 1,
        max: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // 7 is Sunday too.
    Field { what: "day of week", min: 0, max: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/// Longest distance between two days of one expression: 29 February across a century that is no leap year.
const DAYS_AHEAD_MAX: usize = 366 * 8 + 2;

impl Cron {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!("{text:?} has {} fields, cron has 5", fields.len()));
        };
        let is_free = |field: &str| field.starts_with('*') || field == "?";
        let mut weekday_bits = FIELDS[4].parse(weekdays)?;
        if weekday_bits & (1 << 7) != 0 {
            weekday_bits = (weekday_bits | 1) & !(1 << 7);
        }
        let cron = Self {
            minutes: FIELDS[0].parse(minutes)?,
            hours: FIELDS[1].parse(hours)?,
            days: FIELDS[2].parse(days)?,
            months: FIELDS[3].parse(months)?,
            weekdays: weekday_bits,
            either_day: !is_free(days) && !is_free(weekdays),
        };
        let some_day = DateTime::constant(2023, 12, 31, 23, 59, 0, 0);
        match cron.next_civil(some_day) {
            Some(_) => Ok(cron),
            None => Err(format!("{text:?} names a day that never comes")),
        }
    }

    /// The first planned time after `after`, in wall time of `zone`.
    pub(crate) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let instant = jiff::Timestamp::from_nanosecond(i128::from(after.nanos())).ok()?;
        let mut civil = zone.to_datetime(instant);
        loop {
            civil = self.next_civil(civil)?;
            let at = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
            let at = Timestamp::from_nanos(i64::try_from(at.as_nanosecond()).ok()?);
            if at > after {
                return Some(at);
            }
        }
    }

    /// The first matching minute after `after`.
    fn next_civil(&self, after: DateTime) -> Option<DateTime> {
        let mut date = after.date();
        // minute of the day from which on times count, on the first day
        let mut from =
            u32::from(after.hour().unsigned_abs()) * 60 + u32::from(after.minute().unsigned_abs()) + 1;
        for _ in 0..DAYS_AHEAD_MAX {
            if self.has_day(date)
                && let Some((hour, minute)) = self.time_from(from)
            {
                return Some(date.at(hour, minute, 0, 0));
            }
            date = date.tomorrow().ok()?;
            from = 0;
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let has = |bits: u64, value: i8| bits & (1 << value) != 0;
        if !has(self.months, date.month()) {
            return false;
        }
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.either_day { day || weekday } else { day && weekday }
    }

    fn time_from(&self, from: u32) -> Option<(i8, i8)> {
        let (first_hour, first_minute) = (from / 60, from % 60);
        (first_hour..24).filter(|hour| self.hours & (1 << hour) != 0).find_map(|hour| {
            let start = if hour == first_hour { first_minute } else { 0 };
            let minute = (start..60).find(|minute| self.minutes & (1 << minute) != 0)?;
            Some((i8::try_from(hour).ok()?, i8::try_from(minute).ok()?))
        })
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.part(part)?))
    }

    fn part(&self, part: &str) -> Result<u64, String> {
        let wrong = || format!("{part:?} is no {} ({} to {})", self.what, self.min, self.max);
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                (range, Some(step.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(wrong)?))
            }
            None => (part, None),
        };
        let top = if self.max == 7 { 6 } else { self.max };
        let (first, last) = match range {
            "*" | "?" => (self.min, top),
            _ => match range.split_once('-') {
                Some((first, last)) => {
                    (self.value(first).ok_or_else(wrong)?, self.value(last).ok_or_else(wrong)?)
                }
                None => {
                    let value = self.value(range).ok_or_else(wrong)?;
                    (value, if step.is_some() { top } else { value })
                }
            },
        };
        if first > last {
            return Err(wrong());
        }
        let step = usize::try_from(step.unwrap_or(1)).map_err(|_| wrong())?;
        Ok((first..=last).step_by(step).fold(0, |bits, value| bits | 1 << value))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let lower = text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|name| *name == lower) {
            return Some(u32::try_from(at).ok()? + self.min);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|value| digits && (self.min..=self.max).contains(value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn next(expression: &str, zone: &str, after: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let after: jiff::Timestamp = after.parse().unwrap();
        let after = Timestamp::from_nanos(i64::try_from(after.as_nanosecond()).unwrap());
        let at = Cron::parse(expression).unwrap().next(after, &zone).unwrap();
        jiff::Timestamp::from_nanosecond(i128::from(at.nanos())).unwrap().to_string()
    }

    #[test]
    fn next_times() {
        for (expression, after, expected) in [
            ("* * * * *", "2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z"),
            ("* * * * *", "2024-01-01T00:00:59.5Z", "2024-01-01T00:01:00Z"),
            ("*/15 9-17 * * mon-fri", "2024-01-05T17:45:00Z", "2024-01-08T09:00:00Z"),
            ("5/20 * * * *", "2024-01-01T00:06:00Z", "2024-01-01T00:25:00Z"),
            ("0 0 29 2 *", "2024-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 13 * fri", "2024-09-01T00:00:00Z", "2024-09-06T00:00:00Z"),
            ("0 12 * * 7", "2024-01-01T00:00:00Z", "2024-01-07T12:00:00Z"),
            ("30 6,18 1 jan,JUL *", "2024-01-01T06:30:00Z", "2024-01-01T18:30:00Z"),
            ("@monthly", "2024-12-31T23:59:59Z", "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!(next(expression, "UTC", after), expected, "{expression} after {after}");
        }
    }

    #[test]
    fn offset_changes() {
        let new_york = "America/New_York";
        // 2:30 does not exist on 10 March 2024: after the gap, 3:30 EDT
        assert_eq!(next("30 2 * * *", new_york, "2024-03-10T05:00:00Z"), "2024-03-10T07:30:00Z");
        // 1:30 occurs twice on 3 November 2024: the first, EDT; then the next day
        assert_eq!(next("30 1 * * *", new_york, "2024-11-03T04:00:00Z"), "2024-11-03T05:30:00Z");
        assert_eq!(next("30 1 * * *", new_york, "2024-11-03T05:30:00Z"), "2024-11-04T06:30:00Z");
        // asked between the two
        assert_eq!(next("30 1 * * *", new_york, "2024-11-03T06:00:00Z"), "2024-11-04T06:30:00Z");
    }

    #[test]
    fn wrong_expressions() {
        for (text, expected) in [
            ("", "0 fields"),
            ("* * * *", "4 fields"),
            ("60 * * * *", "is no minute (0 to 59)"),
            ("* * 0 * *", "is no day of month"),
            ("*/0 * * * *", "is no minute"),
            ("5-1 * * * *", "is no minute"),
            ("* * * foo *", "is no month"),
            ("+5 * * * *", "is no minute"),
            ("0 0 31 2 *", "never comes"),
        ] {
            let error = Cron::parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[ -~]{0,30}") {
            let _ = Cron::parse(&text);
        }

        #[test]
        fn times_move_on(
            minute in 0..60u32, hour in 0..24u32, start in 0i64..2_000_000_000,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
        ) {
            let cron = Cron::parse(&format!("{minute} {hour} * * *")).unwrap();
            let zone = TimeZone::get(zone).unwrap();
            let mut at = Timestamp::from_millis(start * 1_000);
            for _ in 0..5 {
                let next = cron.next(at, &zone).unwrap();
                prop_assert!(next > at);
                prop_assert!(next.since(at) <= std::time::Duration::from_secs(26 * 3_600 + 1));
                at = next;
            }
        }
    }
}
