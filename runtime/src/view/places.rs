//! How the files get over those of the kernel: each is bound on its own, and whatever lies below /proc/sys stays the kernel's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use super::{FILES, Place};
use crate::error::{Context, Error, Result};
use crate::sys::fs::{self, OFlags};
use crate::sys::mount::{self, FsContext, attr};
use crate::sys::procfs::PROC_SUPER_MAGIC;

/// SYSFS_MAGIC of linux/magic.h.
const SYSFS_MAGIC: i64 = 0x6265_6572;

/// The files, each as a detached mount of its own.
#[derive(Debug, Default)]
pub(crate) struct Trees(Vec<(Place, OwnedFd)>);

impl Trees {
    /// Opens them in the directory where the file system is mounted. Somebody else has to serve it meanwhile. None where its
    /// connection has been cut (by `umount --force`): the container has the host's files then.
    pub(crate) fn open(directory: &Path) -> Result<Trees> {
        let directory = fs::open(directory, OFlags::PATH | OFlags::DIRECTORY)?;
        let mut trees = Vec::new();
        for (name, place, _) in FILES {
            match mount::clone_tree(&directory, name, false) {
                Ok(tree) => trees.push((place, tree)),
                Err(error) if is_cut(&error) => return Ok(Trees::default()),
                Err(error) => {
                    return Err(error.wrap("opening the view of the container's resources"));
                }
            }
        }
        Ok(Trees(trees))
    }

    /// Puts each over the file of the container's procfs or sysfs: where that is one, has the file, and has not been covered by
    /// the config.
    pub(crate) fn apply(self, rootfs: impl AsFd) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let procfs = file_system(&rootfs, "proc", PROC_SUPER_MAGIC)?;
        let sysfs = file_system(&rootfs, "sys", SYSFS_MAGIC)?;
        for (place, tree) in self.0 {
            let (at, path) = match place {
                Place::Proc(path) => (&procfs, path),
                Place::Sys(path) => (&sysfs, path),
            };
            let Some(at) = at else { continue };
            let place = match fs::open_no_xdev(at, path, OFlags::PATH) {
                Ok(place) => place,
                // Not in this kernel, or something is mounted there.
                Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::XDEV)) => continue,
                Err(error) => return Err(error),
            };
            mount::move_mount(tree, place)
                .context(|| format!("putting the container's {path} into place"))?;
        }
        Ok(())
    }
}

fn is_cut(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::NOTCONN | Errno::CONNABORTED))
}

/// The container's file system of that kind at that path; `None`: there is another one, or none.
fn file_system(rootfs: impl AsFd, path: &str, magic: i64) -> Result<Option<OwnedFd>> {
    let place = match fs::open_in_root(rootfs, path, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(place) => place,
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let found = fs::file_system(&place).context(|| format!("looking at /{path}"))?;
    Ok((found == magic).then_some(place))
}

/// Puts a procfs and a sysfs that nothing is mounted in below the place of the container's /proc, before that is mounted over them:
/// the kernel lets a user namespace mount a new one only where it sees a whole one (mount_namespaces(7)), and the container's own
/// are not any more. No path leads there.
pub(crate) fn keep_whole(place: impl AsFd) -> Result<()> {
    let words = || "keeping a whole procfs for nested containers";
    let context = FsContext::open("tmpfs").context(words)?;
    context.string("source", "vzrun")?;
    context.string("mode", "0555")?;
    context.string("nr_inodes", "4")?;
    context.create()?;
    let cover = context.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
    mount::move_mount(&cover, place).context(words)?;
    for (fstype, name) in [("proc", "whole-proc"), ("sysfs", "whole-sys")] {
        let tree = match new(fstype) {
            // Without a network namespace of its own it may mount no sysfs, and nor may any container in it.
            Err(error) if error.errno() == Some(Errno::PERM) => continue,
            tree => tree.context(words)?,
        };
        fs::mkdirat(&cover, name, 0o555)?;
        let place = fs::openat(&cover, name, OFlags::PATH | OFlags::DIRECTORY, 0)?;
        mount::move_mount(tree, place).context(words)?;
    }
    Ok(())
}

fn new(fstype: &str) -> Result<OwnedFd> {
    let context = FsContext::open(fstype)?;
    context.string("source", fstype)?;
    context.create()?;
    context.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)
}
