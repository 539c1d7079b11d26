//! What goes to stdout.

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

/// Columns as wide as Go's tabwriter makes them for runc: at least 12, at least 3 between two.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let length = |text: &String| text.chars().count();
    let widths: Vec<usize> = (0..columns)
        .map(|n| rows.iter().filter_map(|row| row.get(n)).map(length).max())
        .map(|longest| (longest.unwrap_or_default() + 3).max(12))
        .collect();
    let mut out = String::new();
    for row in rows {
        for (n, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if n + 1 < row.len() {
                let pad = widths[n].saturating_sub(length(cell));
                out.extend(std::iter::repeat_n(' ', pad));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_runc() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: Vec<Vec<String>> = vec![
            row(&["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]),
            row(&[
                "one",
                "141",
                "running",
                "/tmp/b",
                "2026-11-22T15:07:14.178736623Z",
                "root",
            ]),
        ];
        assert_eq!(
            table(&rows),
            "ID          PID         STATUS      BUNDLE      CREATED                          OWNER\n\
             one         141         running     /tmp/b      2026-11-22T15:07:14.178736623Z   root\n"
        );
        assert_eq!(
            table(&rows[..1]),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
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
