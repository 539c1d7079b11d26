//! The listener of a seccomp filter (seccomp_unotify(2), Linux 5.0).

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use super::mount::last_errno;
use crate::error::{Context, Result};

/// A call that waits for an answer: `struct seccomp_notif`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The question's number.
    pub(crate) id: u64,
    /// The thread, in the pid namespace of who has asked for this.
    pub(crate) thread: u32,
    /// AUDIT_ARCH_*, and the number of the call there.
    pub(crate) call: (u32, u32),
    pub(crate) arguments: [u64; 6],
}

/// SECCOMP_IOCTL_NOTIF_RECV. `None`: who has asked is gone. Does not wait where the listener can be read.
pub(crate) fn receive(listener: impl AsFd) -> Result<Option<Asked>> {
    // SAFETY: zeros are what the kernel wants to find in a seccomp_notif, and a valid one.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    match control(&listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut asked) {
        Ok(()) => Ok(Some(Asked {
            id: asked.id,
            thread: asked.pid,
            call: (asked.data.arch, asked.data.nr.cast_unsigned()),
            arguments: asked.data.args,
        })),
        Err(Errno::NOENT | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno).call(|| "ioctl(SECCOMP_IOCTL_NOTIF_RECV)"),
    }
}

/// SECCOMP_IOCTL_NOTIF_ID_VALID: the thread still waits, so its number is still its own.
pub(crate) fn waits(listener: impl AsFd, mut id: u64) -> bool {
    control(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id).is_ok()
}

/// SECCOMP_IOCTL_NOTIF_SEND: the call returns this.
pub(crate) fn succeed(listener: impl AsFd, id: u64, value: i64) -> Result<()> {
    send(listener, id, value, 0)
}

/// The same with SECCOMP_USER_NOTIF_FLAG_CONTINUE (Linux 5.5): the kernel makes the call after all.
pub(crate) fn go_on(listener: impl AsFd, id: u64) -> Result<()> {
    send(listener, id, 0, CONTINUE)
}

const CONTINUE: u32 = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;

fn send(listener: impl AsFd, id: u64, value: i64, flags: u32) -> Result<()> {
    let mut answer = libc::seccomp_notif_resp {
        id,
        val: value,
        error: 0,
        flags,
    };
    control(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer)
        .call(|| format!("ioctl(SECCOMP_IOCTL_NOTIF_SEND, {{flags={flags}}})"))
}

/// ioctl(2) with one of the three requests above, and what is for it.
fn control<T>(
    listener: impl AsFd,
    request: libc::Ioctl,
    argument: &mut T,
) -> std::result::Result<(), Errno> {
    // SAFETY: `argument` lives through the call and is as large as the request's number says, as all callers have it.
    let ret = unsafe {
        libc::ioctl(
            listener.as_fd().as_raw_fd(),
            request,
            std::ptr::from_mut(argument),
        )
    };
    match ret {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}
