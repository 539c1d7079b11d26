//! Credentials of the calling thread: user and group ids, capabilities, securebits.
//!
//! These change one thread; vzrun has only one (see [`super::fork::clone3`]).

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{Context, Error, Result};

/// geteuid(2).
pub(crate) fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// getegid(2).
pub(crate) fn egid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// setresuid(2), all three the same.
pub(crate) fn set_uid(uid: u32) -> Result<()> {
    let id = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(id, id, id)
        .call(|| format!("setresuid({uid}, {uid}, {uid})"))
}

/// setresgid(2), all three the same.
pub(crate) fn set_gid(gid: u32) -> Result<()> {
    let id = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(id, id, id)
        .call(|| format!("setresgid({gid}, {gid}, {gid})"))
}

/// setgroups(2).
pub(crate) fn set_groups(gids: &[u32]) -> Result<()> {
    let groups: Vec<Gid> = gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups).call(|| format!("setgroups({gids:?})"))
}

/// setfsuid(2) and setfsgid(2): whose files are made, and in whose name a mount of overlayfs works on its layers. The
/// capabilities for files, which the kernel takes away with root's id, stay.
pub(crate) fn set_filesystem_ids(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: plain numbers only.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
    // They never fail in words: asked again with an id that there is not, they tell what is set.
    // SAFETY: as above.
    let set = unsafe { (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX)) };
    if (set.0.cast_unsigned(), set.1.cast_unsigned()) != (uid, gid) {
        return Err(Error::os(
            format!("setfsuid({uid}), setfsgid({gid})"),
            Errno::PERM,
        ));
    }
    let sets = rustix::thread::capabilities(None).call(|| "capget()")?;
    let permitted = sets.permitted.bits();
    set_capabilities(permitted, permitted, sets.inheritable.bits())
}

/// prctl(2) PR_SET_KEEPCAPS.
pub(crate) fn keep_capabilities(keep: bool) -> Result<()> {
    rustix::thread::set_keep_capabilities(keep).call(|| format!("prctl(PR_SET_KEEPCAPS, {keep})"))
}

/// capset(2) of the calling thread; bit n is capability n.
pub(crate) fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    rustix::thread::set_capabilities(None, sets).call(|| {
        format!("capset({{effective={effective:#x}, permitted={permitted:#x}, inheritable={inheritable:#x}}})")
    })
}

/// capget(2) of the calling thread: the permitted set.
pub(crate) fn permitted_capabilities() -> Result<u64> {
    rustix::thread::capabilities(None)
        .map(|sets| sets.permitted.bits())
        .call(|| "capget()")
}

/// prctl(2) PR_CAPBSET_DROP.
pub(crate) fn drop_bounding(capability: u32) -> Result<()> {
    let set = CapabilitySet::from_bits_retain(1 << capability);
    rustix::thread::remove_capability_from_bounding_set(set)
        .call(|| format!("prctl(PR_CAPBSET_DROP, {capability})"))
}

/// prctl(2) PR_CAPBSET_READ; `None` where the kernel does not know the capability.
pub(crate) fn is_in_bounding(capability: u32) -> Result<Option<bool>> {
    let set = CapabilitySet::from_bits_retain(1 << capability);
    match rustix::thread::capability_is_in_bounding_set(set) {
        Err(Errno::INVAL) => Ok(None),
        other => other
            .map(Some)
            .call(|| format!("prctl(PR_CAPBSET_READ, {capability})")),
    }
}

/// prctl(2) PR_CAP_AMBIENT_CLEAR_ALL.
pub(crate) fn clear_ambient() -> Result<()> {
    rustix::thread::clear_ambient_capability_set()
        .call(|| "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)")
}

/// prctl(2) PR_CAP_AMBIENT_RAISE.
pub(crate) fn raise_ambient(capability: u32) -> Result<()> {
    let set = CapabilitySet::from_bits_retain(1 << capability);
    rustix::thread::configure_capability_in_ambient_set(set, true)
        .call(|| format!("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {capability})"))
}
