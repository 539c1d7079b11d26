//! The init of a system container, which the record does not know: it is the one child of its keeper, another one after each
//! reboot.

use std::os::fd::OwnedFd;

use rustix::process::Pid;

use super::Container;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::pidfd;

impl Container {
    /// The process whose namespaces are those that the container's programs live in, with its pid: `init`, or the process
    /// that `init` is the keeper of.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`]: the container is between two boots.
    pub(super) fn inner(&self, init: OwnedFd) -> Result<(OwnedFd, i32)> {
        if !self.record.system {
            return Ok((init, self.record.pid));
        }
        let child = || -> Result<Option<i32>> {
            let keeper = self.record.pid;
            let path = format!("{keeper}/task/{keeper}/children");
            let text = self.procfs.read(&path)?;
            Ok(text
                .split_whitespace()
                .next()
                .and_then(|pid| pid.parse().ok()))
        };
        let rebooting = || {
            let text = "the container is being rebooted: try again";
            Error::new(ErrorKind::NotRunning, text)
        };
        let words = || "looking for the init of the system container";
        let pid = child().context(words)?.ok_or_else(rebooting)?;
        let pidfd = match Pid::from_raw(pid).map(pidfd::pidfd_open) {
            Some(Ok(pidfd)) => pidfd,
            _ => return Err(rebooting()),
        };
        // With the pidfd held the number stays its own: if it is a child of the keeper now, it was meant.
        match child().context(words)? {
            Some(same) if same == pid => Ok((pidfd, pid)),
            _ => Err(rebooting()),
        }
    }
}
