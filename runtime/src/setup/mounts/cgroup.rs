//! Mounts of type `cgroup` and `cgroup2`.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;

use super::{CgroupView, Mount, check_not_in_procfs};
use crate::error::{Context, Result};
use crate::setup::rootfs::Rootfs;
use crate::sys::mount::{self, FsContext, attr};

/// `own`, with a cgroup namespace: a cgroup2 of its own view. `own` without one, in a user namespace: its own cgroup by a
/// bind mount, for root there may well own others (CVE-2023-25809). Else the host's by a bind mount, where the paths of
/// /proc/PID/cgroup lead; a fresh mount from the first namespace would reset the host's mount options (cgroups(7)).
pub(super) fn apply(m: &Mount, rootfs: &Rootfs, view: &CgroupView, own: bool) -> Result<OwnedFd> {
    let place = rootfs.directory(&m.destination)?;
    check_not_in_procfs(m, &place)?;
    let attributes = m.options.attributes.set;
    if own {
        match fresh(m, attributes) {
            Ok(tree) => {
                mount::move_mount(&tree, place)?;
                return Ok(tree);
            }
            Err(error) if !matches!(error.errno(), Some(Errno::PERM | Errno::BUSY)) => {
                return Err(error);
            }
            // Not in a user namespace without a cgroup namespace, nor where the host's is not fully visible: bind, as
            // runc does.
            Err(error) => crate::log::debug(format_args!("binding instead: {error}")),
        }
    }
    let tree = match &view.path {
        Some(path) => {
            let below = match own {
                true => path.strip_prefix("/").unwrap_or(path),
                false => Path::new(""),
            };
            mount::clone_tree(rustix::fs::CWD, view.mount.join(below), true)
                .context(|| "binding the host's cgroups")?
        }
        // A container without a cgroup of its own has no part of the host's to see (CVE-2023-25809).
        None => nothing()?,
    };
    mount::mount_setattr(&tree, false, &m.options.attributes)?;
    mount::move_mount(&tree, place)?;
    Ok(tree)
}

/// The view of this process's cgroup namespace, by the name that the config gives it: tools look for it in the table.
fn fresh(m: &Mount, attributes: u64) -> Result<OwnedFd> {
    let context = FsContext::open("cgroup2")?;
    if let Some(source) = m.source.to_str().filter(|source| !source.is_empty()) {
        context.string("source", source)?;
    }
    context.create()?;
    context.mount(attributes)
}

/// An empty file system that nothing can be made in.
fn nothing() -> Result<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.string("nr_inodes", "1")?;
    context.string("mode", "0555")?;
    context.create()?;
    context.mount(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)
}
