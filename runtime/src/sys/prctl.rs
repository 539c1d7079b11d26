//! prctl(2) and personality(2).

use rustix::process::DumpableBehavior;

use super::mount::last_errno;
use crate::error::{Context, Error, Result};

/// PR_SET_DUMPABLE: 0 keeps other processes of the same user, and of a joined container, out of memory and descriptors.
pub(crate) fn set_dumpable(dumpable: bool) -> Result<()> {
    let behavior = if dumpable {
        DumpableBehavior::Dumpable
    } else {
        DumpableBehavior::NotDumpable
    };
    rustix::process::set_dumpable_behavior(behavior)
        .call(|| format!("prctl(PR_SET_DUMPABLE, {})", u8::from(dumpable)))
}

/// PR_SET_NO_NEW_PRIVS.
pub(crate) fn set_no_new_privs() -> Result<()> {
    rustix::thread::set_no_new_privs(true).call(|| "prctl(PR_SET_NO_NEW_PRIVS, 1)")
}

/// PR_SET_PDEATHSIG: the signal when the parent dies; 0 for none.
pub(crate) fn set_parent_death_signal(signal: i32) -> Result<()> {
    // SAFETY: plain numbers only.
    let ret = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
    if ret == 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(
        format!("prctl(PR_SET_PDEATHSIG, {signal})"),
        errno,
    ))
}

/// PR_SET_CHILD_SUBREAPER: orphans below this process become its children.
pub(crate) fn set_child_subreaper() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .call(|| "prctl(PR_SET_CHILD_SUBREAPER, 1)")
}

/// PR_SET_NAME, at most 15 bytes are kept.
pub(crate) fn set_name(name: &std::ffi::CStr) -> Result<()> {
    rustix::thread::set_name(name).call(|| format!("prctl(PR_SET_NAME, {name:?})"))
}

/// personality(2).
pub(crate) fn personality(persona: u32) -> Result<()> {
    // SAFETY: plain numbers only.
    let ret = unsafe { libc::personality(libc::c_ulong::from(persona)) };
    if ret >= 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(format!("personality({persona:#x})"), errno))
}
