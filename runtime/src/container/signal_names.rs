//! Signals as people and engines write them: `9`, `KILL`, `SIGKILL`, `kill`, `RTMIN+3`.

use crate::error::{Error, ErrorKind, Result};

/// Names by number, from 1. The same on x86-64 and aarch64.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Second names.
const ALIASES: [(&str, i32); 3] = [("IOT", 6), ("CLD", 17), ("POLL", 29)];

/// The real-time signals that the C library leaves to programs.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal from its number or name; `SIG` in front and the case do not matter.
///
/// # Errors
/// As runc: `unknown signal "X"`.
pub fn parse_signal(text: &str) -> Result<i32> {
    let number = match text.parse::<i32>() {
        // Any number: the kernel judges it.
        Ok(number) => Some(number),
        Err(_) => by_name(text),
    };
    number.ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("unknown signal {text:?}"),
        )
    })
}

fn by_name(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(at + 1).ok();
    }
    if let Some((_, number)) = ALIASES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let number = if let Some(offset) = name.strip_prefix("RTMIN") {
        RTMIN + real_time_offset(offset, '+')?
    } else {
        RTMAX - real_time_offset(name.strip_prefix("RTMAX")?, '-')?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// Nothing, or the sign and a number of one or two digits.
fn real_time_offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("999", 999),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigkill", 9),
            ("Term", 15),
            ("HUP", 1),
            ("SYS", 31),
            ("WINCH", 28),
            ("SIGIOT", 6),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("SIGRTMAX", 64),
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal() {
        for text in [
            "",
            "FOO",
            "SIG",
            "SIGSIGKILL",
            "99999999999",
            "RTMIN-1",
            "RTMIN+31",
            "RTMAX+1",
            "RTMIN++1",
            "RTMIN+",
            " KILL",
            "KILL ",
        ] {
            let error = parse_signal(text).unwrap_err();
            assert_eq!(error.to_string(), format!("unknown signal {text:?}"));
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
