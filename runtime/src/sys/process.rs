//! execve(2), close_range(2), waitid(2), chdir(2), umask(2), setsid(2).

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::mount::last_errno;
use crate::error::{Context, Error, Result};

/// A null-terminated array of pointers for the exec calls.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// execve(2). Comes back only on failure.
pub(crate) fn execve(
    path: &CStr,
    arguments: &[CString],
    environment: &[CString],
) -> std::result::Result<Infallible, Errno> {
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: `path` and all strings are NUL-terminated and live, both arrays end in a null pointer.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Err(last_errno())
}

/// execveat(2) of the file that `fd` refers to. Comes back only on failure.
pub(crate) fn execveat(
    fd: BorrowedFd<'_>,
    arguments: &[CString],
    environment: &[CString],
) -> std::result::Result<Infallible, Errno> {
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: as for execve; the empty path is NUL-terminated and AT_EMPTY_PATH makes `fd` the file.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(last_errno())
}

/// close_range(2) (Linux 5.9): closes every descriptor from `first` on but `kept`. For a forked child that will only
/// execute a program or end by _exit(2).
///
/// Close-on-exec is not enough before the program of a container: execve(2) resolves the program's path, and that of an
/// interpreter, while the descriptors are still open, and /proc/self/fd leads through them (CVE-2024-21626).
pub(crate) fn close_from_but(first: u32, kept: &[BorrowedFd<'_>]) -> Result<()> {
    close_gaps(first, kept, close_range)
}

/// The same where [`close_from_but`] has been before, and few have been kept or opened since: a filter of the container
/// that is older than close_range(2) refuses it, and they are closed one by one.
pub(crate) fn close_rest_from_but(first: u32, kept: &[BorrowedFd<'_>]) -> Result<()> {
    close_gaps(first, kept, |from, to| {
        if close_range(from, to).is_err() {
            for fd in from..=to.min(from.saturating_add(1024)) {
                // SAFETY: as for close_range; what is not open gives EBADF, which is no matter.
                unsafe { libc::close(fd.cast_signed()) };
            }
        }
        Ok(())
    })
}

fn close_gaps(
    first: u32,
    kept: &[BorrowedFd<'_>],
    close: impl Fn(u32, u32) -> Result<()>,
) -> Result<()> {
    let mut kept: Vec<u32> = kept
        .iter()
        .map(|fd| fd.as_raw_fd().unsigned_abs())
        .collect();
    kept.sort_unstable();
    let mut first = first;
    for fd in kept {
        if fd > first {
            close(first, fd - 1)?;
        }
        first = first.max(fd + 1);
    }
    close(first, libc::c_uint::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: the callers are children that run no destructor any more, so no owner will close or use one of these.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if ret == 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(format!("close_range({first}, {last})"), errno))
}

/// Overwrites what this process was given as its environment: whoever looks into it finds nothing of the caller's there.
/// Only for a forked child that asks for no variable any more.
pub(crate) fn forget_environment() {
    // SAFETY: the array of the C library ends in a null pointer, its strings in a NUL; nothing in this program changes the
    // environment or keeps a reference into it, and a forked child has its own copy and one thread.
    unsafe {
        let mut variable = environ;
        while !variable.is_null() && !(*variable).is_null() {
            libc::memset((*variable).cast(), 0, libc::strlen(*variable));
            variable = variable.add(1);
        }
    }
}

unsafe extern "C" {
    /// environ(7).
    static environ: *const *mut libc::c_char;
}

/// waitid(2) WNOWAIT: whether this process has a child of that pidfd.
pub(crate) fn is_child(pidfd: impl AsFd) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options).is_ok()
}

/// Takes over an open descriptor by its number (one that the caller of the program has passed).
///
/// # Errors
/// EBADF where nothing is open there.
pub(crate) fn inherited(fd: RawFd) -> Result<()> {
    // SAFETY: the borrow lasts for this one query only.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_getfd(borrowed)
        .map(drop)
        .call(|| format!("fcntl({fd}, F_GETFD)"))
}

/// A descriptor that the caller of the program has passed and named, to be written to.
#[derive(Debug)]
pub(crate) struct PassedFd(OwnedFd);

impl PassedFd {
    /// Takes it over by its number, from 3 on.
    ///
    /// # Errors
    /// Nothing was passed there, or it is not open for writing.
    pub(crate) fn take(fd: RawFd) -> Result<PassedFd> {
        if fd < 3 || !survived_exec(fd) {
            return Err(Error::os(format!("fcntl({fd}, F_GETFL)"), Errno::BADF));
        }
        // SAFETY: open, and not opened by this program, whose own descriptors are all close-on-exec; named by the caller
        // for this one use.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let flags =
            rustix::fs::fcntl_getfl(&fd).call(|| format!("fcntl({}, F_GETFL)", fd.as_raw_fd()))?;
        match flags & rustix::fs::OFlags::RWMODE == rustix::fs::OFlags::RDONLY {
            true => Err(Error::os(
                format!("descriptor {} is not writable", fd.as_raw_fd()),
                Errno::BADF,
            )),
            false => Ok(PassedFd(fd)),
        }
    }

    /// Writes to it, and closes it.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<()> {
        super::fs::write_once(self.0, bytes)
    }
}

