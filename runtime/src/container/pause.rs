//! `pause`, `resume` and `ps`.

use rustix::io::Errno;

use super::{Container, Status};
use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};

impl Container {
    /// Makes all processes of the container stand still (cgroup.freeze).
    ///
    /// # Errors
    /// `container not running` where it is neither running nor created.
    pub fn pause(&self) -> Result<()> {
        match self.status()? {
            Status::Running | Status::Created => {
                let cgroup = self.own_cgroup("pausing", not_running)?;
                let frozen = match self.record.system {
                    true => cgroup.freeze_cells(),
                    false => cgroup.freeze(),
                };
                frozen.map_err(|error| or_gone(error, not_running))
            }
            _ => Err(not_running()),
        }
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// `container not paused`.
    pub fn resume(&self) -> Result<()> {
        match self.status()? {
            Status::Paused => self.own_cgroup("resuming", not_paused)?.thaw(),
            _ => Err(not_paused()),
        }
    }

    /// The pids of all its processes, as the caller sees them.
    pub fn processes(&self) -> Result<Vec<i32>> {
        match self.cgroup()? {
            Some(cgroup) => cgroup.processes(),
            None if self.status()? == Status::Stopped => Ok(Vec::new()),
            None => Err(no_cgroup("listing its processes")),
        }
    }

    /// Where it had one, its container has been deleted since its status was found out.
    pub(super) fn own_cgroup(&self, what: &str, gone: impl Fn() -> Error) -> Result<Cgroup> {
        self.cgroup()?
            .ok_or_else(|| match self.record.cgroup.is_some() {
                true => gone(),
                false => no_cgroup(what),
            })
    }
}

fn not_running() -> Error {
    Error::new(ErrorKind::InvalidState, "container not running")
}

fn not_paused() -> Error {
    Error::new(ErrorKind::InvalidState, "container not paused")
}

/// A file of a cgroup that has been removed can be neither opened nor written.
pub(super) fn or_gone(error: Error, gone: impl Fn() -> Error) -> Error {
    match error.errno() {
        Some(Errno::NOENT | Errno::NODEV) => gone(),
        _ => error,
    }
}

pub(super) fn no_cgroup(what: &str) -> Error {
    Error::unsupported(format!(
        "the container has no cgroup of its own, which {what} needs"
    ))
}
