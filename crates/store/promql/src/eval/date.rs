//! Parts of a date, in UTC (Howard Hinnant, *chrono-compatible low-level date algorithms*).

const DAY_S: i64 = 86_400;

struct Date {
    year: i64,
    month: i64,
    day: i64,
}

fn civil(days: i64) -> Date {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    Date {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day: of_year - (153 * shifted_month + 2) / 5 + 1,
    }
}

fn days_before(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A time in seconds as RFC 3339 writes it.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let (days, within) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let Date { year, month, day } = civil(days);
    let (hour, minute, second) = (within / 3600, within / 60 % 60, within % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The part that the function of this name gives, of seconds since the epoch.
pub(crate) fn part(function: &str, seconds: f64) -> Option<f64> {
    // Years beyond a million are held at it: no calendar reaches there.
    let seconds = (seconds as i64).clamp(-31_556_952_000_000, 31_556_952_000_000);
    let (days, within) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let date = civil(days);
    Some(match function {
        "minute" => within / 60 % 60,
        "hour" => within / 3600,
        "day_of_week" => (days + 4).rem_euclid(7),
        "day_of_month" => date.day,
        "day_of_year" => days - days_before(date.year, 1) + 1,
        "days_in_month" => {
            let next = if date.month == 12 { (date.year + 1, 1) } else { (date.year, date.month + 1) };
            days_before(next.0, next.1) - days_before(date.year, date.month)
        }
        "month" => date.month,
        "year" => date.year,
        _ => return None,
    } as f64)
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_of_a_leap_day() {
        // 2016-02-29T13:14:15Z, a Monday.
        let at = 1_456_751_655.0;
        let parts = [
            "year",
            "month",
            "day_of_month",
            "day_of_week",
            "hour",
            "minute",
            "days_in_month",
            "day_of_year",
        ];
        assert_eq!(
            parts.map(|name| part(name, at).unwrap()),
            [2016.0, 2.0, 29.0, 1.0, 13.0, 14.0, 29.0, 60.0]
        );
        assert_eq!(part("year", -1.0), Some(1969.0));
        assert_eq!(part("century", 0.0), None);
    }
}
