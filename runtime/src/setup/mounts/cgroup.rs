//! Mounts of type `cgroup` and `cgroup2`.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::{CgroupView, Mount};
use crate::error::{Context, Result};
use crate::setup::rootfs::Rootfs;
use crate::sys::mount::{self, FsContext};

/// With a cgroup namespace: a cgroup2 of its own view. Without: the container's part of the host's, since a fresh mount
/// from the first namespace would show the whole tree and reset the host's mount options (cgroups(7)).
pub(super) fn apply(
    m: &Mount,
    rootfs: &Rootfs,
    view: &CgroupView,
    own_namespace: bool,
) -> Result<OwnedFd> {
    let place = rootfs.directory(&m.destination)?;
    let attributes = m.options.attributes.set;
    if own_namespace {
        let fresh = FsContext::open("cgroup2")
            .and_then(|context| context.create().and_then(|()| context.mount(attributes)));
        match fresh {
            Ok(tree) => {
                mount::move_mount(&tree, place)?;
                return Ok(tree);
            }
            // A user namespace may not mount cgroup2 where the host's is not fully visible: bind, as runc does.
            Err(error) => crate::log::debug(format_args!("binding instead: {error}")),
        }
    }
    let whole = view.mount.clone();
    let source = match &view.path {
        Some(path) => whole.join(path.strip_prefix("/").unwrap_or(path)),
        None => whole,
    };
    let tree = mount::clone_tree(rustix::fs::CWD, existing(&source), true)
        .context(|| "binding the container's cgroup")?;
    mount::mount_setattr(&tree, false, &m.options.attributes)?;
    mount::move_mount(&tree, place)?;
    Ok(tree)
}

/// The nearest directory that is there: a rootless container may have no cgroup of its own.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}
