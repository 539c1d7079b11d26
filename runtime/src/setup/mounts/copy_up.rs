//! `tmpcopyup`: a tmpfs that starts with a copy of the directory it covers.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::error::{Context, Result};
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::sendfile;

/// Copies the directory at `place` (an O_PATH descriptor) into the root of the not yet attached tmpfs `tree`.
pub(super) fn apply(place: &OwnedFd, tree: &OwnedFd) -> Result<()> {
    let from = fs::openat(place, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let to = fs::openat(tree, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    copy_entries(&from, &to)
}

fn copy_entries(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    for name in fs::names(from)? {
        let name = OsStr::from_bytes(name.to_bytes());
        let stat = fs::lstatat(from, name)?;
        let mode = stat.st_mode & 0o7777;
        match fs::file_type(&stat) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                let inner_from = fs::openat(from, name, flags, 0)?;
                fs::mkdirat(to, name, 0o700)?;
                let inner_to = fs::openat(to, name, flags, 0)?;
                copy_entries(&inner_from, &inner_to)?;
                own(&inner_to, &stat, mode)?;
            }
            FileType::RegularFile => {
                let source = fs::openat(from, name, OFlags::RDONLY | OFlags::NOFOLLOW, 0)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let copy = fs::openat(to, name, flags, 0o600)?;
                sendfile::all(&copy, &source).context(|| format!("copying {name:?}"))?;
                own(&copy, &stat, mode)?;
            }
            FileType::Symlink => {
                let target = fs::readlinkat(from, name)?;
                fs::symlinkat(OsStr::from_bytes(target.to_bytes()), to, name)?;
                fs::lchownat(to, name, stat.st_uid, stat.st_gid)?;
            }
            kind => {
                fs::mknodat(to, name, kind, mode, fs::rdev(&stat))?;
                fs::lchownat(to, name, stat.st_uid, stat.st_gid)?;
            }
        }
    }
    Ok(())
}

/// Owner before mode: changing the owner takes set-user-id bits away.
fn own(fd: impl AsFd, stat: &fs::Stat, mode: u32) -> Result<()> {
    let fd = fd.as_fd();
    fs::fchown(fd, stat.st_uid, stat.st_gid)?;
    fs::fchmod(fd, mode)
}
