//! Annotations of our own, `io.vzrun.*`.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// The annotation of this name.
pub(crate) fn annotation<'a>(
    annotations: Option<&'a HashMap<String, String>>,
    name: &str,
) -> Option<&'a str> {
    annotations
        .and_then(|all| all.get(name))
        .map(String::as_str)
}

/// One that is `true` or `false`. `None`: it is not there.
///
/// # Errors
/// It is something else.
pub(crate) fn switch(
    annotations: Option<&HashMap<String, String>>,
    name: &str,
) -> Result<Option<bool>> {
    match annotation(annotations, name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(Error::config(format!(
            "annotation {name}: {other:?} is neither true nor false"
        ))),
    }
}
