//! Standing still: the freezer of a cgroup.

use std::time::Instant;

use rustix::io::Errno;

use super::{Cgroup, PATIENCE};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::fs;

impl Cgroup {
    /// Whether everything in it stands still by its own freezer (cgroup.freeze).
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        match fs::read_at(&self.directory, "cgroup.freeze") {
            Ok(text) => Ok(text.trim() == "1"),
            Err(error) if matches!(error.errno(), Some(Errno::NODEV | Errno::NOENT)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stops everything in it and waits until it stands still; undone when that does not come about.
    ///
    /// # Errors
    /// ENOENT or ENODEV where it is removed meanwhile.
    pub(crate) fn freeze(&self) -> Result<()> {
        fs::write_at(&self.directory, "cgroup.freeze", "1")?;
        let until = Instant::now() + PATIENCE;
        let frozen = self.wait_for("frozen 1", until, || match self.is_frozen()? {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::InvalidState,
                "the container was resumed while it was being paused",
            )),
        });
        match frozen {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::os("read(cgroup.events)", Errno::NODEV)),
            Err(error) => {
                if let Err(error) = self.thaw() {
                    crate::log::warn(format_args!("thawing after a failed freeze: {error}"));
                }
                Err(error)
            }
        }
    }

    /// Lets everything in it run again.
    pub(crate) fn thaw(&self) -> Result<()> {
        match fs::write_at(&self.directory, "cgroup.freeze", "0") {
            Err(error) if !matches!(error.errno(), Some(Errno::NODEV | Errno::NOENT)) => Err(error),
            _ => Ok(()),
        }
    }
}
