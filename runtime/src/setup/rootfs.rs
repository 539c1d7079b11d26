//! root: the container's root directory, and the only way to paths below it.
//!
//! Every path of the container is resolved with the root's descriptor as `/` (openat2 RESOLVE_IN_ROOT) and used as the
//! descriptor that came out; a link that is swapped in meanwhile changes nothing.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::spec;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount::{self, MountAttr, attr, propagation};
use crate::sys::mountinfo;
use crate::sys::process;

/// root and linux.rootfsPropagation in kernel terms.
#[derive(Debug)]
pub(crate) struct RootfsPlan {
    /// The absolute path of the root directory on the host.
    pub(crate) path: PathBuf,
    readonly: bool,
    propagation: u64,
    propagation_recursive: bool,
    /// What is mounted in the container later is seen by its own mount namespaces.
    shared_inside: bool,
    pub(crate) no_pivot: bool,
}

impl RootfsPlan {
    /// A relative path is one below the bundle. In a `system` container that does not say otherwise mounts are shared, as on a machine:
    /// systemd relies on that, and leaves it to its container's manager.
    pub(crate) fn plan(
        spec: &spec::Spec,
        bundle: &Path,
        no_pivot: bool,
        system: bool,
    ) -> Result<RootfsPlan> {
        let root = spec
            .root()
            .as_ref()
            .ok_or_else(|| Error::config("root is missing"))?;
        if root.path().as_os_str().is_empty() {
            return Err(Error::config("root.path is empty"));
        }
        let word = spec
            .linux()
            .as_ref()
            .and_then(|l| l.rootfs_propagation().as_deref());
        let (propagation, propagation_recursive) = propagation_of(word.unwrap_or(""))?;
        Ok(RootfsPlan {
            path: bundle.join(root.path()),
            readonly: root.readonly().unwrap_or(false),
            propagation,
            propagation_recursive,
            shared_inside: system && word.is_none_or(str::is_empty),
            no_pivot,
        })
    }

    /// A detached copy of the root directory's mounts. Runs where the path can be reached: in the parent when the
    /// container's root user could not, else in the child.
    pub(crate) fn open(&self) -> Result<OwnedFd> {
        let opened = fs::open(&self.path, OFlags::PATH | OFlags::DIRECTORY)
            .context(|| "opening the root filesystem")?;
        mount::clone_tree(opened, "", true)
    }

    /// The root directory as it is on the host, for who prepares it for somebody else.
    pub(crate) fn on_host(&self) -> Result<Rootfs> {
        fs::open(&self.path, OFlags::PATH | OFlags::DIRECTORY)
            .map(|fd| Rootfs { fd })
            .context(|| "opening the root filesystem")
    }

    /// Cuts the new mount namespace off from the host's and puts the root's tree where its directory is, for hooks that
    /// look there. On top of `/`, which can be reached without any path, where that cannot be: when the container's root
    /// user may not go there, when it is to be entered by chroot(2), and when the mount around it is to be shared.
    pub(crate) fn attach(&self, tree: OwnedFd) -> Result<Rootfs> {
        let (first, recursive) = self.cut_off()?;
        mount::mount_setattr(&tree, recursive, &change(first))?;
        // pivot_root(2) refuses a new root that is shared, and nothing of the host is to appear in it.
        mount::mount_setattr(&tree, false, &change(propagation::PRIVATE))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let in_place = !self.no_pivot && first != propagation::SHARED;
        let place = match in_place.then(|| fs::open(&self.path, flags)) {
            Some(Ok(place)) => place,
            // In a copy of the keeper's mount namespace there is none of the host's directories.
            Some(Err(error)) if error.errno() != Some(Errno::ACCESS) && !fs::is_missing(&error) => {
                return Err(error);
            }
            _ => fs::open("/", flags)?,
        };
        mount::move_mount(&tree, place)?;
        Ok(Rootfs { fd: tree })
    }

    /// Cuts the new mount namespace off from the host's; gives the propagation that its mounts have then.
    pub(crate) fn cut_off(&self) -> Result<(u64, bool)> {
        // Mounts of an unbindable tree could not be copied; that comes at the end.
        let first = match self.propagation {
            propagation::UNBINDABLE => propagation::SLAVE,
            // The host's procfs is unmounted then (below), which must not happen on the host, too.
            propagation::SHARED if self.no_pivot => propagation::SLAVE,
            given => given,
        };
        // A shared tree stays in the host's peer groups: that is what is asked for. What is private there stays so.
        let recursive = first != propagation::SHARED || self.propagation_recursive;
        mount::mount_setattr_path(c"/", recursive, &change(first))
            .context(|| "setting the propagation of the new mount namespace")?;
        if first == propagation::SHARED {
            // What is mounted on `/` from here on must not appear on the host.
            mount::mount_setattr_path(c"/", false, &change(propagation::PRIVATE))?;
        }
        Ok((first, recursive))
    }

