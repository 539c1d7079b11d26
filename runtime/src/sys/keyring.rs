//! keyctl(2): the session keyring.

use std::ffi::CStr;

use super::mount::last_errno;
use crate::error::{Error, Result};

/// A key's serial number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key(libc::c_long);

/// keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: a new session keyring with this name.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<Key> {
    // SAFETY: the name is NUL-terminated and live during the call.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            name.as_ptr(),
        )
    };
    if ret < 0 {
        let errno = last_errno();
        return Err(Error::os(
            format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name:?})"),
            errno,
        ));
    }
    Ok(Key(ret))
}

/// keyctl(2) KEYCTL_SETPERM: the permission mask of keyctl_setperm(3).
pub(crate) fn set_permissions(key: Key, mask: u32) -> Result<()> {
    // SAFETY: plain numbers only.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, key.0, mask) };
    if ret < 0 {
        let errno = last_errno();
        return Err(Error::os(
            format!("keyctl(KEYCTL_SETPERM, {}, {mask:#x})", key.0),
            errno,
        ));
    }
    Ok(())
}
