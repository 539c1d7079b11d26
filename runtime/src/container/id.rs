//! The rule for container ids.

use crate::error::{Error, ErrorKind, Result};

/// Letters, digits, `_`, `+`, `-` and `.`, at least one, and neither `.` nor `..`: an id is the name of a directory.
pub(super) fn check(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidId,
            "container id cannot be empty",
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if id == "." || id == ".." || id.len() > 255 || !id.chars().all(allowed) {
        return Err(Error::new(
            ErrorKind::InvalidId,
            format!("invalid container ID format: {id:?}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids() {
        for (id, good) in [
            ("a", true),
            ("A-b_c+d.e0", true),
            ("...", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
            ("é", false),
        ] {
            assert_eq!(super::check(id).is_ok(), good, "{id:?}");
        }
        assert!(super::check(&"x".repeat(256)).is_err());
    }
}
