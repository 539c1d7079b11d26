//! Processes by pidfd: no pid is ever signalled that could have been used again.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::mount::last_errno;
use crate::error::{Context, Error, Result};

/// pidfd_open(2) (Linux 5.3).
///
/// # Errors
/// ESRCH where there is no such process. Some kernels (6.12 is one) say EINVAL when the process has been reaped but its
/// number is still that of a session or group; nothing else can be invalid here.
pub(crate) fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|errno| match errno {
            Errno::INVAL => Errno::SRCH,
            other => other,
        })
        .call(|| format!("pidfd_open({pid})"))
}

/// pidfd_getfd(2) (Linux 5.6): a copy of a descriptor of the process.
pub(crate) fn getfd(pidfd: impl AsFd, number: i32) -> Result<OwnedFd> {
    let flags = PidfdGetfdFlags::empty();
    rustix::process::pidfd_getfd(&pidfd, number, flags)
        .call(|| format!("pidfd_getfd({}, {number})", pidfd.as_fd().as_raw_fd()))
}

/// pidfd_send_signal(2) with any signal number, 0 included.
pub(crate) fn send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let pidfd = pidfd.as_fd().as_raw_fd();
    // SAFETY: a null siginfo is allowed and means that of kill(2).
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd,
            signal,
            std::ptr::null::<u8>(),
            0,
        )
    };
    if ret == 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(
        format!("pidfd_send_signal({pidfd}, {signal})"),
        errno,
    ))
}

/// Waits until the process has ended (it may still be a zombie). `None` waits without end; `Ok(false)` is a timeout.
pub(crate) fn wait_exit(pidfd: impl AsFd, timeout: Option<Timespec>) -> Result<bool> {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) => continue,
            result => {
                return result
                    .map(|n| n > 0)
                    .call(|| "waiting for the end of a process: poll()");
            }
        }
    }
}
