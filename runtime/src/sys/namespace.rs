//! setns(2), unshare(2), ioctl_ns(2), sethostname(2), setdomainname(2).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::thread::UnshareFlags;

use super::mount::last_errno;
use crate::error::{Context, Error, Result};

/// setns(2) with a namespace's file (`kinds` one CLONE_NEW* bit) or a pidfd (`kinds` any of them, Linux 5.8).
pub(crate) fn setns(fd: impl AsFd, kinds: u64) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: plain numbers only; the descriptor is live.
    let ret = unsafe { libc::setns(fd, kinds as libc::c_int) };
    if ret == 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(format!("setns({fd}, {kinds:#x})"), errno))
}

/// NS_GET_USERNS of linux/nsfs.h.
const NS_GET_USERNS: libc::c_ulong = 0xb701;

/// ioctl(2) NS_GET_USERNS: the user namespace that this namespace belongs to (Linux 4.9).
///
/// # Errors
/// EPERM where that is outside of the caller's.
pub(crate) fn owner(namespace: impl AsFd) -> Result<OwnedFd> {
    let fd = namespace.as_fd().as_raw_fd();
    // SAFETY: the request takes no argument; the descriptor is live.
    let ret = unsafe { libc::ioctl(fd, NS_GET_USERNS as _) };
    if ret < 0 {
        let errno = last_errno();
        return Err(Error::os(format!("ioctl({fd}, NS_GET_USERNS)"), errno));
    }
    // SAFETY: the kernel has just made it for this process alone.
    Ok(unsafe { OwnedFd::from_raw_fd(ret) })
}

/// unshare(2).
pub(crate) fn unshare(kinds: u64) -> Result<()> {
    let flags = UnshareFlags::from_bits_retain(kinds as u32);
    // SAFETY: CLONE_FILES is never among them, so no descriptor table is split under an owner.
    unsafe { rustix::thread::unshare_unsafe(flags) }.call(|| format!("unshare({flags:?})"))
}

/// sethostname(2).
pub(crate) fn sethostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).call(|| format!("sethostname({name:?})"))
}

/// setdomainname(2).
pub(crate) fn setdomainname(name: &str) -> Result<()> {
    rustix::system::setdomainname(name.as_bytes()).call(|| format!("setdomainname({name:?})"))
}
