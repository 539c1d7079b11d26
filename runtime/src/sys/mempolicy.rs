//! set_mempolicy(2).

use super::mount::last_errno;
use crate::error::{Error, Result};

/// set_mempolicy(2) of the calling thread: a mode with its flags, and bit n of `nodes` for node n.
pub(crate) fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel takes one bit less than it is told, since ever.
    let (mask, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        nodes => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: the mask is null, or live during the call and `bits - 1` bits long.
    let ret = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    if ret == 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(
        format!("set_mempolicy({mode:#x}, {nodes:x?}, {bits})"),
        errno,
    ))
}
