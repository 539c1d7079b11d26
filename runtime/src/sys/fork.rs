//! clone3(2) as a value to match.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::mount::last_errno;
use super::{pidfd, process};
use crate::error::{Error, ErrorKind, Result};

/// `struct clone_args` of clone3(2), as of Linux 5.7.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Which of the two processes this is.
pub(crate) enum Fork {
    /// The caller, with the new process.
    Parent(Child),
    /// The new process. It must not return into the caller's code: see [`exit_after`].
    Child,
}

/// A new child process.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its pid in the caller's pid namespace.
    pub(crate) pid: Pid,
    /// Its pidfd.
    pub(crate) pidfd: OwnedFd,
}

impl Child {
    /// Kills it and reaps it. It may have ended already; then there is only the reaping. One that cannot be killed is not
    /// waited for.
    pub(crate) fn end(&self) {
        let killed = pidfd::send_signal(&self.pidfd, libc::SIGKILL);
        let is_gone = |error: &Error| error.errno() == Some(Errno::SRCH);
        // As long as it is not reaped, its number is its own.
        let by_number = || kill_process(self.pid, Signal::KILL);
        if killed.is_ok() || killed.is_err_and(|error| is_gone(&error) || by_number().is_ok()) {
            let _ = process::wait(&self.pidfd);
        }
    }
}

/// That this process has one thread, and is to have no more: seen once, so that it need not look again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alone(());

impl Alone {
    /// Looks.
    ///
    /// # Errors
    /// It has more.
    pub(crate) fn check() -> Result<Alone> {
        match is_single_threaded() {
            true => Ok(Alone(())),
            false => Err(Error::new(
                ErrorKind::Process,
                "cannot fork in a process with several threads: run the vzrun binary instead",
            )),
        }
    }

    /// A plain fork, which resolves no path.
    pub(crate) fn fork(self) -> Result<Fork> {
        clone3_alone(self, 0, None, false)
    }
}

/// clone3(2) without shared memory: a fork with `namespaces` (CLONE_NEW*) and, where given, born in `cgroup`
/// (CLONE_INTO_CGROUP, Linux 5.7). `sibling` makes the new process a child of the caller's parent (CLONE_PARENT).
///
/// # Errors
/// Refuses to run in a process with several threads: the child of such a fork may not allocate.
pub(crate) fn clone3(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    sibling: bool,
) -> Result<Fork> {
    clone3_alone(Alone::check()?, namespaces, cgroup, sibling)
}

fn clone3_alone(
    _alone: Alone,
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    sibling: bool,
) -> Result<Fork> {
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if sibling {
        // With CLONE_PARENT the exit signal is that of the caller and must be given as 0.
        args.flags |= libc::CLONE_PARENT as u64;
        args.exit_signal = 0;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a live clone_args of the size that is passed; no CLONE_VM, so the child has its own copy of
    // memory and goes on from here on its own stack; the process has one thread, so no lock is held by another.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut args),
            size_of::<CloneArgs>(),
        )
    };
    match ret {
        0 => Ok(Fork::Child),
        pid if pid > 0 => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // SAFETY: the kernel has stored a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            match pid {
                Some(pid) => Ok(Fork::Parent(Child { pid, pidfd })),
                None => Err(Error::new(ErrorKind::Process, "clone3: impossible pid")),
            }
        }
        _ => {
            let errno = last_errno();
            let flags = args.flags;
            Err(Error::os(
                format!("clone3({{flags={flags:#x}, cgroup={}}})", args.cgroup),
                errno,
            ))
        }
    }
}

/// clone(2) with CLONE_PARENT alone: a fork whose child is the caller's sibling. In the caller the pid of that. The child
/// must not return into the code of whoever has forked the caller: see [`exit_after`].
///
/// The old call, for filters that let processes fork seldom know clone3(2), whose arguments they cannot see.
pub(crate) fn sibling() -> Result<Option<Pid>> {
    // SAFETY: no CLONE_VM, so the child has its own copy of memory and goes on from here on its own stack; the caller is
    // itself the child of a process with one thread, so no lock is held by another.
    let ret = unsafe { libc::syscall(libc::SYS_clone, SIBLING, 0, 0, 0, 0) };
    match ret {
        0 => Ok(None),
        pid if pid > 0 => Ok(i32::try_from(pid).ok().and_then(Pid::from_raw)),
        _ => Err(Error::os("clone(CLONE_PARENT)", last_errno())),
    }
}

/// What [`sibling`] asks of clone(2).
pub(crate) const SIBLING: libc::c_long = libc::CLONE_PARENT as libc::c_long;

/// CLONE_INTO_CGROUP of linux/sched.h.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// CLONE_FILES: the child has not a copy of the descriptors but the same ones. It must own none of them.
pub(crate) const SAME_DESCRIPTORS: u64 = libc::CLONE_FILES as u64;

/// Descriptors by the numbers that a process with the same ones has told; it keeps them open until this is done.
pub(crate) fn with_shared<const N: usize, T>(
    numbers: &[libc::c_int; N],
    work: impl FnOnce(&[BorrowedFd<'_>; N]) -> T,
) -> T {
    // SAFETY: the borrows end with `work`, and the caller says that the owner waits for that.
    let fds = numbers.map(|number| unsafe { BorrowedFd::borrow_raw(number) });
    work(&fds)
}

/// `/proc/self/task` has one entry: its link count is 3 (itself, `.` and the one thread). A missing procfs counts as
/// single-threaded, because the binary is.
fn is_single_threaded() -> bool {
    rustix::fs::stat("/proc/self/task").map_or(true, |stat| stat.st_nlink <= 3)
}

/// Ends the process at once, without destructors or exit handlers of the parent's code: the only way for a forked
/// child to end.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: neither has preconditions. Under a filter that refuses to let a process end the first one comes back, where _exit(3) of
    // musl would try for ever; the second one then faults, which no filter can refuse.
    unsafe {
        libc::syscall(libc::SYS_exit_group, code);
        libc::abort()
    }
}

/// Runs a child's whole life and ends it, also when it panics in a build that unwinds.
pub(crate) fn exit_after(life: impl FnOnce() -> i32) -> ! {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            exit(255);
        }
    }
    let _guard = Guard;
    let code = life();
    exit(code)
}
