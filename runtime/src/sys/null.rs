//! The null device. The host's own node is not to get into a container: who is root there, in no user namespace, could
//! change its mode and owner, through any descriptor or mount of it, for all of the host.

use std::os::fd::{AsFd, OwnedFd};

use super::fs::{self, FileType, OFlags, Stat};
use super::mount::{self, FsContext, MountAttr, attr, propagation};
use crate::error::{Context, Error, Result};

/// Its device number.
const NUMBER: (u32, u32) = (1, 3);

/// Whether this is a node of it.
pub(crate) fn is_null(stat: &Stat) -> bool {
    fs::file_type(stat) == FileType::CharacterDevice && fs::rdev(stat) == NUMBER
}

/// A detached mount of the host's /dev/null, opened before anything of the container is reachable under that name, and
/// checked: a link or another device there would show through what it covers (CVE-2025-31133). It is private and
/// read-only, so that it can be read and written, and not changed.
pub(crate) fn cover() -> Result<OwnedFd> {
    let fd = fs::open("/dev/null", OFlags::PATH | OFlags::NOFOLLOW)?;
    if !is_null(&fs::fstat(&fd)?) {
        return Err(Error::unsupported(
            "the host's /dev/null is not the null device (1:3)",
        ));
    }
    let tree = mount::clone_tree(&fd, "", false)?;
    let attributes = MountAttr {
        set: attr::RDONLY | attr::NOSUID | attr::NOEXEC,
        propagation: propagation::PRIVATE,
        ..MountAttr::default()
    };
    mount::mount_setattr(&tree, false, &attributes)?;
    Ok(tree)
}

/// The null device by a node that nobody else has, on a file system of its own. It takes CAP_MKNOD on the host.
pub(crate) fn apart() -> Result<OwnedFd> {
    let words = || "making a null device";
    let make = || {
        let context = FsContext::open("tmpfs")?;
        context.string("source", "tmpfs")?;
        context.create()?;
        let place = context.mount(attr::NOSUID | attr::NOEXEC)?;
        fs::mknodat(&place, "null", FileType::CharacterDevice, 0o666, NUMBER)?;
        fs::openat(place, "null", OFlags::RDWR | OFlags::NOFOLLOW, 0)
    };
    make().context(words)
}

/// Whether what is open is the null device.
pub(crate) fn is_open(fd: impl AsFd) -> Result<bool> {
    fs::fstat(fd).map(|stat| is_null(&stat))
}
