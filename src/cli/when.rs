//! Times and durations, as people write and read them.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};

use crate::clock::{Clock as _, SystemClock};

/// The time at which a command runs.
pub fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// Reads a duration, `0 500ms 2s 15m 24h 7d`, in whole seconds.
pub fn whole_seconds(text: &str) -> Result<u64, String> {
    let problem = || format!("`{text}` is not a duration: write 0, 2s, 15m, 24h or 7d");
    if text == "0" {
        return Ok(0);
    }
    let digits = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(problem)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| problem())?;
    let seconds = match unit {
        "ms" if number.is_multiple_of(1000) => Some(number / 1000),
        "ms" => return Err(format!("`{text}` is not a whole number of seconds")),
        "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(60 * 60),
        "d" => number.checked_mul(24 * 60 * 60),
        _ => None,
    };
    seconds.ok_or_else(problem)
}

/// Reads a time: RFC 3339, or a date, which means its first moment in UTC. The result is RFC 3339 in UTC.
pub fn moment(text: &str) -> Result<String, String> {
    let date = || text.parse::<NaiveDate>().ok().and_then(|date| date.and_hms_opt(0, 0, 0)).map(|time| time.and_utc());
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok().or_else(date);
    let time = time.ok_or_else(|| format!("`{text}` is not a time: write 2027-05-23 or 2027-05-23T14:00:00Z"))?;
    Ok(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// RFC 3339 of Unix seconds; `None` when no calendar reaches that far.
pub fn from_unix(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, 0)
}

/// RFC 3339 in whole seconds.
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A time seen from now: `in 5 months`, `3 days ago`.
pub fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let distance = time - now;
    let ago = distance < TimeDelta::zero();
    let seconds = distance.num_seconds().unsigned_abs();
    let (count, unit) = match seconds {
        0 => return "now".to_owned(),
        1..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..172_800 => (seconds / 3_600, "hour"),
        172_800..5_184_000 => (seconds / 86_400, "day"),
        5_184_000..63_072_000 => (seconds / 2_629_746, "month"),
        _ => (seconds / 31_556_952, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if ago { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_whole_seconds() {
        for (text, seconds) in
            [("0", 0), ("0s", 0), ("2s", 2), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("3000ms", 3)]
        {
            assert_eq!(whole_seconds(text), Ok(seconds), "{text}");
        }
        for text in
            ["", "5", "-2s", "2 s", "1.5h", "500ms", "h", "2w", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(whole_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_means_its_first_moment_and_offsets_become_utc() {
        assert_eq!(moment("2027-05-23").unwrap(), "2027-05-23T00:00:00Z");
        assert_eq!(moment("2027-05-23T14:00:00+02:00").unwrap(), "2027-05-23T12:00:00Z");
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn times_are_told_from_now() {
        let now = from_unix(1_800_000_000).unwrap();
        for (seconds, words) in [
            (0, "now"),
            (-1, "1 second ago"),
            (90, "in 1 minute"),
            (-3 * 86_400, "3 days ago"),
            (150 * 86_400 + 200_000, "in 5 months"),
            (-800 * 86_400, "2 years ago"),
        ] {
            assert_eq!(relative(now + TimeDelta::seconds(seconds), now), words);
        }
    }
}
