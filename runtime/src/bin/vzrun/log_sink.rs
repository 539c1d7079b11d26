//! The log of the command: to a file or stderr, as logrus text or as JSON, one record per line.
//!
//! It is written from forked children, too: each record is one plain write, and nothing is locked or buffered.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use vzrun::log::Level;
use vzrun::{Error, ErrorKind};

use crate::args::Globals;

struct Settings {
    /// `None`: stderr.
    file: Option<File>,
    json: bool,
    least: Level,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// Starts the log as the global flags say.
pub(crate) fn install(globals: &Globals) -> vzrun::Result<()> {
    let wrong = |text| Error::new(ErrorKind::InvalidArgument, text);
    let least = match globals.log_level.as_deref() {
        _ if globals.debug => Level::Debug,
        None | Some("" | "warning") => Level::Warning,
        Some("debug") => Level::Debug,
        Some("error") => Level::Error,
        Some(other) => return Err(wrong(format!("invalid log-level: {other}"))),
    };
    let json = match globals.log_format.as_str() {
        "" | "text" => false,
        "json" => true,
        other => return Err(wrong(format!("invalid log-format: {other}"))),
    };
    let path = globals
        .log
        .as_ref()
        .filter(|path| !path.as_os_str().is_empty());
    let file = match path {
        None => None,
        Some(path) => {
            let mut options = OpenOptions::new();
            let opened = options.append(true).create(true).mode(0o644).open(path);
            Some(opened.map_err(|error| crate::output::io_error("open", path, &error))?)
        }
    };
    let _ = SETTINGS.set(Settings { file, json, least });
    vzrun::log::install(write);
    Ok(())
}

/// The error that the command ends with: to the log, and in plain words to stderr if that is not the log.
pub(crate) fn fail(text: &str) {
    write(Level::Error, format_args!("{text}"));
    if SETTINGS
        .get()
        .is_some_and(|settings| settings.file.is_some())
    {
        to_stderr(format!("{text}\n"));
    }
}

fn write(level: Level, text: fmt::Arguments<'_>) {
    let json = SETTINGS.get().is_some_and(|settings| settings.json);
    if SETTINGS
        .get()
        .is_some_and(|settings| level < settings.least)
    {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let line = record(
        level,
        &text.to_string(),
        now.map_or(0, |now| now.as_secs()),
        json,
    );
    // Nobody is left to tell when the log cannot be written.
    match SETTINGS.get().and_then(|settings| settings.file.as_ref()) {
        Some(mut file) => {
            let _ = file.write_all(line.as_bytes());
            // An engine reads the file as soon as the command has ended; a crash of the host must not lose the reason.
            let _ = file.sync_data();
        }
        None => to_stderr(line),
    }
}

fn to_stderr(line: String) {
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn record(level: Level, text: &str, seconds: u64, json: bool) -> String {
    let level = match level {
        Level::Debug => "debug",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let time = rfc3339(seconds);
    if json {
        let record = serde_json::json!({ "level": level, "msg": text, "time": time });
        return format!("{record}\n");
    }
    format!("time={time:?} level={level} msg={}\n", quoted(text))
}

/// As logrus: bare if it is one harmless word, else quoted.
fn quoted(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        return text.to_owned();
    }
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Seconds since 1970 as RFC 3339 in UTC.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the leap day is a year's last; 400 years have 146,097 days.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_763_823_170, "2025-11-22T14:52:50Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn records() {
        assert_eq!(
            record(Level::Error, "container \"x\"\ndoes not exist", 0, false),
            "time=\"1970-01-01T00:00:00Z\" level=error msg=\"container \\\"x\\\"\\ndoes not exist\"\n"
        );
        assert_eq!(
            record(Level::Warning, "word", 0, false),
            "time=\"1970-01-01T00:00:00Z\" level=warning msg=word\n"
        );
        assert_eq!(
            record(Level::Debug, "a \"b\"\n", 0, true),
            "{\"level\":\"debug\",\"msg\":\"a \\\"b\\\"\\n\",\"time\":\"1970-01-01T00:00:00Z\"}\n"
        );
    }
}
