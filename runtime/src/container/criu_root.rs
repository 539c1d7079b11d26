//! What CRIU finds mounted in a mount namespace of its own.

use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::io::Errno;

use crate::checkpoint::images::Images;
use crate::error::{Context, Result};
use crate::host::Host;
use crate::setup::id_mappings::{IdMappings, Range};
use crate::setup::rootfs::RootfsPlan;
use crate::sys::fs::{self, OFlags};
use crate::sys::mount::{self, MountAttr, attr, propagation};
use crate::sys::procfs::Procfs;

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

/// CRIU reads images inside of the container's user namespace, too, as the container's root, or as a root of the host who
/// has no rights there. Both may on a mount where `group`, that of the container's root, has changed places with the
/// host's 0: images of such a container are for their group, too. Elsewhere their modes have to do.
pub(super) fn lend(images: &mut Images, group: u32, procfs: &Procfs, host: &Host) -> Result<()> {
    let maps = IdMappings {
        uids: swapped(0),
        gids: swapped(group),
    };
    let namespace = maps
        .namespace(procfs, host)
        .context(|| "making the user namespace for a mount of the images")?;
    let tree = mount::clone_tree(images.directory(), "", false)?;
    let change = MountAttr {
        set: attr::IDMAP,
        userns_fd: namespace.as_raw_fd().unsigned_abs().into(),
        ..SLAVE
    };
    match mount::mount_setattr(&tree, false, &change) {
        Err(error) if matches!(error.errno(), Some(Errno::INVAL | Errno::PERM)) => return Ok(()),
        other => other?,
    }
    // Not left unattached: CRIU mounts in it.
    mount::move_mount(&tree, images.directory())?;
    images.read_through(tree);
    Ok(())
}

/// All ids as they are, but for 0 and this one.
fn swapped(id: u32) -> Vec<Range> {
    let range = |container, host, size| Range {
        container,
        host,
        size,
    };
    let all = match id {
        0 => vec![range(0, 0, u32::MAX)],
        _ => vec![
            range(0, id, 1),
            range(1, 1, id - 1),
            range(id, 0, 1),
            range(
                id.saturating_add(1),
                id.saturating_add(1),
                u32::MAX - 1 - id.min(u32::MAX - 1),
            ),
        ],
    };
    all.into_iter().filter(|range| range.size > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_one_place() {
        for id in [0, 1, 1000, 100_000, u32::MAX - 2, u32::MAX - 1] {
            let ranges = swapped(id);
            let all: u64 = ranges.iter().map(|range| u64::from(range.size)).sum();
            assert_eq!(all, u64::from(u32::MAX), "{id}");
            assert!(ranges.iter().any(|r| r.container == 0 && r.host == id));
        }
    }
}
