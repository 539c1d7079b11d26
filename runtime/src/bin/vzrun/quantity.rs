//! Numbers and sizes of memory as people write them in flags: `64m`, `1.5 GiB`.

use std::fmt::Display;
use std::str::FromStr;

use vzrun::{Error, ErrorKind};

/// The number in a flag.
pub(crate) fn number<T: FromStr<Err: Display>>(
    flag: &str,
    text: Option<String>,
) -> vzrun::Result<Option<T>> {
    value(flag, text, |text| {
        text.parse()
            .map_err(|error: T::Err| format!("{text:?}: {error}"))
    })
}

/// The size in a flag, or -1.
pub(crate) fn bytes(flag: &str, text: Option<String>) -> vzrun::Result<Option<i64>> {
    value(flag, text, |text| match text {
        "-1" => Ok(-1),
        _ => parse(text),
    })
}

/// What is given without a value is not given.
fn value<T>(
    flag: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> vzrun::Result<Option<T>> {
    let given = text.filter(|text| !text.is_empty());
    let value = given.as_deref().map(parse).transpose();
    value.map_err(|error| {
        let text = format!("invalid value for {flag}: {error}");
        Error::new(ErrorKind::InvalidArgument, text)
    })
}

/// The number of bytes. Units are powers of 1024: b, k, m, g, t, p, in either case, alone or as in `kb` and `kib`.
///
/// # Errors
/// In the words of the library that runc uses.
fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text
        .rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))
        .ok_or_else(invalid)?;
    let (number, suffix) = text.split_at(end + 1);
    let factor = factor(&suffix.to_lowercase())
        .ok_or_else(|| format!("invalid suffix: '{}'", suffix.to_lowercase()))?;
    let number = number.strip_suffix(' ').unwrap_or(number);
    if let Ok(number) = number.parse::<i64>() {
        return match number.checked_mul(factor) {
            Some(size) if size >= 0 => Ok(size),
            _ => Err(invalid()),
        };
    }
    // What is left is a fraction; names of numbers ("inf") and exponents are none.
    if !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(invalid());
    }
    let number: f64 = number.parse().map_err(|_| invalid())?;
    #[allow(clippy::cast_precision_loss, reason = "a power of two")]
    let size = number * factor as f64;
    #[allow(clippy::cast_precision_loss, reason = "a power of two after rounding")]
    let limit = i64::MAX as f64;
    if size >= limit {
        return Err(invalid());
    }
    #[allow(clippy::cast_possible_truncation, reason = "it fits: see above")]
    Ok(size as i64)
}

fn factor(suffix: &str) -> Option<i64> {
    if matches!(suffix, "" | "b") {
        return Some(1);
    }
    let mut letters = suffix.chars();
    let power = "kmgtp".find(letters.next()?)? + 1;
    match letters.as_str() {
        "" | "b" | "ib" => Some(1 << (10 * power)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("32", Ok(32)),
            ("32b", Ok(32)),
            ("32K", Ok(32 << 10)),
            ("32 kb", Ok(32 << 10)),
            ("32MiB", Ok(32 << 20)),
            ("1.5g", Ok(3 << 29)),
            ("2t", Ok(2 << 40)),
            ("3P", Ok(3 << 50)),
            ("9007199254740993", Ok(9_007_199_254_740_993)),
            ("", Err("invalid size: ''")),
            ("hello", Err("invalid size: 'hello'")),
            ("-32", Err("invalid size: '-32'")),
            ("-1.5k", Err("invalid size: '-1.5k'")),
            ("1e3", Err("invalid size: '1e3'")),
            ("1.2.3", Err("invalid size: '1.2.3'")),
            ("9000p", Err("invalid size: '9000p'")),
            ("9000000.5p", Err("invalid size: '9000000.5p'")),
            ("32x", Err("invalid suffix: 'x'")),
            ("32kbb", Err("invalid suffix: 'kbb'")),
            ("32Bib", Err("invalid suffix: 'bib'")),
        ] {
            assert_eq!(parse(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
