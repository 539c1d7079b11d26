//! A mount namespace that vzrun goes into for a moment, to put together what somebody else is to find mounted.

use std::os::fd::OwnedFd;

use crate::error::{Context, Result};
use crate::setup::namespaces::kind;
use crate::sys::fs::{self, OFlags};
use crate::sys::mount::{self, MountAttr, propagation};
use crate::sys::{namespace, process};

/// This process in a mount namespace of its own, which what is born meanwhile is born in or gets a copy of, and which ends
/// with the last that is in it.
pub(crate) struct Aside {
    namespace: OwnedFd,
    directory: OwnedFd,
    gone_back: bool,
}

impl Aside {
    pub(crate) fn step() -> Result<Aside> {
        let aside = Aside {
            namespace: fs::open("/proc/self/ns/mnt", OFlags::RDONLY)?,
            directory: fs::open(".", OFlags::PATH | OFlags::DIRECTORY)?,
            gone_back: false,
        };
        namespace::unshare(kind::MOUNT)?;
        mount::mount_setattr_path(c"/", true, &SLAVE)?;
        Ok(aside)
    }

    pub(crate) fn back(mut self) -> Result<()> {
        self.gone_back = true;
        self.go_back()
    }

    fn go_back(&self) -> Result<()> {
        namespace::setns(&self.namespace, kind::MOUNT)
            .and_then(|()| process::fchdir(&self.directory))
            .context(|| "coming back to the host's mount namespace")
    }
}

/// After a failure, too, for there are things to be undone on the host.
impl Drop for Aside {
    fn drop(&mut self) {
        if let (false, Err(error)) = (self.gone_back, self.go_back()) {
            crate::log::warn(format_args!("{error}"));
        }
    }
}

const SLAVE: MountAttr = MountAttr {
    set: 0,
    clear: 0,
    propagation: propagation::SLAVE,
    userns_fd: 0,
};
