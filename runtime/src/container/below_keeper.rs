//! The init of a system container, which the record does not know: of its keeper's children it is the one in a pid namespace of its
//! own, another one after each reboot.

use std::os::fd::OwnedFd;

use rustix::process::Pid;

use super::Container;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::pidfd;
use crate::sys::procfs::innermost_number;

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
            let mut children = text.split_whitespace().filter_map(|pid| pid.parse().ok());
            // The others write answers (`process/sysinfo.rs`).
            Ok(children.find(|pid| self.is_process_1(*pid)))
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

    /// In the innermost of its pid namespaces.
    fn is_process_1(&self, pid: i32) -> bool {
        let status = self.procfs.read(&format!("{pid}/status"));
        status.is_ok_and(|status| innermost_number(&status) == Some(1))
    }
}
