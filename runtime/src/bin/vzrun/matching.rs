//! `--regex`: many containers at once.

use regex_lite::Regex;
use vzrun::{Error, ErrorKind, Result, Root};

/// Does something to every container whose id matches; a failure does not keep the others from it.
pub(crate) fn for_each_match(
    root: &Root,
    pattern: &str,
    mut act: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let wrong = |error| Error::new(ErrorKind::InvalidArgument, format!("--regex: {error}"));
    let pattern = Regex::new(pattern).map_err(wrong)?;
    let mut failed = Vec::new();
    let mut kind = ErrorKind::Process;
    for container in vzrun::list(root)? {
        let id = &container.id;
        if !pattern.is_match(id) {
            continue;
        }
        if let Err(error) = act(id) {
            kind = error.kind();
            failed.push(format!("{id}: {error}"));
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::new(kind, failed.join("; ")))
}