    /// Makes the tree the root of the mount namespace and leaves the host's behind.
    pub(crate) fn enter(&self, rootfs: &Rootfs) -> Result<()> {
        process::fchdir(&rootfs.fd)?;
        if self.no_pivot {
            // The host's root stays mounted underneath: less isolation, asked for on a ramfs root, which cannot pivot.
            hide_host_procfs_and_sysfs()?;
            process::chroot(".")?;
        } else {
            pivot(rootfs)?;
        }
        process::chdir("/")?;
        if matches!(
            self.propagation,
            propagation::SHARED | propagation::UNBINDABLE
        ) {
            let last = MountAttr {
                propagation: self.propagation,
                ..MountAttr::default()
            };
            mount::mount_setattr_path(c"/", self.propagation_recursive, &last)?;
        }
        if self.shared_inside {
            // Among themselves: the host's mounts, which they are slaves of, get nothing of it.
            mount::mount_setattr_path(c"/", true, &change(propagation::SHARED))?;
        }
        Ok(())
    }

    /// root.readonly, once nothing more has to be made in it.
    pub(crate) fn apply_readonly(&self, rootfs: &Rootfs) -> Result<()> {
        if !self.readonly {
            return Ok(());
        }
        let readonly = MountAttr {
            set: attr::RDONLY,
            ..MountAttr::default()
        };
        mount::mount_setattr(&rootfs.fd, false, &readonly)
            .context(|| "making the root filesystem read-only")
    }
}

fn change(propagation: u64) -> MountAttr {
    MountAttr {
        propagation,
        ..MountAttr::default()
    }
}

/// Makes it the root of the mount namespace; the old root goes.
pub(crate) fn pivot(rootfs: &Rootfs) -> Result<()> {
    process::fchdir(&rootfs.fd)?;
    let old_root = fs::open("/", OFlags::PATH | OFlags::DIRECTORY)?;
    mount::pivot_root_here()?;
    // What is unmounted in the old root must not travel to the host.
    mount::mount_setattr(&old_root, true, &change(propagation::SLAVE))?;
    process::fchdir(&old_root)?;
    mount::umount_detach(Path::new("."))?;
    process::chdir("/")
}

/// Without pivot_root(2) the container could find its way to mounts of the host. Those that it could not have made for
/// itself, procfs and sysfs without masked paths, are taken away.
fn hide_host_procfs_and_sysfs() -> Result<()> {
    let mountinfo = fs::openat(fs::CWD, "/proc/self/mountinfo", OFlags::RDONLY, 0)?;
    let mountinfo = fs::read_to_end(mountinfo, 64 << 20).context(|| "/proc/self/mountinfo")?;
    for line in mountinfo::lines(&mountinfo) {
        if line.kind == "proc" || line.kind == "sysfs" {
            // Below another one that has just gone, or one of the container's own, it is not there any more.
            if let Err(error) = mount::umount_detach(&line.place) {
                crate::log::debug(format_args!("{error}"));
            }
        }
    }
    Ok(())
}

/// linux.rootfsPropagation; slave where it is not given, so that mounts of the host arrive and none leave.
fn propagation_of(word: &str) -> Result<(u64, bool)> {
    match word {
        "" | "rslave" => Ok((propagation::SLAVE, true)),
        "slave" => Ok((propagation::SLAVE, false)),
        "private" => Ok((propagation::PRIVATE, false)),
        "rprivate" => Ok((propagation::PRIVATE, true)),
        "shared" => Ok((propagation::SHARED, false)),
        "rshared" => Ok((propagation::SHARED, true)),
        "unbindable" => Ok((propagation::UNBINDABLE, false)),
        "runbindable" => Ok((propagation::UNBINDABLE, true)),
        other => Err(Error::config(format!(
            "linux.rootfsPropagation={other:?} is not a propagation"
        ))),
    }
}

/// The root of the container's file system.
#[derive(Debug)]
pub(crate) struct Rootfs {
    fd: OwnedFd,
}

impl AsFd for Rootfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Rootfs {
    /// A directory that serves as one.
    pub(crate) fn of(fd: OwnedFd) -> Rootfs {
        Rootfs { fd }
    }

