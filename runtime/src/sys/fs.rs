//! Files and paths: the `*at` calls, openat2(2), and small reads and writes through descriptors.

use std::ffi::{CString, OsStr, OsString};
use std::fmt::Debug;
use std::fs::File;
use std::io::{IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, ResolveFlags};
pub(crate) use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use crate::error::{Context, Error, ErrorKind, Result};

/// Prints a directory descriptor as strace does.
fn dir(fd: BorrowedFd<'_>) -> String {
    match fd.as_raw_fd() {
        libc::AT_FDCWD => "AT_FDCWD".into(),
        n => n.to_string(),
    }
}

/// Prints open flags by name. Reading alone has no bit.
fn named(flags: OFlags) -> String {
    if flags.is_empty() {
        "O_RDONLY".into()
    } else {
        format!("{flags:?}")
    }
}

/// openat(2), always O_CLOEXEC.
pub(crate) fn openat(
    at: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    mode: u32,
) -> Result<OwnedFd> {
    let (at, path) = (at.as_fd(), path.as_ref());
    fs::openat(at, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))
        .call(|| format!("openat({}, {path:?}, {})", dir(at), named(flags)))
}

/// open(2) of a path of the host, always O_CLOEXEC.
pub(crate) fn open(path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
    openat(CWD, path, flags, 0)
}

/// openat2(2) with every symbolic link and `..` resolved as if `root` were `/` (RESOLVE_IN_ROOT), no magic links.
/// First kernel: 5.6.
pub(crate) fn open_in_root(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
) -> Result<OwnedFd> {
    openat2(
        root,
        path,
        flags,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

/// openat2(2) that may not leave `root`: `..`, absolute paths and links that do are EXDEV.
pub(crate) fn open_beneath(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
) -> Result<OwnedFd> {
    openat2(
        root,
        path,
        flags,
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    )
}

/// openat2(2) beneath `root` that crosses neither a mount point nor any symbolic link: for procfs, where something
/// mounted over a file would redirect a write.
pub(crate) fn open_no_xdev(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    openat2(root, path, flags, resolve)
}

fn openat2(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    let (root, path) = (root.as_fd(), path.as_ref());
    // EAGAIN: a rename or mount elsewhere raced with `..`; the kernel asks to try again (openat2(2)).
    for _ in 0..128 {
        match fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => continue,
            other => {
                return other.call(|| {
                    format!(
                        "openat2({}, {path:?}, {}, {resolve:?})",
                        dir(root),
                        named(flags)
                    )
                });
            }
        }
    }
    Err(Error::os(
        format!("openat2({}, {path:?}, {flags:?}, {resolve:?})", dir(root)),
        Errno::AGAIN,
    ))
}

/// mkdirat(2).
pub(crate) fn mkdirat(at: impl AsFd, path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let (at, path) = (at.as_fd(), path.as_ref());
    fs::mkdirat(at, path, Mode::from_raw_mode(mode))
        .call(|| format!("mkdirat({}, {path:?}, 0o{mode:o})", dir(at)))
}

/// mknodat(2) with the type in `kind` and the permission bits in `mode`.
pub(crate) fn mknodat(
    at: impl AsFd,
    path: impl AsRef<Path>,
    kind: FileType,
    mode: u32,
    (major, minor): (u32, u32),
) -> Result<()> {
    let (at, path) = (at.as_fd(), path.as_ref());
    fs::mknodat(
        at,
        path,
        kind,
        Mode::from_raw_mode(mode),
        fs::makedev(major, minor),
    )
    .call(|| {
        format!(
            "mknodat({}, {path:?}, {kind:?}, 0o{mode:o}, {major}:{minor})",
            dir(at)
        )
    })
}

/// symlinkat(2).
pub(crate) fn symlinkat(
    target: impl AsRef<Path>,
    at: impl AsFd,
    path: impl AsRef<Path>,
) -> Result<()> {
    let (target, at, path) = (target.as_ref(), at.as_fd(), path.as_ref());
    fs::symlinkat(target, at, path).call(|| format!("symlinkat({target:?}, {}, {path:?})", dir(at)))
}

/// unlinkat(2) of something that is not a directory.
pub(crate) fn unlinkat(at: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
    let (at, path) = (at.as_fd(), path.as_ref());
    fs::unlinkat(at, path, AtFlags::empty()).call(|| format!("unlinkat({}, {path:?})", dir(at)))
}

/// unlinkat(2) of an empty directory.
pub(crate) fn rmdirat(at: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
    let (at, path) = (at.as_fd(), path.as_ref());
    fs::unlinkat(at, path, AtFlags::REMOVEDIR)
        .call(|| format!("unlinkat({}, {path:?}, AT_REMOVEDIR)", dir(at)))
}

/// renameat(2) within one directory.
pub(crate) fn renameat(at: impl AsFd, from: &str, to: &str) -> Result<()> {
    let at = at.as_fd();
    fs::renameat(at, from, at, to).call(|| format!("renameat({0}, {from:?}, {0}, {to:?})", dir(at)))
}

/// fstatat(2) with AT_SYMLINK_NOFOLLOW.
pub(crate) fn lstatat(at: impl AsFd, path: impl AsRef<Path>) -> Result<Stat> {
    let (at, path) = (at.as_fd(), path.as_ref());
    fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW)
        .call(|| format!("fstatat({}, {path:?}, AT_SYMLINK_NOFOLLOW)", dir(at)))
}

