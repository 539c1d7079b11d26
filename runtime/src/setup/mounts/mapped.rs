//! Bind mounts of a container with ids of its own: what is the host's root's is its root's.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::{Mount, Mounts, bind};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::sys::fs::{self, FileType};
use crate::sys::mount::{self, MountAttr};
use crate::sys::procfs::Procfs;

impl Mounts {
    /// The trees of all bind mounts, for a container whose root is no user of the host's: as if what is in them belonged to it.
    pub(crate) fn open_mapped(
        &self,
        namespace: &OwnedFd,
        host: &Host,
        procfs: &Procfs,
    ) -> Result<Vec<Option<OwnedFd>>> {
        let tree = |m: &Mount| {
            let wanted = m.options.bind && !m.options.remount;
            wanted
                .then(|| open(m, namespace, host, procfs).context(|| m.title()))
                .transpose()
        };
        self.list.iter().map(tree).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// The options of the first sysfs, if there is one.
    pub(crate) fn attributes_of_sysfs(&self) -> Option<MountAttr> {
        let sysfs = self.list.iter().find(|m| m.fstype == "sysfs");
        sysfs.map(|m| m.options.attributes)
    }
}

/// The source's tree where all ids are to be seen through `namespace`: by a mount that has no maps of its own, as far as its file
/// systems can. With its attributes, which the container is not to take away.
fn open(m: &Mount, namespace: &OwnedFd, host: &Host, procfs: &Procfs) -> Result<OwnedFd> {
    let tree = match m.mappings.is_empty() {
        true => mapped(m, namespace)?,
        false => bind::open(m, true, host, procfs)?,
    };
    if m.options.has_attributes() {
        mount::mount_setattr(&tree, false, &m.options.attributes)?;
    }
    if m.options.recursive_attributes != MountAttr::default() {
        mount::mount_setattr(&tree, true, &m.options.recursive_attributes)?;
    }
    Ok(tree)
}

fn mapped(m: &Mount, namespace: &OwnedFd) -> Result<OwnedFd> {
    let tree = bind::clone_source(m)?;
    let slave = MountAttr {
        propagation: mount::propagation::SLAVE,
        ..MountAttr::default()
    };
    mount::mount_setattr(&tree, true, &slave)?;
    let is_unable = |error: &Error| error.errno() == Some(Errno::INVAL);
    let all = mount::map_ids(&tree, namespace, m.options.recursive);
    let unable = match all {
        Err(error) if is_unable(&error) && m.options.recursive => {
            mount::map_ids(&tree, namespace, false).err()
        }
        other => other.err(),
    };
    match unable {
        // A node of the host's is used by its mode.
        Some(error) if is_unable(&error) => {
            if !is_device(&tree)? {
                crate::log::warn(format_args!(
                    "{}: its file system cannot be id-mapped: all in it belongs to nobody in the container",
                    m.title()
                ));
            }
            Ok(tree)
        }
        Some(error) => Err(error.wrap("id-mapping the mount")),
        None => Ok(tree),
    }
}

fn is_device(tree: &OwnedFd) -> Result<bool> {
    let kind = fs::file_type(&fs::fstat(tree)?);
    Ok(matches!(
        kind,
        FileType::CharacterDevice | FileType::BlockDevice
    ))
}
