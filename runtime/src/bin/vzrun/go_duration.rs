//! Go's notation of a length of time: `5s`, `100ms`, `1m30s`, `-1.5h`.

use std::str::FromStr;
use std::time::Duration;

/// A length of time in nanoseconds, as Go's `time.Duration`: of 64 bits and with a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GoDuration(i64);

impl GoDuration {
    /// `None` if it is zero or negative.
    pub(crate) fn positive(self) -> Option<Duration> {
        let nanoseconds = u64::try_from(self.0).ok().filter(|n| *n > 0)?;
        Some(Duration::from_nanos(nanoseconds))
    }
}

impl FromStr for GoDuration {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<GoDuration, &'static str> {
        parse(text).map(GoDuration).ok_or("invalid duration")
    }
}

/// One or more numbers with a unit each; only a bare 0 needs none.
fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut sum = 0u64;
    loop {
        let (part, behind) = parse_part(rest)?;
        // One more than fits into 63 bits is the smallest negative number.
        sum = sum.checked_add(part).filter(|sum| *sum <= 1 << 63)?;
        if behind.is_empty() {
            break;
        }
        rest = behind;
    }
    match negative {
        true => Some(0i64.wrapping_sub_unsigned(sum)),
        false => i64::try_from(sum).ok(),
    }
}

/// The nanoseconds of a number with its unit, and what stands behind it.
fn parse_part(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit());
    let (unit, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let unit: u64 = match unit {
        "ns" => 1,
        // Also with the micro sign and with the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let whole: u64 = match whole {
        "" => 0,
        whole => whole.parse().ok()?,
    };
    // What is beyond a nanosecond does not count, so 18 digits are more than enough (an hour has 13).
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = fraction.parse().unwrap_or(0u128) * u128::from(unit) / scale;
    let nanoseconds = whole.checked_mul(unit)?;
    let nanoseconds = nanoseconds.checked_add(u64::try_from(fraction).ok()?)?;
    Some((nanoseconds, rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        const SECOND: i64 = 1_000_000_000;
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5s", 5 * SECOND),
            ("+5s", 5 * SECOND),
            ("-5s", -5 * SECOND),
            ("100ms", SECOND / 10),
            ("1m30s", 90 * SECOND),
            ("1h1m1s1ms1us1ns", 3661 * SECOND + 1_001_001),
            ("1s1h", 3601 * SECOND),
            ("1.5h", 5400 * SECOND),
            (".5s", SECOND / 2),
            ("5.s", 5 * SECOND),
            ("0.1us", 100),
            ("3\u{b5}s", 3000),
            ("3\u{3bc}s", 3000),
            ("0.9999999999s", 999_999_999),
            ("0.33333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("2562047h47m16.854775807s", i64::MAX),
        ] {
            assert_eq!(parse(text), Some(nanoseconds), "{text}");
        }
    }

    #[test]
    fn no_durations() {
        for text in [
            "",
            "-",
            "+",
            "5",
            "00",
            "s",
            ".s",
            "-.s",
            "1m30",
            "5x",
            "5S",
            "1e3s",
            "5 s",
            " 5s",
            "5s ",
            "--5s",
            "5.5.5s",
            "0.5",
            "9223372036854775808ns",
            "-9223372036854775809ns",
            "9999999999999h",
            "99999999999999999999s",
            "1d",
            "5\u{b5}",
            "1s,",
            "1s2",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_more_than_nothing_is_positive() {
        let positive = |text: &str| text.parse::<GoDuration>().unwrap().positive();
        assert_eq!(positive("1ns"), Some(Duration::from_nanos(1)));
        assert_eq!((positive("0"), positive("-1s")), (None, None));
    }
}
