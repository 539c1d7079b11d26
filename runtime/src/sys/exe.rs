//! The running executable, and how it comes to run from a place that nobody can write to.
//!
//! A process of a container can reach the file that another process runs through /proc/PID/exe and its memory map.
//! Were that the host's vzrun binary, root in a container could overwrite it (CVE-2019-5736). So vzrun moves to a
//! detached read-only mount of its binary before it comes near a container. The mount belongs to no mount namespace,
//! and once its descriptor is closed nobody can make it writable.
//!
//! There are three ways, the cheapest first: the running process is moved to the mount in place (`remap`); the mount
//! is executed anew; where mounts are not allowed (an ordinary user), a sealed memfd copy is executed.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};

use super::fs::{self, OFlags};
use super::mount::{self, MountAttr, attr};
use super::{remap, sendfile};
use crate::error::{Context, Error, Result};

/// Makes the process run from a read-only place, unless it already does. Where that takes another execve(2), the
/// program starts again with these arguments and does not come back here.
///
/// # Errors
/// None of the ways works.
pub fn seal(arguments: Vec<OsString>) -> Result<()> {
    let exe = fs::open("/proc/self/exe", OFlags::PATH)?;
    if fs::is_read_only(&exe).context(|| "looking at vzrun's own executable")? {
        return Ok(());
    }
    let sealed = match read_only_mount(&exe) {
        Ok(mount) => match remap::onto(&mount) {
            Ok(()) => {
                HELD.store(mount.into_raw_fd(), Ordering::Relaxed);
                return Ok(());
            }
            Err(error) => {
                crate::log::debug(format_args!("executing anew instead: {error}"));
                mount
            }
        },
        Err(_) if is_sealed_memfd()? => return Ok(()),
        Err(_) => sealed_copy()?,
    };
    match execute(&sealed, arguments) {
        Ok(never) => match never {},
        Err(error) => Err(error.wrap("running from a sealed executable")),
    }
}

/// The descriptor of the mount that this process runs from, or -1. Its last close makes the mount unreachable and costs
/// the kernel some 30 us, so it is left to a moment when nobody waits: see [`release`].
static HELD: AtomicI32 = AtomicI32::new(-1);

/// Closes the descriptor of the mount that this process runs from. A child does it first thing, its parent when the
/// child is at work; in any case before the process of a container can look at this one.
pub(crate) fn release() {
    let held = HELD.swap(-1, Ordering::Relaxed);
    if held >= 0 {
        // SAFETY: `seal` gave the ownership up to HELD, and the swap has taken it from there once.
        drop(unsafe { OwnedFd::from_raw_fd(held) });
    }
}

/// A detached read-only mount of the binary. Needs CAP_SYS_ADMIN over the mount namespace.
fn read_only_mount(exe: &OwnedFd) -> Result<OwnedFd> {
    let tree = mount::clone_tree(exe, "", false)?;
    mount::mount_setattr(
        &tree,
        false,
        &MountAttr {
            set: attr::RDONLY,
            ..MountAttr::default()
        },
    )?;
    Ok(tree)
}

/// Seals that leave nothing to change.
const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

fn is_sealed_memfd() -> Result<bool> {
    let exe = fs::open("/proc/self/exe", OFlags::RDONLY)?;
    Ok(rustix::fs::fcntl_get_seals(&exe).is_ok_and(|seals| seals.contains(SEALS)))
}

fn sealed_copy() -> Result<OwnedFd> {
    let from = fs::open("/proc/self/exe", OFlags::RDONLY)?;
    let memfd = rustix::fs::memfd_create(
        "vzrun",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC,
    )
    .or_else(|_| {
        // MFD_EXEC is there since Linux 6.3.
        rustix::fs::memfd_create("vzrun", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
    })
    .call(|| "memfd_create(\"vzrun\")")?;
    sendfile::all(&memfd, &from).context(|| "copying the executable to a memfd")?;
    rustix::fs::fcntl_add_seals(&memfd, SEALS).call(|| "fcntl(F_ADD_SEALS)")?;
    Ok(memfd)
}

/// execveat(2) of a descriptor.
fn execute(exe: &OwnedFd, arguments: Vec<OsString>) -> Result<Infallible> {
    let strings = |list: Vec<OsString>| -> Result<Vec<CString>> {
        list.into_iter()
            .map(|s| CString::new(s.into_vec()).map_err(|_| Error::config("NUL in an argument")))
            .collect()
    };
    let environment = std::env::vars_os().map(|(mut key, value)| {
        key.push("=");
        key.push(value);
        key
    });
    let (arguments, environment) = (strings(arguments)?, strings(environment.collect())?);
    super::process::execveat(exe.as_fd(), &arguments, &environment)
        .map_err(|errno| Error::os(format!("execveat({})", exe.as_raw_fd()), errno))
}