/// stat(2) of a path of the host.
pub(crate) fn stat(path: impl AsRef<Path>) -> Result<Stat> {
    let path = path.as_ref();
    fs::stat(path).call(|| format!("stat({path:?})"))
}

/// fstat(2).
pub(crate) fn fstat(fd: impl AsFd) -> Result<Stat> {
    let fd = fd.as_fd();
    fs::fstat(fd).call(|| format!("fstat({})", fd.as_raw_fd()))
}

/// The kind of file that a stat tells of.
pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The device number of a device node, as (major, minor).
pub(crate) fn rdev(stat: &Stat) -> (u32, u32) {
    (fs::major(stat.st_rdev), fs::minor(stat.st_rdev))
}

/// fchownat(2) with AT_SYMLINK_NOFOLLOW and no group.
pub(crate) fn chown_user_at(at: impl AsFd, path: impl AsRef<Path>, uid: u32) -> Result<()> {
    let (at, path) = (at.as_fd(), path.as_ref());
    fs::chownat(
        at,
        path,
        Some(Uid::from_raw(uid)),
        None,
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .call(|| format!("fchownat({}, {path:?}, {uid}, -1)", dir(at)))
}

/// fchownat(2) with AT_SYMLINK_NOFOLLOW.
pub(crate) fn lchownat(at: impl AsFd, path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
    let (at, path) = (at.as_fd(), path.as_ref());
    let (owner, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    fs::chownat(
        at,
        path,
        Some(owner),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .call(|| format!("fchownat({}, {path:?}, {uid}, {gid})", dir(at)))
}

/// fchown(2).
pub(crate) fn fchown(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    let fd = fd.as_fd();
    fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .call(|| format!("fchown({}, {uid}, {gid})", fd.as_raw_fd()))
}

/// fchmod(2).
pub(crate) fn fchmod(fd: impl AsFd, mode: u32) -> Result<()> {
    let fd = fd.as_fd();
    fs::fchmod(fd, Mode::from_raw_mode(mode))
        .call(|| format!("fchmod({}, 0o{mode:o})", fd.as_raw_fd()))
}

/// fchmodat(2), which follows a symbolic link: only for names that this process has just made.
pub(crate) fn fchmodat(at: impl AsFd, path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let (at, path) = (at.as_fd(), path.as_ref());
    fs::chmodat(at, path, Mode::from_raw_mode(mode), AtFlags::empty())
        .call(|| format!("fchmodat({}, {path:?}, 0o{mode:o})", dir(at)))
}

/// readlinkat(2).
pub(crate) fn readlinkat(at: impl AsFd, path: impl AsRef<Path>) -> Result<CString> {
    let (at, path) = (at.as_fd(), path.as_ref());
    fs::readlinkat(at, path, Vec::new()).call(|| format!("readlinkat({}, {path:?})", dir(at)))
}

/// The `f_type` of fstatfs(2): which file system the descriptor is on (`*_MAGIC` of linux/magic.h).
pub(crate) fn file_system(fd: impl AsFd) -> Result<i64> {
    let fd = fd.as_fd();
    // The field's type differs between architectures.
    #[allow(clippy::unnecessary_cast)]
    fs::fstatfs(fd)
        .map(|statfs| statfs.f_type as i64)
        .call(|| format!("fstatfs({})", fd.as_raw_fd()))
}

/// `f_flags` of fstatfs(2) says ST_RDONLY: the mount is read-only.
pub(crate) fn is_read_only(fd: impl AsFd) -> Result<bool> {
    let fd = fd.as_fd();
    let flags = fs::fstatvfs(fd)
        .call(|| format!("fstatfs({})", fd.as_raw_fd()))?
        .f_flag;
    Ok(flags.contains(fs::StatVfsMountFlags::RDONLY))
}

/// Writes all of `bytes` with one write(2), as procfs, sysfs and cgroupfs want it.
pub(crate) fn write_once(fd: impl AsFd, bytes: &[u8]) -> Result<()> {
    let fd = fd.as_fd();
    // Of a long text only the beginning: the rest is nobody's business.
    let begin = bytes.get(..64).unwrap_or(bytes);
    let call = || {
        let begin = String::from_utf8_lossy(begin);
        format!("write({}, {begin:?})", fd.as_raw_fd())
    };
    let written = rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes)).call(call)?;
    check_whole(written, bytes.len(), call)
}

/// Writes a text that is in pieces, with one writev(2).
pub(crate) fn write_pieces<const N: usize>(fd: impl AsFd, pieces: [&str; N]) -> Result<()> {
    let slices = pieces.map(|piece| IoSlice::new(piece.as_bytes()));
    let call = || format!("writev({})", fd.as_fd().as_raw_fd());
    let written = rustix::io::retry_on_intr(|| rustix::io::writev(&fd, &slices)).call(call)?;
    check_whole(written, pieces.map(str::len).iter().sum(), call)
}

fn check_whole(written: usize, length: usize, call: impl Fn() -> String) -> Result<()> {
    match written == length {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Process,
            format!("{}: short write", call()),
        )),
    }
}

