//! What goes to stdout.

use std::fmt::Display;
use std::io::{ErrorKind as IoKind, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use vzrun::{Error, ErrorKind, Result};

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|error| io_error("write", Path::new("/dev/stdout"), &error))
}

/// JSON on one line.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(json_error)?;
    print(&format!("{text}\n"))
}

/// JSON with this indentation, without a final newline.
pub(crate) fn indented_json(value: &impl Serialize, indent: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).map_err(json_error)?;
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::Process, error.to_string()))
}

fn json_error(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Process, format!("JSON: {error}"))
}

/// A failed call on a file in Go's words: `open /x: no such file or directory`.
pub(crate) fn io_error(call: &str, path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        IoKind::NotFound | IoKind::PermissionDenied => ErrorKind::InvalidArgument,
        _ => ErrorKind::Process,
    };
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let text = text.to_lowercase();
    Error::new(kind, format!("{call} {}: {text}", path.display()))
}

/// A table with columns as wide as Go's tabwriter makes them for runc: at least 12, at least 3 between two. The cells
/// stand in one text, so that a thousand rows are not six thousand allocations.
pub(crate) struct Table<const N: usize> {
    cells: String,
    /// Where each cell ends.
    ends: Vec<usize>,
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    /// With a head.
    pub(crate) fn new(head: [&str; N]) -> Table<N> {
        let mut table = Table {
            cells: String::new(),
            ends: Vec::new(),
            widths: [12; N],
        };
        table.add(head.each_ref().map(|cell| cell as &dyn Display));
        table
    }

    /// One more row.
    pub(crate) fn add(&mut self, row: [&dyn Display; N]) {
        for (cell, width) in row.iter().zip(&mut self.widths) {
            let start = self.cells.len();
            self.cells.push_str(&cell.to_string());
            self.ends.push(self.cells.len());
            *width = (*width).max(self.cells[start..].chars().count() + 3);
        }
    }

    /// As it is printed.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let mut start = 0;
        for (n, end) in self.ends.iter().enumerate() {
            let cell = &self.cells[start..*end];
            start = *end;
            out.push_str(cell);
            if n % N + 1 < N {
                let pad = self.widths[n % N].saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', pad));
            } else {
                out.push('\n');
            }
        }
        out
    }
}

/// A length of time in whole seconds, as people read it: `3d04h`, `2h05m`, `7m09s`.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours) {
        (0, 0) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_runc() {
        let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
        let mut table = Table::new(head);
        assert_eq!(
            table.text(),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
        let created = "2026-11-22T15:07:14.178736623Z";
        table.add([&"one", &141, &"running", &"/tmp/b", &created, &"root"]);
        assert_eq!(
            table.text(),
            "ID          PID         STATUS      BUNDLE      CREATED                          OWNER\n\
             one         141         running     /tmp/b      2026-11-22T15:07:14.178736623Z   root\n"
        );
    }

    #[test]
    fn lengths_of_time() {
        for (seconds, text) in [
            (0, "0m00s"),
            (429, "7m09s"),
            (7500, "2h05m"),
            (273_600, "3d04h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn json_is_indented() {
        let text = indented_json(&serde_json::json!({"a": [1], "b": {}}), "  ").unwrap();
        assert_eq!(text, "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
    }

    #[test]
    fn io_errors_are_in_go_words() {
        let error = std::fs::File::open("/nonexistent/x").unwrap_err();
        assert_eq!(
            io_error("open", Path::new("/nonexistent/x"), &error).to_string(),
            "open /nonexistent/x: no such file or directory"
        );
    }
}
