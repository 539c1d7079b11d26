//! The calls that no safe library has: the one file with `unsafe` in it.

use std::ffi::CStr;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null;

/// clone3's flag; libc's constant of that name has lost its only bit.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// What a new process is: the one that asked, or the one that came of it.
pub(crate) enum Fork {
    /// In the parent: the child's pid.
    Parent(libc::pid_t),
    /// In the child.
    Child,
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// clone3 with fork's meaning: new namespaces of `flags`, born in `cgroup`.
pub(crate) fn fork_into(flags: libc::c_int, cgroup: BorrowedFd<'_>) -> io::Result<Fork> {
    // SAFETY: clone_args is plain numbers, for which all zeroes is a value.
    let mut args: libc::clone_args = unsafe { zeroed() };
    args.flags = flags as u64 | CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: without CLONE_VM this is a fork of a program with one thread; args outlives the call.
    let pid =
        checked(unsafe { libc::syscall(libc::SYS_clone3, &args, size_of::<libc::clone_args>()) })?;
    Ok(if pid == 0 {
        Fork::Child
    } else {
        Fork::Parent(pid as libc::pid_t)
    })
}

/// Moves this process into new namespaces.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed.
    checked(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Moves this process (a new pid namespace: its children) into those of the process behind `pidfd`.
pub(crate) fn set_namespaces(pidfd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed.
    checked(unsafe { libc::setns(pidfd.as_raw_fd(), flags) }.into()).map(drop)
}

/// Sets attributes of the mount at `path` under `dir`, of all below it, too, when asked.
pub(crate) fn set_mount_attributes(
    dir: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    set: u64,
    propagation: u64,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: 0,
    };
    let mut flags = libc::AT_EMPTY_PATH as libc::c_uint;
    if recursive {
        flags |= libc::AT_RECURSIVE as libc::c_uint;
    }
    // SAFETY: path and attributes outlive the call, the size is that of the struct.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            &attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result).map(drop)
}

/// Brings this network namespace's loopback up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: the new descriptor belongs to nobody else.
    let socket = unsafe {
        let fd =
            checked(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0).into())?;
        OwnedFd::from_raw_fd(fd as i32)
    };
    // SAFETY: ifreq is plain numbers, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: request is the struct that this ioctl reads and outlives the call.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) }.into())
        .map(drop)
}

/// Gives this process a session keyring of its own, as every runtime does.
pub(crate) fn join_session_keyring(name: &CStr) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: name outlives the call.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
        .map(drop)
}

/// Closes every descriptor above standard error at exec.
pub(crate) fn close_at_exec() -> io::Result<()> {
    // SAFETY: no memory is passed, and descriptors are only marked.
    checked(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(drop)
}

/// Puts this process under a seccomp filter, whose program is `struct sock_filter`s in bytes.
pub(crate) fn set_filter(program: &[u8]) -> io::Result<()> {
    let words: Vec<u64> = program
        .as_chunks()
        .0
        .iter()
        .map(|eight| u64::from_ne_bytes(*eight))
        .collect();
    let program = libc::sock_fprog {
        len: words.len() as u16,
        filter: words.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel reads `len` instructions of eight bytes, and `words` has as many.
    checked(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    })
    .map(drop)
}

/// Executes `path` (under `dir`; empty: `dir` itself) with these arguments and environment.
pub(crate) fn exec(dir: BorrowedFd<'_>, path: &CStr, args: &[&CStr], env: &[&CStr]) -> io::Error {
    let argv: Vec<_> = args
        .iter()
        .map(|arg| arg.as_ptr())
        .chain([null()])
        .collect();
    let envp: Vec<_> = env
        .iter()
        .map(|pair| pair.as_ptr())
        .chain([null()])
        .collect();
    let flags = if path.is_empty() {
        libc::AT_EMPTY_PATH
    } else {
        0
    };
    // SAFETY: both arrays end in a null pointer; they and their strings outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            dir.as_raw_fd(),
            path.as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            flags,
        );
    }
    io::Error::last_os_error()
}

/// Leaves at once: a child of ours must not run what its parent has at exit.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: no memory is passed.
    unsafe { libc::_exit(code) }
}