/// Whether a descriptor was passed by the caller of the program: all that the program opens itself is close-on-exec.
pub(crate) fn survived_exec(fd: RawFd) -> bool {
    // SAFETY: the borrow lasts for this one query only.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_getfd(borrowed)
        .is_ok_and(|flags| !flags.contains(rustix::io::FdFlags::CLOEXEC))
}

/// Clears FD_CLOEXEC on a descriptor by its number.
pub(crate) fn keep_on_exec(fd: RawFd) -> Result<()> {
    // SAFETY: the borrow lasts for this one call only.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::empty())
        .call(|| format!("fcntl({fd}, F_SETFD, 0)"))
}

/// dup3(2) onto a fixed number, without close-on-exec.
pub(crate) fn dup_to(from: impl AsFd, to: RawFd) -> Result<()> {
    let from = from.as_fd().as_raw_fd();
    if from == to {
        return keep_on_exec(to);
    }
    // SAFETY: `to` is one of the standard descriptors, which nobody in this program owns.
    let ret = unsafe { libc::dup3(from, to, 0) };
    if ret >= 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(format!("dup3({from}, {to}, 0)"), errno))
}

/// What a program that uses this library does first: /dev/null is opened on each of 0, 1 and 2 that is closed, so that
/// no later descriptor is taken for one of them, and SIGCHLD gets its default action, so that children can be waited for.
pub fn prepare_process() -> Result<()> {
    super::signal::keep_children();
    for fd in 0..3 {
        let inherited = inherited(fd);
        if inherited.is_err_and(|error| error.errno() == Some(Errno::BADF)) {
            // SAFETY: the path is NUL-terminated.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            if opened != fd {
                let errno = last_errno();
                return Err(Error::os(
                    format!("open(\"/dev/null\") as descriptor {fd}"),
                    errno,
                ));
            }
        }
    }
    Ok(())
}

/// stdin, stdout and stderr, which a process that uses this library never closes.
pub(crate) fn streams() -> [BorrowedFd<'static>; 3] {
    use rustix::stdio::{stderr, stdin, stdout};
    [stdin(), stdout(), stderr()]
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// exit(2) with this status.
    Code(i32),
    /// A signal with this number.
    Signal(i32),
}

impl Exit {
    /// The status as a shell gives it: 128 + n for signal n.
    pub fn status(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// waitid(2) P_PIDFD: waits for one child and reaps it.
pub(crate) fn wait(pidfd: impl AsFd) -> Result<Exit> {
    let pidfd = pidfd.as_fd();
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)
    })
    .call(|| format!("waitid(P_PIDFD, {})", pidfd.as_raw_fd()))?;
    Ok(status.map_or(Exit::Code(255), |status| exit_of(&status)))
}

/// The same with WNOHANG: `None` while it runs.
pub(crate) fn wait_now(pidfd: impl AsFd) -> Result<Option<Exit>> {
    let pidfd = pidfd.as_fd();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::PidFd(pidfd), options)
        .call(|| format!("waitid(P_PIDFD, {}, WNOHANG)", pidfd.as_raw_fd()))?;
    Ok(status.map(|status| exit_of(&status)))
}

fn exit_of(status: &rustix::process::WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(255),
    }
}

/// waitid(2) P_ALL WNOHANG: reaps one ended child, if there is one.
pub(crate) fn reap_any() -> Result<Option<(Pid, Exit)>> {
    let ended = rustix::process::waitid(
        WaitId::All,
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
    );
    match ended {
        Ok(None) | Err(Errno::CHILD) => Ok(None),
        Err(errno) => Err(Error::os("waitid(P_ALL, WNOHANG)", errno)),
        Ok(Some(_)) => {
            let reaped = rustix::process::wait(rustix::process::WaitOptions::NOHANG)
                .call(|| "wait4(-1, WNOHANG)")?;
            Ok(reaped.map(|(pid, status)| {
                let exit = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => Exit::Code(255),
                };
                (pid, exit)
            }))
        }
    }
}

/// fchdir(2).
pub(crate) fn fchdir(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    rustix::process::fchdir(fd).call(|| format!("fchdir({})", fd.as_raw_fd()))
}

/// chdir(2).
pub(crate) fn chdir(path: &str) -> Result<()> {
    rustix::process::chdir(path).call(|| format!("chdir({path:?})"))
}

/// chroot(2).
pub(crate) fn chroot(path: &str) -> Result<()> {
    rustix::process::chroot(path).call(|| format!("chroot({path:?})"))
}

/// umask(2); gives the old mask.
pub(crate) fn umask(mask: u32) -> u32 {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask)).as_raw_mode()
}

/// setsid(2).
pub(crate) fn setsid() -> Result<()> {
    rustix::process::setsid().map(drop).call(|| "setsid()")
}
/// sysconf(3) _SC_PAGESIZE: the bytes of a page of memory.
pub(crate) fn page_size() -> u64 {
    // SAFETY: plain numbers only.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096).max(1)
}