/// Opens `path` beneath `at` for writing (no symbolic links) and writes `text` in one go.
pub(crate) fn write_at(
    at: impl AsFd,
    path: impl AsRef<Path>,
    text: impl AsRef<[u8]>,
) -> Result<()> {
    let path = path.as_ref();
    let fd = openat(at, path, OFlags::WRONLY | OFlags::NOFOLLOW, 0)?;
    write_once(fd, text.as_ref()).context(|| format!("{}", path.display()))
}

/// Reads a file of at most `limit` bytes; a larger one is an error.
pub(crate) fn read_to_end(fd: OwnedFd, limit: u64) -> Result<Vec<u8>> {
    let file = File::from(fd);
    let size = file.metadata().map_or(0, |m| m.len().min(limit));
    // One more than the size, so that the end is seen without growing. Files of the kernel say that they are empty.
    let size = usize::try_from(size).unwrap_or(0).max(1023);
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .call(|| "read")?;
    if bytes.len() as u64 > limit {
        return Err(Error::config(format!(
            "larger than the limit of {limit} bytes"
        )));
    }
    Ok(bytes)
}

/// Reads a small text file beneath `at`.
pub(crate) fn read_at(at: impl AsFd, path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let fd = openat(at, path, OFlags::RDONLY | OFlags::NOFOLLOW, 0)?;
    let bytes = read_to_end(fd, 1 << 20).context(|| path.display())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether an error says that there is no such file.
pub(crate) fn is_missing(error: &Error) -> bool {
    error.errno() == Some(Errno::NOENT)
}

/// A `Debug` for descriptors in messages.
pub(crate) fn shown(fd: impl AsFd) -> impl Debug {
    fd.as_fd().as_raw_fd()
}

/// The names in a directory, without `.` and `..`.
pub(crate) fn names(directory: impl AsFd) -> Result<Vec<CString>> {
    let directory = directory.as_fd();
    let entries =
        fs::Dir::read_from(directory).call(|| format!("getdents64({})", directory.as_raw_fd()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.call(|| format!("getdents64({})", directory.as_raw_fd()))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// The names of the directories in a directory, on a file system that tells kinds in its listings (kernfs does).
pub(crate) fn directories(directory: impl AsFd) -> Result<Vec<OsString>> {
    let directory = directory.as_fd();
    let call = || format!("getdents64({})", directory.as_raw_fd());
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(directory).call(call)? {
        let entry = entry.call(call)?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}
