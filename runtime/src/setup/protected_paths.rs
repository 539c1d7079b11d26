//! linux.maskedPaths and linux.readonlyPaths.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::error::{Context, Error, Result};
use crate::setup::rootfs::Rootfs;
use crate::spec;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount::{self, FsContext, MountAttr, attr};

/// Both lists.
#[derive(Debug, Default)]
pub(crate) struct ProtectedPaths {
    masked: Vec<PathBuf>,
    readonly: Vec<PathBuf>,
}

impl ProtectedPaths {
    /// A relative path is one below the root.
    pub(crate) fn plan(linux: Option<&spec::Linux>) -> ProtectedPaths {
        let list =
            |paths: Option<&Vec<String>>| paths.into_iter().flatten().map(PathBuf::from).collect();
        ProtectedPaths {
            masked: list(linux.and_then(|linux| linux.masked_paths().as_ref())),
            readonly: list(linux.and_then(|linux| linux.readonly_paths().as_ref())),
        }
    }

    /// Read-only first, so that a masked path below one stays masked. What is not there needs no protection.
    pub(crate) fn apply(&self, rootfs: &Rootfs) -> Result<()> {
        for path in &self.readonly {
            let words = || format!("making {} read-only", path.display());
            let Some(place) = rootfs.find(path).context(words)? else {
                continue;
            };
            make_readonly(&place).context(words)?;
        }
        let mut masks = Masks::default();
        for path in &self.masked {
            let words = || format!("masking {}", path.display());
            let Some(place) = rootfs.find(path).context(words)? else {
                continue;
            };
            masks.cover(place).context(words)?;
        }
        Ok(())
    }
}

fn make_readonly(place: &OwnedFd) -> Result<()> {
    let tree = mount::clone_tree(place, "", true)?;
    let readonly = MountAttr {
        set: attr::RDONLY,
        ..MountAttr::default()
    };
    mount::mount_setattr(&tree, false, &readonly)?;
    mount::move_mount(&tree, place)
}

/// What covers masked paths, made when first needed: one empty read-only directory for all directories, since each
/// tmpfs of its own costs the kernel a superblock, and the host's /dev/null for files.
#[derive(Default)]
struct Masks {
    empty: Option<OwnedFd>,
    null: Option<OwnedFd>,
}

impl Masks {
    fn cover(&mut self, place: OwnedFd) -> Result<()> {
        if fs::file_type(&fs::fstat(&place)?) != FileType::Directory {
            let null = match &self.null {
                Some(null) => null,
                None => self.null.insert(null()?),
            };
            return mount::move_mount(mount::clone_tree(null, "", false)?, place);
        }
        // Only an attached mount can be copied before Linux 6.15, so the first cover is the original.
        match &self.empty {
            Some(empty) => mount::move_mount(mount::clone_tree(empty, "", false)?, place),
            None => mount::move_mount(self.empty.insert(empty_directory()?), place),
        }
    }
}

/// A tmpfs that holds nothing and never can.
fn empty_directory() -> Result<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.string("source", "tmpfs")?;
    context.string("nr_blocks", "1")?;
    context.string("nr_inodes", "1")?;
    context.string("mode", "0555")?;
    context.create()?;
    context.mount(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)
}

/// The host's /dev/null, opened before anything of the container is reachable under that name, and checked: a link or
/// another device there would show through the mask (CVE-2025-31133).
fn null() -> Result<OwnedFd> {
    let fd = fs::open("/dev/null", OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = fs::fstat(&fd)?;
    if fs::file_type(&stat) != FileType::CharacterDevice || fs::rdev(&stat) != (1, 3) {
        return Err(Error::unsupported(
            "the host's /dev/null is not the null device (1:3)",
        ));
    }
    Ok(fd)
}