    /// The container's `/` of a process that has entered it.
    pub(crate) fn here() -> Result<Rootfs> {
        Ok(Rootfs {
            fd: fs::open("/", OFlags::PATH | OFlags::DIRECTORY)?,
        })
    }

    /// Opens what is at a path of the container.
    pub(crate) fn open(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        fs::open_in_root(&self.fd, path, flags)
    }

    /// What is at a path, or `None` where there is nothing.
    pub(crate) fn find(&self, path: impl AsRef<Path>) -> Result<Option<OwnedFd>> {
        match self.open(path, OFlags::PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if fs::is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The directory at a path; made, with those above it, where it is missing.
    pub(crate) fn directory(&self, path: &Path) -> Result<OwnedFd> {
        self.place(path, FileType::Directory)
    }

    /// The file at a path, for mounting on it; an empty one is made, with the directories above, where it is missing.
    pub(crate) fn file(&self, path: &Path) -> Result<OwnedFd> {
        self.place(path, FileType::RegularFile)
    }

    fn place(&self, path: &Path, kind: FileType) -> Result<OwnedFd> {
        let mut path = path.to_owned();
        // A link to nowhere is followed to where it points, so that the target is made: images ship
        // /etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf. As many links as the kernel follows.
        for _ in 0..40 {
            match self.open(&path, OFlags::PATH) {
                Ok(fd) => return Ok(fd),
                Err(error) if fs::is_missing(&error) => {}
                Err(error) => return Err(error),
            }
            let (parent, name) = split(&path)?;
            let parent_fd = self.make_directories(&parent)?;
            match fs::readlinkat(&parent_fd, &name) {
                Ok(target) => path = parent.join(OsStr::from_bytes(target.to_bytes())),
                Err(_) => return make(parent_fd, &name, kind),
            }
        }
        Err(Error::os(
            format!("resolving {}", path.display()),
            Errno::LOOP,
        ))
    }

    fn make_directories(&self, path: &Path) -> Result<OwnedFd> {
        if let Some(fd) = self.find(path)? {
            return Ok(fd);
        }
        self.place(path, FileType::Directory)
    }
}

/// Makes the last component and opens what was made; never through a link that came in between.
fn make(parent: OwnedFd, name: &Path, kind: FileType) -> Result<OwnedFd> {
    let exists = |error: &Error| error.errno() == Some(Errno::EXIST);
    let flags = if kind == FileType::Directory {
        match fs::mkdirat(&parent, name, 0o755) {
            Err(error) if !exists(&error) => return Err(error),
            _ => OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY,
        }
    } else {
        match fs::openat(
            &parent,
            name,
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW,
            0o644,
        ) {
            Err(error) if !exists(&error) => return Err(error),
            _ => OFlags::PATH | OFlags::NOFOLLOW,
        }
    };
    fs::openat(&parent, name, flags, 0)
}

/// The directory above and the last name of a path of the container. `..` as last component has no name of its own.
fn split(path: &Path) -> Result<(PathBuf, PathBuf)> {
    match path.components().next_back() {
        Some(Component::Normal(name)) => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            let parent = if parent.as_os_str().is_empty() {
                Path::new("/")
            } else {
                parent
            };
            Ok((parent.to_owned(), PathBuf::from(name)))
        }
        _ => Err(Error::config(format!(
            "{} does not name a file or directory",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (PathBuf, Rootfs) {
        let name = format!(
            "vzrun-rootfs-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let fd = fs::open(&path, OFlags::PATH | OFlags::DIRECTORY).unwrap();
        (path, Rootfs { fd })
    }

    #[test]
    fn missing_places_are_made_inside_whatever_links_say() {
        let (path, rootfs) = root();
        rustix::fs::symlinkat("/outside/deep", fs::CWD, path.join("absolute")).unwrap();
        rustix::fs::symlinkat("../../../up", fs::CWD, path.join("relative")).unwrap();
        rootfs.directory(Path::new("/a/b/c")).unwrap();
        rootfs.file(Path::new("/absolute/file")).unwrap();
        rootfs.file(Path::new("/relative")).unwrap();
        for made in ["a/b/c", "outside/deep/file", "up"] {
            assert!(path.join(made).exists(), "{made}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn loops_and_nameless_paths_are_errors() {
        let (path, rootfs) = root();
        rustix::fs::symlinkat("loop", fs::CWD, path.join("loop")).unwrap();
        assert!(rootfs.directory(Path::new("/loop")).is_err());
        assert!(rootfs.file(Path::new("/no/..")).is_err());
        std::fs::remove_dir_all(path).unwrap();
    }
}
