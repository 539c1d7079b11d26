//! The mount interface of Linux 5.2 and later: fsopen(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2);
//! pivot_root(2) and umount2(2).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{
    self, FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::error::{Context, Error, Result};

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MountAttr {
    /// MOUNT_ATTR_* to set.
    pub(crate) set: u64,
    /// MOUNT_ATTR_* to clear.
    pub(crate) clear: u64,
    /// One of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, or 0.
    pub(crate) propagation: u64,
    /// The user namespace for MOUNT_ATTR_IDMAP.
    pub(crate) userns_fd: u64,
}

/// MOUNT_ATTR_* of linux/mount.h.
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 0x1;
    pub(crate) const NOSUID: u64 = 0x2;
    pub(crate) const NODEV: u64 = 0x4;
    pub(crate) const NOEXEC: u64 = 0x8;
    pub(crate) const ATIME: u64 = 0x70;
    pub(crate) const RELATIME: u64 = 0x0;
    pub(crate) const NOATIME: u64 = 0x10;
    pub(crate) const STRICTATIME: u64 = 0x20;
    pub(crate) const NODIRATIME: u64 = 0x80;
    pub(crate) const IDMAP: u64 = 0x0010_0000;
    pub(crate) const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// mount_setattr(2) MOUNT_ATTR_IDMAP of a detached tree: who is in this user namespace sees its owners through the maps of
/// that. It is no peer of the host's mounts any more.
pub(crate) fn map_ids(tree: impl AsFd, namespace: impl AsFd, recursive: bool) -> Result<()> {
    let change = MountAttr {
        set: attr::IDMAP,
        propagation: propagation::SLAVE,
        userns_fd: namespace.as_fd().as_raw_fd().unsigned_abs().into(),
        ..MountAttr::default()
    };
    mount_setattr(tree, recursive, &change)
}

/// The flag of mount(2) that libc lacks.
pub(crate) const MS_NOSYMFOLLOW: u64 = 256;

/// MS_* propagation types as mount_setattr(2) wants them.
pub(crate) mod propagation {
    pub(crate) const UNBINDABLE: u64 = 1 << 17;
    pub(crate) const PRIVATE: u64 = 1 << 18;
    pub(crate) const SLAVE: u64 = 1 << 19;
    pub(crate) const SHARED: u64 = 1 << 20;
}

/// mount_setattr(2) on the mount that `fd` refers to, with all mounts below it when `recursive`. First kernel: 5.12.
pub(crate) fn mount_setattr(fd: impl AsFd, recursive: bool, attr: &MountAttr) -> Result<()> {
    mount_setattr_at(fd.as_fd(), c"", recursive, attr)
}

/// mount_setattr(2) on the mount at `path`.
pub(crate) fn mount_setattr_path(path: &CStr, recursive: bool, attr: &MountAttr) -> Result<()> {
    mount_setattr_at(rustix::fs::CWD, path, recursive, attr)
}

fn mount_setattr_at(
    fd: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    attr: &MountAttr,
) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is NUL-terminated and `attr` is a live `struct mount_attr` of exactly the size that is passed.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if ret == 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(
        format!(
            "mount_setattr({}, {path:?}, {flags:#x}, {{set={:#x}, clear={:#x}, propagation={:#x}}})",
            fd.as_raw_fd(),
            attr.set,
            attr.clear,
            attr.propagation
        ),
        errno,
    ))
}

/// The errno that a libc call has just left.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at `path`, with the mounts below it when `recursive`.
pub(crate) fn clone_tree(
    at: impl AsFd,
    path: impl AsRef<Path>,
    recursive: bool,
) -> Result<OwnedFd> {
    let (at, path) = (at.as_fd(), path.as_ref());
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    mount::open_tree(at, path, flags)
        .call(|| format!("open_tree({}, {path:?}, {flags:?})", at.as_raw_fd()))
}

/// move_mount(2) of the detached mount `from` to the place that `to` refers to.
pub(crate) fn move_mount(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    mount::move_mount(from, c"", to, c"", flags)
        .call(|| format!("move_mount({}, {})", from.as_raw_fd(), to.as_raw_fd()))
}

/// A filesystem being configured: fsopen(2), fsconfig(2), fsmount(2).
pub(crate) struct FsContext {
    fd: OwnedFd,
    name: String,
}

