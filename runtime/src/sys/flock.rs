//! flock(2): locks that belong to an open file, and so to all who share that.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{self, FlockOperation};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// LOCK_EX; waits.
pub(crate) fn exclusive(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    rustix::io::retry_on_intr(|| fs::flock(fd, FlockOperation::LockExclusive))
        .call(|| format!("flock({}, LOCK_EX)", fd.as_raw_fd()))
}

/// LOCK_UN.
pub(crate) fn unlock(fd: impl AsFd) {
    // Nothing can go wrong with a descriptor that is open, and nobody could do anything about it.
    let _ = fs::flock(fd, FlockOperation::Unlock);
}

/// Whether somebody else holds the lock (and if not, takes and drops it).
pub(crate) fn is_locked(fd: impl AsFd) -> bool {
    let fd = fd.as_fd();
    let locked = fs::flock(fd, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK);
    if !locked {
        unlock(fd);
    }
    locked
}
