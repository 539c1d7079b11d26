//! What comes from files and from stdin.

use std::io::Read;
use std::path::Path;

use vzrun::Result;

use crate::output::io_error;

/// A document from a file, or with `-` from stdin. At most as much as a whole config.json may have.
pub(crate) fn read(file: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let wrong = |error| io_error("open", Path::new(file), &error);
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(file).map_err(wrong)?),
    };
    source
        .take(32 << 20)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    Ok(bytes)
}
