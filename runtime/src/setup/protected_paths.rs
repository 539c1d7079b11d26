//! linux.maskedPaths and linux.readonlyPaths.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::setup::rootfs::Rootfs;
use crate::spec;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount::{self, FsContext, MountAttr, attr};
use crate::sys::null;
use crate::sys::procfs::PROC_SUPER_MAGIC;

/// Both lists.
#[derive(Debug, Default)]
pub(crate) struct ProtectedPaths {
    masked: Vec<PathBuf>,
    readonly: Vec<PathBuf>,
    /// The config mounts a procfs at /proc: then what is protected there is of that, or there is no container.
    of_procfs: bool,
}

impl ProtectedPaths {
    /// A relative path is one below the root.
    pub(crate) fn plan(spec: &spec::Spec) -> ProtectedPaths {
        let linux = spec.linux().as_ref();
        let list =
            |paths: Option<&Vec<String>>| paths.into_iter().flatten().map(PathBuf::from).collect();
        let is_procfs = |mount: &spec::Mount| {
            mount.typ().as_deref() == Some("proc") && mount.destination() == Path::new("/proc")
        };
        ProtectedPaths {
            masked: list(linux.and_then(|linux| linux.masked_paths().as_ref())),
            readonly: list(linux.and_then(|linux| linux.readonly_paths().as_ref())),
            of_procfs: spec.mounts().iter().flatten().any(is_procfs),
        }
    }

    /// The config mounts a procfs at /proc.
    pub(crate) fn has_procfs(&self) -> bool {
        self.of_procfs
    }

    /// Whether something of the kernel's own file systems is covered.
    pub(crate) fn are_in_proc_or_sys(&self) -> bool {
        let mut all = self.masked.iter().chain(&self.readonly);
        all.any(|path| {
            ["/proc", "/sys"]
                .iter()
                .any(|kernels| path.starts_with(kernels))
        })
    }

    /// Read-only first, so that a masked path below one stays masked. What is not there needs no protection.
    pub(crate) fn apply(&self, rootfs: &Rootfs) -> Result<()> {
        let mut procfs = None;
        for path in &self.readonly {
            let words = || format!("making {} read-only", path.display());
            let Some(place) = self.find(path, rootfs, &mut procfs).context(words)? else {
                continue;
            };
            make_readonly(&place).context(words)?;
        }
        let mut masks = Masks::default();
        for path in &self.masked {
            let words = || format!("masking {}", path.display());
            let Some(place) = self.find(path, rootfs, &mut procfs).context(words)? else {
                continue;
            };
            masks.cover(place).context(words)?;
        }
        Ok(())
    }

    /// What is at a path of the container. Since the mounts were made, somebody who shares the root filesystem may have
    /// put something else at /proc: that would be protected, and the procfs would not (CVE-2025-52881).
    fn find(
        &self,
        path: &Path,
        rootfs: &Rootfs,
        procfs: &mut Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>> {
        let Some(inside) = inside_proc(path).filter(|_| self.of_procfs) else {
            return rootfs.find(path);
        };
        let procfs = match procfs {
            Some(procfs) => procfs,
            None => procfs.insert(open_procfs(rootfs)?),
        };
        match fs::open_beneath(procfs, inside, OFlags::PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if fs::is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The rest of a path that plainly is one below /proc.
fn inside_proc(path: &Path) -> Option<&Path> {
    let inside = path.strip_prefix("/proc").ok()?;
    let plain = inside
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (plain && !inside.as_os_str().is_empty()).then_some(inside)
}

fn open_procfs(rootfs: &Rootfs) -> Result<OwnedFd> {
    let procfs = rootfs.open("proc", OFlags::PATH)?;
    if fs::file_system(&procfs)? != PROC_SUPER_MAGIC {
        return Err(Error::config(
            "/proc is no longer the procfs that was mounted there: something has replaced it",
        ));
    }
    Ok(procfs)
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
/// tmpfs of its own costs the kernel a superblock, and the host's /dev/null, read-only as well, for files.
#[derive(Default)]
struct Masks {
    empty: Option<OwnedFd>,
    null: Option<OwnedFd>,
}

impl Masks {
    fn cover(&mut self, place: OwnedFd) -> Result<()> {
        let is_directory = fs::file_type(&fs::fstat(&place)?) == FileType::Directory;
        let (kept, make): (_, fn() -> Result<OwnedFd>) = match is_directory {
            true => (&mut self.empty, empty_directory),
            false => (&mut self.null, null::cover),
        };
        // Only an attached mount can be copied before Linux 6.15, so the first cover is the original.
        match kept {
            Some(cover) => mount::move_mount(mount::clone_tree(cover, "", false)?, place),
            None => mount::move_mount(kept.insert(make()?), place),
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
