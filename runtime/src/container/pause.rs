//! `pause`, `resume` and `ps`.

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
            Status::Running | Status::Created => self.own_cgroup("pausing")?.freeze(),
            _ => Err(Error::new(ErrorKind::InvalidState, "container not running")),
        }
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// `container not paused`.
    pub fn resume(&self) -> Result<()> {
        match self.status()? {
            Status::Paused => self.own_cgroup("resuming")?.thaw(),
            _ => Err(Error::new(ErrorKind::InvalidState, "container not paused")),
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

    fn own_cgroup(&self, what: &str) -> Result<Cgroup> {
        self.cgroup()?.ok_or_else(|| no_cgroup(what))
    }
}

fn no_cgroup(what: &str) -> Error {
    Error::unsupported(format!(
        "the container has no cgroup of its own, which {what} needs"
    ))
}
