//! `--pid-file`.

use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::sys::fs::{self, OFlags};

/// Written whole or not at all; a bare number, as engines read it.
pub(super) fn write(path: &Path, pid: i32) -> Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::config("--pid-file names no file"))?
        .to_string_lossy();
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let words = || format!("writing the pid file {}", path.display());
    let directory = fs::open(
        parent.unwrap_or(Path::new(".")),
        OFlags::PATH | OFlags::DIRECTORY,
    )
    .context(words)?;
    let temporary = format!(".{name}.{pid}");
    // The name can be foreseen: what another user may have put there is not written to.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    fs::openat(&directory, &temporary, flags, 0o644)
        .and_then(|file| fs::write_once(file, pid.to_string().as_bytes()))
        .and_then(|()| fs::renameat(&directory, &temporary, &name))
        .inspect_err(|_| drop(fs::unlinkat(&directory, &temporary)))
        .context(words)
}

/// After a failure that came later than [`write()`].
pub(super) fn remove(path: Option<&Path>) {
    if let Some(path) = path {
        let _ = fs::unlinkat(fs::CWD, path);
    }
}
