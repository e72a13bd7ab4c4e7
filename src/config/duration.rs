//! Durations as people write them: `0`, `500ms`, `2s`, `15m`, `24h`, `7d`.
use std::time::Duration;

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: write 0, 500ms, 2s, 15m, 24h or 7d")]
pub struct NotADuration;

// Largest first, because the first unit that divides a duration is the one it is shown in.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads one whole number with one unit; `0` needs none.
pub fn parse_duration(text: &str) -> Result<Duration, NotADuration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(NotADuration)?;
    let (digits, unit) = text.split_at_checked(split).ok_or(NotADuration)?;
    let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NotADuration)?;
    let count: u64 = digits.parse().map_err(|_| NotADuration)?;
    count.checked_mul(*milliseconds).map(Duration::from_millis).ok_or(NotADuration)
}

/// Shows a duration in the form [`parse_duration`] reads; what is below a millisecond is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownDuration(pub Duration);

impl std::fmt::Display for ShownDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total = self.0.as_millis();
        if total == 0 {
            return f.write_str("0");
        }
        let (name, unit) =
            UNITS.iter().find(|(_, unit)| total.is_multiple_of(u128::from(*unit))).copied().unwrap_or(("ms", 1));
        write!(f, "{}{name}", total / u128::from(unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("2s", 2_000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_a_duration() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "2 s",
            " 2s",
            "2S",
            "1h30m",
            "99999999999999999999s",
            "18446744073709551615d",
            "٣s",
        ] {
            assert_eq!(parse_duration(text), Err(NotADuration), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_their_largest_whole_unit() {
        for text in ["0", "500ms", "1500ms", "2s", "90s", "15m", "25h", "7d"] {
            assert_eq!(ShownDuration(parse_duration(text).unwrap()).to_string(), text);
        }
        assert_eq!(ShownDuration(parse_duration("24h").unwrap()).to_string(), "1d");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(milliseconds in 0u64..u64::MAX) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&ShownDuration(duration).to_string()), Ok(duration));
        }
    }
}
