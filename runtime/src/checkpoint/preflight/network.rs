//! A network namespace in which the container's own user namespace has no rights. CRIU goes into the one and then into the other, which
//! the kernel does not let it.

use super::Finding;
use crate::error::Result;
use crate::sys::fs::{self, OFlags};
use crate::sys::namespace;
use crate::sys::procfs::Procfs;

/// What helps.
pub(in crate::checkpoint) const REMEDY: &str = "have the runtime make the network namespace (no path in the config; Podman's --network=none), or run the container without a user namespace";

pub(super) fn look(init: i32, procfs: &Procfs) -> Result<Option<Finding>> {
    let users = procfs.stat_behind(&format!("{init}/ns/user"))?.st_ino;
    if users == fs::stat("/proc/self/ns/user")?.st_ino {
        return Ok(None);
    }
    let network = fs::openat(procfs, format!("{init}/ns/net"), OFlags::RDONLY, 0)?;
    let owner = fs::fstat(namespace::owner(&network)?)?.st_ino;
    let reason = "the network namespace was made outside of the container's user namespace";
    Ok((owner != users).then(|| (reason.into(), REMEDY)))
}
