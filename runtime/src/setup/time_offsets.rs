//! linux.timeOffsets: the clocks of a new time namespace.

use std::collections::HashMap;
use std::fmt::Write;

use crate::error::{Error, Result};
use crate::spec;

/// The text for `timens_offsets` of the process that made the namespace; `None` where there is nothing to write.
///
/// `new_namespace`: the spec asks for a new time namespace. The clocks of one that is joined run already.
pub(crate) fn plan(
    offsets: Option<&HashMap<String, spec::LinuxTimeOffset>>,
    new_namespace: bool,
) -> Result<Option<String>> {
    let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty()) else {
        return Ok(None);
    };
    if !new_namespace {
        return Err(Error::config(
            "linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled in the config",
        ));
    }
    let mut clocks: Vec<_> = offsets.iter().collect();
    clocks.sort_unstable_by_key(|(clock, _)| *clock);
    let mut text = String::new();
    for (clock, offset) in clocks {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::config(format!(
                "linux.timeOffsets: unknown clock {clock:?}"
            )));
        }
        let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if nanosecs >= 1_000_000_000 {
            return Err(Error::config(format!(
                "linux.timeOffsets.{clock}.nanosecs: {nanosecs} is a second or more"
            )));
        }
        // Writing to a String does not fail.
        let _ = writeln!(text, "{clock} {secs} {nanosecs}");
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        for (json, new, expected) in [
            ("{}", false, Ok(None)),
            (
                r#"{"monotonic":{"secs":-5,"nanosecs":999999999},"boottime":{"secs":7}}"#,
                true,
                Ok(Some("boottime 7 0\nmonotonic -5 999999999\n")),
            ),
            (r#"{"monotonic":{}}"#, true, Ok(Some("monotonic 0 0\n"))),
            (
                r#"{"monotonic":{}}"#,
                false,
                Err("time namespace isn't enabled"),
            ),
            (
                r#"{"realtime":{}}"#,
                true,
                Err("unknown clock \"realtime\""),
            ),
            (
                r#"{"boottime":{"nanosecs":1000000000}}"#,
                true,
                Err("boottime.nanosecs"),
            ),
        ] {
            let offsets = serde_json::from_str(json).unwrap();
            match (plan(Some(&offsets), new), expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text.as_deref(), expected, "{json}"),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
                (got, expected) => panic!("{json}: {got:?}, not {expected:?}"),
            }
        }
        assert_eq!(plan(None, true).unwrap(), None);
    }
}
