//! prlimit64(2).

use rustix::process::Pid;

use super::mount::last_errno;
use crate::error::{Error, Result};

/// The numbers of the limits on every architecture that vzrun runs on, in the order of asm-generic/resource.h.
pub(crate) const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// A soft and a hard limit; `u64::MAX` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// `rlim_cur`.
    pub(crate) soft: u64,
    /// `rlim_max`.
    pub(crate) hard: u64,
}

/// Reads limit number `resource` (an index into [`NAMES`]) of a process, or of this one.
pub(crate) fn get(pid: Option<Pid>, resource: usize) -> Result<Limit> {
    call(pid, resource, None)
}

/// Sets limit number `resource` (an index into [`NAMES`]) of a process, or of this one.
pub(crate) fn set(pid: Option<Pid>, resource: usize, limit: Limit) -> Result<()> {
    call(pid, resource, Some(limit)).map(drop)
}

fn call(pid: Option<Pid>, resource: usize, new: Option<Limit>) -> Result<Limit> {
    let pid = pid.map_or(0, |pid| pid.as_raw_nonzero().get());
    let wanted = new.map(|limit| libc::rlimit64 {
        rlim_cur: limit.soft,
        rlim_max: limit.hard,
    });
    let mut old = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let new_pointer = wanted.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the new limit is null or live during the call; the kernel writes one rlimit64 to `old`.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            new_pointer,
            std::ptr::from_mut(&mut old),
        )
    };
    if ret == 0 {
        return Ok(Limit {
            soft: old.rlim_cur,
            hard: old.rlim_max,
        });
    }
    let errno = last_errno();
    let name = NAMES.get(resource).copied().unwrap_or("?");
    let new = new.map_or("NULL".to_owned(), |limit| {
        format!("{{rlim_cur={}, rlim_max={}}}", limit.soft, limit.hard)
    });
    Err(Error::os(format!("prlimit64({pid}, {name}, {new})"), errno))
}
