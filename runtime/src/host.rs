//! Facts about the host and the caller that a plan depends on.

use crate::error::Result;
use crate::sys::{fs, ids};

/// The inode number of the initial user namespace (PROC_USER_INIT_INO of linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Facts gathered once at the start of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    /// The effective user of the caller.
    pub(crate) euid: u32,
    /// The effective group of the caller.
    pub(crate) egid: u32,
    /// vzrun itself runs in a user namespace other than the first.
    pub(crate) in_user_namespace: bool,
    /// The caller is not the host's root: what only root may do is passed over where runc passes over it.
    pub(crate) rootless: bool,
}

impl Host {
    /// Looks; `rootless` overrides the judgement (`--rootless true|false`).
    pub(crate) fn look(rootless: Option<bool>) -> Result<Host> {
        let euid = ids::euid();
        // Identity maps written by others fool a look at uid_map; the inode number does not lie.
        let in_user_namespace = match fs::stat("/proc/self/ns/user") {
            Ok(stat) => stat.st_ino != INITIAL_USER_NAMESPACE,
            // A kernel without user namespaces, or no procfs, which others find out.
            Err(error) if fs::is_missing(&error) => false,
            Err(error) => return Err(error),
        };
        let rootless = rootless.unwrap_or(euid != 0 || in_user_namespace);
        Ok(Host {
            euid,
            egid: ids::egid(),
            in_user_namespace,
            rootless,
        })
    }

    /// The kernel has time namespaces (Linux 5.6).
    pub(crate) fn has_time_namespaces(&self) -> bool {
        fs::stat("/proc/self/ns/time").is_ok()
    }

    /// May create mounts and devices in its own namespaces: root that is not confined to a user namespace.
    pub(crate) fn privileged(&self) -> bool {
        self.euid == 0 && !self.in_user_namespace
    }
}
