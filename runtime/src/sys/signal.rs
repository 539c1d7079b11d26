//! Signals: the mask, signalfd(2), and resetting what was inherited.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::mount::last_errno;
use crate::error::{Error, Result};

/// Blocks every signal and gives a signalfd(2) that reads them; for the one process that waits in the foreground.
pub(crate) fn all_by_descriptor() -> Result<OwnedFd> {
    // SAFETY: the sets are filled before use and live during the calls.
    let fd = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
        libc::signalfd(-1, &all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        let errno = last_errno();
        return Err(Error::os("signalfd(all)", errno));
    }
    // SAFETY: a new descriptor of ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal number on a signalfd, `None` when there is none now.
pub(crate) fn next(signals: &OwnedFd) -> Result<Option<i32>> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(signals, &mut info) {
        // `ssi_signo` is the first field, 4 bytes.
        Ok(n) if n >= 4 => Ok(Some(i32::from_ne_bytes([
            info[0], info[1], info[2], info[3],
        ]))),
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(errno) => Err(Error::os(
            format!("read(signalfd {})", signals.as_raw_fd()),
            errno,
        )),
    }
}

/// Gives SIGCHLD its default action: while a caller has it ignored, children vanish instead of being waited for.
pub(crate) fn keep_children() {
    // SAFETY: only installs SIG_DFL.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// alarm(2): SIGALRM ends this process after so many seconds, where it has its default action and is not blocked.
pub(crate) fn end_after(seconds: u32) {
    // SAFETY: alarm(2) has no preconditions.
    unsafe {
        libc::alarm(seconds);
    }
}

/// Ignores SIGPIPE: a write to a closed pipe fails with EPIPE instead of ending the program.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: only installs SIG_IGN.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// SA_NOCLDWAIT for SIGCHLD: children of this process leave nothing to be waited for. Ends with execve(2).
pub(crate) fn discard_children() {
    // SAFETY: a sigaction of zeros has the default action and an empty mask.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_flags = libc::SA_NOCLDWAIT;
        libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut());
    }
}

/// Empties the signal mask and gives every signal its default action, as a new program expects.
pub(crate) fn reset() {
    // `struct kernel_sigaction`: handler SIG_DFL (0), flags, restorer, mask. The C library's call would leave out the two
    // signals that it keeps for itself, which may have been ignored by the caller's caller.
    let default = [0u64; 4];
    // SAFETY: only installs SIG_DFL, from an array as large as the kernel reads (8 bytes of mask), and an empty mask;
    // SIGKILL and SIGSTOP give EINVAL, which is meant to be ignored.
    unsafe {
        for signal in 1..=64 {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &default,
                std::ptr::null::<u8>(),
                8,
            );
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}
