//! Waiting for a child with an account of what it used, which no safe library has.

use std::io;
use std::mem::zeroed;

/// How a process ended.
pub(crate) struct End {
    /// Its exit code, or 128 and the signal.
    pub(crate) code: i32,
    /// Peak resident set of it and of what it waited for, in KiB.
    pub(crate) rss: i64,
}

/// Waits for the end of the child `pid`, of any with -1; tells which one it was.
pub(crate) fn wait(pid: libc::pid_t) -> io::Result<(libc::pid_t, End)> {
    let mut status = 0;
    // SAFETY: rusage is plain numbers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { zeroed() };
    // SAFETY: both results outlive the call.
    let pid = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let code = if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    };
    Ok((
        pid,
        End {
            code,
            rss: usage.ru_maxrss,
        },
    ))
}