impl FsContext {
    /// fsopen(2).
    pub(crate) fn open(name: &str) -> Result<FsContext> {
        let fd = mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)
            .call(|| format!("fsopen({name:?})"))?;
        Ok(FsContext {
            fd,
            name: name.to_owned(),
        })
    }

    /// fsconfig(2) FSCONFIG_SET_FLAG.
    pub(crate) fn flag(&self, key: &str) -> Result<()> {
        mount::fsconfig_set_flag(&self.fd, key)
            .map_err(|errno| self.failed(format!("fsconfig(FSCONFIG_SET_FLAG, {key:?})"), errno))
    }

    /// fsconfig(2) FSCONFIG_SET_STRING.
    pub(crate) fn string(&self, key: &str, value: &str) -> Result<()> {
        mount::fsconfig_set_string(&self.fd, key, value).map_err(|errno| {
            self.failed(
                format!("fsconfig(FSCONFIG_SET_STRING, {key:?}, {value:?})"),
                errno,
            )
        })
    }

    /// fsconfig(2) FSCONFIG_CMD_CREATE.
    pub(crate) fn create(&self) -> Result<()> {
        mount::fsconfig_create(&self.fd)
            .map_err(|errno| self.failed("fsconfig(FSCONFIG_CMD_CREATE)".into(), errno))
    }

    /// fsmount(2): a detached mount with these MOUNT_ATTR_* flags.
    pub(crate) fn mount(&self, attributes: u64) -> Result<OwnedFd> {
        let flags = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(u32::MAX));
        mount::fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, flags)
            .map_err(|errno| self.failed(format!("fsmount({flags:?})"), errno))
    }

    /// The error with what the kernel logged on the context, which says more than the errno.
    fn failed(&self, call: String, errno: Errno) -> Error {
        let mut text = [0u8; 512];
        let message = match rustix::io::read(&self.fd, &mut text) {
            Ok(n) => String::from_utf8_lossy(&text[..n]).trim_end().to_owned(),
            Err(_) => String::new(),
        };
        let name = &self.name;
        if message.is_empty() {
            Error::os(format!("{name}: {call}"), errno)
        } else {
            Error::os(format!("{name}: {call} (kernel: {message})"), errno)
        }
    }
}

/// mount(2) with MS_REMOUNT | MS_BIND and others is never needed here; this is the plain form for kernels or file
/// systems whose fsopen(2) refuses what mount(2) accepts: `target` is reached through /proc/self/fd.
pub(crate) fn mount_legacy(
    source: &str,
    target: impl AsFd,
    fstype: &str,
    flags: u64,
    data: &str,
) -> Result<()> {
    let target = format!("/proc/self/fd/{}", target.as_fd().as_raw_fd());
    let data =
        std::ffi::CString::new(data).map_err(|_| Error::config("mount data has a NUL byte"))?;
    let flags = mount::MountFlags::from_bits_retain(u32::try_from(flags).unwrap_or(0));
    mount::mount(source, &target, fstype, flags, Some(data.as_c_str()))
        .call(|| format!("mount({source:?}, {target:?}, {fstype:?}, {flags:?}, {data:?})"))
}

/// The flags of the mount that a descriptor is on, as far as they keep something from happening (fstatvfs(3); the numbers are
/// those of mount(2)).
pub(crate) fn restrictions(fd: impl AsFd) -> Result<u64> {
    let fd = fd.as_fd();
    let all = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    rustix::fs::fstatvfs(fd)
        .map(|stat| stat.f_flag.bits() & all)
        .call(|| format!("fstatvfs({})", fd.as_raw_fd()))
}

/// The id of the mount that a descriptor is on (statx(2) STATX_MNT_ID). First kernel: 5.8.
pub(crate) fn mount_id(fd: impl AsFd) -> Result<u64> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let fd = fd.as_fd();
    statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .map(|statx| statx.stx_mnt_id)
        .call(|| {
            format!(
                "statx({}, \"\", AT_EMPTY_PATH, STATX_MNT_ID)",
                fd.as_raw_fd()
            )
        })
}

/// pivot_root(2) with the working directory as new and as old root (pivot_root(".", "."), see its man page).
pub(crate) fn pivot_root_here() -> Result<()> {
    rustix::process::pivot_root(".", ".").call(|| "pivot_root(\".\", \".\")")
}

/// umount2(2) with MNT_DETACH.
pub(crate) fn umount_detach(path: &Path) -> Result<()> {
    mount::unmount(path, UnmountFlags::DETACH).call(|| format!("umount2({path:?}, MNT_DETACH)"))
}
