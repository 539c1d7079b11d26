//! A mount namespace for CRIU.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{Context, Result};
use crate::setup::namespaces::kind;
use crate::setup::rootfs::RootfsPlan;
use crate::sys::fs::{self, OFlags};
use crate::sys::mount::{self, MountAttr, propagation};
use crate::sys::{namespace, process};

/// This process in a mount namespace of its own, which CRIU is born in, and which ends with CRIU. The directories of the
/// images are opened there, since CRIU mounts in them.
pub(super) struct Aside {
    namespace: OwnedFd,
    directory: OwnedFd,
    gone_back: bool,
}

impl Aside {
    pub(super) fn step() -> Result<Aside> {
        let aside = Aside {
            namespace: fs::open("/proc/self/ns/mnt", OFlags::RDONLY)?,
            directory: fs::open(".", OFlags::PATH | OFlags::DIRECTORY)?,
            gone_back: false,
        };
        namespace::unshare(kind::MOUNT)?;
        mount::mount_setattr_path(c"/", true, &SLAVE)?;
        Ok(aside)
    }

    pub(super) fn back(mut self) -> Result<()> {
        self.gone_back = true;
        self.go_back()
    }

    fn go_back(&self) -> Result<()> {
        namespace::setns(&self.namespace, kind::MOUNT)?;
        process::fchdir(&self.directory)
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

/// The root filesystem at `place`.
pub(super) fn mount_root(root: &RootfsPlan, place: &Path) -> Result<()> {
    let tree = root.open()?;
    mount::mount_setattr(&tree, true, &SLAVE)?;
    let place = fs::open(place, OFlags::PATH | OFlags::DIRECTORY)?;
    mount::move_mount(&tree, place).context(|| "mounting the root filesystem for CRIU")
}
