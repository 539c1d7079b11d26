//! Bind mounts, id-mapped ones among them.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

use super::{Mount, check_not_in_procfs};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::setup::rootfs::Rootfs;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::procfs::Procfs;

/// A detached copy of the source, in the parent; with its maps when it is id-mapped.
pub(super) fn open(m: &Mount, idmapped: bool, host: &Host, procfs: &Procfs) -> Result<OwnedFd> {
    let tree = clone_source(m)?;
    // The copy still belongs to the peer groups of the host's mounts; slave is what the child's mounts are.
    let slave = MountAttr {
        propagation: mount::propagation::SLAVE,
        ..MountAttr::default()
    };
    mount::mount_setattr(&tree, true, &slave)?;
    if idmapped {
        let namespace = m
            .mappings
            .namespace(procfs, host)
            .context(|| "making the user namespace for the mount's uidMappings and gidMappings")?;
        let change = MountAttr {
            set: attr::IDMAP,
            userns_fd: namespace.as_raw_fd().unsigned_abs().into(),
            ..MountAttr::default()
        };
        mount::mount_setattr(&tree, m.options.idmap == Some(true), &change)
            .context(|| "id-mapping the mount (the file system may not support it)")?;
    }
    Ok(tree)
}

pub(super) fn clone_source(m: &Mount) -> Result<OwnedFd> {
    let mut flags = OFlags::PATH;
    flags.set(OFlags::NOFOLLOW, m.options.source_nofollow);
    let source = fs::open(&m.source, flags)?;
    mount::clone_tree(source, "", m.options.recursive)
}

/// The source's tree; `outside` is the one that was opened beforehand, which is taken in any case if it is the `only` one.
pub(super) fn tree(m: &Mount, outside: Option<OwnedFd>, only: bool) -> Result<OwnedFd> {
    Ok(match outside {
        Some(tree) if only || !m.mappings.is_empty() => tree,
        // In a user namespace a copy made here keeps the flags of the host's mount locked, and what lies on it; one from
        // outside would not. That is for sources that the container's root user cannot reach.
        Some(tree) => match clone_source(m) {
            // EINVAL: without the mounts on it, which are locked to it here.
            Err(error) if matches!(error.errno(), Some(Errno::ACCESS | Errno::INVAL)) => tree,
            here => here?,
        },
        None => clone_source(m)?,
    })
}

/// Mounts it: the attributes are set before anybody can see the mount.
pub(super) fn apply(
    m: &Mount,
    rootfs: &Rootfs,
    outside: Option<OwnedFd>,
    only: bool,
) -> Result<OwnedFd> {
    let tree = tree(m, outside, only)?;
    if m.options.has_attributes() {
        mount::mount_setattr(&tree, false, &m.options.attributes)?;
    }
    let place = place(m, rootfs, &tree)?;
    mount::move_mount(&tree, place)?;
    Ok(tree)
}

/// The destination, of the same kind as the source: a directory on a directory, anything else on a file.
pub(super) fn place(m: &Mount, rootfs: &Rootfs, tree: &OwnedFd) -> Result<OwnedFd> {
    if m.options.destination_nofollow
        && let Ok(fd) = rootfs.open(&m.destination, OFlags::PATH | OFlags::NOFOLLOW)
    {
        check_not_in_procfs(m, &fd)?;
        return Ok(fd);
    }
    let is_directory =
        |fd: &OwnedFd| fs::fstat(fd).map(|s| fs::file_type(&s) == FileType::Directory);
    let from_directory = is_directory(tree)?;
    let place = if from_directory {
        rootfs.directory(&m.destination)?
    } else {
        rootfs.file(&m.destination)?
    };
    check_not_in_procfs(m, &place)?;
    // The kernel would only call it invalid.
    if is_directory(&place)? != from_directory {
        let what = if from_directory {
            "a directory cannot be mounted on a file"
        } else {
            "a file cannot be mounted on a directory"
        };
        return Err(Error::os(what, Errno::NOTDIR));
    }
    Ok(place)
}
